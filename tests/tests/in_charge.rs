//! A verb where a unit is in charge of the home, and what it makes of a manager that does not do its
//! work: `systemctl` is a script here, and the unit is written by hand. What a real manager does stands
//! in `under_systemd_in_charge.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_tests::{Project, Ran, Verb};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// What `systemctl show` says of a unit that nobody has started.
const LISTENS: &str = "cat <<E
Id=hearth-agent.service
LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
MainPID=0

Id=hearth-agent.socket
LoadState=loaded
ActiveState=active
SubState=listening
Result=success
E";

/// A project beside a unit, with a manager that is a script.
struct Beside {
    project: Project,
}

impl Beside {
    /// `script`: the manager; `$1` is what it is told to do.
    fn new(script: &str) -> Self {
        let beside = Self { project: Project::new(SLEEPER) };
        fs::create_dir(beside.root("bin")).unwrap();
        fs::create_dir_all(beside.root("config/systemd/user")).unwrap();
        beside.manager(script);
        beside.unit(&beside.project.home.dir().display().to_string());
        beside
    }

    fn root(&self, name: &str) -> PathBuf {
        self.project.home.root().join(name)
    }

    fn manager(&self, script: &str) {
        let (aside, program) = (self.root("text"), self.root("bin/systemctl"));
        let told = self.root("told");
        let script = format!("#!/bin/sh\nshift 2\necho \"$*\" >>{}\n{script}\n", told.display());
        fs::write(&aside, script).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: a fork of another test's would keep it open for writing (ETXTBSY).
        let _ = fs::remove_file(&program);
        assert!(Command::new("cp").arg(&aside).arg(&program).status().unwrap().success());
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root("config/systemd/user").join(name)
    }

    fn unit(&self, home: &str) {
        let service = format!(
            "[Service]\nType=notify\nExecStart={} daemon run\n\n[X-Hearth]\nHome={home}\n",
            hearth_tests::hearth().display()
        );
        fs::write(self.file("hearth-agent.service"), service).unwrap();
        fs::write(self.file("hearth-agent.socket"), "[Socket]\n").unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.root("bin").display()));
        command.env("XDG_CONFIG_HOME", self.root("config"));
        command
    }

    fn begin(&self, arguments: &[&str]) -> Verb {
        let mut command = self.command(arguments);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        Verb::of(command.spawn().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.begin(arguments).finish()
    }

    /// What the manager has been told, a line each.
    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.root("told")).unwrap_or_default();
        told.lines().map(|line| line.split(" -p").next().unwrap_or(line).to_owned()).collect()
    }

    /// Nothing was started, and nobody has touched what belongs to starting.
    #[track_caller]
    fn is_untouched(&self) {
        for name in ["spawn.lock", "agent.lock", "agent.sock", "failures.json", "agent.log"] {
            assert!(!self.project.home.path(name).exists(), "{name} is there");
        }
        assert!(self.project.home.processes().is_empty());
    }
}

#[track_caller]
fn not_ready(ran: Ran) -> serde_json::Value {
    let refusal = ran.exits(3).refusal();
    assert_eq!(refusal["code"], "service-not-ready", "{refusal}");
    assert_eq!(refusal["details"]["state"], "service-not-ready", "{refusal}");
    refusal
}

#[test]
fn a_manager_that_is_dead_is_told_and_nothing_is_started_instead() {
    let beside = Beside::new("echo 'Failed to connect to bus: No medium found' >&2; exit 1");
    for verb in [&["up", "--json"][..], &["status", "--json"], &["daemon", "up", "--json"]] {
        let ran = beside.run(verb);
        if verb[0] == "status" {
            let row = ran.exits(0).json();
            assert_eq!(row["agent"]["state"], "service-not-ready", "{row}");
            continue;
        }
        let refusal = not_ready(ran);
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains("Failed to connect to bus: No medium found"), "{message}");
        let hint = refusal["hint"].as_str().unwrap();
        assert!(hint.contains("hearth uninstall") && hint.contains("linger"), "{hint}");
    }
    beside.is_untouched();
    assert!(beside.told().contains(&"start hearth-agent.socket".to_owned()));
}

#[test]
fn of_a_manager_that_hangs_it_is_told_for_how_long() {
    let beside = Beside::new("exec sleep 1000");
    for verb in ["up", "restart"] {
        let words: &[&str] = match verb {
            "up" => &["daemon", "up", "--timeout", "1s", "--json"],
            _ => &["daemon", "restart", "--json"],
        };
        let refusal = beside.run(words).exits(if verb == "up" { 4 } else { 3 }).refusal();
        let message = refusal["message"].as_str().unwrap();
        assert!(message.contains("did not end within"), "{message}");
        assert!(!message.contains(" 0.0 s"), "no time was left for that one: {message}");
    }
    beside.is_untouched();
}

#[test]
fn no_systemctl_at_all_is_told() {
    let beside = Beside::new("");
    fs::remove_file(beside.root("bin/systemctl")).unwrap();
    let mut command = beside.command(&["up", "--json"]);
    command.env("PATH", beside.root("bin"));
    let refusal = not_ready(Ran::of(&command.output().unwrap()));
    assert!(refusal["message"].as_str().unwrap().contains("systemctl is not installed"));
    beside.is_untouched();
}

