//! Checks: nodes that are asked and have no process.

mod stage;

use hearth_core::*;
use stage::*;

/// db runs, and `broker` was asked once.
fn asked(broker: Definition) -> Stage {
    let file = [("db", service(&[])), ("broker", broker), ("api", service(&["broker"]))];
    let mut stage = Stage::new(&file);
    assert_eq!(stage.up(&[]), ["spawn db 1"]);
    assert_eq!(stage.state("broker"), State::Waiting);
    assert_eq!(stage.comes_up("db"), ["mark db 1", "probe broker 1"]);
    assert_eq!(stage.state("broker"), State::Starting);
    stage
}

fn failing(stage: &mut Stage, name: &str, times: u32) {
    for _ in 0..times {
        stage.fails(name);
        stage.after(ms(1_000));
    }
}

#[test]
fn a_check_is_asked_when_what_it_needs_is_there_and_gates_what_needs_it() {
    let mut stage = asked(check(&["db"]));
    assert_eq!(stage.health("api").1, "waits for broker (starting)");
    assert_eq!(stage.passes("broker"), ["spawn api 1"], "no shim is told of it");
    assert_eq!(stage.said[0], "broker ready: ready");
    assert_eq!(stage.outcome(&[], Goal::Ready), None);
    stage.comes_up("api");
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    assert_eq!(stage.up(&[]), [""; 0]);
    let view = stage.world.view(&id("broker")).unwrap();
    assert_eq!((view.pid, view.restarts, view.exit), (None, 0, None));
}

#[test]
fn a_check_that_never_held_is_unhealthy_and_is_asked_on() {
    let mut stage = asked(check(&["db"]));
    failing(&mut stage, "broker", 2);
    assert_eq!(stage.state("broker"), State::Starting, "two are not three");
    stage.fails("broker");
    assert_eq!(stage.said, ["broker unhealthy: connection refused"]);
    assert_eq!(stage.health("broker").0, HealthStatus::Starting, "inside its grace");
    assert_eq!(stage.health("api").1, "waits for broker (unhealthy: connection refused)");
    stage.after(ms(3_000));
    assert_eq!(stage.health("broker"), (HealthStatus::Failure, "connection refused".into()));
    assert_eq!(stage.passes("broker"), ["spawn api 1"]);
    stage.after(ms(30_000));
    failing(&mut stage, "broker", 3);
    assert_eq!(stage.state("broker"), State::Unhealthy);
    assert_eq!(stage.state("api"), State::Starting, "lost = keep");
    stage.passes("broker");
    assert_eq!(stage.state("broker"), State::Ready);
}

#[test]
fn a_check_that_is_not_wanted_ends_at_once_and_what_it_needs_waits_for_what_stood_on_it() {
    let mut stage = asked(check(&["db"]));
    stage.passes("broker");
    stage.comes_up("api");
    assert_eq!(stage.down(&[]), ["stop api 1", "cancel broker 1"]);
    assert_eq!(stage.state("broker"), State::Down);
    assert_eq!(stage.state("db"), State::Ready, "api runs still, and needs it through the check");
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
    stage.ends("db", 0);
    assert!(stage.world.is_idle() && stage.world.next_deadline().is_none());
    assert_eq!(stage.outcome(&[], Goal::Down), Some(Outcome::Down));
}

#[test]
fn a_check_is_asked_anew_by_restart_and_by_a_changed_file() {
    let mut stage = asked(check(&["db"]));
    stage.passes("broker");
    assert_eq!(stage.restart(&["broker"]), ["cancel broker 1", "probe broker 2"]);
    assert_eq!(stage.state("broker"), State::Starting);
    stage.passes("broker");
    stage.edit("broker", |broker| broker.tests[0].failures = 1);
    assert_eq!(stage.up(&[]), ["cancel broker 2", "probe broker 3"]);
}

#[test]
fn a_lost_need_ends_the_asking_and_its_return_begins_it_anew() {
    let mut stage = asked(lost_stop(check(&["db"])));
    stage.passes("broker");
    stage.comes_up("api");
    assert_eq!(stage.exits("db", 1), ["cancel broker 1"]);
    assert_eq!(stage.state("broker"), State::Waiting);
    assert_eq!(
        stage.health("broker").1,
        "waits for db (backoff: exited with code 1, next try in 100ms)"
    );
    stage.emptied("db");
    stage.after(ms(100));
    assert_eq!(stage.comes_up("db"), ["mark db 2", "probe broker 2"]);
    let mut stage = asked(check(&["db"]));
    stage.passes("broker");
    assert_eq!(stage.exits("db", 1), [""; 0], "lost = keep: it is asked on");
    assert_eq!(stage.state("broker"), State::Ready);
}

