//! What a service gets from the shell that brings it up, and as whom, where and with what it runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use hearth_tests::{Project, is_root};

/// A oneshot writes its environment into a file, a service lives.
const SHOWS: &str = r#"
    [services.s]
    run = ["sh", "-c", "env -0 > env.new; mv env.new env; exec sleep 1000"]
    ready = { exec = "test -e env", every = "20ms" }
    env = { FROM_FILE = "file", OVERRIDDEN = "by file", GONE = false }
"#;

fn environment(project: &Project) -> BTreeMap<String, String> {
    let text = project.await_file("env", |text| text.contains("FROM_FILE"));
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn shell(project: &Project, arguments: &[&str], marker: &str) -> Command {
    let mut command = project.command(arguments);
    command.env("MARKER", marker);
    command
}

#[test]
fn the_callers_environment_reaches_the_service_without_what_is_hearths_or_the_managers() {
    let project = Project::new(SHOWS);
    let mut up = shell(&project, &["up"], "first\nline two");
    up.env("OVERRIDDEN", "by shell").env("GONE", "here").env("EMPTY", "").env("NOTIFY", "mine");
    let stripped = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "HEARTH_SESSION",
        "HEARTH_ANYTHING",
    ];
    for name in stripped {
        up.env(name, "/nowhere");
    }
    project.ran(&mut up).exits(0);
    let found = environment(&project);
    assert_eq!(found["MARKER"], "first\nline two");
    assert_eq!((&*found["FROM_FILE"], &*found["OVERRIDDEN"]), ("file", "by file"));
    assert_eq!((&*found["EMPTY"], &*found["NOTIFY"]), ("", "mine"));
    assert!(!found.contains_key("GONE"), "{found:?}");
    for name in stripped.iter().chain(&["HEARTH_NO_AUTOSPAWN"]) {
        assert!(!found.contains_key(*name), "{name} came through: {found:?}");
    }
    assert_eq!(found["HEARTH_HOME"], project.home.dir().to_str().unwrap());
    let path = std::env::var("PATH").unwrap();
    assert_eq!(found["PATH"], path);
}

#[test]
fn a_later_up_keeps_the_environment_and_restart_takes_it_anew() {
    let project = Project::new(SHOWS);
    project.ran(&mut shell(&project, &["up"], "first")).exits(0);
    let pid = project.pid("s");
    project.ran(&mut shell(&project, &["up"], "second")).exits(0);
    assert_eq!(project.pid("s"), pid);
    assert_eq!(environment(&project)["MARKER"], "first");
    // Even a new life that a crash brings has the old one.
    fs::remove_file(project.dir().join("env")).unwrap();
    hearth_tests::send(pid, hearth_process::Signal::KILL);
    assert_eq!(environment(&project)["MARKER"], "first");
    fs::remove_file(project.dir().join("env")).unwrap();
    project.ran(&mut shell(&project, &["restart", "s"], "third")).exits(0);
    assert_eq!(environment(&project)["MARKER"], "third");
    // From down to up it is taken anew too.
    project.run(&["down"]).exits(0);
    fs::remove_file(project.dir().join("env")).unwrap();
    project.ran(&mut shell(&project, &["up"], "fourth")).exits(0);
    assert_eq!(environment(&project)["MARKER"], "fourth");
}

#[test]
fn the_environment_is_never_written_to_disk() {
    let project = Project::new(
        "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nenv = { A = \"file-word\" }\n",
    );
    project.ran(&mut shell(&project, &["up"], "unmistakable-secret")).exits(0);
    let mut seen = 0;
    let mut directories = vec![project.home.dir().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains("unmistakable-secret"), "{}", entry.path().display());
                seen += 1;
            }
        }
    }
    assert!(seen > 3, "the home has files");
}

