//! Ten times as many services cost ten times as much, whatever they need, and ten times as many
//! leases: counted in allocations,
//! which a cost that grows with the square (a list of names, words for each look) shows in.

mod counting;
mod stage;

use std::sync::Arc;

use counting::allocations;
use hearth_core::*;
use stage::*;

/// Who needs whom, for the service at this place of so many.
type Shape = fn(usize, usize) -> Vec<usize>;

fn flat(_: usize, _: usize) -> Vec<usize> {
    Vec::new()
}

/// All need the first.
fn hub(at: usize, _: usize) -> Vec<usize> {
    if at == 0 { Vec::new() } else { vec![0] }
}

/// The last needs all.
fn roof(at: usize, count: usize) -> Vec<usize> {
    if at + 1 == count { (0..at).collect() } else { Vec::new() }
}

fn chain(at: usize, _: usize) -> Vec<usize> {
    at.checked_sub(1).into_iter().collect()
}

fn file(count: usize, shape: Shape) -> Vec<(String, Definition)> {
    let name = |at: usize| format!("s{at:05}");
    let define = |at: usize| {
        let needs: Vec<String> = shape(at, count).into_iter().map(name).collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        (name(at), tested(&needs))
    };
    (0..count).map(define).collect()
}

/// Allocations of all becoming ready one by one, and of all going one by one, each with somebody who
/// waits for it.
fn cost(count: usize, shape: Shape) -> [u64; 2] {
    let file = file(count, shape);
    let rows: Vec<(&str, Definition)> = file.iter().map(|(n, d)| (n.as_str(), d.clone())).collect();
    let mut stage = Stage::new(&rows);
    let ids: Vec<ServiceId> = file.iter().map(|(name, _)| id(name)).collect();
    let (project, definitions): (Arc<str>, _) = (PROJECT.into(), stage.file.clone());
    let now = stage.now;
    let mut wait = Wait::new(project.clone(), [], Goal::Ready);
    let up = allocations(|| {
        let event = Event::Up { project: project.clone(), definitions, targets: Vec::new() };
        stage.world.step(event, now);
        for id in &ids {
            assert_eq!(stage.world.look(&mut wait), None);
            assert_eq!(stage.world.done_below(id), []);
            stage.world.step(Event::Started { id: id.clone(), life: 1, pid: 7 }, now);
            let verdict = Verdict::Pass(String::new());
            stage.world.step(Event::Probed { id: id.clone(), life: 1, test: 0, verdict }, now);
        }
        assert_eq!(stage.world.look(&mut wait), Some(Outcome::Ready));
    });
    let mut wait = Wait::new(project.clone(), [], Goal::Down);
    let down = allocations(|| {
        stage.world.step(Event::Down { project: Some(project), targets: Vec::new() }, now);
        for id in ids.iter().rev() {
            assert_eq!(stage.world.look(&mut wait), None);
            let exit = Exit { code: Some(0), signal: None, at: String::new() };
            stage.world.step(Event::Exited { id: id.clone(), life: 1, exit }, now);
            stage.world.step(Event::Emptied { id: id.clone(), life: 1 }, now);
        }
        assert_eq!(stage.world.look(&mut wait), Some(Outcome::Down));
    });
    [up, down]
}

#[test]
fn ten_times_as_many_cost_ten_times_as_much() {
    for (name, shape) in [("flat", flat as Shape), ("hub", hub), ("roof", roof), ("chain", chain)] {
        let (few, many) = (cost(100, shape), cost(1_000, shape));
        for (what, few, many) in [("up", few[0], many[0]), ("down", few[1], many[1])] {
            assert!(many <= few * 12, "{what} of a {name}: {few} for 100, {many} for 1,000");
        }
    }
}

/// Allocations of so many leases of one service being taken, of all but one being given back one by
/// one, and of as many that end at once.
fn cost_of_leases(count: usize) -> [u64; 3] {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    let ids: Vec<Arc<str>> = (0..count).map(|number| format!("zsh/{number}").into()).collect();
    let take = |stage: &mut Stage| {
        for id in &ids {
            stage.lease(id, &["db"]);
        }
    };
    let now = stage.now;
    let taken = allocations(|| take(&mut stage));
    stage.comes_up("db");
    let one_by_one = allocations(|| {
        for id in &ids[1..] {
            assert_eq!(stage.world.step(Event::Release { leases: vec![id.clone()] }, now), []);
        }
    });
    assert_eq!(stage.leases(), ["zsh/0: db"]);
    take(&mut stage);
    let all = Event::Release { leases: ids.clone() };
    let at_once = allocations(|| assert_eq!(stage.world.step(all, now), []));
    assert!(stage.leases().is_empty() && stage.world.view(&id("db")).unwrap().held_by.is_empty());
    [taken, one_by_one, at_once]
}

#[test]
fn ten_times_as_many_leases_cost_ten_times_as_much() {
    let (few, many) = (cost_of_leases(1_000), cost_of_leases(10_000));
    for (what, at) in [("taken", 0), ("given back one by one", 1), ("given back at once", 2)] {
        let (few, many) = (few[at], many[at]);
        assert!(many <= few * 12, "{what}: {few} for 1,000, {many} for 10,000");
    }
}
