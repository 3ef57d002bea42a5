//! The home: what stands in it, in its way, and around it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use hearth_process::Signal;
use hearth_tests::{Home, Project, Ran, await_file, files_below, has_program, is_root, send};

use crate::support::{around, command, doctor, report};

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode can be set");
}

#[test]
fn of_no_home_at_all_nothing_is_made() {
    let home = Home::new();
    let found = doctor(&home);
    found.says("home", "ok", &["the first verb makes it"]);
    assert_eq!(found.names_of("fault"), [""; 0]);
    assert!(!home.dir().exists());
    let left = files_below(home.root());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_that_is_well_is_told_line_by_line() {
    let home = Home::new();
    home.run(&["daemon", "up"]).exits(0);
    let found = doctor(&home);
    assert_eq!(found.names_of("fault"), [""; 0]);
    for name in
        ["home", "disk", "spawn-lock", "agent-lock", "backoff", "socket", "agent", "agent-health"]
    {
        found.says(name, "ok", &[]);
    }
    found.says("agent", "ok", &["running", &home.agent_pid().unwrap().to_string()]);
    found.says("agent-health", "ok", &["is well (agent, "]);

    let told = |more: &[&str]| {
        let arguments = [&["doctor"], more].concat();
        Ran::of(&around(&home, home.command(&arguments)).output().unwrap()).exits(0).stdout
    };
    let text = told(&[]);
    for finding in found.findings() {
        let name = finding["name"].as_str().unwrap();
        assert!(
            text.lines().any(|line| line.split_whitespace().nth(1) == Some(name)),
            "{name}: {text}"
        );
    }
    assert!(text.lines().last().unwrap().starts_with("no faults, "), "{text}");
    assert!(!told(&["-q"]).contains("ok "), "only what is not in order");
    assert!(told(&["--color", "always"]).contains("\x1b[32m"));
}

#[test]
fn of_a_wrong_mode_the_remedy_is_told() {
    let home = Home::new();
    home.write("x", "");
    set_mode(home.dir(), 0o755);
    doctor(&home).says("home", "fault", &["mode 0755", "chmod 700"]);
    let told = Ran::of(&around(&home, home.command(&["doctor"])).output().unwrap()).exits(1);
    let mut lines = told.stdout.lines().skip_while(|line| !line.starts_with("fault"));
    assert!(lines.next().unwrap().contains("home"), "{told:?}");
    assert!(lines.next().unwrap().trim().starts_with("-> `chmod 700"), "{told:?}");
    assert!(told.stdout.lines().last().unwrap().starts_with("1 fault, "), "{told:?}");
    set_mode(home.dir(), 0o700);
}

#[test]
fn a_link_a_file_and_what_is_below_a_file_are_no_home() {
    let home = Home::new();
    let real = home.root().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, home.dir()).unwrap();
    doctor(&home).says("home", "fault", &["is a symlink"]);
    fs::remove_file(home.dir()).unwrap();
    fs::write(home.dir(), "").unwrap();
    doctor(&home).says("home", "fault", &["is not a directory"]);
    let below = home.dir().join("deep/er");
    report(command(&home).env("HEARTH_HOME", below)).says("home", "fault", &[]);
    fs::remove_file(home.dir()).unwrap();
}

#[test]
fn another_users_home_is_told_with_its_owner() {
    if !is_root("another user") || !has_program("setpriv") {
        return;
    }
    let home = Home::new();
    home.run(&["daemon", "up"]).exits(0);
    home.run(&["daemon", "down"]).exits(0);
    // Where everybody may execute it.
    let hearth = home.root().join("hearth");
    assert!(
        Command::new("cp").arg(hearth_tests::hearth()).arg(&hearth).status().unwrap().success()
    );
    set_mode(&hearth, 0o755);
    let mut as_nobody = around(&home, Command::new("setpriv"));
    as_nobody
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&hearth)
        .args(["doctor", "--json"])
        .env("HEARTH_HOME", home.dir())
        .env_remove("HEARTH_NO_AUTOSPAWN")
        .current_dir("/");
    let found = report(&mut as_nobody);
    found.says("home", "fault", &["belongs to uid 0", "we are uid 65534"]);
    found.says("agent-lock", "fault", &["Permission denied"]);
    found.says("environment-user", "warning", &["uid 65534", "belongs to uid 0"]);
}

