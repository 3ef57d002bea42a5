//! `hearth with SERVICE... -- CMD`: services for as long as a command runs.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hearth_process::Signal;
use hearth_tests::{Project, Ran, Terminal, Verb, await_end, has_program, runs, send};

/// `web` needs `db`; what nobody holds goes at once.
const TWO: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\nport = 5999\n\
    [services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\nneeds = [\"db\"]\n\
    [services.off]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nenabled = false\n";

/// A command that says that it runs, waits at the gate `gate`, and ends.
const WAITS: &str = "echo runs; read x < gate";

/// Starts `hearth with` these services and a script, which has said its first line.
#[track_caller]
fn begin(project: &Project, services: &[&str], script: &str) -> Verb {
    let mut line = vec!["with", "-q"];
    line.extend(services);
    line.extend(["--", "sh", "-c", script]);
    let mut verb = project.start(&line);
    assert_eq!(verb.line().as_deref(), Some("runs"));
    verb
}

#[test]
fn a_command_is_the_session_and_what_it_was_given_goes_with_it() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let script = "echo runs; echo $$ $HEARTH_SESSION $HEARTH_DB_PORT; read x < gate; exit 7";
    let mut verb = begin(&project, &["web"], script);
    let line = verb.line().expect("what it was told");
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!((words[0], words[2]), (verb.pid().to_string().as_str(), "5999"));
    let sessions = project.sessions();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let session = &sessions[0];
    assert_eq!(
        (session["id"].as_str(), session["pid"].as_u64()),
        (Some(words[1]), Some(verb.pid().into()))
    );
    assert_eq!((session["kind"].as_str(), session["name"].as_str()), (Some("command"), Some("sh")));
    assert_eq!(session["leases"][0]["services"][0], "web");
    assert_eq!(project.row("web")["held_by"][0]["session"], words[1]);
    let pids = [project.pid("web"), project.pid("db")];
    gate.open();
    let ran = verb.finish().exits(7);
    assert_eq!(ran.stderr, "");
    pids.into_iter().for_each(await_end);
    assert!(project.sessions().is_empty());
}

#[test]
fn a_home_that_was_named_is_the_commands_too() {
    let project = Project::new(TWO);
    let home = project.home.dir().display().to_string();
    let line = ["--home", &home, "with", "-q", "db", "--", "sh", "-c"];
    let mut command = project.command(&line);
    command.arg(format!("echo $HEARTH_HOME; {} why db", hearth_tests::hearth().display()));
    command.env_remove("HEARTH_HOME");
    let ran = project.ran(&mut command).exits(0);
    let (told, why) = ran.stdout.split_once('\n').expect("two lines");
    assert_eq!(told, home);
    assert!(why.starts_with("db is kept by sh (pid "), "{why}");
}

#[test]
fn without_names_it_is_all_that_is_enabled() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let verb = begin(&project, &[], WAITS);
    assert_eq!(["web", "db", "off"].map(|name| project.state(name)), ["ready", "ready", "down"]);
    gate.open();
    verb.finish().exits(0);
}

/// What a process is given besides its environment, as programs see it that are executed directly: a
/// shell has signals and files of its own.
const LOOKS: [&[&str]; 6] = [
    &["grep", "-E", "^(Umask|Sig(Blk|Ign|Cgt))", "/proc/self/status"],
    &["ls", "/proc/self/fd"],
    &["readlink", "/proc/self/fd/0", "/proc/self/fd/2", "/proc/self/fd/77"],
    &["cat", "/proc/self/limits"],
    &["cat", "/proc/self/cmdline"],
    &["pwd"],
];

/// A caller with peculiarities: an open file, a umask, a limit, blocked and ignored signals.
fn peculiar(command: &mut Command, ignored: &'static [i32]) {
    command.stderr(Stdio::null());
    // SAFETY: all of these are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            for signal in ignored {
                libc::signal(*signal, libc::SIG_IGN);
            }
            let mut blocked = std::mem::zeroed();
            libc::sigemptyset(&mut blocked);
            libc::sigaddset(&mut blocked, libc::SIGUSR1);
            libc::sigprocmask(libc::SIG_BLOCK, &blocked, std::ptr::null_mut());
            libc::umask(0o027);
            // Without close-on-exec.
            libc::dup2(2, 77);
            let limit = libc::rlimit { rlim_cur: 123, rlim_max: 456 };
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
            Ok(())
        });
    }
}

