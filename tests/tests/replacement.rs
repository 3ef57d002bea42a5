//! The agent is replaced, by itself or by a later version: no service notices, no verb fails.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_process::Signal;
use hearth_tests::{Project, Ran, await_end, http, next_version, runs};

const THREE: &str = "\
[services.a]\nrun = \"echo $$ >> pids.a; echo up; exec sleep 1000\"\nready = { log = \"^up$\" }\n\
[services.b]\nrun = \"echo $$ >> pids.b; echo up; exec sleep 1000\"\nready = { log = \"^up$\" }\nneeds = [\"a\"]\n\
[services.once]\nkind = \"oneshot\"\nrun = \"echo $$ >> pids.once\"\n";

const NAMES: [&str; 3] = ["a", "b", "once"];

fn began_once(project: &Project) {
    for name in NAMES {
        let pids = project.read(&format!("pids.{name}"));
        assert_eq!(pids.lines().count(), 1, "{name} began once: {pids}");
    }
}

/// A later version of hearth in this project, under this name.
struct Next {
    program: PathBuf,
}

impl Next {
    fn new(project: &Project, name: &str) -> Self {
        let program = project.home.root().join(name);
        next_version(&program);
        Self { program }
    }

    fn run(&self, project: &Project, arguments: &[&str]) -> Ran {
        let like = project.command(arguments);
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(project.dir());
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Ran::of(&command.output().expect("it runs"))
    }
}

#[test]
fn a_restart_of_the_agent_is_noticed_by_no_service() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let before = NAMES.map(|name| project.row(name));
    let mut pid = project.home.agent_pid().unwrap();
    for _ in 0..3 {
        let restarted = project.run(&["daemon", "restart", "--json"]).exits(0).json();
        assert_eq!(restarted["state"], "started", "{restarted}");
        await_end(pid);
        assert_ne!(restarted["pid"].as_u64(), Some(u64::from(pid)));
        pid = project.home.agent_pid().unwrap();
        assert_eq!(restarted["pid"].as_u64(), Some(u64::from(pid)));
        for (name, before) in NAMES.iter().zip(&before) {
            let after = project.row(name);
            for field in ["pid", "state", "want", "restarts", "exit", "held_by", "since"] {
                assert_eq!(after[field], before[field], "{field} of {name}");
            }
        }
    }
    project.run(&["up"]).exits(0);
    began_once(&project);
    project.run(&["down"]).exits(0);
    assert_eq!(project.state("a"), "down");
}

#[test]
fn without_an_agent_a_restart_starts_one_and_prints_nothing_to_stdout() {
    let project = Project::new(THREE);
    let restarted = project.run(&["daemon", "restart"]).exits(0);
    assert_eq!(restarted.stdout, "");
    assert!(restarted.stderr.contains("started"), "{}", restarted.stderr);
}

#[test]
fn a_verb_that_waits_goes_on_waiting_at_the_next_agent() {
    let project = Project::new(
        "[services.slow]\nrun = \"echo $$ >> pids; read x < gate; echo up; exec sleep 1000\"\n\
         ready = { log = \"^up$\" }\n",
    );
    let mut gate = project.gate("gate");
    let mut up = project.start(&["up", "--json"]);
    up.until_state("slow", "starting");
    project.await_lines("pids", 1);
    for _ in 0..3 {
        project.run(&["daemon", "restart"]).exits(0);
    }
    gate.open();
    let outcome = up.until(|line| line["type"] == "outcome");
    assert_eq!(outcome["result"], "ready", "{outcome}");
    up.finish().exits(0);
    assert_eq!(project.read("pids").lines().count(), 1);
}

#[test]
fn a_follower_of_logs_and_a_restart_request_outlive_the_agent() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; echo up; read x < gate; echo later; exec sleep 1000\"\n\
         ready = { log = \"^up$\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let mut logs = project.start(&["logs", "-f", "s"]);
    assert_eq!(logs.line().as_deref(), Some("up"));
    project.run(&["daemon", "restart"]).exits(0);
    gate.open();
    assert_eq!(logs.line().as_deref(), Some("later"));
    logs.interrupt();
    logs.finish();
    project.run(&["restart", "s"]).exits(0);
    assert_eq!(project.read("pids").lines().count(), 2);
}

