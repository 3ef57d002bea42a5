//! Steps of the wall clock, an hour forth and back, while services run: no deadline moves, no line
//! of a log is older than the one before it.
//!
//! The agent and its shims see a clock that the test steps (libfaketime, `faketime` in Debian): the
//! wall clock alone, since no step moves the others (clock_gettime(2)).
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use hearth_process::Signal;
use hearth_tests::{Project, Verb, has_program, runs, send};

/// A project whose agent's clock can be stepped.
struct Stepped {
    project: Project,
    agent: Option<Verb>,
}

/// Where Debian has it, on whatever architecture.
fn library() -> PathBuf {
    let dirs = fs::read_dir("/usr/lib").expect("a directory").flatten();
    let mut paths = dirs.map(|dir| dir.path().join("faketime/libfaketime.so.1"));
    paths.find(|path| path.exists()).expect("the library of faketime")
}

fn fake<'a>(command: &'a mut Command, project: &Project) -> &'a mut Command {
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", project.home.root().join("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
}

impl Stepped {
    fn new(toml: &str) -> Self {
        let project = Project::new(toml);
        step(&project, "+0");
        let mut command = project.home.command(&["daemon", "run"]);
        fake(&mut command, &project).stdout(Stdio::piped()).stderr(Stdio::piped());
        let agent = Some(Verb::of(command.spawn().expect("hearth runs")));
        project.home.await_socket();
        Self { project, agent }
    }

    /// The clock shows so much more, or less, than it is.
    fn step(&self, to: &str) {
        step(&self.project, to);
    }

    /// A service comes up after a timer of its own: so the agent has looked at its clock since.
    fn tick(&self) {
        self.project.run(&["restart", "tick"]).exits(0);
    }

    fn end(mut self) {
        self.project.run(&["down", "--all"]).exits(0);
        self.project.run(&["daemon", "down"]).exits(0);
        self.agent.take().expect("it was started").finish().exits(0);
    }
}

/// Whole, whenever it is looked at.
fn step(project: &Project, to: &str) {
    let new = project.home.root().join("clock.new");
    fs::write(&new, format!("{to}\n")).unwrap();
    fs::rename(new, project.home.root().join("clock")).unwrap();
}

fn seconds_from_now(text: &str) -> i64 {
    let command = Command::new("date").args(["-d", text, "+%s"]).output().expect("date runs");
    let then: i64 = String::from_utf8_lossy(&command.stdout).trim().parse().expect(text);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    then - i64::try_from(now).unwrap()
}

const TICK: &str = r#"
    [services.tick]
    run = "echo $$ >> ticks; exec sleep 1000"
    ready = { settle = "50ms" }
"#;

#[test]
fn the_clock_of_agent_and_shims_is_the_one_that_is_stepped() {
    if !has_program("faketime") {
        return;
    }
    let stepped = Stepped::new(TICK);
    for (round, (to, wanted)) in [("+1h", 3600), ("-1h", -3600)].into_iter().enumerate() {
        stepped.step(to);
        stepped.tick();
        let row = stepped.project.row("tick");
        let since = seconds_from_now(row["since"].as_str().unwrap());
        assert!((since - wanted).abs() < 60, "{row}");
        // The time of the exit is the shim's.
        let pid = stepped.project.pid("tick");
        send(pid, Signal::KILL);
        stepped.project.await_lines("ticks", 2 * round + 2);
        stepped.project.run(&["up", "tick"]).exits(0);
        let row = stepped.project.row("tick");
        let at = seconds_from_now(row["exit"]["at"].as_str().unwrap());
        assert!((at - wanted).abs() < 60, "{row}");
        // A moment to come is nothing that a table cannot show.
        stepped.project.run(&["status"]).exits(0);
        stepped.project.run(&["daemon", "status"]).exits(0);
    }
    stepped.end();
}