#[test]
fn a_command_finds_all_as_it_would_without_us() {
    let project = Project::new(TWO);
    for ignored in [&[][..], &[libc::SIGPIPE], &[libc::SIGINT, libc::SIGPIPE, libc::SIGHUP]] {
        for look in LOOKS {
            let mut plain = project.by(look[0], &look[1..]);
            let mut with = project.command(&[&["with", "db", "--"], look].concat());
            peculiar(&mut plain, ignored);
            peculiar(&mut with, ignored);
            let plain = Ran::of(&plain.output().expect("it runs")).exits(0).stdout;
            let with = Ran::of(&with.output().expect("hearth runs")).exits(0).stdout;
            assert_eq!(with, plain, "{look:?}, ignored {ignored:?}");
            assert!(look[0] != "grep" || plain.contains("SigBlk:\t0000000000000200"), "{plain}");
            assert!(look[0] != "readlink" || plain.matches("/dev/null").count() == 3, "{plain}");
        }
        // So that the next round's first one starts an agent.
        project.run(&["daemon", "down", "--services"]).exits(0);
    }
}

#[test]
fn its_death_by_a_signal_is_told_to_the_shell_and_a_closed_pipe_ends_it_silently() {
    let project = Project::new(TWO);
    let mut script = project.script(
        "hearth with -q db -- sh -c 'kill -TERM $$'; echo $?\n\
         hearth with -q db -- yes | head -n 1\n\
         echo in | hearth with -q db -- cat\n",
    );
    let ran = project.ran(&mut script).exits(0);
    assert_eq!(ran.stdout, "143\ny\nin\n", "{}", ran.stderr);
    assert!(!ran.stderr.contains("roken pipe"), "{}", ran.stderr);
}

#[test]
fn where_a_service_fails_the_command_is_not_run_and_nothing_is_kept() {
    let project = Project::new(
        "[services.bad]\nrun = \"echo last words; exit 3\"\nrestart = \"never\"\n\
         [services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\n\
         [services.slow]\nrun = [\"sleep\", \"1000\"]\nready = { file = \"never\" }\nlinger = \"0s\"\n",
    );
    let ran = project.run(&["with", "db", "bad", "--", "touch", "ran"]).exits(1);
    assert!(
        ran.stderr.contains("last words") && ran.stderr.contains("`touch` was not run"),
        "{ran:?}"
    );
    let ran = project.run(&["with", "--json", "bad", "--", "touch", "ran"]).exits(1);
    assert_eq!((ran.refusal()["code"].as_str(), ran.stdout.as_str()), (Some("service-failed"), ""));
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let ran = project.run(&["with", "slow", "--timeout", "200ms", "--", "touch", "ran"]).exits(4);
    assert!(ran.stderr.contains("not ready within 200ms: slow"), "{}", ran.stderr);
    // It does not go on, as it would after `up`.
    assert!(ran.stderr.contains("is given back") && !ran.stderr.contains("go on"), "{ran:?}");
    assert_eq!(ran.stdout, "");
    project.watch(&["db"]).until_state("db", "down");
    project.watch(&["slow"]).until_state("slow", "down");
    assert!(project.sessions().is_empty());
    assert!(!project.dir().join("ran").exists());
}

#[test]
fn what_is_taken_from_it_in_the_wait_ends_the_wait() {
    let project = Project::new(
        "[services.slow]\nrun = [\"sleep\", \"1000\"]\nready = { file = \"open\" }\nlinger = \"0s\"\n",
    );
    let begin = || {
        let verb = project.start(&["with", "-q", "slow", "--", "touch", "ran"]);
        project.watch(&["slow"]).until_state("slow", "starting");
        verb
    };
    let session = || {
        let sessions = project.sessions();
        sessions[0]["id"].as_str().expect("its name").to_owned()
    };
    let verb = begin();
    project.run(&["down", "--force", "slow"]).exits(0);
    let ran = verb.finish().exits(1);
    assert!(ran.stderr.contains("`touch` was not run"), "{ran:?}");
    let verb = begin();
    project.run(&["session", "end", &session()]).exits(0);
    verb.finish().exits(1);
    // Held by another, it becomes ready all the same: for a session that is no more.
    let verb = begin();
    project.run(&["up", "--no-wait", "slow"]).exits(0);
    project.run(&["session", "end", &session()]).exits(0);
    project.write("open", "");
    let ran = verb.finish().exits(5);
    assert!(ran.stderr.contains("`touch` was not run"), "{ran:?}");
    assert!(!project.dir().join("ran").exists());
}

