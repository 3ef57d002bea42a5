//! An agent that died without a word comes back, and nobody has typed anything.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hearth_process::Signal;
use hearth_process::locked;
use hearth_tests::{Project, await_end, await_file, runs};

/// Longer than it takes until a shim looks for its agent.
const LOOKED: Duration = Duration::from_millis(500);

/// So many services that live.
fn sleepers(count: usize) -> Project {
    Project::built(|it| {
        (0..count).fold(it, |it, n| {
            it.service(&format!("s{n}"), ["sleep", "1000"]).settle(Duration::ZERO).and()
        })
    })
}

fn log(project: &Project) -> PathBuf {
    project.home.path("agent.log")
}

fn count(text: &str, words: &str) -> usize {
    text.matches(words).count()
}

/// Waits until so many agents have said that they are ready, and gives what the log says then.
fn await_agents(project: &Project, agents: usize) -> String {
    await_file(&log(project), |text| count(text, " ready pid=") >= agents)
}

#[test]
fn it_comes_back_by_itself_and_goes_on_with_its_services() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; read x < gate; exit 1\"\n\
         ready = { settle = \"0s\" }\nbackoff = { min = \"1ms\" }\n",
    );
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let before = project.home.agent_pid().unwrap();
    project.home.kill_agent();
    await_agents(&project, 2);
    assert_ne!(project.home.agent_pid().unwrap(), before);
    let first: u32 = project.await_lines("pids", 1)[0].parse().unwrap();
    assert!(runs(first), "the service has not noticed");
    // The policy goes on without anybody having asked for anything.
    gate.open();
    let pids = project.await_lines("pids", 2);
    assert_eq!(pids.len(), 2);
    assert_eq!(project.row("s")["restarts"], 1);
}

#[test]
fn thirty_shims_fetch_one_agent() {
    let project = sleepers(30);
    project.run(&["up"]).exits(0);
    let pids: Vec<u32> = (0..30).map(|n| project.pid(&format!("s{n}"))).collect();
    project.home.kill_agent();
    await_agents(&project, 2);
    // The record of who fetches says how often that was done.
    let fetched = locked::read_path(&project.home.path("shims/return.lock")).unwrap();
    let locked::Record::Valid(fetched) = fetched else { panic!("{fetched:?}") };
    assert!(String::from_utf8_lossy(&fetched).contains("\"count\":0"));
    std::thread::sleep(LOOKED);
    let log = fs::read_to_string(log(&project)).unwrap();
    assert_eq!(count(&log, " ready pid="), 2, "{log}");
    assert_eq!(count(&log, "took over a shim"), 30, "{log}");
    assert_eq!(pids, (0..30).map(|n| project.pid(&format!("s{n}"))).collect::<Vec<_>>());
    // Nor is what fetched it still there.
    let left = project.home.processes();
    assert!(left.iter().all(|process| !process.command.contains("hearth return")), "{left:?}");
}

#[test]
fn who_was_told_to_go_stays_away() {
    let project = sleepers(2);
    project.run(&["up"]).exits(0);
    let stays_away = |how: &[&str]| {
        project.run(how).exits(0);
        std::thread::sleep(LOOKED);
        assert_eq!(project.home.agent_pid(), None, "{how:?}");
        project.run(&["status"]).exits(0);
    };
    stays_away(&["daemon", "down"]);
    // One that does not answer is killed, and that was meant too.
    project.home.run(&["daemon", "up"]).exits(0);
    project.home.signal_agent(Signal::STOP);
    stays_away(&["daemon", "down", "--force", "--timeout", "200ms"]);
}

#[test]
fn one_that_cannot_start_is_not_tried_in_a_storm() {
    let project = sleepers(5);
    project.run(&["up"]).exits(0);
    project.home.write("agent.toml", "no = toml = at all");
    project.home.kill_agent();
    let failed = |home: &hearth_tests::Home| {
        let text = fs::read_to_string(home.path("failures.json")).unwrap_or_default();
        serde_json::from_str::<serde_json::Value>(&text).ok()?["count"].as_u64()
    };
    await_file(&project.home.path("failures.json"), |text| text.contains("\"count\":1"));
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(LOOKED);
        assert_eq!(failed(&project.home), Some(1));
    }
    // Mended, the next one comes without anybody, when the pause is over.
    fs::remove_file(project.home.path("agent.toml")).unwrap();
    await_agents(&project, 2);
}

#[test]
fn a_home_that_was_removed_is_not_made_again() {
    let project = sleepers(1);
    project.run(&["up"]).exits(0);
    let (agent, service) = (project.home.agent_pid().unwrap(), project.pid("s0"));
    let shim = hearth_process::facts::parent_of(service).unwrap();
    let aside = project.home.root().join("aside");
    fs::rename(project.home.dir(), &aside).unwrap();
    hearth_tests::send(agent, Signal::KILL);
    await_end(agent);
    std::thread::sleep(LOOKED);
    assert!(!project.home.dir().exists());
    fs::rename(&aside, project.home.dir()).unwrap();
    hearth_tests::send(shim, Signal::TERM);
    await_end(shim);
    assert!(!runs(service));
}

#[test]
fn nobody_is_fetched_while_somebody_else_is_at_it() {
    let project = sleepers(2);
    project.run(&["up"]).exits(0);
    let election = project.home.kill_agent_for_good();
    std::thread::sleep(LOOKED);
    assert_eq!(project.home.agent_pid(), None);
    drop(election);
    // By hand, as a shim would.
    project.home.run(&["return", project.home.dir().to_str().unwrap()]).exits(0);
    assert!(project.home.agent_pid().is_some());
    project.home.run(&["return"]).exits(2);
}

#[test]
fn one_that_was_told_to_go_just_after_it_died_stays_away() {
    let project = sleepers(1);
    project.run(&["up"]).exits(0);
    project.home.kill_agent();
    project.run(&["daemon", "down"]).exits(0);
    // By this the shims know.
    assert_eq!(project.home.record().unwrap()["stage"], "stopping");
    std::thread::sleep(LOOKED);
    assert_eq!(project.home.agent_pid(), None);
}