#[test]
fn a_step_forth_ends_no_wait_early() {
    if !has_program("faketime") {
        return;
    }
    let stepped = Stepped::new(&format!(
        r#"{TICK}
        [services.starting]
        run = "read x < open; echo up; exec sleep 1000"
        ready = {{ log = "^up$" }}
        start_timeout = "5m"
        [services.backing]
        run = "echo $$ >> lives; exit 3"
        backoff = {{ min = "5m", max = "10m" }}
        [services.stubborn]
        run = ["bash", "-c", "trap 'echo told > told' TERM; echo up; while :; do read -rt 1000 x < let_go && exit 0; done"]
        ready = {{ log = "^up$" }}
        stop = {{ timeout = "5m" }}
        [services.failing]
        run = "echo $$ >> tries; read x < fail; exit 4"
        ready = {{ settle = "0s" }}
        backoff = {{ min = "1ms" }}
        give_up = {{ failures = 3, within = "2m" }}
        "#
    ));
    let project = &stepped.project;
    let (mut open, mut let_go, mut fail) =
        (project.gate("open"), project.gate("let_go"), project.gate("fail"));
    project.run(&["up", "stubborn"]).exits(0);
    let mut up = project.start(&["up", "--json", "starting", "backing", "failing"]);
    up.until_states(&[("backing", "backoff"), ("failing", "ready")]);
    let stubborn = project.pid("stubborn");
    let down = project.start(&["down", "stubborn"]);
    project.await_lines("told", 1);
    fail.open();
    project.await_lines("tries", 2);

    stepped.step("+1h");
    stepped.tick();
    assert_eq!(project.state("starting"), "starting");
    assert_eq!(project.state("backing"), "backoff");
    assert_eq!(project.read("lives").lines().count(), 1);
    assert!(runs(stubborn), "it has five minutes");
    assert_eq!(project.state("stubborn"), "stopping");
    // Three within two minutes, whatever the wall shows.
    fail.open();
    project.await_lines("tries", 3);
    stepped.step("-1h");
    fail.open();
    up.until_state("failing", "failed");
    let row = project.row("failing");
    assert_eq!((&row["state"], &row["exit"]["code"]), (&"failed".into(), &4.into()), "{row}");
    assert_eq!(project.read("tries").lines().count(), 3);

    let_go.open();
    down.finish().exits(0);
    open.open();
    project.run(&["up", "starting"]).exits(0);
    up.kill();
    stepped.end();
}

#[test]
fn a_step_back_holds_nothing_up() {
    if !has_program("faketime") {
        return;
    }
    let stepped = Stepped::new(
        r#"
        [services.settling]
        run = ["sleep", "1000"]
        ready = { settle = "1s" }
        [services.late]
        run = ["sleep", "1000"]
        ready = { log = "never" }
        start_timeout = "1s"
        restart = "never"
        [services.backing]
        run = "echo $$ >> lives; read x < crash; exit 3"
        ready = { settle = "0s" }
        backoff = { min = "1s", max = "1s" }
        [services.stubborn]
        run = "trap '' TERM; echo up; while :; do sleep 1000; done"
        ready = { log = "^up$" }
        stop = { timeout = "1s" }
        "#,
    );
    let project = &stepped.project;
    let mut crash = project.gate("crash");
    let mut up = project.start(&["up", "--json", "backing", "stubborn"]);
    up.until_states(&[("backing", "ready"), ("stubborn", "ready")]);
    crash.open();
    up.kill();
    project.await_lines("lives", 1);
    let late = project.start(&["up", "late"]);
    let settling = project.start(&["up", "settling"]);
    let down = project.start(&["down", "stubborn"]);
    stepped.step("-1h");
    // Each of these would take an hour: the harness waits half a minute.
    project.await_lines("lives", 2);
    late.finish().exits(1);
    settling.finish().exits(0);
    down.finish().exits(0);
    stepped.end();
}