#[test]
fn a_dependent_that_says_so_goes_with_its_check() {
    let file = [("broker", check(&[])), ("api", lost_stop(service(&["broker"])))];
    let mut stage = Stage::new(&file);
    assert_eq!(stage.up(&[]), ["probe broker 1"]);
    stage.passes("broker");
    stage.comes_up("api");
    stage.after(ms(30_000));
    failing(&mut stage, "broker", 2);
    assert_eq!(stage.fails("broker"), ["stop api 1"]);
    stage.ends("api", 0);
    assert_eq!(stage.health("api").1, "waits for broker (unhealthy: connection refused)");
    assert_eq!(stage.passes("broker"), [""; 0], "it was not asked again yet");
    stage.after(ms(1_000));
    assert_eq!(stage.passes("broker"), ["spawn api 2"]);
}

#[test]
fn a_check_that_only_is_there_has_arrived_with_its_first_verdict() {
    let file = [("db", service(&[])), ("broker", check(&[]))];
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    stage.comes_up("db");
    failing(&mut stage, "broker", 2);
    assert_eq!(stage.outcome(&[], Goal::Ready), None, "no verdict yet");
    stage.fails("broker");
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    assert_eq!(stage.outcome(&["broker"], Goal::Ready), None, "named, it must hold");
    assert_eq!(stage.outcome(&["db"], Goal::Ready), Some(Outcome::Ready));
}

#[test]
fn a_check_that_must_hold_and_does_not_in_time_ends_the_wait_and_is_asked_on() {
    let mut stage = asked(check(&["db"]));
    failing(&mut stage, "broker", 3);
    assert_eq!(stage.outcome(&[], Goal::Ready), None);
    stage.after(ms(57_000));
    let (failed, not_ready) = (names(&["broker"]), names(&["api"]));
    let outcome = Some(Outcome::Failed { failed, not_ready });
    assert_eq!(stage.outcome(&[], Goal::Ready), outcome);
    assert_eq!(stage.outcome(&["api"], Goal::Arrive), outcome);
    assert_eq!(stage.world.view(&id("broker")).unwrap().message, "connection refused");
    stage.up(&[]);
    assert_eq!(stage.outcome(&[], Goal::Ready), None, "its time begins once more");
    assert_eq!(stage.passes("broker"), ["spawn api 1"]);
}

#[test]
fn a_check_whose_test_never_answers_is_unhealthy_when_its_time_is_over() {
    let mut broker = check(&[]);
    broker.tests[0].event_driven = true;
    let mut stage = Stage::new(&[("broker", broker)]);
    assert_eq!(stage.up(&[]), ["probe broker 1"]);
    stage.after(ms(60_000));
    assert_eq!(stage.said, ["broker unhealthy: not ready within 1m"]);
    assert_eq!(stage.health("broker"), (HealthStatus::Failure, "not ready within 1m".into()));
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    stage.passes("broker");
    assert_eq!(stage.state("broker"), State::Ready);
    assert_eq!(stage.world.next_deadline(), None);
}

#[test]
fn what_speaks_by_itself_says_once_that_it_is_gone() {
    let mut broker = check(&[]);
    broker.tests[0].event_driven = true;
    let mut stage = Stage::new(&[("broker", broker)]);
    stage.up(&[]);
    stage.passes("broker");
    stage.probed("broker", 0, Verdict::Fail("/run/broker is gone".into()));
    assert_eq!(stage.said, ["broker unhealthy: /run/broker is gone"]);
    assert_eq!(stage.after(ms(1_000)), ["probe broker 1"], "its return is waited for");
    stage.passes("broker");
    assert_eq!(stage.state("broker"), State::Ready);
}

