//! What a step costs in which nothing changes, in a project of a thousand services, and what a
//! thousand that come up cost each; and what a lease costs to be taken and given back.
//!
//! `cargo bench -p hearth-core --bench step`. Nanoseconds by the clock; instructions by valgrind
//! where it is installed: they are the same at every run, so a change of one in a hundred shows.

#[path = "../tests/stage/mod.rs"]
mod stage;

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use hearth_core::*;
use stage::*;

/// One step a service: what was answered is not heard again before it is asked again.
const COUNT: usize = 1_000;
const ROUNDS: u32 = 20;
const NAMES: [&str; 3] = ["tick before the deadline", "news of an old life", "a probe that passes"];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, mode, which, steps] = &words[..]
        && mode == "--steps"
    {
        let (which, steps) = (which.parse().expect("a number"), steps.parse().expect("a number"));
        let mut world = ready(COUNT);
        let events = events(which);
        run(&mut world, events.into_iter().take(steps));
        return;
    }
    for (which, name) in NAMES.iter().enumerate() {
        let mut world = ready(COUNT);
        let mut time = Duration::ZERO;
        for _ in 0..ROUNDS {
            world.after(ms(30_000));
            let events = events(which);
            let began = Instant::now();
            run(&mut world, events);
            time += began.elapsed();
        }
        let each = time.as_nanos() as f64 / f64::from(ROUNDS) / COUNT as f64;
        println!("{name:28} {each:8.0} ns  {}", instructions(which));
    }
    for count in [10, 100, 1_000, 10_000] {
        let (world, time) = come_up(count);
        let each = time.as_nanos() as f64 / count as f64;
        println!("{count:6} come up and are waited for, each {each:8.0} ns");
        black_box(world);
    }
    for count in [100, 1_000, 10_000] {
        let [taken, one_by_one, at_once] =
            leases(count).map(|time| time.as_nanos() / count as u128);
        println!(
            "{count:6} leases, each taken {taken:6} ns, given back {one_by_one:6} ns, with all the \
             others {at_once:6} ns"
        );
    }
}

/// So many leases of one service in a project of ten: taken; given back one by one; at once.
fn leases(count: usize) -> [Duration; 3] {
    let mut stage = come_up(10).0;
    let ids: Vec<std::sync::Arc<str>> =
        (0..count).map(|number| format!("s{number}/1").into()).collect();
    let take = |stage: &mut Stage| {
        let events: Vec<Event> = ids
            .iter()
            .map(|id| Event::Lease {
                lease: lease(id),
                project: PROJECT.into(),
                definitions: stage.file.clone(),
                targets: self::names(&["s00000"]),
            })
            .collect();
        timed(stage, events)
    };
    let taken = take(&mut stage);
    let each = ids.iter().map(|id| Event::Release { leases: vec![id.clone()] }).collect();
    let one_by_one = timed(&mut stage, each);
    take(&mut stage);
    let at_once = timed(&mut stage, vec![Event::Release { leases: ids }]);
    assert!(stage.world.leases().is_empty());
    [taken, one_by_one, at_once]
}

fn timed(stage: &mut Stage, events: Vec<Event>) -> Duration {
    let began = Instant::now();
    run(stage, events);
    began.elapsed()
}

/// `count` services that are ready, each asked again.
fn ready(count: usize) -> Stage {
    let mut stage = come_up(count).0;
    stage.after(ms(30_000));
    stage
}

/// `count` services that have become ready one by one, and how long that took; somebody waits and
/// looks after each event.
fn come_up(count: usize) -> (Stage, Duration) {
    let names: Vec<String> = (0..count).map(|number| format!("s{number:05}")).collect();
    let file: Vec<(&str, Definition)> =
        names.iter().map(|name| (name.as_str(), tested(&[]))).collect();
    let mut stage = Stage::new(&file);
    let mut wait = Wait::new(PROJECT.into(), [], Goal::Ready);
    let (project, definitions, targets) = (PROJECT.into(), stage.file.clone(), Vec::new());
    let up = Event::Up { project, definitions, targets };
    let news = names.iter().flat_map(|name| {
        let verdict = Verdict::Pass("200 OK".into());
        let probed = Event::Probed { id: id(name), life: 1, test: 0, verdict };
        [Event::Started { id: id(name), life: 1, pid: 7 }, probed]
    });
    let events: Vec<Event> = std::iter::once(up).chain(news).collect();
    let mut outcome = None;
    let began = Instant::now();
    for event in events {
        assert_eq!(outcome, None);
        black_box(stage.world.step(event, stage.now));
        outcome = stage.world.look(&mut wait);
    }
    let time = began.elapsed();
    assert_eq!(outcome, Some(Outcome::Ready));
    (stage, time)
}

fn events(which: usize) -> Vec<Event> {
    let event = |step: usize| {
        let id = id(&format!("s{step:05}"));
        match which {
            0 => Event::Tick,
            1 => Event::Exited { id, life: 0, exit: exit(0) },
            _ => Event::Probed { id, life: 1, test: 0, verdict: Verdict::Pass("200 OK".into()) },
        }
    };
    (0..COUNT).map(event).collect()
}

fn run(stage: &mut Stage, events: impl IntoIterator<Item = Event>) {
    let now = stage.now;
    for event in events {
        black_box(stage.world.step(black_box(event), now));
    }
}

/// Of one step, or why nobody knows.
fn instructions(which: usize) -> String {
    match (counted(which, 0), counted(which, COUNT)) {
        (Ok(none), Ok(some)) => format!("{:6} instructions", (some - none) / COUNT as u64),
        (Err(why), _) | (_, Err(why)) => format!("instructions not counted: {why}"),
    }
}

fn counted(which: usize, steps: usize) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let out = std::env::temp_dir().join(format!("hearth-step-{}.out", std::process::id()));
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg(format!("--cachegrind-out-file={}", out.display()))
        .arg(own)
        .args(["--steps", &which.to_string(), &steps.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let _ = std::fs::remove_file(out);
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words.lines().find(|line| line.contains("refs:"));
    let digits: String = line.unwrap_or("").rsplit(':').next().unwrap_or("").replace(',', "");
    digits.trim().parse().map_err(|_| format!("valgrind said: {}", words.trim()))
}
