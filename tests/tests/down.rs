//! `hearth down`: everything that was started is gone when it returns, in order, and nothing else.

use std::fs;

use hearth_tests::{Project, runs};

/// A service whose end is written into `order`; ready when it can take its signal.
fn notes(name: &str, more: &str) -> String {
    format!(
        "[services.{name}]\n\
         run = [\"bash\", \"-c\", \"trap 'echo {name} >> order; exit 0' TERM; echo up; while :; do read -rt 1000 x <> <(:); done\"]\n\
         ready = {{ log = \"^up$\" }}\n{more}\n"
    )
}

fn pids(text: &str) -> Vec<u32> {
    text.split_whitespace().map(|word| word.parse().expect("a pid")).collect()
}

#[test]
fn dependents_go_before_what_they_need() {
    let text = [
        notes("db", ""),
        notes("cache", ""),
        notes("api", "needs = [\"db\", \"cache\"]"),
        notes("web", "needs = [\"api\"]"),
    ];
    let project = Project::new(&text.concat());
    project.run(&["up"]).exits(0);
    let ran = project.run(&["down"]).exits(0);
    assert_eq!(ran.stdout, "");
    let order = project.await_lines("order", 4);
    assert_eq!(order[..2], ["web", "api"]);
    assert_eq!(order.len(), 4);
    for name in ["db", "cache", "api", "web"] {
        let row = project.row(name);
        assert_eq!((&row["state"], &row["want"]), (&"down".into(), &"down".into()), "{row}");
        assert!(row["pid"].is_null(), "{row}");
    }
}

#[test]
fn down_of_one_takes_down_what_needs_it_and_says_so() {
    let text = [notes("db", ""), notes("api", "needs = [\"db\"]"), notes("other", "")];
    let project = Project::new(&text.concat());
    project.run(&["up"]).exits(0);
    let other = project.pid("other");
    let ran = project.run(&["down", "db"]).exits(0);
    assert!(ran.stderr.contains("api"), "{}", ran.stderr);
    assert_eq!(project.await_lines("order", 2), ["api", "db"]);
    assert_eq!(project.pid("other"), other);
}

#[test]
fn down_of_what_is_down_is_done() {
    let project = Project::new(&notes("a", ""));
    // No agent, and none is started for it.
    project.run(&["down"]).exits(0);
    project.run(&["down", "a"]).exits(0);
    project.run(&["down", "--all"]).exits(0);
    assert_eq!(project.home.agent_pid(), None);
    project.run(&["up"]).exits(0);
    project.run(&["down"]).exits(0);
    let last = project.run(&["down", "--json"]).exits(0).json_lines().pop().unwrap();
    assert_eq!((&last["type"], &last["result"]), (&"outcome".into(), &"down".into()));
    project.run(&["down", "nothing"]).exits(5);
}

#[test]
fn each_service_gets_the_signal_that_it_asks_for() {
    let names = ["SIGINT", "SIGQUIT", "SIGUSR1", "SIGTERM", "SIGHUP"];
    let service = |name: &&str| {
        format!(
            "[services.{}]\nrun = [\"bash\", \"-c\", \"for s in HUP INT QUIT USR1 TERM; do trap \\\"echo SIG$s > got-{name}; exit 0\\\" $s; done; echo up; while :; do read -rt 1000 x <> <(:); done\"]\n\
             ready = {{ log = \"^up$\" }}\nstop = {{ signal = \"{name}\" }}\n",
            name.to_lowercase()
        )
    };
    let project = Project::new(&names.iter().map(service).collect::<String>());
    project.run(&["up"]).exits(0);
    project.run(&["down"]).exits(0);
    for name in names {
        assert_eq!(project.read(&format!("got-{name}")).trim(), name);
    }
    let exit = project.row("sigint")["exit"].clone();
    assert_eq!((&exit["code"], &exit["signal"]), (&0.into(), &serde_json::Value::Null));
}

#[test]
fn who_ignores_the_signal_is_killed_after_the_timeout() {
    let project = Project::new(
        r#"
        [services.deaf]
        run = "trap '' TERM; echo up; while :; do sleep 1000; done"
        ready = { log = "^up$" }
        stop = { timeout = "300ms" }
        "#,
    );
    project.run(&["up"]).exits(0);
    let pid = project.pid("deaf");
    let began = std::time::Instant::now();
    project.run(&["down"]).exits(0);
    assert!(began.elapsed().as_millis() >= 300, "it had its time: {:?}", began.elapsed());
    assert!(!runs(pid));
    assert_eq!(project.row("deaf")["exit"]["signal"], "SIGKILL");
}

#[test]
fn a_string_stops_its_group_and_a_list_its_leader() {
    let child = "bash -c \\\"trap 'echo child >> NAME; exit' TERM; echo up; while :; do read -rt 1000 x <> <(:); done\\\"";
    let project = Project::new(&format!(
        "[services.string]\nrun = \"{} & echo $! > string.pid; wait\"\nready = {{ log = \"^up$\" }}\n\
         [services.list]\nrun = [\"bash\", \"-c\", \"trap 'sleep 0.2; echo leader >> list; exit' TERM; {} & wait; :\"]\nready = {{ log = \"^up$\" }}\n",
        child.replace("NAME", "string"),
        child.replace("NAME", "list"),
    ));
    project.run(&["up"]).exits(0);
    project.run(&["down"]).exits(0);
    // By the group's signal, and perhaps once more as what its leader has left.
    assert!(project.read("string").starts_with("child\n"));
    // The child is told when its leader has ended, as what is left of the tree is.
    assert_eq!(project.read("list"), "leader\nchild\n");
}