#[test]
fn checks_outlive_an_agent_and_are_never_missed() {
    for (times, state) in [(0, State::Ready), (1, State::Ready), (3, State::Unhealthy)] {
        let mut first = asked(check(&["db"]));
        first.passes("broker");
        first.after(ms(30_000));
        failing(&mut first, "broker", times);
        assert_eq!(first.state("broker"), state);
        let (saved, now) = (first.world.saved(), first.now);
        let text = serde_json::to_string(&saved).unwrap();
        let mut second = Stage::new(&[]);
        second.now = now;
        second.world.restore(serde_json::from_str(&text).unwrap(), now);
        assert_eq!(second.state("broker"), state);
        let living: Vec<_> = second.world.unheard().into_iter().map(|(id, _)| id.name).collect();
        assert_eq!(living, names(&["api", "db"]), "a check has no shim");
        for name in ["api", "db"] {
            let event = Event::Adopted {
                id: id(name),
                definition: None,
                life: 1,
                pid: Some(7),
                exit: None,
                ready: name == "db",
                want: Want::Up,
                restarts: 0,
                stopping: false,
            };
            assert_eq!(second.step(event), [""; 0]);
        }
        assert_eq!(second.step(Event::Settled), ["probe broker 1"], "asked anew");
        assert_eq!(second.state("broker"), state, "and shown as it was until it answers");
        if state == State::Ready {
            failing(&mut second, "broker", 2);
            assert_eq!(second.state("broker"), State::Ready);
            second.fails("broker");
            assert_eq!(second.state("broker"), State::Unhealthy);
        } else {
            second.passes("broker");
            assert_eq!(second.state("broker"), State::Ready);
        }
        second.step(Event::Tick);
        assert_eq!(second.down(&["broker"]), ["stop api 1", "cancel broker 1"]);
    }
}

#[test]
fn news_of_processes_is_nothing_to_a_check() {
    let mut stage = asked(check(&["db"]));
    let (id, life) = (id("broker"), 1);
    let exit = exit(1);
    for event in [
        Event::Started { id: id.clone(), life, pid: 7 },
        Event::StartFailed { id: id.clone(), life, reason: "no".into() },
        Event::Exited { id: id.clone(), life, exit },
        Event::Emptied { id: id.clone(), life },
        Event::ShimLost { id: id.clone(), life, at: "then".into(), left: vec![7] },
        Event::Unstartable { id: id.clone(), life, reason: "no".into() },
        Event::Missing { id: id.clone(), life, at: "then".into() },
    ] {
        assert_eq!(stage.step(event), [""; 0]);
        assert_eq!(stage.state("broker"), State::Starting);
    }
    assert_eq!(stage.passes("broker"), ["spawn api 1"]);
}

#[test]
fn who_was_started_on_the_word_of_a_restored_check_goes_when_it_is_lost_in_the_same_step() {
    let file = [
        ("api", lost_stop(service(&["broker"]))),
        ("broker", lost_stop(check(&["db"]))),
        ("db", service(&[])),
    ];
    let mut first = Stage::new(&file);
    first.up(&[]);
    first.comes_up("db");
    first.passes("broker");
    first.comes_up("api");
    let mut second = Stage::new(&[]);
    second.now = first.now;
    second.world.restore(first.world.saved(), second.now);
    for name in ["api", "db"] {
        let (life, left) = (1, Vec::new());
        second.step(Event::ShimLost { id: id(name), life, at: "then".into(), left });
    }
    second.after(ms(0));
    let deeds = second.step(Event::Settled);
    let (began, ended) = ("spawn api 2".to_owned(), "stop api 2".to_owned());
    assert_eq!(deeds.contains(&began), deeds.contains(&ended), "{deeds:?}");
    assert_eq!(second.state("broker"), State::Waiting);
}

#[test]
fn a_check_that_the_file_lost_still_orders_what_stands_on_it() {
    let mut stage = asked(check(&["db"]));
    stage.passes("broker");
    stage.comes_up("api");
    stage.file.clear();
    assert_eq!(stage.up(&[]), ["stop api 1", "cancel broker 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
    stage.ends("db", 0);
    assert!(stage.world.views(None).is_empty() && stage.world.is_idle());
}

#[test]
fn checks_whose_old_and_new_needs_go_in_a_circle_come_to_an_end() {
    let file = [("a", check(&[])), ("b", check(&["a"])), ("api", service(&["b"]))];
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    stage.passes("a");
    stage.passes("b");
    stage.comes_up("api");
    // The living keep what they needed until their next life; a need of what is removed turns round.
    stage.edit("b", |b| b.needs.clear());
    stage.edit("a", |a| a.needs = check(&["b"]).needs);
    stage.up(&[]);
    stage.passes("b");
    stage.passes("a");
    assert_eq!(stage.ends("api", 1), ["acknowledge api 1"]);
    stage.down(&[]);
    assert!(stage.world.is_idle());
}
