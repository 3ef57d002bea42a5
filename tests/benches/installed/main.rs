//! What it costs to be installed under a systemd user manager: the first verb after a login, verbs
//! while the unit is restarted, and while its agent is killed again and again.
//!
//! `packaging/with-user-systemd cargo bench -p hearth-tests --bench installed`;
//! `-- first restart kills` chooses, `HEARTH_BENCH_ROUNDS` sets the number of rounds.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hearth_process::Signal;
use hearth_tests::measure::{build, cost, in_project, line, median, ms, rounds, wanted};
use hearth_tests::systemd::{Installed, Manager, SERVICE};
use hearth_tests::{Project, await_end, send};

const VERBS: usize = 100;
const KILLS: usize = 20;
const CLIENTS: usize = 4;

/// All of these may be sent again.
const KINDS: [&[&str]; 4] = [&["status", "--json"], &["up"], &["wait", "a"], &["down", "idle"]];

const SERVICES: &str = "\
[services.a]\nrun = [\"sleep\", \"100000\"]\nready = { settle = \"0s\" }\n\
[services.b]\nrun = [\"sleep\", \"100000\"]\nready = { settle = \"0s\" }\nneeds = [\"a\"]\n\
[services.idle]\nrun = [\"sleep\", \"100000\"]\nenabled = false\n";

fn main() {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default();
    if !Path::new(&runtime).join("systemd/private").exists() {
        println!(
            "installed: no user manager here, so not measured: packaging/with-user-systemd makes one"
        );
        return;
    }
    build();
    let manager = Manager::of_environment();
    if wanted("first") {
        first(&manager);
    }
    if wanted("restart") {
        restart(&manager);
    }
    if wanted("kills") {
        kills(&manager);
    }
}

/// From the verb's start to its end.
fn verb(project: &Project) -> Duration {
    let verb = cost(&mut in_project(project, &["status", "--json"]));
    assert!(verb.status.success(), "{:?}", verb.status);
    verb.wall
}

/// What an agent answers to that verb, byte for byte: taken down between both.
fn recorded(project: &Project) -> Vec<u8> {
    let aside = Project::new("");
    aside.home.write("agent.toml", "");
    let listener = UnixListener::bind(aside.home.path("agent.sock")).expect("a socket");
    let mut command = in_project(project, &["status", "--json"]);
    command.env("HEARTH_HOME", aside.home.dir());
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        let client = scope.spawn(move || cost(&mut command));
        let (mut asks, _) = listener.accept().expect("the verb connects");
        let mut agent = UnixStream::connect(project.home.path("agent.sock")).expect("an agent");
        let (mut to, from) =
            (agent.try_clone().expect("a copy"), asks.try_clone().expect("a copy"));
        scope.spawn(move || {
            let mut from = from;
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
        let mut buffer = [0; 8192];
        while let Ok(got) = agent.read(&mut buffer) {
            if got == 0 {
                break;
            }
            bytes.extend_from_slice(&buffer[..got]);
            let _ = asks.write_all(&buffer[..got]);
        }
        let client = client.join().expect("it ends");
        assert!(client.status.success(), "what was recorded serves the verb");
    });
    let _ = fs::remove_file(aside.home.path("agent.sock"));
    bytes
}

/// A trivial program behind a socket unit, at the socket of a home in which no agent ever runs.
struct Trivial<'a> {
    project: &'a Project,
    manager: &'a Manager,
    names: [String; 2],
}

impl<'a> Trivial<'a> {
    fn new(project: &'a Project, manager: &'a Manager, answer: &[u8]) -> Self {
        project.home.write("agent.toml", "");
        let (program, bytes) =
            (project.home.root().join("answers"), project.home.root().join("bytes"));
        fs::write(&bytes, answer).expect("a file can be written");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/installed/answers.c");
        let made =
            Command::new("cc").args(["-O2", "-Wall", "-o"]).arg(&program).arg(source).status();
        assert!(made.expect("cc is installed").success());
        let names = ["socket", "service"].map(|kind| format!("hearth-bench-trivial.{kind}"));
        let write = |name: &String, text: String| {
            fs::write(manager.units().join(name), text).expect("a unit can be written");
        };
        let socket = project.home.path("agent.sock");
        // Without limits: it would give up with the sixth round.
        let limits = "TriggerLimitIntervalSec=0";
        write(&names[0], format!("[Socket]\nListenStream={}\n{limits}\n", socket.display()));
        let exec = format!("{} {}", program.display(), bytes.display());
        let unit = "[Unit]\nStartLimitIntervalSec=0\n";
        write(&names[1], format!("{unit}[Service]\nExecStart={exec}\n"));
        manager.systemctl(&["daemon-reload"]).exits(0);
        manager.systemctl(&["start", &names[0]]).exits(0);
        Self { project, manager, names }
    }

    fn round(&self) -> Duration {
        let took = verb(self.project);
        assert_eq!(self.project.home.agent_pid(), None, "it was the program that answered");
        self.manager.systemctl(&["stop", &self.names[1]]).exits(0);
        took
    }
}

