//! The shell hook in real shells on terminals: who enters a trusted project has its services, and who leaves
//! gives them back; and whatever happens, the shell is as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hearth_process::Signal;
use hearth_process::locked::{self, LockedFile};
use hearth_tests::{Project, Shell, ShellKind, await_end, await_file, runs, send};
use serde_json::Value;

/// A service that tells of each of its lives; it goes at once when nobody has it.
const AUTO: &str = "auto = true\n[services.db]\nrun = \"echo $$ >> lives; exec sleep 1000\"\n\
    ready = { settle = \"0s\" }\nlinger = \"0s\"\n";

/// Each of these is a test in each of the shells.
macro_rules! in_each_shell {
    ($($name:ident),* $(,)?) => {
        mod bash { $( #[test] fn $name() { super::in_shell(super::ShellKind::Bash, super::$name); } )* }
        mod zsh { $( #[test] fn $name() { super::in_shell(super::ShellKind::Zsh, super::$name); } )* }
        mod fish { $( #[test] fn $name() { super::in_shell(super::ShellKind::Fish, super::$name); } )* }
    };
}

in_each_shell!(
    entering_leases_and_leaving_gives_back,
    an_untrusted_project_is_told_once_and_runs_nothing,
    a_nested_project_is_another_one,
    a_directory_may_have_any_name,
    a_shell_inside_is_a_session_of_its_own,
    a_shell_that_becomes_another_one_stays_the_session,
    the_file_comes_changes_and_goes,
    the_directory_is_removed_under_us,
    a_terminal_that_is_closed_ends_the_session,
    an_agent_that_was_killed_takes_back_what_was_leased,
    an_agent_that_cant_be_started_is_told_once,
    what_is_no_interactive_shell_is_left_alone,
    in_and_out_and_in_again_at_once,
    what_changes_right_before_it_is_run_is_not_run,
    it_needs_no_path_and_can_be_read_twice,
    what_was_taken_by_hand_is_not_given_back,
    a_job_of_ones_own_is_not_disturbed,
    the_last_job_s_pid_is_that_of_one_s_own,
);

fn in_shell(kind: ShellKind, test: fn(ShellKind)) {
    if kind.is_installed() {
        test(kind);
    }
}

fn trusted() -> Project {
    let project = Project::new(AUTO);
    project.run(&["trust", "-q"]).exits(0);
    project
}

/// The pid of the life that began as the `count`th.
#[track_caller]
fn life(dir: &Path, count: usize) -> u32 {
    let text = await_file(&dir.join("lives"), |text| text.matches('\n').count() >= count);
    text.lines().nth(count - 1).and_then(|line| line.parse().ok()).expect("a pid")
}

#[track_caller]
fn sessions(project: &Project) -> Vec<Value> {
    let all = project.home.run(&["sessions", "--json"]).exits(0).json();
    all["sessions"].as_array().expect("a list").clone()
}

/// Waits until what the hook holds for a shell is settled, and is this many leases.
#[track_caller]
fn settled(project: &Project, pid: u32, leases: usize) {
    let held = hook_file(project, pid, ".held");
    await_file(&held, |text| {
        serde_json::from_str::<Vec<Value>>(text).is_ok_and(|held| held.len() == leases)
    });
}

fn hook_file(project: &Project, pid: u32, end: &str) -> PathBuf {
    let id = hearth_process::ProcessId::of(pid).expect("the shell lives");
    let start = id.start.expect("its start is known").as_raw();
    project.home.path(&format!("hook/{pid}-{start}{end}"))
}

fn cd(dir: &Path) -> String {
    format!("cd '{}'", dir.display())
}

fn entering_leases_and_leaving_gives_back(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    assert!(!project.home.path("hook").exists(), "nothing was looked at");
    let text = shell.run(&cd(project.dir()));
    assert_eq!(text.matches("hearth: bringing up db for this shell").count(), 1, "{text}");
    let first = life(project.dir(), 1);
    let all = sessions(&project);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["pid"], shell.pid());
    assert_eq!((&all[0]["kind"], &all[0]["name"]), (&"shell".into(), &kind.name().into()));

    fs::create_dir_all(project.dir().join("a/b")).expect("directories");
    for line in ["cd a/b", "cd ..", "echo x", "false"] {
        let text = shell.run(line);
        assert!(!text.contains("hearth:"), "{text}");
    }
    let text = shell.run(&cd(project.home.root()));
    let words = format!("hearth: giving back db of {}", project.dir().display());
    assert_eq!(text.matches(&words).count(), 1, "{text}");
    await_end(first);

    let text = shell.run("cd -");
    assert!(text.contains("hearth: bringing up db for this shell"), "{text}");
    let second = life(project.dir(), 2);
    let text = shell.exit();
    assert!(!text.contains("job"), "{text}");
    await_end(second);
}

fn an_untrusted_project_is_told_once_and_runs_nothing(kind: ShellKind) {
    let project = Project::new(AUTO);
    let mut shell = Shell::start(kind, &project.home, project.dir());
    shell.run("echo x");
    shell.run(&cd(project.home.root()));
    shell.run(&cd(project.dir()));
    let all = shell.all();
    let words = format!(
        "hearth: {} is not trusted yet: look at its hearth.toml, then `hearth trust`",
        project.dir().display()
    );
    assert_eq!(all.matches("hearth: ").count(), 1, "{all}");
    assert!(all.contains(&words), "{all}");
    assert_eq!(project.home.agent_pid(), None, "nothing was asked for");
    // What is not to be brought up is not spoken of.
    let quiet = project.beside("quiet", "[services.db]\nrun = \"true\"\n");
    let faulty = project.beside("faulty", "auto = maybe\n");
    for dir in [quiet, faulty] {
        let text = shell.run(&cd(&dir));
        assert!(!text.contains("hearth: "), "{text}");
    }
    // Where others may write, nothing is trusted.
    shell.run(&cd(project.home.root()));
    project.run(&["trust", "-q"]).exits(0);
    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(project.dir().join("hearth.toml"), open).expect("it is ours");
    let text = shell.run(&cd(project.dir()));
    assert!(text.contains("can be written by everybody"), "{text}");
    let closed = fs::Permissions::from_mode(0o644);
    fs::set_permissions(project.dir().join("hearth.toml"), closed).expect("it is ours");
    // Nor where they could put another directory into its place.
    fs::create_dir(project.home.root().join("above")).expect("a directory");
    let above = project.beside("above/inner", AUTO);
    let trust = project.ran(project.home.command(&["trust", "-q"]).current_dir(&above));
    trust.exits(0);
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(project.home.root().join("above"), open).expect("it is ours");
    let text = shell.run(&cd(&above));
    assert!(text.contains("/above (owner ") && text.contains("by everybody"), "{text}");
    assert!(!project.dir().join("lives").exists() && !above.join("lives").exists());
    shell.exit();
}

fn a_nested_project_is_another_one(kind: ShellKind) {
    let project = trusted();
    let inner = project.dir().join("inner");
    fs::create_dir_all(inner.join("deep")).expect("a directory");
    fs::write(inner.join("hearth.toml"), AUTO.replace("db", "web")).expect("a file");
    let mut command = project.home.command(&["trust", "-q"]);
    project.ran(command.current_dir(&inner)).exits(0);

    let mut shell = Shell::start(kind, &project.home, project.home.root());
    shell.run("pushd project/inner/deep");
    let web = life(&inner, 1);
    let text = shell.run("cd ../..");
    assert!(text.contains("bringing up db for this shell, giving back web of"), "{text}");
    await_end(web);
    let db = life(project.dir(), 1);
    // Through a link it is where the kernel says that it is.
    std::os::unix::fs::symlink(inner.join("deep"), project.home.root().join("link"))
        .expect("a link");
    let text = shell.run(&cd(&project.home.root().join("link")));
    assert!(text.contains("bringing up web for this shell, giving back db of"), "{text}");
    await_end(db);
    let web = life(&inner, 2);
    let text = shell.run("popd");
    assert!(text.contains("hearth: giving back web of"), "{text}");
    await_end(web);
    shell.exit();
}

fn a_directory_may_have_any_name(kind: ShellKind) {
    let project = Project::empty();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    for (number, name) in ["a b", "it's \"q\" $x`y`", "two\nlines", "é 日本", "-n *", "back\\slash"]
        .iter()
        .enumerate()
    {
        let dir = project.beside(name, AUTO);
        let mut command = project.home.command(&["trust", "-q"]);
        project.ran(command.current_dir(&dir)).exits(0);
        let link = project.home.root().join(format!("link{number}"));
        std::os::unix::fs::symlink(&dir, &link).expect("a link");
        let text = shell.run(&cd(&link));
        assert_eq!(text.matches("bringing up db").count(), 1, "{text}");
        let pid = life(&dir, 1);
        let text = shell.run("cd ..");
        let shown = name.replace('\n', "\\n");
        assert!(text.contains(&format!("/{shown}\n")), "{text}");
        await_end(pid);
        // By its own name too.
        shell.types(match kind {
            ShellKind::Bash | ShellKind::Zsh => "cd \"$(readlink link",
            ShellKind::Fish => "cd \"$(readlink link",
        });
        let text = shell.run(&format!("{number})\""));
        assert_eq!(text.matches("bringing up db").count(), 1, "{text}");
        let pid = life(&dir, 2);
        shell.run("cd ..");
        await_end(pid);
    }
    shell.exit();
}

fn a_shell_inside_is_a_session_of_its_own(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    // Not at a prompt: nothing of it is a session.
    let there = project.home.root().display();
    let text = match kind {
        ShellKind::Bash | ShellKind::Zsh => shell.run(&format!("(cd {there}; echo in)")),
        ShellKind::Fish => shell.run(&format!("fish -c 'cd {there}; echo in'")),
    };
    assert!(!text.contains("hearth:"), "{text}");
    assert_eq!(sessions(&project).len(), 1);

    let inside = match kind {
        ShellKind::Bash => "bash -i",
        ShellKind::Zsh => "zsh -d -i",
        ShellKind::Fish => "fish -i",
    };
    let text = shell.run(inside);
    assert!(text.contains("hearth: bringing up db for this shell"), "{text}");
    project.home_file("sessions.json", |text| text.matches("\"kind\"").count() == 2);
    assert_eq!(sessions(&project).len(), 2);
    shell.run("exit");
    let text = shell.run("echo back");
    assert!(!text.contains("hearth:"), "{text}");
    assert!(runs(pid), "the outer one has it still");
    shell.exit();
    await_end(pid);
}

fn a_shell_that_becomes_another_one_stays_the_session(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    let next = ShellKind::Zsh;
    if kind == next || !next.is_installed() {
        shell.run(&format!("exec {}", kind.name()));
    } else {
        next.starts_with(&project.home, &next.hook());
        shell.run("exec zsh -d -i");
    }
    shell.run("echo x");
    let all = shell.all();
    assert_eq!(all.matches("bringing up db for this shell").count(), 1, "{all}");
    assert_eq!(sessions(&project).len(), 1);
    assert!(runs(pid));
    // And one that leaves and becomes another at once gives back.
    shell.run(&format!("{}; exec {} -i", cd(project.home.root()), kind.name()));
    shell.until("hearth: giving back db of");
    await_end(pid);
    shell.exit();
}

fn the_file_comes_changes_and_goes(kind: ShellKind) {
    let project = Project::empty();
    let mut shell = Shell::start(kind, &project.home, project.dir());
    project.replace("hearth.toml", "");
    assert!(!shell.run("echo a").contains("hearth: "));
    project.replace("hearth.toml", AUTO);
    let text = shell.run("echo b");
    assert!(text.contains("is not trusted yet"), "{text}");
    assert!(!shell.run("echo c").contains("hearth: "));
    project.run(&["trust", "-q"]).exits(0);
    let text = shell.run("echo d");
    assert!(text.contains("bringing up db"), "{text}");
    let pid = life(project.dir(), 1);

    project.replace("hearth.toml", &AUTO.replace("1000", "2000"));
    let text = shell.run("echo e");
    assert!(text.contains("hearth: hearth.toml changed since"), "{text}");
    assert!(!shell.run("echo f").contains("hearth: "));
    assert!(runs(pid), "what runs stays");
    project.run(&["trust", "-q"]).exits(0);
    let text = shell.run("echo g");
    assert!(text.contains("bringing up db for this shell, as trusted now"), "{text}");
    await_end(pid);
    let pid = life(project.dir(), 2);

    project.write("hearth.local.toml", "");
    let text = shell.run("echo h");
    assert!(text.contains("hearth: hearth.local.toml changed since"), "{text}");
    fs::remove_file(project.dir().join("hearth.local.toml")).expect("removed");
    let text = shell.run("echo i");
    assert!(!text.contains("hearth: "), "it is what was trusted again: {text}");
    project.run(&["trust", "--revoke", "-q"]).exits(0);
    let text = shell.run("echo j");
    assert!(text.contains("is not trusted"), "{text}");

    fs::remove_file(project.dir().join("hearth.toml")).expect("removed");
    let text = shell.run("echo k");
    assert!(text.contains("hearth: giving back db of"), "{text}");
    await_end(pid);
    shell.exit();
}

fn the_directory_is_removed_under_us(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    fs::remove_dir_all(project.dir()).expect("removed");
    shell.run("echo x");
    shell.until("hearth: giving back db of");
    await_end(pid);
    assert!(!shell.run("echo y").contains("hearth: "));
    shell.run("cd /");
    shell.exit();
}

fn a_terminal_that_is_closed_ends_the_session(kind: ShellKind) {
    let project = trusted();
    let shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    shell.close();
    await_end(pid);
    assert!(sessions(&project).is_empty());
}

fn an_agent_that_was_killed_takes_back_what_was_leased(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    project.home.kill_agent();
    assert!(!shell.run("echo x").contains("hearth: "));
    assert!(runs(pid));
    shell.run("cd /");
    await_end(pid);
    settled(&project, shell.pid(), 0);
    shell.exit();
}

fn an_agent_that_cant_be_started_is_told_once(kind: ShellKind) {
    let project = trusted();
    project.home.write("agent.toml", "idle_timeout = nonsense\n");
    let mut shell = Shell::start(kind, &project.home, project.dir());
    settled(&project, shell.pid(), 0);
    shell.run("echo x");
    shell.run("echo y");
    let all = shell.all();
    assert_eq!(all.matches("hearth: ").count(), 2, "what it does, and that it failed: {all}");
    assert!(all.contains("agent.toml"), "the reason: {all}");
    assert!(!project.dir().join("lives").exists());
    // What is trusted anew is tried anew.
    fs::remove_file(project.home.path("agent.toml")).expect("removed");
    project.run(&["daemon", "up"]).exits(0);
    project.run(&["trust", "-q"]).exits(0);
    shell.run("echo z");
    life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    shell.exit();
}

fn what_is_no_interactive_shell_is_left_alone(kind: ShellKind) {
    let project = trusted();
    let mut command = kind.command(&project.home, project.dir());
    let script = format!("{}cd /; {}; echo \"hook=$HEARTH_HOOK.\"", kind.hook(), cd(project.dir()));
    command = {
        let mut plain = std::process::Command::new(command.get_program());
        plain.arg("-c").arg(script).current_dir(project.dir());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => plain.env(name, value),
                None => plain.env_remove(name),
            };
        }
        plain
    };
    let ran = project.ran(&mut command).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hook=.\n", ""));
    assert!(!project.home.path("hook").exists());
    assert_eq!(project.home.agent_pid(), None);
}

fn in_and_out_and_in_again_at_once(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    for _ in 0..5 {
        shell.types("cd project\ncd ..\n");
    }
    shell.run("echo out");
    let turns = shell.all().matches("hearth: giving back").count();
    assert_eq!(turns, 5, "{}", shell.all());
    // The last word holds, whoever of those in the background came last.
    shell.run("cd project");
    settled(&project, shell.pid(), 1);
    shell.run("cd ..");
    settled(&project, shell.pid(), 0);
    let leases = |session: &Value| session["leases"].as_array().map_or(0, Vec::len);
    assert_eq!(sessions(&project).iter().map(leases).sum::<usize>(), 0);
    shell.exit();
}

fn what_changes_right_before_it_is_run_is_not_run(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    // Whoever is to take the lease waits here, with the decision behind it.
    fs::create_dir_all(project.home.path("hook")).expect("a directory");
    let held = hook_file(&project, shell.pid(), ".held");
    let file = locked::open(&held, true).expect("a file");
    let lock = LockedFile::exclusive(file).expect("a lock");
    let text = shell.run("cd project");
    assert!(text.contains("bringing up db"), "{text}");
    project.replace("hearth.toml", &AUTO.replace("sleep", "evil"));
    drop(lock);
    settled(&project, shell.pid(), 0);
    let text = shell.run("echo x");
    assert!(text.contains("changed just now"), "{text}");
    assert!(text.contains("hearth.toml changed since"), "{text}");
    assert!(!project.dir().join("lives").exists());
    shell.exit();
}

fn it_needs_no_path_and_can_be_read_twice(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    shell.run(kind.hook().trim_end());
    shell.run(match kind {
        ShellKind::Bash | ShellKind::Zsh => "PATH=/nowhere",
        ShellKind::Fish => "set -x PATH /nowhere",
    });
    let text = shell.run("cd project");
    assert_eq!(text.matches("bringing up db").count(), 1, "{text}");
    assert!(!text.contains("ommand not found") && !text.contains("nknown command"), "{text}");
    let pid = life(project.dir(), 1);
    shell.run("cd ..");
    await_end(pid);
    shell.exit();
}

fn what_was_taken_by_hand_is_not_given_back(kind: ShellKind) {
    let project = trusted();
    project.write(
        "hearth.toml",
        &format!(
            "{AUTO}[services.own]\nrun = [\"sleep\", \"1000\"]\nenabled = false\nlinger = \"0s\"\n"
        ),
    );
    project.run(&["trust", "-q"]).exits(0);
    let mut shell = Shell::start(kind, &project.home, project.dir());
    let db = life(project.dir(), 1);
    let hearth = hearth_tests::hearth().display();
    shell.run(&format!("{hearth} up own --lease"));
    let own = project.pid("own");
    shell.run("cd ..");
    await_end(db);
    assert!(runs(own));
    shell.exit();
    await_end(own);
}

fn a_job_of_ones_own_is_not_disturbed(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    shell.run("sleep 1000 &");
    shell.run("cd project");
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    shell.run("cd ..");
    await_end(pid);
    let text = shell.run("jobs");
    let listed: Vec<&str> = text.lines().filter(|line| line.contains("unning")).collect();
    assert_eq!(listed.len(), 1, "{text}");
    assert!(listed[0].contains("sleep 1000"), "{text}");
    assert!(!shell.all().contains("Done") && !shell.all().contains("ended"), "{}", shell.all());
    shell.run("kill %1; wait");
    shell.exit();
}

/// Who types `server &` and then `kill $!` means the server, whatever the hook has begun in between.
fn the_last_job_s_pid_is_that_of_one_s_own(kind: ShellKind) {
    let project = trusted();
    let mut shell = Shell::start(kind, &project.home, project.home.root());
    let last = match kind {
        ShellKind::Bash | ShellKind::Zsh => "$!",
        ShellKind::Fish => "$last_pid",
    };
    let pid = |shell: &mut Shell| {
        // Apart, for `!.` would be a word of the history.
        let text = shell.run(&format!("echo last={last} ."));
        let told = text.rsplit("\nlast=").next().and_then(|rest| rest.split(' ').next());
        told.expect("it is told").to_owned()
    };
    shell.run("cd project");
    life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    let text = shell.run("cd ..; sleep 1000 &");
    let own = pid(&mut shell);
    // fish does not tell.
    assert!(kind == ShellKind::Fish || text.contains(&format!("[1] {own}\n")), "{text}");
    settled(&project, shell.pid(), 0);
    shell.run("cd project");
    let db = life(project.dir(), 2);
    assert_eq!(pid(&mut shell), own);
    let own: u32 = own.parse().expect("a pid");
    shell.run(&format!("kill {last}"));
    await_end(own);
    assert!(runs(db));
    // Nor is one of ours waited for.
    shell.run("wait");
    shell.exit();
}

/// The strictest shell that somebody may have, and every name that the script uses taken by an alias.
#[test]
fn bash_is_as_strict_and_as_strange_as_somebody_likes_it() {
    if !ShellKind::Bash.is_installed() {
        return;
    }
    let project = trusted();
    let before = "own() { \\builtin local s=\"$?\"; echo \"first=$s\"; \\builtin return \"$s\"; }\n\
        for word in builtin local eval export disown return set test cd printf hearth; do\n\
        alias $word=\"echo ALIAS\"\ndone\n\
        \\builtin set -u -o noclobber\nIFS='/-:.0123456789'\nPROMPT_COMMAND=own\n";
    let hook = ShellKind::Bash.hook();
    let after = "PROMPT_COMMAND=\"$PROMPT_COMMAND; echo \\\"last=\\$?\\\"\"\n";
    ShellKind::Bash
        .starts_with(&project.home, &format!("\\builtin {hook}{before}\\builtin {hook}{after}"));
    let mut shell = Shell::of(ShellKind::Bash.command(&project.home, project.home.root()));
    let text = shell.run("(exit 7)");
    assert!(text.contains("first=7\nlast=7"), "{text}");
    let text = shell.run("\\cd project; (exit 8)");
    assert!(text.contains("bringing up db") && text.contains("last=8"), "{text}");
    let pid = life(project.dir(), 1);
    let text = shell.run("echo \"_=$_ opts=$-\"");
    let options = text.rsplit("opts=").next().and_then(|rest| rest.lines().next());
    let options = options.expect("they are told");
    assert!(options.contains('u') && options.contains('C') && options.contains('m'), "{text}");
    shell.run("\\set -e");
    shell.run("\\cd ..");
    await_end(pid);
    let all = shell.all();
    assert!(!all.contains("ALIAS") && !all.contains("unbound") && !all.contains("rror"), "{all}");
    shell.exit();
}

#[test]
fn zsh_is_as_strict_and_as_strange_as_somebody_likes_it() {
    if !ShellKind::Zsh.is_installed() {
        return;
    }
    let project = trusted();
    let before = "for word in builtin local eval export emulate setopt typeset return; do\n\
        alias $word='echo ALIAS'\ndone\n\
        \\setopt no_unset no_clobber ksh_arrays sh_word_split warn_create_global\n\
        IFS='/-:.0123456789'\nprecmd() { echo \"first=$?\" }\n";
    ShellKind::Zsh.starts_with(&project.home, &format!("{before}\\{}", ShellKind::Zsh.hook()));
    let mut shell = Shell::of(ShellKind::Zsh.command(&project.home, project.home.root()));
    let text = shell.run("(exit 7)");
    assert!(text.contains("first=7"), "{text}");
    let text = shell.run("cd project; (exit 8)");
    assert!(text.contains("bringing up db") && text.contains("first=8"), "{text}");
    let pid = life(project.dir(), 1);
    let text = shell.run("(exit 9)\necho \"now=$?\"");
    assert!(text.contains("now=9"), "{text}");
    shell.run("\\setopt err_exit");
    shell.run("cd ..");
    await_end(pid);
    let all = shell.all();
    assert!(!all.contains("ALIAS") && !all.contains("not set") && !all.contains("rror"), "{all}");
    shell.exit();
}

#[test]
fn fish_keeps_the_status_and_its_other_hooks() {
    if !ShellKind::Fish.is_installed() {
        return;
    }
    let project = trusted();
    let before = "function own --on-event fish_prompt\necho \"first=$status\"\nend\n\
        function test\necho SHADOW\nend\nfunction echo2\nend\n";
    ShellKind::Fish.starts_with(&project.home, &format!("{before}{}", ShellKind::Fish.hook()));
    let mut shell = Shell::of(ShellKind::Fish.command(&project.home, project.home.root()));
    let text = shell.run("fish -c 'exit 7'");
    assert!(text.contains("first=7"), "{text}");
    let text = shell.run("cd project; and fish -c 'exit 8'");
    assert!(text.contains("bringing up db"), "{text}");
    let pid = life(project.dir(), 1);
    shell.types("fish -c 'exit 9'\n");
    let text = shell.run("echo \"now=$status\"");
    assert!(text.contains("now=9"), "{text}");
    shell.run("cd ..");
    await_end(pid);
    assert!(!shell.all().contains("SHADOW"), "{}", shell.all());
    shell.exit();
}

/// A trap that tells of failures tells of each once, and none of them is ours.
#[test]
fn a_trap_for_failures_is_not_run_for_the_hook() {
    for (kind, trap) in [
        (ShellKind::Bash, "set -E; trap 'echo \"failed=$?.\"' ERR\n"),
        (ShellKind::Zsh, "TRAPZERR() { echo \"failed=$?.\" }\n"),
    ] {
        if !kind.is_installed() {
            continue;
        }
        let project = trusted();
        kind.starts_with(&project.home, &format!("{}{trap}", kind.hook()));
        let mut shell = Shell::of(kind.command(&project.home, project.home.root()));
        let text = shell.run("(exit 7)");
        assert_eq!(text.matches("failed=7.").count(), 1, "{text}");
        let text = shell.run("cd project; (exit 8)");
        assert!(text.contains("bringing up db"), "{text}");
        assert_eq!(text.matches("failed=").count(), 1, "{text}");
        let pid = life(project.dir(), 1);
        settled(&project, shell.pid(), 1);
        shell.types("(exit 9)\n");
        let text = shell.run("echo \"now=$?.\"");
        assert!(text.contains("now=9."), "{text}");
        shell.exit();
        await_end(pid);
    }
}

/// A session ends with its process; so does a shell that is killed.
#[test]
fn a_shell_that_is_killed_gives_back() {
    let kind = ShellKind::Bash;
    let project = trusted();
    let shell = Shell::start(kind, &project.home, project.dir());
    let pid = life(project.dir(), 1);
    settled(&project, shell.pid(), 1);
    send(shell.pid(), Signal::KILL);
    await_end(pid);
}