#[test]
fn times_in_logs_never_go_back_and_every_line_is_found() {
    if !has_program("faketime") {
        return;
    }
    let service = |name: &str| {
        format!(
            "[services.{name}]\nrun = \"echo {name} begins; while read x < {name}.gate; do echo {name} $x; done\"\n\
             ready = {{ log = \"begins\" }}\n"
        )
    };
    let stepped = Stepped::new(&format!("{}{}", service("a"), service("b")));
    let project = &stepped.project;
    let mut gates = [("a", project.gate("a.gate")), ("b", project.gate("b.gate"))];
    project.run(&["up"]).exits(0);
    let mut follower = project.start(&["logs", "-f", "-n", "1000"]);
    let mut said: Vec<String> = vec!["a begins".into(), "b begins".into()];
    for (round, to) in ["+0", "+1h", "+0", "-1h", "+0", "+1h", "-1h"].iter().enumerate() {
        stepped.step(to);
        for (name, gate) in &mut gates {
            gate.say(&format!("{round}"));
            let line = format!("{name} {round}");
            said.push(line.clone());
            // Who follows gets it now, whatever time it bears.
            let mut left = 20;
            while !follower.line().expect("it follows").ends_with(&line) {
                left -= 1;
                assert!(left > 0, "`{line}` never came");
            }
        }
        if round == 4 {
            // The times of the next life are not before those of the last one.
            project.run(&["restart", "a"]).exits(0);
            said.push("a begins".into());
        }
    }
    follower.kill();
    for no_spawn in [&[][..], &["--no-spawn"][..]] {
        if !no_spawn.is_empty() {
            project.home.kill_agent();
        }
        let arguments: Vec<&str> =
            ["logs", "--timestamps", "-n", "1000"].iter().chain(no_spawn).copied().collect();
        let mut all = Vec::new();
        for name in ["a", "b"] {
            let mut one = arguments.clone();
            one.push(name);
            let ran = project.run(&one).exits(0);
            let lines: Vec<(String, String)> = ran
                .stdout
                .lines()
                .map(|line| line.split_once(' ').expect("a time and a line"))
                .map(|(time, line)| (time.to_owned(), line.to_owned()))
                .collect();
            assert!(lines.is_sorted_by_key(|(time, _)| time.clone()), "{lines:#?}");
            let mine = said.iter().filter(|line| line.starts_with(name));
            assert!(lines.iter().map(|(_, line)| line).eq(mine), "{lines:#?}");
            all.extend(lines);
        }
        // Several are put together by those times.
        all.sort_by(|one, other| one.0.cmp(&other.0));
        let merged = project.run(&arguments).exits(0).stdout;
        let times: Vec<&str> = merged
            .lines()
            .map(|line| line.split(' ').find(|word| word.contains('T')).expect("a time"))
            .collect();
        let wanted: Vec<&str> = all.iter().map(|(time, _)| time.as_str()).collect();
        assert_eq!(times, wanted, "{merged}");
        // Nothing is before half an hour ago; the half of it that came after the first step is an
        // hour ahead.
        let since = |since: &str| {
            let mut arguments = arguments.clone();
            arguments.extend(["--since", since]);
            project.run(&arguments).exits(0).stdout.lines().count()
        };
        assert_eq!(since("30m"), said.len());
        let ahead = all.iter().filter(|(time, _)| seconds_from_now(time) > 1800).count();
        assert!(ahead > 0 && ahead < said.len(), "{all:#?}");
        let half = Command::new("date").args(["-u", "-d", "+30 min", "+%FT%TZ"]).output().unwrap();
        let half = String::from_utf8(half.stdout).unwrap();
        assert_eq!(since(half.trim()), ahead, "{all:#?}");
    }
    project.run(&["down"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
}

#[test]
fn an_agent_that_is_killed_before_a_step_is_followed_by_one_that_goes_on() {
    if !has_program("faketime") {
        return;
    }
    let mut stepped = Stepped::new(
        r#"
        [services.steady]
        run = "echo $$ >> pids; exec sleep 1000"
        ready = { settle = "0s" }
        [services.backing]
        run = "echo $$ >> lives; exit 3"
        backoff = { min = "2s", max = "2s" }
        [services.patient]
        run = "echo $$ >> patient; exit 3"
        backoff = { min = "10m", max = "10m" }
        "#,
    );
    // The next agent, which a verb starts, goes by the real clock: an hour earlier, or later.
    stepped.step("+1h");
    let project = &stepped.project;
    let mut up = project.start(&["up", "--json"]);
    up.until_states(&[("steady", "ready"), ("backing", "backoff"), ("patient", "backoff")]);
    let pid = project.pid("steady");
    up.kill();
    project.home.kill_agent();
    stepped.agent.take().expect("it was started").finish();
    assert_eq!(project.pid("steady"), pid);
    assert_eq!(project.state("steady"), "ready");
    project.await_lines("lives", 2);
    assert_eq!(project.state("patient"), "backoff");
    assert_eq!(project.read("patient").lines().count(), 1);
    project.run(&["status"]).exits(0);
    project.run(&["down"]).exits(0);
    assert!(!runs(pid));
    assert_eq!(project.read("pids").lines().count(), 1);
}

#[test]
fn the_pause_after_a_failed_start_is_neither_longer_nor_shorter() {
    if !has_program("faketime") {
        return;
    }
    let project = Project::new(TICK);
    project.home.write("agent.toml", "nonsense = 1\n");
    let failed = project.run(&["up", "--json"]).exits(3).refusal();
    assert_eq!(failed["code"], "spawn-failed", "{failed}");
    for to in ["+1h", "-1h"] {
        step(&project, to);
        let mut command = project.command(&["up", "--json"]);
        let held = project.ran(fake(&mut command, &project)).exits(3).refusal();
        assert_eq!(held["code"], "spawn-suppressed", "{to}: {held}");
        // Told in the time that the verb sees.
        let hour = if to == "+1h" { 3600 } else { -3600 };
        let due = seconds_from_now(held["details"]["retry_at"].as_str().unwrap()) - hour;
        assert!((-1..=6).contains(&due), "{to}: in {due} s: {held}");
    }
    project.home.write("agent.toml", "");
    // It is not longer either: time is what is awaited here.
    let due = Duration::from_secs(5);
    std::thread::sleep(due);
    let mut command = project.command(&["up"]);
    project.ran(fake(&mut command, &project)).exits(0);
}