#[test]
fn what_is_typed_wrong_starts_neither_agent_nor_service() {
    let project = Project::new(TWO);
    project.write("text", "no command");
    for (line, code) in [
        (&["with", "db", "--", "no-such-command"][..], 2),
        (&["with", "db", "--", "./text"], 2),
        (&["with", "bd", "--", "true"], 5),
        (&["with", "db"], 2),
    ] {
        project.run(line).exits(code);
    }
    project.run(&["with", "--no-spawn", "db", "--", "true"]).exits(3);
    project.write("hearth.toml", "[services.db]\nrum = 1\n");
    project.run(&["with", "db", "--", "true"]).exits(2);
    assert!(!project.home.dir().exists() || project.home.agent_pid().is_none());
}

#[test]
fn a_command_that_can_not_be_executed_after_all_holds_nothing() {
    let project = Project::new(TWO);
    project.write("script", "#!/no/such/interpreter\n");
    let chmod = Command::new("chmod").args(["+x", "script"]).current_dir(project.dir()).status();
    assert!(chmod.expect("chmod runs").success());
    let ran = project.run(&["with", "db", "--", "./script"]).exits(2);
    assert!(ran.stderr.contains("interpreter"), "{}", ran.stderr);
    project.watch(&["db"]).until_state("db", "down");
}

#[test]
fn a_command_may_be_called_what_no_session_may() {
    let project = Project::new(TWO);
    let name = "./a\nb\u{1b}[2J";
    std::os::unix::fs::symlink("/bin/true", project.dir().join(name)).expect("a link");
    project.run(&["with", "db", "--", name]).exits(0);
}

#[test]
fn a_port_that_was_chosen_is_told_by_its_name() {
    let project = Project::new(
        "[services.my-db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nport = \"auto\"\n",
    );
    let ran = project.run(&["with", "my-db", "--", "printenv", "HEARTH_MY_DB_PORT"]).exits(0);
    let port = project.row("my-db")["ports"][0].to_string();
    assert_eq!(ran.stdout, format!("{port}\n"));
    assert!(ran.stderr.contains(&format!("localhost:{port}")), "{}", ran.stderr);
}

#[test]
fn one_within_another_has_a_session_of_its_own() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let inner = "echo $HEARTH_SESSION; read x < gate";
    let script = format!(
        "echo runs; echo $HEARTH_SESSION; hearth with -q web -- sh -c '{inner}'; echo back; read x < gate"
    );
    let mut command = project.by("hearth", &["with", "-q", "db", "--", "sh", "-c", &script]);
    let mut verb = project.begin(&mut command);
    let mut line = || verb.line().expect("a line");
    assert_eq!(line(), "runs");
    let (outer, inner) = (line(), line());
    assert_ne!(outer, inner);
    let ids: Vec<_> =
        project.sessions().iter().map(|row| row["id"].as_str().unwrap_or("").to_owned()).collect();
    assert_eq!(ids, [outer, inner]);
    let web = project.pid("web");
    gate.open();
    assert_eq!(verb.line().as_deref(), Some("back"));
    await_end(web);
    assert_eq!((project.state("db"), project.sessions().len()), ("ready".into(), 1));
    gate.open();
    verb.finish().exits(0);
    // In each other's place it is one process, and so one session.
    let mut command = project.by(
        "hearth",
        &["with", "-q", "db", "--", "hearth", "with", "-q", "web", "--", "sh", "-c", WAITS],
    );
    let mut verb = project.begin(&mut command);
    assert_eq!(verb.line().as_deref(), Some("runs"));
    let sessions = project.sessions();
    assert_eq!((sessions.len(), sessions[0]["leases"].as_array().map(Vec::len)), (1, Some(2)));
    gate.open();
    verb.finish().exits(0);
}

#[test]
fn neither_its_parent_nor_the_agent_has_to_live() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let mut parent =
        project.begin(&mut project.script(&format!("hearth with -q db -- sh -c '{WAITS}'; true")));
    assert_eq!(parent.line().as_deref(), Some("runs"));
    let service = project.pid("db");
    let command = project.sessions()[0]["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .expect("a pid");
    assert_ne!(command, parent.pid());
    parent.kill();
    await_end(parent.pid());
    project.home.kill_agent();
    // The next one takes it all up again.
    assert_eq!((project.pid("db"), project.sessions().len()), (service, 1));
    // One that takes its place in peace, too.
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!((project.pid("db"), project.sessions().len()), (service, 1));
    assert!(runs(command));
    gate.open();
    await_end(command);
    await_end(service);
}

#[test]
fn a_child_that_it_leaves_behind_keeps_nothing() {
    let project = Project::new(TWO);
    let verb = project.start(&[
        "with",
        "-q",
        "db",
        "--",
        "sh",
        "-c",
        "sleep 1000 > /dev/null 2>&1 & echo $!",
    ]);
    let ran = verb.finish().exits(0);
    project.watch(&["db"]).until_state("db", "down");
    let left: u32 = ran.stdout.trim().parse().expect("a pid");
    assert!(runs(left), "it is nobody's service");
    send(left, Signal::KILL);
    await_end(left);
}

