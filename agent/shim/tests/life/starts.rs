//! How a service starts, and how it does not.

use std::os::unix::fs::PermissionsExt;

use hearth_shim::frames::*;

use crate::agent::{Home, wait_for_end};

pub const TESTS: crate::Tests = &[
    ("a_service_runs_and_its_output_is_in_the_log", a_service_runs_and_its_output_is_in_the_log),
    ("it_has_exactly_what_the_spec_says", it_has_exactly_what_the_spec_says),
    ("it_runs_as_the_user_of_the_spec", it_runs_as_the_user_of_the_spec),
    ("a_start_that_fails_says_why", a_start_that_fails_says_why),
    ("a_failed_start_is_told_to_the_next_agent", a_failed_start_is_told_to_the_next_agent),
    ("a_second_shim_is_refused", a_second_shim_is_refused),
    (
        "a_life_whose_shim_was_killed_keeps_the_next_one_out",
        a_life_whose_shim_was_killed_keeps_the_next_one_out,
    ),
    ("by_hand_it_says_what_it_is", by_hand_it_says_what_it_is),
];

fn a_service_runs_and_its_output_is_in_the_log() {
    let home = Home::new();
    let mut running = home.started(&home.shell("echo out; echo err >&2; exit 3"));
    let exit = running.agent.exited();
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    let record = home.record().expect("on record before it is told");
    assert_eq!(record.exit, Some(exit));
    assert_eq!(record.leader, Some(running.leader));
    running.agent.emptied();
    assert!(home.record().unwrap().emptied);
    let log = home.log();
    assert!(log.contains("out\n") && log.contains("err\n"), "{log}");
    running.agent.acknowledge();
    assert_eq!(std::fs::read_dir(home.path("shims")).unwrap().count(), 0);
}

fn it_has_exactly_what_the_spec_says() {
    let home = Home::new();
    std::fs::create_dir(home.path("here")).unwrap();
    let line = "pwd; umask; ulimit -n; ulimit -Hn; ls /proc/self/fd | tr '\\n' ' '; \
                grep Sig[BI] /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat; \
                readlink /proc/$$/fd/0; /usr/bin/env";
    let mut spec = home.shell(line);
    spec.dir = home.path("here");
    spec.umask = Some(0o027);
    spec.limits.insert("nofile".into(), Limit { soft: Some(33), hard: Some(44) });
    spec.env.insert("A_NAME".into(), "a value = more".into());
    let mut running = home.started(&spec);
    assert_eq!(running.agent.exited().code, Some(0));
    running.agent.emptied();
    let log = home.log();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], home.path("here").to_str().unwrap());
    assert_eq!(lines[1..4], ["0027", "33", "44"]);
    // 3 is the directory that `ls` itself reads.
    let zeroes = "0000000000000000";
    assert_eq!(lines[4], format!("0 1 2 3 SigBlk:\t{zeroes}"));
    assert_eq!(lines[5], format!("SigIgn:\t{zeroes}"));
    let pid = running.leader.pid;
    assert_eq!(lines[6], format!("{pid} {pid} {pid}"));
    assert_eq!(lines[7], "/dev/null");
    let mut env: Vec<&str> = lines[8..].to_vec();
    // Those that a shell makes for itself.
    env.retain(|line| !["PWD=", "OLDPWD=", "SHLVL=", "_="].iter().any(|own| line.starts_with(own)));
    env.sort();
    assert_eq!(env, ["A_NAME=a value = more".to_string(), format!("PATH={}", spec.env["PATH"])]);
    running.agent.acknowledge();
}

