//! A shim that is killed with SIGKILL: all that its service had is ended before there is a next life,
//! and policy decides whether there is one.
#![cfg(target_os = "linux")]

use std::fs;

use hearth_process::{Signal, facts};
use hearth_tests::{Project, runs, send};

/// A leader with a child, a grandchild in a session of its own, and a daemon that forked twice.
fn family(restart: &str) -> Project {
    Project::new(&format!(
        r#"
        [services.s]
        run = "exec sh family"
        ready = {{ log = "^up$" }}
        backoff = {{ min = "1ms" }}
        restart = "{restart}"
        # Whose shim keeps the environment that the next life gets.
        [services.other]
        run = ["sleep", "1000"]
        ready = {{ settle = "0s" }}
        "#
    ))
}

const FAMILY: &str = "
echo $$ >> leaders
sleep 1000 & echo $! >> members
setsid sh -c 'echo $$ >> members; exec sleep 1000' &
(setsid sh -c 'echo $$ >> members; sleep 1000 & echo $! >> members; wait' &)
echo up
wait
";

/// So many of them, as soon as they are there.
fn pids(project: &Project, file: &str, count: usize) -> Vec<u32> {
    let lines = project.await_lines(file, count);
    lines.iter().map(|line| line.parse().expect("a pid")).collect()
}

/// Kills the shim of a ready service; gives back whom the service had.
fn kill_the_shim(project: &Project) -> Vec<u32> {
    project.write("family", FAMILY);
    project.run(&["up"]).exits(0);
    let leader = project.pid("s");
    let mut members = pids(project, "members", 4);
    members.push(leader);
    assert!(members.iter().all(|pid| runs(*pid)));
    send(facts::parent_of(leader).unwrap(), Signal::KILL);
    members
}

#[test]
fn all_that_it_had_is_ended_before_the_next_life() {
    for agent_dies in [false, true] {
        let project = family("always");
        project.write(
            "family",
            // The next life tells who of the last one it met.
            &format!(
                "for pid in $(cat members 2> /dev/null); do\n\
                 grep -q '^State:.[^ZX]' /proc/$pid/status && echo $pid >> met; done\n{FAMILY}"
            ),
        );
        project.run(&["up"]).exits(0);
        let leader = project.pid("s");
        let members = pids(&project, "members", 4);
        let shim = facts::parent_of(leader).unwrap();
        if agent_dies {
            send(shim, Signal::STOP);
            project.home.kill_agent();
        }
        send(shim, Signal::KILL);
        if agent_dies {
            // Nobody is left who brings one back.
            project.run(&["status"]).exits(0);
        }
        project.await_lines("leaders", 2);
        project.run(&["up"]).exits(0);
        assert_eq!(project.read("met"), "", "the next life met them");
        let left: Vec<&u32> = members.iter().filter(|pid| runs(**pid)).collect();
        assert!(left.is_empty(), "{left:?} of {members:?}");
        assert!(!runs(leader));
        let both = pids(&project, "members", 8);
        project.run(&["down"]).exits(0);
        let left: Vec<u32> = both.into_iter().filter(|pid| runs(*pid)).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_service_that_is_not_restarted_is_failed_and_nothing_of_it_is_left() {
    let project = family("never");
    let members = kill_the_shim(&project);
    members.iter().for_each(|pid| hearth_tests::await_end(*pid));
    hearth_tests::await_file(&project.home.path("agent.log"), |log| {
        log.contains("a shim was killed") && log.contains("a life has ended")
    });
    let row = project.row("s");
    assert_eq!((&row["state"], &row["pid"]), (&"failed".into(), &serde_json::Value::Null), "{row}");
    assert_eq!(project.read("leaders").lines().count(), 1, "it was started again");
    let log = fs::read_to_string(project.home.path("agent.log")).unwrap();
    assert!(log.contains(&format!("leader={}", members[4])), "{log}");
    // What cannot be found is said, not hidden.
    assert!(log.contains("that can't be told"), "{log}");
    let shown = project.run(&["logs", "s"]).exits(0).stdout;
    assert!(shown.contains("the shim was killed"), "{shown}");
}

#[test]
fn up_after_everything_was_killed_starts_a_new_life_and_tells_of_no_old_one() {
    for restart in ["never", "on-failure", "always"] {
        let project = Project::new(&format!(
            "[services.s]\nrun = \"trap '' TERM; echo $$ >> pids; echo up; sleep 1000\"\n\
             ready = {{ log = \"^up$\" }}\nrestart = \"{restart}\"\n\
             stop = {{ timeout = \"300ms\", to = \"leader\" }}\n"
        ));
        project.run(&["up"]).exits(0);
        let (leader, election) = (project.pid("s"), project.home.kill_agent_for_good());
        let shim = facts::parent_of(leader).unwrap();
        // Its tree lives on, and ends only after a while.
        send(shim, Signal::KILL);
        hearth_tests::await_end(shim);
        drop(election);
        project.run(&["up"]).exits(0);
        let pids = project.await_lines("pids", 2);
        assert!(!runs(leader));
        assert_eq!(pids.len(), 2, "{pids:?}");
        assert_eq!(project.pid("s").to_string(), pids[1]);
    }
}