#[test]
fn no_verb_fails_while_agents_replace_each_other() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let verbs: Vec<_> = (0..4)
            .map(|n| {
                let (project, done) = (&project, &done);
                scope.spawn(move || {
                    let mut answered = 0;
                    while !done.load(Ordering::Relaxed) {
                        let words: &[&str] = if n == 0 { &["up"] } else { &["status", "--json"] };
                        project.run(words).exits(0);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        for _ in 0..6 {
            project.run(&["daemon", "restart"]).exits(0);
        }
        done.store(true, Ordering::Relaxed);
        for verb in verbs {
            assert!(verb.join().unwrap() > 0);
        }
    });
    began_once(&project);
}

#[test]
fn a_later_version_that_still_understands_it_says_so_and_replaces_it_when_asked() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let next = Next::new(&project, "hearth-next");
    let status = next.run(&project, &["status"]).exits(0);
    assert!(status.stderr.contains("older"), "{}", status.stderr);
    assert!(status.stderr.contains("hearth daemon restart"), "{}", status.stderr);
    let restarted = next.run(&project, &["daemon", "restart", "--json"]).exits(0).json();
    assert_eq!(restarted["version"], "999.0.0", "{restarted}");
    assert_eq!(next.run(&project, &["status"]).exits(0).stderr, "");
    began_once(&project);
    // An older one works with it, and does not replace it.
    assert_eq!(project.run(&["status"]).exits(0).stderr, "");
    let refused = project.run(&["daemon", "restart", "--json"]).exits(3).refusal();
    assert_eq!(refused["code"], "version", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("999.0.0"), "{refused}");
    project.run(&["down"]).exits(0);
    let status = project.run(&["daemon", "status", "--json"]).exits(0).json();
    assert_eq!(status["version"], "999.0.0");
}

#[test]
fn a_later_version_that_does_not_understand_it_replaces_it_unasked() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let pid = project.pid("a");
    let next = Next::new(&project, "hearth-next-api");
    let refused = next.run(&project, &["status", "--json", "--no-spawn"]).exits(3).refusal();
    assert_eq!(refused["code"], "version", "where it may start none: {refused}");
    let up = next.run(&project, &["up"]).exits(0);
    assert!(up.stderr.contains("started"), "{}", up.stderr);
    assert!(runs(pid));
    began_once(&project);
    // Now this version is too old to speak with it, and leaves it alone.
    let refused = project.run(&["status", "--json"]).exits(3).refusal();
    assert_eq!(refused["code"], "version", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("newer"), "{refused}");
    next.run(&project, &["down"]).exits(0);
    next.run(&project, &["daemon", "down"]).exits(0);
}

#[test]
fn a_faulty_successor_leaves_agent_and_services_as_they_are() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let (agent, service) = (project.home.agent_pid().unwrap(), project.pid("a"));
    project.home.write("agent.toml", "idle_timeout = 5\n");
    let refused = project.run(&["daemon", "restart", "--json"]).exits(3).refusal();
    assert_eq!(refused["code"], "spawn-failed", "{refused}");
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains("goes on") && words.contains("agent.toml"), "{words}");
    assert_eq!(project.home.agent_pid(), Some(agent));
    assert_eq!(project.pid("a"), service);
    assert!(!project.home.path("failures.json").exists());
    began_once(&project);
}

#[test]
fn one_that_does_not_answer_is_killed_only_when_told_so() {
    let project = Project::new(THREE);
    project.run(&["up"]).exits(0);
    let (agent, service) = (project.home.agent_pid().unwrap(), project.pid("a"));
    project.home.signal_agent(Signal::STOP);
    let refused = project.run(&["daemon", "restart", "--json"]).exits(3).refusal();
    assert_eq!(refused["code"], "unresponsive", "{refused}");
    assert!(runs(agent));
    project.run(&["daemon", "restart", "--force"]).exits(0);
    assert!(!runs(agent), "it was waited for");
    assert_eq!(project.pid("a"), service);
    began_once(&project);
}

#[test]
fn streams_of_the_api_end_with_the_word_that_it_was_replaced() {
    let project = Project::new(
        "[services.slow]\nrun = \"echo waits; exec sleep 1000\"\nready = { log = \"^never$\" }\n",
    );
    project.home.run(&["daemon", "up"]).exits(0);
    let socket = project.home.path("agent.sock");
    let body = format!(
        "{{\"project\":\"{}\",\"services\":[],\"env\":{{\"PATH\":\"/usr/bin:/bin\"}},\"umask\":18,\
         \"limits\":{{}},\"session\":null}}",
        project.dir().display()
    );
    let up = http::request(&socket, "POST", "/v1/up", &[], &body);
    let path = format!("/v1/logs?project={}&follow=true", project.dir().display());
    project.run(&["logs", "-n", "1"]).exits(0);
    let logs = http::request(&socket, "GET", &path, &[], "");
    assert_eq!((up.status, logs.status), (200, 200));
    project.run(&["daemon", "restart"]).exits(0);
    let lines = up.text();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["result"]), (&"outcome".into(), &"replaced".into()), "{last}");
    // It ends; what it would have told is told by the next one.
    logs.text();
}

#[test]
fn an_agent_in_the_foreground_can_be_replaced_too() {
    let project = Project::new(THREE);
    let foreground = project.start(&["daemon", "run"]);
    project.home.await_socket();
    project.run(&["up"]).exits(0);
    project.run(&["daemon", "restart"]).exits(0);
    let ended = foreground.finish().exits(0);
    assert!(ended.stderr.contains("replaced by another agent"), "{}", ended.stderr);
    began_once(&project);
}