#[test]
fn it_runs_in_its_directory_with_the_callers_umask_and_limits() {
    let project = Project::new(
        r#"
        [services.s]
        kind = "oneshot"
        dir = "below"
        run = "touch made; mkdir made.d; pwd -P > at; ulimit -n > nofile; ulimit -Hn >> nofile; ulimit -c >> nofile"
        "#,
    );
    let below = project.dir().join("below");
    fs::create_dir(&below).unwrap();
    let hearth = hearth_tests::hearth().display().to_string();
    let mut caller = project.command(&[]);
    let script =
        format!("umask 027; ulimit -Sn 200; ulimit -Hn 300; ulimit -c 0; exec {hearth} up");
    let mut sh = Command::new("sh");
    sh.args(["-c", &script]).current_dir(project.dir());
    for (name, value) in caller.get_envs() {
        match value {
            Some(value) => sh.env(name, value),
            None => sh.env_remove(name),
        };
    }
    // An agent that lives has its own umask and limits.
    project.ran(caller.args(["daemon", "up"])).exits(0);
    project.ran(&mut sh).exits(0);
    let mode = |name: &str| fs::metadata(below.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("made"), mode("made.d")), (0o640, 0o750));
    assert_eq!(project.read("below/at").trim(), below.to_str().unwrap());
    assert_eq!(project.read("below/nofile"), "200\n300\n0\n");
}

#[test]
fn a_user_is_who_it_runs_as_with_his_groups_and_home() {
    if !is_root("a service of another user") {
        return;
    }
    let project = Project::new(
        r#"
        [services.s]
        kind = "oneshot"
        user = "nobody"
        dir = "data"
        run = "id -un > who; id -G >> who; touch mine; echo $HOME $USER $LOGNAME > said"
        "#,
    );
    let nobody = hearth_process::facts::user_by_name("nobody").unwrap();
    let data = project.dir().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::chown(&data, Some(nobody.uid), Some(nobody.gid)).unwrap();
    project.run(&["up"]).exits(0);
    let who = project.read("data/who");
    let groups: Vec<String> = nobody.groups.iter().map(u32::to_string).collect();
    let mut lines = who.lines();
    assert_eq!(lines.next(), Some("nobody"));
    let mut found: Vec<_> = lines.next().unwrap().split(' ').collect();
    found.sort_unstable();
    let mut wanted: Vec<_> = groups.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "none of root's groups");
    assert_eq!(fs::metadata(data.join("mine")).unwrap().uid(), nobody.uid);
    let home = nobody.home.display();
    assert_eq!(project.read("data/said").trim(), format!("{home} nobody nobody"));
}

#[test]
fn an_unknown_user_is_refused_by_name() {
    if !is_root("a service of another user") {
        return;
    }
    let project =
        Project::new("[services.s]\nrun = [\"sleep\", \"1000\"]\nuser = \"no-such-user\"\n");
    let ran = project.run(&["up"]);
    assert!(matches!(ran.code, Some(1 | 2)), "{ran:?}");
    assert!(ran.stderr.contains("no-such-user"), "{}", ran.stderr);
}

#[test]
fn a_service_has_no_descriptor_but_its_three_and_ordinary_signals() {
    let project =
        Project::new("[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n");
    // As `nohup` and a careless parent would have it.
    let hearth = hearth_tests::hearth().display().to_string();
    let mut bash = Command::new("bash");
    let script =
        format!("trap '' HUP INT USR1 PIPE; exec 7</dev/null 9>/dev/null; exec {hearth} up");
    bash.args(["-c", &script]).current_dir(project.dir()).env("HEARTH_HOME", project.home.dir());
    bash.env_remove("HEARTH_NO_AUTOSPAWN");
    project.ran(&mut bash).exits(0);
    let proc = format!("/proc/{}", project.pid("s"));
    let mut numbers: Vec<_> = fs::read_dir(format!("{proc}/fd"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    numbers.sort();
    assert_eq!(numbers, ["0", "1", "2"]);
    assert_eq!(fs::read_link(format!("{proc}/fd/0")).unwrap().to_str(), Some("/dev/null"));
    let status = fs::read_to_string(format!("{proc}/status")).unwrap();
    for name in ["SigBlk", "SigIgn"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        assert_eq!(line.unwrap().trim_start_matches('0'), "", "{name}");
    }
}
