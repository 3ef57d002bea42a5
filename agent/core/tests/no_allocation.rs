//! A step in which nothing changes costs no allocation: an agent with a thousand services whose
//! probes pass does the same few things for years.

mod counting;
mod stage;

use counting::allocations;
use hearth_core::*;
use stage::*;

/// `count` services and a check, all ready; each service is needed by the next in its ten.
fn ready(count: usize) -> Stage {
    let name = |number: usize| format!("s{number:04}");
    let mut file = Vec::new();
    for number in 0..count {
        let below = (number % 10 > 0).then(|| name(number - 1));
        let needs: Vec<&str> = below.as_deref().into_iter().collect();
        file.push((name(number), lost_stop(tested(&needs))));
    }
    file.push(("checked".to_owned(), check(&["s0000"])));
    let file: Vec<(&str, Definition)> = file.iter().map(|(n, d)| (n.as_str(), d.clone())).collect();
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    stage.lease("zsh/1", &[]);
    stage.lease("vim/1", &["s0000"]);
    for (name, definition) in &file {
        if definition.kind == Kind::Service {
            stage.started(name);
        }
        stage.passes(name);
    }
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    stage
}

#[test]
fn it_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(7)))), 1);
}

#[test]
fn a_tick_before_the_deadline_allocates_nothing() {
    let mut stage = ready(1_000);
    stage.now = stage.now.after(ms(29_999));
    let now = stage.now;
    assert_eq!(allocations(|| assert!(stage.world.step(Event::Tick, now).is_empty())), 0);
    assert!(!stage.after(ms(1)).is_empty(), "it was only just before it");
}

#[test]
fn news_of_a_life_that_is_over_allocates_nothing() {
    let mut stage = ready(1_000);
    let (id, life, now) = (id("s0500"), 0, stage.now);
    let news = [
        Event::Started { id: id.clone(), life, pid: 7 },
        Event::Exited { id: id.clone(), life, exit: exit(1) },
        Event::Emptied { id: id.clone(), life },
        Event::StartFailed { id: id.clone(), life, reason: "late".into() },
        Event::ShimLost { id: id.clone(), life, at: "then".into(), left: vec![7] },
        Event::Probed { id: id.clone(), life, test: 0, verdict: Verdict::Fail("late".into()) },
        Event::Started { id: hearth_core::ServiceId::new("/other", "db"), life: 1, pid: 7 },
    ];
    for event in news {
        assert_eq!(allocations(|| assert!(stage.world.step(event, now).is_empty())), 0);
    }
}

#[test]
fn news_of_leases_that_nobody_knows_allocates_nothing() {
    let mut stage = ready(1_000);
    let now = stage.now;
    let stranger = Lease { session: "vim".into(), ..lease("zsh/1") };
    let (project, definitions, targets) = (PROJECT.into(), stage.file.clone(), Vec::new());
    let news = [
        Event::Release { leases: names(&["zsh/2", "nobody", ""]) },
        Event::Lease { lease: stranger, project, definitions, targets },
    ];
    for event in news {
        assert_eq!(allocations(|| assert!(stage.world.step(event, now).is_empty())), 0);
    }
    // One that others hold as well: only the way to its project is made.
    let event = Event::Release { leases: names(&["vim/1"]) };
    let cost = allocations(|| assert!(stage.world.step(event, now).is_empty()));
    assert!(cost < 10, "{cost}: all services were weighed");
}

#[test]
fn a_probe_that_passes_again_allocates_nothing() {
    let mut stage = ready(1_000);
    stage.after(ms(30_000));
    for name in (0..1_000).map(|number| format!("s{number:04}")).chain(["checked".to_owned()]) {
        let (id, life, now) = (id(&name), stage.life(&name), stage.now.after(ms(1)));
        let event = Event::Probed { id, life, test: 0, verdict: Verdict::Pass("200 OK".into()) };
        assert_eq!(allocations(|| assert!(stage.world.step(event, now).is_empty())), 0, "{name}");
    }
    assert_eq!(stage.world.next_deadline(), Some(stage.now.after(ms(30_001))));
}

#[test]
fn a_look_at_a_wait_that_goes_on_allocates_nothing() {
    let mut stage = ready(100);
    stage.restart(&["s0099"]);
    let mut wait = Wait::new(PROJECT.into(), [], Goal::Ready);
    assert_eq!(stage.world.look(&mut wait), None);
    assert_eq!(allocations(|| assert_eq!(stage.world.look(&mut wait), None)), 0);
}