impl Drop for Trivial<'_> {
    fn drop(&mut self) {
        self.manager.systemctl(&["stop", &self.names[0], &self.names[1]]);
        for name in &self.names {
            let _ = fs::remove_file(self.manager.units().join(name));
        }
        let _ = fs::remove_file(self.project.home.path("agent.sock"));
        self.manager.systemctl(&["daemon-reload"]);
    }
}

/// The first verb after a login, beside a trivial program that answers the same, and a cold start.
fn first(manager: &Manager) {
    let (project, beside, empty) = (Project::new(""), Project::new(""), Project::new(""));
    let installed = Installed::new(&project, manager);
    verb(&project);
    let trivial = Trivial::new(&beside, manager, &recorded(&project));
    installed.rest();
    let (mut ours, mut base, mut cold) = (Vec::new(), Vec::new(), Vec::new());
    let mut cold_start = || {
        cold.push(verb(&empty));
        empty.home.run(&["daemon", "down"]).exits(0);
    };
    // Each after a cold start, which has nothing to do with the manager: the kernel makes who moves a
    // process to a control group wait for milliseconds (RCU), but not the next one right after.
    for _ in 0..rounds(21) {
        cold_start();
        ours.push(verb(&project));
        installed.agent();
        installed.rest();
        cold_start();
        base.push(trivial.round());
    }
    let (ours, base, cold) = (median(&mut ours), median(&mut base), median(&mut cold));
    let goal = base.mul_f64(1.5) + cold;
    line(
        "first verb after a login, agent not started",
        &format!(
            "{:.2} ms; trivial program {:.2} ms, cold start {:.2} ms",
            ms(ours),
            ms(base),
            ms(cold)
        ),
        &format!("at most 1.5 x + cold start: {:.2} ms", ms(goal)),
    );
    line("  of that", &format!("{:.2} x", ours.as_secs_f64() / goal.as_secs_f64()), "at most 1");
}

/// Whether a verb of a kind succeeded; says why not.
fn succeeded(project: &Project, kind: &[&str]) -> bool {
    let mut command = in_project(project, kind);
    let output = command.env_remove("LD_LIBRARY_PATH").output().expect("it runs");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        println!("  failed: {kind:?}: {}: {}", output.status, said.trim());
    }
    output.status.success()
}

fn pids(installed: &Installed<'_>) -> [u32; 2] {
    ["a", "b"].map(|name| installed.pid(name))
}

/// A hundred verbs, all at once, while the unit is restarted.
fn restart(manager: &Manager) {
    let project = Project::new(SERVICES);
    let installed = Installed::new(&project, manager);
    installed.verb(&["up"]).exits(0);
    let before = pids(&installed);
    let (failed, mut took, times) = (AtomicUsize::new(0), Vec::new(), rounds(10));
    for _ in 0..times {
        let agent = installed.agent();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for n in 0..VERBS {
                if n == VERBS / 10 {
                    scope.spawn(|| manager.systemctl(&["restart", SERVICE]).exits(0));
                }
                let (project, failed) = (&project, &failed);
                scope.spawn(move || {
                    let kind = KINDS[n % KINDS.len()];
                    failed.fetch_add(usize::from(!succeeded(project, kind)), Ordering::Relaxed);
                });
            }
        });
        took.push(begun.elapsed());
        assert_ne!(installed.agent(), agent, "it was restarted");
    }
    assert_eq!(pids(&installed), before, "services noticed nothing");
    line(
        &format!("{VERBS} verbs during a restart of the unit: failed"),
        &format!("{} of {}", failed.into_inner(), VERBS * times),
        "0",
    );
    line("  one round of that", &format!("{:.0} ms", ms(median(&mut took))), "");
}

/// Verbs without a pause while the agent is killed as often as it comes back.
fn kills(manager: &Manager) {
    let project = Project::new(SERVICES);
    let installed = Installed::new(&project, manager);
    installed.verb(&["up"]).exits(0);
    let before = pids(&installed);
    let (done, failed, count) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (project, done, failed, count) = (&project, &done, &failed, &count);
            scope.spawn(move || {
                for n in client.. {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    let kind = KINDS[n % KINDS.len()];
                    failed.fetch_add(usize::from(!succeeded(project, kind)), Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut agent = installed.agent();
        for _ in 0..KILLS {
            let begun = Instant::now();
            send(agent, Signal::KILL);
            await_end(agent);
            agent = installed.await_agent(Some(agent));
            back.push(begun.elapsed());
        }
        done.store(true, Ordering::Relaxed);
    });
    installed.agent();
    assert_eq!(pids(&installed), before, "services noticed nothing");
    line(
        &format!("agent of the unit killed {KILLS} times: failed verbs"),
        &format!("{} of {}", failed.into_inner(), count.into_inner()),
        "0",
    );
    line("  until the next one", &format!("{:.0} ms", ms(median(&mut back))), "");
}