#[test]
fn a_manager_that_starts_what_does_not_listen_is_asked_for_its_words() {
    let failed = LISTENS
        .replace("ActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0", "ActiveState=failed\nSubState=failed\nResult=exit-code\nMainPID=0\nExecMainCode=1\nExecMainStatus=203")
        .replace("ActiveState=active\nSubState=listening\nResult=success", "ActiveState=failed\nSubState=failed\nResult=trigger-limit-hit");
    let beside = Beside::new(&failed);
    let refusal = not_ready(beside.run(&["up", "--json"]));
    let message = refusal["message"].as_str().unwrap();
    assert!(
        message.contains("hearth-agent.service: failed (Result: exit-code, status=203/EXEC)"),
        "{message}"
    );
    assert!(message.contains("trigger-limit-hit"), "{message}");
    let hint = refusal["hint"].as_str().unwrap();
    assert!(hint.contains("systemctl --user status hearth-agent.service"), "{hint}");
    assert_eq!(beside.told()[0], "start hearth-agent.socket", "it was told once");
    let starts = |line: &&String| line.as_str() == "start hearth-agent.socket";
    assert_eq!(beside.told().iter().filter(starts).count(), 1);
    beside.is_untouched();
    // The executable that it would run is gone: that is what there is to say.
    let service = fs::read_to_string(beside.file("hearth-agent.service")).unwrap();
    let gone = service.replace(hearth_tests::hearth().to_str().unwrap(), "/opt/gone/hearth");
    fs::write(beside.file("hearth-agent.service"), gone).unwrap();
    let refusal = not_ready(beside.run(&["up", "--json"]));
    assert!(refusal["message"].as_str().unwrap().contains("/opt/gone/hearth is not there"));
    assert!(refusal["hint"].as_str().unwrap().contains("hearth install"), "{refusal}");
}

#[test]
fn an_agent_that_is_being_run_on_a_socket_without_a_path_is_not_waited_for() {
    let starting = LISTENS
        .replace("ActiveState=inactive\nSubState=dead", "ActiveState=activating\nSubState=start");
    let failed = LISTENS.replace(
        "ActiveState=inactive\nSubState=dead\nResult=success",
        "ActiveState=failed\nSubState=failed\nResult=exit-code",
    );
    let script = format!(
        "case $1 in\nstop) touch \"$0.stopped\" ;;\nshow)\nif [ -e \"$0.stopped\" ]; then\n{failed}\nelse\n{starting}\nfi ;;\nesac"
    );
    let beside = Beside::new(&script);
    let refusal = not_ready(beside.run(&["up", "--json"]));
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("failed (Result: exit-code"), "{message}");
    let mended = beside.told().iter().filter(|line| line.starts_with("stop ")).count();
    assert_eq!(mended, 1, "{:?}", beside.told());
    beside.is_untouched();
}

#[test]
fn a_job_that_failed_is_told_with_what_it_failed_of() {
    let failed = LISTENS.replace(
        "ActiveState=inactive\nSubState=dead\nResult=success\nMainPID=0",
        "ActiveState=failed\nSubState=failed\nResult=exit-code\nMainPID=0\nExecMainCode=1\nExecMainStatus=203",
    );
    let script = format!(
        "case $1 in\nstart) echo 'Job for hearth-agent.service failed.' >&2; exit 1 ;;\nshow)\n{failed}\n;;\nesac"
    );
    let beside = Beside::new(&script);
    let refusal = not_ready(beside.run(&["up", "--json"]));
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("failed (Result: exit-code, status=203/EXEC)"), "{message}");
    beside.is_untouched();
}

#[test]
fn a_manager_that_hangs_holds_a_verb_no_longer_than_its_time() {
    let beside = Beside::new("exec sleep 1000");
    let began = Instant::now();
    let ran = beside.run(&["up", "--json", "--timeout", "1s"]).exits(4);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let refusal = ran.refusal();
    assert_eq!(refusal["code"], "timeout", "{refusal}");
    assert!(refusal["message"].as_str().unwrap().contains("systemctl --user start"), "{refusal}");
    let sleeps = beside.project.home.processes();
    assert!(sleeps.is_empty(), "{sleeps:?}");
    beside.is_untouched();
}

#[test]
fn a_manager_that_talks_nonsense_is_told_so() {
    let beside = Beside::new("[ $1 = start ] || echo 'all is well'");
    let refusal = not_ready(beside.run(&["up", "--json"]));
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("cannot be understood: all is well"), "{message}");
    beside.is_untouched();
}

#[test]
fn one_that_is_masked_in_the_manager_is_told_how_to_unmask_it() {
    let beside = Beside::new(
        "echo 'Failed to start hearth-agent.socket: Unit hearth-agent.socket is masked.' >&2; exit 1",
    );
    let refusal = not_ready(beside.run(&["up", "--json"]));
    assert!(refusal["hint"].as_str().unwrap().starts_with("systemctl --user unmask "), "{refusal}");
    beside.is_untouched();
}