#[test]
fn grandchildren_in_sessions_of_their_own_are_gone_when_down_returns() {
    let project = Project::new(
        r#"
        [services.forks]
        run = '''
        setsid sh -c 'echo $$ >> pids; trap "" TERM HUP; setsid sh -c "echo \$\$ >> pids; trap \"\" TERM; while :; do sleep 1000; done" & while :; do sleep 1000; done' &
        (setsid sh -c 'echo $$ >> pids; exec sleep 1000' &)
        echo $$ >> pids
        exec sleep 1000
        '''
        ready = { exec = "test \"$(wc -l < pids)\" = 4", every = "20ms" }
        stop = { timeout = "300ms" }
        "#,
    );
    project.run(&["up"]).exits(0);
    let pids = pids(&project.read("pids"));
    assert!(pids.iter().all(|pid| runs(*pid)));
    project.run(&["down"]).exits(0);
    let left: Vec<_> = pids.iter().filter(|pid| runs(**pid)).collect();
    assert!(left.is_empty(), "{left:?} of {pids:?}");
}

#[test]
fn what_a_crashed_leader_left_is_gone_before_the_next_life() {
    let project = Project::new(
        r#"
        [services.s]
        run = '''
        for pid in $(cat pids 2>/dev/null); do [ -e /proc/$pid/exe ] && echo $pid >> overlap; done
        setsid sh -c 'echo $$ >> pids; exec sleep 1000' &
        echo life >> lives
        read x < gate
        exit 1
        '''
        ready = { exec = "test -s lives && test \"$(wc -l < pids)\" = \"$(wc -l < lives)\"", every = "20ms" }
        backoff = { min = "1ms" }
        "#,
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    gate.open();
    project.await_lines("lives", 2);
    project.run(&["up"]).exits(0);
    assert_eq!(project.read("overlap"), "");
    let pids = pids(&project.read("pids"));
    assert_eq!(pids.iter().map(|pid| runs(*pid)).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn one_that_will_not_stop_holds_nobody_else_up() {
    let deaf = "[services.deaf]\nrun = [\"bash\", \"-c\", \"trap '' TERM; echo up; while :; do read -rt 1000 x <> <(:); done\"]\nready = { log = \"^up$\" }\nstop = { timeout = \"1h\" }\n";
    let project = Project::new(&[deaf.to_owned(), notes("other", "")].concat());
    project.run(&["up"]).exits(0);
    let late = project.run(&["down", "--timeout", "500ms"]).exits(4);
    assert!(late.stderr.contains("deaf") && !late.stderr.contains("other ("), "{}", late.stderr);
    assert_eq!(project.read("order"), "other\n");
    assert_eq!((project.state("deaf"), project.state("other")), ("stopping".into(), "down".into()));
    let pid = project.pid("deaf");
    // The person decides; hearth goes on to wait.
    hearth_tests::send(pid, hearth_process::Signal::KILL);
    project.run(&["down"]).exits(0);
}

#[test]
fn down_all_ends_every_project_of_the_home() {
    let project = Project::new(&notes("a", ""));
    let other = project.beside("other", &notes("b", ""));
    project.run(&["up"]).exits(0);
    project.ran(project.command(&["up"]).current_dir(&other)).exits(0);
    // From nowhere in particular.
    project.home.run(&["down", "--all"]).exits(0);
    assert_eq!(project.read("order"), "a\n");
    assert_eq!(fs::read_to_string(other.join("order")).unwrap(), "b\n");
    let status = project.home.run(&["status", "--all", "--json"]).exits(0).json();
    let rows = status["services"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["state"] == "down"), "{status}");
}

#[test]
fn down_from_a_directory_below_is_that_of_the_project() {
    let project = Project::new(&notes("a", ""));
    let below = project.dir().join("src/deep");
    fs::create_dir_all(&below).unwrap();
    project.ran(project.command(&["up"]).current_dir(&below)).exits(0);
    project.ran(project.command(&["down"]).current_dir(&below)).exits(0);
    assert_eq!(project.read("order"), "a\n");
}

#[test]
fn a_down_with_no_agent_finds_the_shims() {
    let project = Project::new(&notes("a", ""));
    project.run(&["up"]).exits(0);
    let pid = project.pid("a");
    project.home.kill_agent();
    project.run(&["down"]).exits(0);
    assert!(!runs(pid));
    assert_eq!(project.read("order"), "a\n", "asked, not killed");
    // And without permission to start one: what can't be done is said.
    project.run(&["up"]).exits(0);
    let _gone = project.home.kill_agent_for_good();
    project.run(&["down", "--no-spawn"]).exits(3);
    assert_eq!(project.read("order"), "a\n");
}

#[test]
fn daemon_down_leaves_services_and_daemon_down_services_does_not() {
    let project = Project::new(&notes("a", ""));
    project.run(&["up"]).exits(0);
    let pid = project.pid("a");
    let ran = project.run(&["daemon", "down"]).exits(0);
    assert!(ran.stderr.contains("1 service stays up"), "{}", ran.stderr);
    assert!(runs(pid));
    assert_eq!(project.pid("a"), pid);
    project.run(&["daemon", "down", "--services"]).exits(0);
    assert!(!runs(pid));
    assert_eq!((project.read("order"), project.home.agent_pid()), ("a\n".into(), None));
}
