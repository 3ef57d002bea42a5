//! Services outlive whatever ends the agent's unit: same pids, same logs, same states. Ignored where
//! there is no systemd user manager; `packaging/with-user-systemd` makes one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use hearth_process::Signal;
use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET, out_of_memory};
use hearth_tests::{Gate, Project, await_end, next_version, runs, send};
use serde_json::Value;

const THREE: &str = "\
[services.db]\nrun = \"echo began; while read x < gate; do echo got $x; done\"\nready = { log = \"began\" }\n\
[services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nneeds = [\"db\"]\n\
[services.once]\nkind = \"oneshot\"\nrun = \"echo once >> ran.once\"\n";

/// Services under an installed agent, and how they were.
struct Running<'a> {
    installed: &'a Installed<'a>,
    gate: Gate,
    before: Vec<Value>,
    said: Vec<String>,
}

fn rows(installed: &Installed<'_>) -> Vec<Value> {
    let status = installed.verb(&["status", "--json"]).exits(0).json();
    let mut rows = status["services"].as_array().expect("rows").clone();
    for row in &mut rows {
        let row = row.as_object_mut().expect("a row");
        let kept = ["name", "pid", "want", "state", "since", "restarts", "exit", "held_by"];
        row.retain(|name, _| kept.contains(&name.as_str()));
    }
    rows
}

impl<'a> Running<'a> {
    fn new(installed: &'a Installed<'a>) -> Self {
        let gate = installed.project.gate("gate");
        installed.verb(&["up"]).exits(0);
        let before = rows(installed);
        assert_eq!(before.len(), 3, "{before:?}");
        Self { installed, gate, before, said: vec!["began".into()] }
    }