#[test]
fn a_disk_that_is_full_is_told() {
    if !is_root("a full disk") || !has_program("unshare") {
        return;
    }
    let home = Home::new();
    home.write("agent.toml", "");
    let script = "mount -t tmpfs -o size=8m,mode=0700 none \"$HEARTH_HOME\" && \
                  head -c 6M /dev/zero > \"$HEARTH_HOME/ballast\" && exec \"$0\" doctor --json";
    let mut full = around(&home, Command::new("unshare"));
    full.args(["-m", "sh", "-c", script])
        .arg(hearth_tests::hearth())
        .env("HEARTH_HOME", home.dir());
    let found = report(&mut full);
    found.says("disk", "fault", &["are left for", "make room"]);
    found.says("home-file-system", "ok", &["tmpfs"]);
}

#[test]
fn a_home_too_deep_for_sockets_has_them_elsewhere_and_that_is_told() {
    let home = Home::new();
    let deep = home.root().join("d".repeat(100));
    let verb = |arguments: &[&str]| {
        let ran = around(&home, home.command(arguments)).env("HEARTH_HOME", &deep).output();
        Ran::of(&ran.unwrap())
    };
    verb(&["daemon", "up"]).exits(0);
    let socket =
        verb(&["daemon", "status", "--json"]).json()["socket"].as_str().unwrap().to_owned();
    let sockets = std::path::PathBuf::from(socket).parent().unwrap().to_owned();
    report(command(&home).env("HEARTH_HOME", &deep))
        .says("sockets", "warning", &["too long", sockets.to_str().unwrap()])
        .says("socket", "ok", &[]);
    set_mode(&sockets, 0o755);
    let found = report(command(&home).env("HEARTH_HOME", &deep));
    found.says("sockets", "fault", &["mode 0755", "chmod 700"]).says("home", "ok", &[]);
    set_mode(&sockets, 0o700);
    verb(&["daemon", "down"]).exits(0);
    fs::remove_dir_all(sockets).unwrap();
}

#[test]
fn what_is_no_socket_is_in_the_way_and_one_that_nobody_listens_on_is_not() {
    let home = Home::new();
    home.write("agent.sock", "");
    doctor(&home).says("socket", "fault", &["it is no socket", "rm -r"]);
    fs::remove_file(home.path("agent.sock")).unwrap();
    let stranger = UnixListener::bind(home.path("agent.sock")).unwrap();
    doctor(&home).says("socket", "fault", &["somebody listens", "lsof"]);
    drop(stranger);
    doctor(&home).says("socket", "ok", &["stale"]);
    fs::remove_file(home.path("agent.sock")).unwrap();
}

#[test]
fn locks_that_are_no_files_of_ours_are_told() {
    let home = Home::new();
    home.run(&["daemon", "up"]).exits(0);
    home.run(&["daemon", "down"]).exits(0);
    set_mode(&home.path("agent.lock"), 0o644);
    doctor(&home).says("agent-lock", "warning", &["mode 0644", "chmod 600"]);
    set_mode(&home.path("agent.lock"), 0o600);
    fs::write(home.path("agent.lock"), "half a record").unwrap();
    doctor(&home).says("agent-lock", "ok", &["torn"]);
    fs::remove_file(home.path("spawn.lock")).unwrap();
    symlink("agent.lock", home.path("spawn.lock")).unwrap();
    doctor(&home).says("spawn-lock", "fault", &["no regular file", "rm -r"]);
    fs::remove_file(home.path("spawn.lock")).unwrap();
}

/// Holds S as a verb does that hangs; killed when it is dropped.
struct Holder(std::process::Child);