#[test]
fn a_unit_that_is_masked_or_of_another_home_is_in_charge_of_nothing() {
    let beside = Beside::new("exit 1");
    beside.unit("/home/somebody/else");
    beside.run(&["daemon", "up"]).exits(0);
    beside.run(&["daemon", "down"]).exits(0);
    beside.unit(&beside.project.home.dir().display().to_string());
    let socket = beside.file("hearth-agent.socket");
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink("/dev/null", &socket).unwrap();
    beside.run(&["daemon", "up"]).exits(0);
    beside.run(&["daemon", "down"]).exits(0);
    assert!(beside.told().is_empty(), "{:?}", beside.told());
}

#[test]
fn another_home_beside_the_one_of_the_unit_is_nobodys_but_its_own() {
    let beside = Beside::new("exit 1");
    let other = Project::new(SLEEPER);
    let mut command = beside.command(&["daemon", "up"]);
    command.env("HEARTH_HOME", other.home.dir());
    Ran::of(&command.output().unwrap()).exits(0);
    assert!(other.home.agent_pid().is_some());
    assert!(beside.told().is_empty(), "{:?}", beside.told());
}

#[test]
fn who_may_not_start_one_does_not_wake_the_manager() {
    let beside = Beside::new(LISTENS);
    // Whoever connects to this is heard.
    beside.project.home.write("agent.toml", "");
    let socket = beside.project.home.path("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let refusal = beside.run(&["--no-spawn", "up", "--json"]).exits(3).refusal();
    assert_eq!(refusal["code"], "down", "{refusal}");
    let status = beside.run(&["daemon", "status", "--json"]).exits(3).json();
    assert_eq!(status["state"], "down");
    assert_eq!(status["manager"]["kind"], "systemd");
    assert_eq!(status["manager"]["unit"], "hearth-agent.service");
    assert_eq!(status["manager"]["standing"], "listening", "{status}");
    let mut forbidden = beside.command(&["up", "--json"]);
    forbidden.env("HEARTH_NO_AUTOSPAWN", "1");
    let refusal = Ran::of(&forbidden.output().unwrap()).exits(3).refusal();
    assert_eq!(refusal["code"], "down", "{refusal}");
    let nobody = listener.accept().unwrap_err();
    assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock, "nobody has connected");
    assert_eq!(beside.told(), ["show"], "asked by `daemon status` alone");
    fs::remove_file(&socket).unwrap();
}

#[test]
fn an_agent_that_may_not_serve_says_why_through_its_queue() {
    let beside = Beside::new(LISTENS);
    beside.project.home.write("agent.toml", "");
    let listener =
        std::os::unix::net::UnixListener::bind(beside.project.home.path("agent.sock")).unwrap();
    let verb = beside.begin(&["up", "--json"]);
    let (mut stream, _) = listener.accept().unwrap();
    let body = r#"{"type":"about:blank","title":"","status":503,"detail":"agent.toml: line 3 is odd","code":"spawn-failed","hint":"mend line 3"}"#;
    std::io::Write::write_all(
        &mut stream,
        format!("HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes(),
    )
    .unwrap();
    let refusal = not_ready(verb.finish());
    assert!(refusal["message"].as_str().unwrap().contains("line 3 is odd"), "{refusal}");
    assert_eq!(refusal["hint"], "mend line 3");
    fs::remove_file(beside.project.home.path("agent.sock")).unwrap();
}

#[test]
fn a_queue_that_nobody_empties_is_waited_in_for_the_managers_time() {
    let beside = Beside::new(&LISTENS.replace(
        "ActiveState=inactive\nSubState=dead",
        "ActiveState=activating\nSubState=auto-restart",
    ));
    beside.project.home.write("agent.toml", "");
    let socket = beside.project.home.path("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let began = Instant::now();
    let refusal = not_ready(beside.run(&["up", "--json"]));
    assert!(began.elapsed() > Duration::from_secs(7), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("not within 8.0 s"), "{message}");
    assert!(message.contains("activating (auto-restart)"), "{message}");
    assert_eq!(beside.told(), ["show"], "nobody was told to start anything");
    let timeout = beside.run(&["up", "--json", "--timeout", "700ms"]).exits(4).refusal();
    assert_eq!(timeout["code"], "timeout", "{timeout}");
    drop(listener);
    fs::remove_file(&socket).unwrap();
}

#[test]
fn the_warm_path_asks_nobody() {
    let beside = Beside::new("exit 1");
    let away = beside.root("away");
    fs::rename(beside.root("config"), &away).unwrap();
    beside.run(&["up"]).exits(0);
    fs::rename(&away, beside.root("config")).unwrap();
    beside.run(&["up"]).exits(0);
    beside.run(&["status", "--json"]).exits(0);
    assert!(beside.told().is_empty(), "{:?}", beside.told());
    // A self-started agent is not the manager's, and ends all the same where nobody can be asked.
    beside.run(&["daemon", "down"]).exits(0);
    assert_eq!(beside.project.home.agent_pid(), None);
}