fn it_runs_as_the_user_of_the_spec() {
    if !rustix::process::geteuid().is_root() {
        println!("  skipped: only root can become somebody else");
        return;
    }
    let home = Home::new();
    let mut spec = home.shell("id -u; id -g; id -G");
    spec.dir = "/".into();
    spec.user = Some(User { uid: 65534, gid: 65533, groups: vec![65533, 65532] });
    let mut running = home.started(&spec);
    running.agent.exited();
    running.agent.emptied();
    assert_eq!(home.log(), "65534\n65533\n65533 65532\n");
    running.agent.acknowledge();
    spec.dir = home.path("private");
    std::fs::create_dir(&spec.dir).unwrap();
    std::fs::set_permissions(&spec.dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut agent = home.start(&spec);
    agent.state();
    let reason = failed(agent.next());
    assert!(reason.contains("can't be entered by uid 65534: permission denied"), "{reason}");
    agent.acknowledge();
}

fn failed(frame: FromShim) -> String {
    match frame {
        FromShim::StartFailed { reason } => reason,
        other => panic!("not failed: {other:?}"),
    }
}

/// A file in the home with this mode and text.
fn file(home: &Home, name: &str, mode: u32, text: &str) -> String {
    let path = home.path(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().into()
}

fn a_start_that_fails_says_why() {
    let home = Home::new();
    let list = |name: &str| home.spec(Run::List(vec![name.into()]));
    let plain = file(&home, "plain", 0o644, "x");
    let script = file(&home, "script", 0o755, "#!/no/such/python -u\n");
    let garbage = file(&home, "garbage", 0o755, "\u{1}\u{2}\u{3}");
    let mut in_path = list("redis-serverr");
    in_path.env.insert("PATH".into(), "/nowhere:/bin".into());
    let mut no_dir = list("true");
    no_dir.dir = "/no/such/dir".into();
    let mut no_limit = list("true");
    no_limit.limits.insert("nofiles".into(), Limit { soft: None, hard: None });
    let mut bad_limit = list("true");
    bad_limit.limits.insert("nofile".into(), Limit { soft: Some(20), hard: Some(10) });
    let mut no_log = list("true");
    no_log.log_dir = plain.clone().into();
    let cases = [
        (in_path, "`redis-serverr` is not in PATH (/nowhere:/bin)".to_string()),
        (list("/no/such"), "`/no/such` does not exist".into()),
        (list(&plain), format!("`{plain}` is not executable (mode 0644)")),
        (list("./shims"), "is a directory".into()),
        (list(&script), "needs the interpreter `/no/such/python`, which does not exist".into()),
        (list(&garbage), "exec format error".into()),
        (list(""), "`run` is empty".into()),
        (no_dir, "the directory `/no/such/dir` does not exist".into()),
        (no_limit, "there is no limit `nofiles`".into()),
        (bad_limit, "the limit nofile can't be set to 20 (hard 10): invalid argument".into()),
        (no_log, format!("its log in {plain} can't be written")),
    ];
    for (spec, part) in cases {
        let mut agent = home.start(&spec);
        assert_eq!(agent.state().leader, None);
        let reason = failed(agent.next());
        assert!(reason.contains(&part), "{reason:?} does not say {part:?}");
        agent.acknowledge();
    }
    assert_eq!(std::fs::read_dir(home.path("shims")).unwrap().count(), 0);
}

fn a_failed_start_is_told_to_the_next_agent() {
    let home = Home::new();
    let mut agent = home.start(&home.spec(Run::List(vec!["/no/such".into()])));
    agent.state();
    let reason = failed(agent.next());
    drop(agent);
    let mut next = home.connect();
    assert_eq!(next.state().failed, Some(reason.clone()));
    assert_eq!(home.record().unwrap().failed, Some(reason));
    next.acknowledge();
}

fn a_second_shim_is_refused() {
    let home = Home::new();
    let spec = home.shell("exec sleep 1000");
    let running = home.started(&spec);
    let mut second = home.start(&spec);
    let FromShim::Refused { reason } = second.next() else { panic!("not refused") };
    assert!(reason.contains("another shim holds"), "{reason}");
    assert_eq!(second.frame(), None);
    // The first one's files are as they were.
    assert_eq!(home.record().unwrap().leader, Some(running.leader));
    let mut again = home.connect();
    assert_eq!(again.state().shim, running.shim);
    again.finish();
    wait_for_end(&running.shim);
    // And after its end there may be another life at once.
    let next = home.started(&spec);
    assert_ne!(next.shim, running.shim);
    next.agent.finish();
}

fn a_life_whose_shim_was_killed_keeps_the_next_one_out() {
    let home = Home::new();
    let spec = home.shell("exec sleep 1000");
    let running = home.started(&spec);
    kill(&running.shim);
    let mut second = home.start(&spec);
    let FromShim::Refused { reason } = second.next() else { panic!("not refused") };
    assert!(reason.contains("its shim was killed"), "{reason}");
    assert_eq!(home.record().unwrap().leader, Some(running.leader.clone()), "nothing is forgotten");
    kill(&running.leader);
    let next = home.started(&spec);
    next.agent.finish();
}

/// SIGKILL, and its end awaited.
fn kill(id: &hearth_process::ProcessId) {
    let handle = hearth_process::ProcessHandle::open(id).unwrap();
    handle.signal(hearth_process::Signal::KILL).unwrap();
    handle.wait().unwrap();
}

fn by_hand_it_says_what_it_is() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["shim", "x/y"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not by hand"));
}