impl Holder {
    fn new(home: &Home) -> Self {
        home.write("spawn.lock", "");
        set_mode(&home.path("spawn.lock"), 0o600);
        let taken = home.root().join("taken");
        let script = format!("echo x > {}; exec sleep 1000", taken.display());
        let mut flock = Command::new("flock");
        // The lock is `flock`'s own, which becomes the command.
        flock.args(["--no-fork"]).arg(home.path("spawn.lock")).args(["sh", "-c", &script]);
        let child = flock.stdin(Stdio::null()).spawn().expect("flock runs");
        await_file(&taken, |text| !text.is_empty());
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_verb_that_hangs_while_it_starts_an_agent_is_named() {
    if !has_program("flock") {
        return;
    }
    let home = Home::new();
    let holder = Holder::new(&home);
    let pid = holder.0.id();
    let named = format!("pid {pid}");
    doctor(&home).says("spawn-lock", "fault", &[&named, "for more than", &format!("kill {pid}")]);
    send(pid, Signal::STOP);
    while !hearth_process::facts::is_stopped(pid) {
        std::thread::yield_now();
    }
    doctor(&home).says("spawn-lock", "fault", &[&named, "stopped by a signal", "kill -CONT"]);
    drop(holder);
    doctor(&home).says("spawn-lock", "ok", &["free"]);
}

#[test]
fn a_start_that_failed_is_told_with_its_reason_and_the_time_of_the_next_try() {
    let home = Home::new();
    home.write("agent.toml", "idle_timeout = 10\n");
    home.run(&["daemon", "up"]).exits(3);
    let found = doctor(&home);
    found.says("agent-config", "fault", &["agent.toml", "line 1", "mend that file"]);
    found.says(
        "backoff",
        "fault",
        &["failed to start once", "try again in", "agent.toml", "hearth daemon up"],
    );
    home.write("agent.toml", "");
    home.run(&["daemon", "up"]).exits(0);
    doctor(&home).says("backoff", "ok", &["has succeeded"]).says("agent-config", "ok", &[]);
}

#[test]
fn logs_are_weighed() {
    let project = Project::new(
        "[services.a]\nrun = 'head -c 3000000 /dev/zero; echo; echo done; exec sleep 1000'\n\
         ready = { log = '^done$' }\n",
    );
    project.run(&["up"]).exits(0);
    doctor(&project.home).says("logs", "ok", &["3.0 MB of services"]);
}

#[test]
fn what_hangs_is_a_finding_and_holds_nothing_else_up() {
    let home = Home::new();
    home.write("x", "");
    fs::create_dir(home.path("trust")).unwrap();
    // Who reads it waits for a writer, for ever: as with a file system that does not answer.
    let pipe = home.path("trust/0123");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let found = doctor(&home);
    found.says("trust", "fault", &["not told within", "hangs"]);
    found.says("home", "ok", &[]).says("kernel-exits", "ok", &[]);
}

#[test]
fn a_limit_that_is_too_low_is_told() {
    let home = Home::new();
    let mut few = around(&home, Command::new("sh"));
    few.args(["-c", "ulimit -n 500; exec \"$0\" doctor --json"]).arg(hearth_tests::hearth());
    few.env("HEARTH_HOME", home.dir()).env_remove("HEARTH_NO_AUTOSPAWN");
    report(&mut few).says("open-files", "warning", &["at most 500", "LimitNOFILE"]);
}

#[test]
fn a_state_that_is_damaged_and_what_can_not_come_up_after_a_boot_are_told() {
    let project = Project::new("[services.a]\nrun = 'exec sleep 1000'\n");
    doctor(&project.home).says("state", "ok", &[]).says("enabled", "ok", &["hearth enable"]);
    project.run(&["enable", "a"]).exits(0);
    let dir = project.dir().to_str().unwrap();
    doctor(&project.home).says("enabled", "ok", &["a of", dir]);
    project.write("hearth.toml", "[services.b]\nrun = 'true'\n");
    let remedy = format!("`hearth -C {dir} disable a`");
    doctor(&project.home).says("enabled", "warning", &["a of", "no such service", &remedy]);
    project.write("hearth.toml", "[services.a]\nrun = 'true'\n[services.b]\nrun = 'true'\n");
    project.run(&["enable", "b"]).exits(0);
    let file = project.dir().join("hearth.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    doctor(&project.home).says("enabled", "warning", &["a, b of", "everybody", "config check"]);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    project.write("hearth.toml", "[services.b]\nrun = 'true'\n");
    let found = doctor(&project.home);
    assert!(!found.of("enabled").to_string().contains("a, b"), "b comes up");
    fs::remove_file(project.dir().join("hearth.toml")).unwrap();
    doctor(&project.home).says("enabled", "warning", &["no hearth.toml any more"]);
    project.run(&["disable"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    project.home.write("state.json", "{");
    doctor(&project.home).says("state", "warning", &["can't be understood"]);
    project.home.run(&["daemon", "up"]).exits(0);
    doctor(&project.home).says("state", "warning", &["state.json.bad", "rm"]);
    project.home.run(&["daemon", "down"]).exits(0);
    let state = project.home.path("state.json");
    let _ = fs::remove_file(&state);
    fs::create_dir(&state).unwrap();
    let remedy = format!("`rm -r {}`", state.display());
    doctor(&project.home).says("state", "fault", &["it is no file", &remedy]);
}

#[test]
fn a_remedy_can_be_typed_whatever_the_path_is_called() {
    let home = Home::new();
    let dir = home.root().join("it's a $HOME");
    fs::create_dir(&dir).unwrap();
    set_mode(&dir, 0o755);
    let told = || report(command(&home).env("HEARTH_HOME", &dir));
    let found = told();
    let remedy = found.says("home", "fault", &["chmod 700"]).of("home")["remedy"].clone();
    let typed = remedy.as_str().unwrap().trim_matches('`');
    assert!(Command::new("sh").args(["-c", typed]).status().unwrap().success(), "{typed}");
    told().says("home", "ok", &[]);
}