#[test]
fn from_cron_there_is_neither_terminal_nor_much_of_an_environment() {
    let project = Project::new(TWO);
    let home = project.home.dir().to_owned();
    let mut command = project.command(&["with", "db", "--", "sh", "-c", "echo $HEARTH_DB_PORT"]);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/").env("HEARTH_HOME", home);
    command.env("CI", "true");
    // SAFETY: setsid(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    assert_eq!(project.ran(&mut command).exits(0).stdout, "5999\n");
}

#[test]
fn from_elsewhere_the_command_stays_where_it_was_typed() {
    let project = Project::new(TWO);
    let mut command = project.command(&[
        "-C",
        &project.dir().display().to_string(),
        "with",
        "-q",
        "db",
        "--",
        "pwd",
    ]);
    let ran = project.ran(command.current_dir("/"));
    assert_eq!(ran.exits(0).stdout, "/\n");
}

#[test]
fn make_and_its_jobserver_find_their_way_through() {
    if !has_program("make") {
        return;
    }
    let project = Project::new(TWO);
    project.write(
        "Makefile",
        "all: one two\none two:\n\t+hearth with -q db -- $(MAKE) --no-print-directory inner NAME=$@\n\
         inner:\n\t@echo $(NAME) $$HEARTH_DB_PORT\n",
    );
    let ran = project.ran(&mut project.by("make", &["-j2", "-s"])).exits(0);
    let mut lines: Vec<&str> = ran.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one 5999", "two 5999"], "{}", ran.stderr);
    assert!(!ran.stderr.contains("jobserver"), "{}", ran.stderr);
    project.write("Makefile", "all:\n\thearth with -q db -- sh -c 'exit 3'\n");
    let ran = project.ran(&mut project.by("make", &[])).exits(2);
    assert!(ran.stderr.contains("Error 3"), "{}", ran.stderr);
}

#[test]
fn ctrl_c_in_the_wait_gives_back_what_was_leased() {
    let project = Project::new(
        "[services.slow]\nrun = \"echo $$ > pid; exec sleep 1000\"\nready = { file = \"never\" }\nlinger = \"0s\"\n",
    );
    project.home.run(&["daemon", "up"]).exits(0);
    let mut terminal =
        Terminal::start(project.command(&["with", "slow", "--", "touch", "ran"]), 90, 24);
    terminal.until(|text| text.contains("slow  starting"));
    let service = project.await_lines("pid", 1)[0].parse().expect("a pid");
    terminal.interrupt();
    let (code, text) = terminal.finish();
    assert_eq!(code, Some(130), "{text}");
    assert!(text.contains("the command was not run, and what was leased for it goes"), "{text}");
    await_end(service);
    assert!(!project.dir().join("ran").exists());
}

/// A shell with job control, that edits no lines.
fn shell(project: &Project) -> Terminal {
    let mut shell = project.by("bash", &["--norc", "--noprofile", "--noediting", "-i"]);
    shell.env("PS1", "> ").env_remove("PROMPT_COMMAND");
    let mut terminal = Terminal::start(shell, 100, 50);
    terminal.until(|text| text.ends_with('>'));
    terminal
}

#[test]
fn job_control_is_the_commands_own() {
    if !has_program("bash") {
        return;
    }
    let project = Project::new(TWO);
    let mut terminal = shell(&project);
    terminal.types("hearth with -q db -- cat\n");
    terminal.types("one\n");
    terminal.until(|text| text.matches("one").count() == 2);
    let service = project.pid("db");
    terminal.types("\x1a");
    terminal.until(|text| text.contains("Stopped"));
    assert!(runs(service), "who is stopped has not ended");
    assert_eq!(project.sessions().len(), 1);
    terminal.types("fg\n");
    terminal.until(|text| text.contains("cat\n") && text.matches("with -q db").count() > 2);
    terminal.types("two\n");
    terminal.until(|text| text.matches("two").count() == 2);
    terminal.interrupt();
    terminal.until(|text| text.ends_with("^C\n>") || text.ends_with("^C\n\n>"));
    terminal.types("echo code=$?\n");
    terminal.until(|text| text.contains("code=130"));
    await_end(service);
    // In the background, with its own end; the terminal is as it was.
    terminal.types("hearth with -q db -- sh -c 'exit 5' & wait $!; echo behind=$?\n");
    terminal.until(|text| text.contains("behind=5"));
    terminal.types("exit\n");
    assert_eq!(terminal.finish().0, Some(0));
}