    /// Nothing has happened to them, and what `db` says goes on to the same log.
    #[track_caller]
    fn outlived(&mut self) {
        assert_eq!(rows(self.installed), self.before);
        let word = format!("{}", self.said.len());
        self.gate.say(&word);
        self.said.push(format!("got {word}"));
        let mut follow = self.installed.begin(&["logs", "db", "-f"]);
        for said in &self.said {
            assert_eq!(follow.line().as_ref(), Some(said));
        }
        follow.kill();
        let project = self.installed.project;
        assert_eq!(project.read("ran.once"), "once\n");
        assert!(!project.home.path("failures.json").exists(), "no verb has started an agent");
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn stop_and_restart_of_the_unit() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut running = Running::new(&installed);
    for _ in 0..3 {
        let agent = installed.agent();
        manager.systemctl(&["restart", SERVICE]).exits(0);
        assert!(!runs(agent));
        running.outlived();
        let agent = installed.agent();
        manager.systemctl(&["stop", SERVICE]).exits(0);
        assert!(!runs(agent));
        assert_eq!(project.home.agent_pid(), None, "nobody brings it back who was not asked");
        assert_eq!(project.home.record().expect("a record")["stage"], "stopped");
        running.outlived();
    }
    // With its socket, too.
    manager.systemctl(&["restart", SOCKET, SERVICE]).exits(0);
    running.outlived();
    manager.systemctl(&["stop", SOCKET, SERVICE]).exits(0);
    running.outlived();
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_that_is_killed_or_crashes() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut running = Running::new(&installed);
    for signal in ["KILL", "ABRT"] {
        let agent = installed.agent();
        send(agent, signal.parse().expect("a signal"));
        await_end(agent);
        // It comes back without a verb, by the manager alone.
        let next = installed.await_agent(Some(agent));
        running.outlived();
        assert_eq!(installed.agent(), next, "one came after {signal}");
    }
    assert_eq!(manager.property(SERVICE, "NRestarts"), "2");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_for_which_there_is_no_memory() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut running = Running::new(&installed);
    let agent = installed.agent();
    let socket = project.home.path("agent.sock");
    if !out_of_memory(agent, || drop(std::os::unix::net::UnixStream::connect(&socket))) {
        return;
    }
    installed.await_agent(Some(agent));
    running.outlived();
    assert_eq!(manager.property(SERVICE, "NRestarts"), "1");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_service_for_which_there_is_no_memory_leaves_the_agent_and_others_alone() {
    let toml = format!(
        "{THREE}[services.hungry]\nrun = \"read x < food; exec sleep 1000\"\n\
         ready = {{ settle = \"0s\" }}\nrestart = \"never\"\n"
    );
    let (project, manager) = (Project::new(&toml), Manager::of_environment());
    let mut food = project.gate("food");
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up", "hungry"]).exits(0);
    let (agent, hungry) = (installed.agent(), installed.pid("hungry"));
    // OOMPolicy=continue: what the kernel kills among the services is no failure of the unit.
    assert_eq!(manager.property(SERVICE, "OOMPolicy"), "continue");
    if !out_of_memory(hungry, || food.open()) {
        return;
    }
    let mut watch = project.watch(&["hungry"]);
    watch.until_state("hungry", "failed");
    assert_eq!(installed.agent(), agent);
    assert_eq!(manager.property(SERVICE, "NRestarts"), "0");
}

/// A copy of hearth that is replaced by its next version, as a package does it.
struct Program(PathBuf);

impl Program {
    fn new(project: &Project, name: &str) -> Self {
        let to = project.home.root().join(name);
        let copied = Command::new("cp").arg(hearth_tests::hearth()).arg(&to).status();
        assert!(copied.expect("cp is installed").success());
        Self(to)
    }

    fn upgrade(&self) {
        let aside = self.0.with_extension("new");
        next_version(&aside);
        fs::rename(&aside, &self.0).expect("it can be renamed");
    }

    /// A verb of it, in the project.
    fn run(&self, project: &Project, arguments: &[&str]) -> hearth_tests::Ran {
        let like = project.command(arguments);
        let mut command = Command::new(&self.0);
        command.args(arguments).current_dir(project.dir());
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        hearth_tests::Ran::of(&command.output().expect("it runs"))
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_upgrade_of_the_executable() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let program = Program::new(&project, "hearth");
    let installed = Installed::of(&project, &manager, &program.0);
    let mut running = Running::new(&installed);
    let agent = installed.agent();
    program.upgrade();
    running.outlived();
    assert_eq!(installed.agent(), agent, "whom nobody restarts goes on");
    program.run(&project, &["daemon", "restart"]).exits(0);
    running.outlived();
    assert_ne!(installed.agent(), agent);
    assert_eq!(project.home.record().expect("a record")["version"], "999.0.0");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_upgrade_that_speaks_no_version_of_the_old_api() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let program = Program::new(&project, "next-api");
    let installed = Installed::of(&project, &manager, &program.0);
    let running = Running::new(&installed);
    let agent = installed.agent();
    program.upgrade();
    // The first verb of the new one has the manager restart the unit.
    let status = program.run(&project, &["status", "--json"]).exits(0).json();
    let pids = |rows: &[Value]| rows.iter().map(|row| row["pid"].clone()).collect::<Vec<_>>();
    assert_eq!(pids(status["services"].as_array().expect("rows")), pids(&running.before));
    assert_ne!(installed.agent(), agent);
    assert_eq!(project.home.record().expect("a record")["version"], "999.0.0");
    program.run(&project, &["down"]).exits(0);
    program.run(&project, &["daemon", "down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_verb_too_new_for_the_executable_of_the_unit_says_so_and_restarts_it_but_once() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut running = Running::new(&installed);
    let too_new = Program::new(&project, "next-api");
    too_new.upgrade();
    let refused = too_new.run(&project, &["status", "--json"]);
    let words = format!("{refused:?}");
    assert!(words.contains("hearth install"), "{words}");
    running.outlived();
    installed.agent();
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn twenty_kills_in_a_row_as_fast_as_it_comes_back_and_no_verb_fails() {
    let (project, manager) = (Project::new(THREE), Manager::of_environment());
    let installed = Installed::new(&project, &manager);
    let mut running = Running::new(&installed);
    let mut agent = installed.agent();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for verb in [["up"], ["status"], ["up"]] {
            let (installed, done) = (&installed, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    installed.verb(&verb).exits(0);
                }
            });
        }
        for _ in 0..20 {
            send(agent, Signal::KILL);
            await_end(agent);
            agent = installed.await_agent(Some(agent));
        }
        done.store(true, Ordering::Relaxed);
    });
    running.outlived();
    installed.agent();
    assert_eq!(manager.property(SERVICE, "NRestarts"), "20");
    for unit in [SOCKET, SERVICE] {
        assert_eq!(manager.property(unit, "ActiveState"), "active", "{unit}");
    }
}
