//! What people meet, told as sentences.

mod stage;

use hearth_core::*;
use stage::*;

/// A world where `names`, in this order, have come up.
fn running(file: &[(&str, Definition)], names: &[&str]) -> Stage {
    let mut stage = Stage::new(file);
    stage.up(&[]);
    for name in names {
        stage.comes_up(name);
    }
    stage
}

#[test]
fn services_start_in_order_and_side_by_side() {
    let file = [("db", service(&[])), ("mq", service(&[])), ("api", service(&["db", "mq"]))];
    let mut stage = Stage::new(&file);
    assert_eq!(stage.up(&[]), ["spawn db 1", "spawn mq 1"]);
    assert_eq!(stage.state("api"), State::Waiting);
    assert_eq!(stage.health("api").1, "waits for db (starting), mq (starting)");
    assert_eq!(stage.comes_up("db"), ["mark db 1"]);
    assert_eq!(stage.comes_up("mq"), ["mark mq 1", "spawn api 1"]);
    assert_eq!(stage.outcome(&[], Goal::Ready), None);
    stage.comes_up("api");
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    assert_eq!(stage.up(&[]), [""; 0], "an up of what is up does nothing");
}

#[test]
fn up_of_one_service_brings_up_what_it_needs_and_nothing_else() {
    let off = Definition { enabled: false, ..service(&[]) };
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"])), ("off", off)]);
    assert_eq!(stage.up(&["api"]), ["spawn db 1"]);
    assert_eq!(stage.state("off"), State::Down);
    assert_eq!(stage.up(&["off"]), ["spawn off 1"], "named, it counts although not enabled");
}

#[test]
fn down_takes_dependents_first_and_what_only_they_needed_after() {
    let file = [("db", service(&[])), ("api", service(&["db"])), ("web", service(&["api"]))];
    let mut stage = Stage::new(&file);
    stage.up(&["web"]);
    for name in ["db", "api", "web"] {
        stage.comes_up(name);
    }
    assert_eq!(stage.down(&["api"]), ["stop web 1"]);
    assert_eq!(stage.exits("web", 0), [""; 0], "its tree is not empty yet");
    assert_eq!(stage.emptied("web"), ["acknowledge web 1", "stop api 1"]);
    assert_eq!(stage.outcome(&["api"], Goal::Down), None);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1"]);
    assert_eq!(stage.outcome(&["api"], Goal::Down), Some(Outcome::Down), "db is not waited for");
    assert_eq!(stage.after(ms(10_000)), ["stop db 1"], "its linger");
    stage.ends("db", 0);
    assert!(stage.world.is_idle() && stage.world.next_deadline().is_none());
}

#[test]
fn a_service_that_up_named_stays_when_its_dependent_goes() {
    let mut stage = running(&[("db", service(&[])), ("api", service(&["db"]))], &["db", "api"]);
    stage.down(&["api"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1"]);
    assert_eq!(stage.world.view(&id("db")).unwrap().held_by, [Holder::Up]);
}

#[test]
fn a_service_that_ignores_the_stop_is_killed_at_its_timeout() {
    let mut stage = running(&[("db", tested(&[]))], &["db"]);
    stage.passes("db");
    assert_eq!(stage.down(&[]), ["cancel db 1", "stop db 1"]);
    assert_eq!(stage.after(ms(9_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["kill db 1"]);
    assert_eq!(stage.ends("db", 137), ["acknowledge db 1"]);
    assert_eq!(stage.said, ["db down: killed after 10s"]);
}

#[test]
fn what_is_left_of_a_tree_is_killed_before_the_next_life() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    assert_eq!(stage.exits("db", 1), [""; 0]);
    assert_eq!(stage.said, ["db backoff: exited with code 1, next try in 100ms"]);
    assert_eq!(stage.after(ms(10_000)), ["kill db 1"]);
    assert_eq!(stage.emptied("db"), ["acknowledge db 1", "spawn db 2"]);
}

#[test]
fn up_during_down_and_down_during_up_end_as_the_last_one_said() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    stage.down(&[]);
    assert_eq!(stage.up(&[]), [""; 0]);
    assert!(matches!(stage.outcome(&[], Goal::Down), Some(Outcome::Failed { .. })));
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    assert_eq!(stage.down(&[]), ["stop db 2"], "even before it has started");
    assert!(matches!(stage.outcome(&[], Goal::Ready), Some(Outcome::Failed { .. })));
    stage.started("db");
    stage.ends("db", 0);
    assert_eq!(stage.state("db"), State::Down);
}

#[test]
fn only_what_changed_is_restarted_and_what_was_removed_is_stopped() {
    let file = [("db", service(&[])), ("api", service(&["db"])), ("old", service(&[]))];
    let mut stage = running(&file, &["db", "api", "old"]);
    stage.file.remove("old");
    stage.edit("db", |db| db.settle = ms(5));
    assert_eq!(stage.up(&[]), ["stop old 1", "stop db 1"]);
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    stage.ends("old", 0);
    assert_eq!(stage.state("old"), State::Unknown, "forgotten");
    assert_eq!(stage.state("api"), State::Ready, "lost = keep");
}

#[test]
fn what_a_changed_service_no_longer_needs_goes_after_its_old_life() {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    stage.up(&["api"]);
    stage.comes_up("db");
    stage.comes_up("api");
    stage.file.remove("db");
    stage.edit("api", |api| api.needs.clear());
    assert_eq!(stage.up(&["api"]), ["stop api 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "spawn api 2", "stop db 1"]);
}

#[test]
fn a_down_reaches_what_a_changed_service_no_longer_needs() {
    let mut stage = running(&[("db", service(&[])), ("api", service(&["db"]))], &["db", "api"]);
    stage.edit("api", |api| api.needs.clear());
    assert_eq!(stage.up(&[]), ["stop api 1"]);
    assert_eq!(stage.down(&[]), [""; 0], "db waits for the old life");
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
}

#[test]
fn restart_keeps_dependents_by_lost_and_starts_what_is_down() {
    let file =
        [("db", service(&[])), ("api", service(&["db"])), ("job", lost_stop(service(&["db"])))];
    let mut stage = running(&file, &["db", "api", "job"]);
    assert_eq!(stage.restart(&["db"]), ["stop job 1"], "in order");
    assert_eq!(stage.ends("job", 0), ["acknowledge job 1", "stop db 1"]);
    assert_eq!(stage.said.last().unwrap(), "db stopping: restart was asked for");
    assert!(stage.health("job").1.starts_with("waits for db ("));
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    assert_eq!(stage.comes_up("db"), ["mark db 2", "spawn job 2"]);
    assert_eq!(stage.life("api"), 1);
    let mut stage = Stage::new(&file);
    assert_eq!(stage.restart(&["api"]), ["spawn db 1"]);
}

#[test]
fn a_dependency_that_goes_bad_stops_a_dependent_that_says_so_and_brings_it_back() {
    let mut stage = Stage::new(&[("db", tested(&[])), ("api", lost_stop(service(&["db"])))]);
    stage.up(&[]);
    stage.started("db");
    stage.passes("db");
    stage.comes_up("api");
    for _ in 0..2 {
        stage.after(ms(30_000));
        assert_eq!(stage.fails("db"), [""; 0], "one failed probe is not a failure");
    }
    stage.after(ms(1_000));
    assert_eq!(stage.fails("db"), ["stop api 1"]);
    assert_eq!(stage.health("db"), (HealthStatus::Failure, "connection refused".into()));
    stage.ends("api", 0);
    assert_eq!(stage.health("api").1, "waits for db (unhealthy: connection refused)");
    stage.after(ms(1_000));
    assert_eq!(stage.passes("db"), ["spawn api 2"]);
}

#[test]
fn a_oneshot_gates_runs_once_and_runs_again_only_when_it_is_asked_or_changed() {
    let file =
        [("db", service(&[])), ("migrate", oneshot(&["db"])), ("api", service(&["migrate"]))];
    let mut stage = running(&file, &["db"]);
    stage.started("migrate");
    assert_eq!(stage.exits("migrate", 0), ["spawn api 1"]);
    stage.emptied("migrate");
    stage.comes_up("api");
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Ready));
    stage.ends("db", 1);
    stage.after(ms(100));
    assert_eq!(stage.comes_up("db"), ["mark db 2"], "a flap does not run it again");
    assert_eq!(stage.up(&[]), [""; 0]);
    assert_eq!(stage.restart(&["migrate"]), ["spawn migrate 2"]);
    stage.started("migrate");
    stage.ends("migrate", 0);
    stage.edit("migrate", |_| ());
    assert_eq!(stage.up(&[]), ["spawn migrate 3"]);
}

#[test]
fn a_oneshot_that_fails_is_retried_and_its_dependents_say_whom_they_wait_for() {
    let mut migrate = oneshot(&[]);
    migrate.give_up.failures = 2;
    let mut stage = Stage::new(&[("migrate", migrate), ("api", service(&["migrate"]))]);
    stage.up(&[]);
    stage.started("migrate");
    stage.ends("migrate", 3);
    assert_eq!(
        stage.health("api").1,
        "waits for migrate (backoff: exited with code 3, next try in 100ms)"
    );
    assert_eq!(stage.after(ms(100)), ["spawn migrate 2"]);
    stage.started("migrate");
    stage.ends("migrate", 3);
    assert_eq!(
        stage.said,
        ["migrate failed: gave up after 2 failures within 1m, last: exited with code 3"]
    );
    let (failed, not_ready) = (names(&["migrate"]), names(&["api"]));
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(Outcome::Failed { failed, not_ready }));
    assert_eq!(stage.up(&[]), ["spawn migrate 3"], "asked again, it is tried again");
    assert_eq!(stage.outcome(&[], Goal::Ready), None);
}

#[test]
fn backoff_doubles_and_begins_anew_after_a_long_life() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    let mut pauses = Vec::new();
    for lived in [0, 0, 0, 60_000, 0] {
        stage.after(ms(lived));
        stage.ends("db", 1);
        let next = stage.world.next_deadline().unwrap();
        pauses.push(next.since(stage.now).as_millis());
        stage.after(next.since(stage.now));
        stage.comes_up("db");
    }
    assert_eq!(pauses, [100, 200, 400, 100, 200]);
    assert_eq!(stage.world.view(&id("db")).unwrap().restarts, 5);
}

#[test]
fn a_misspelled_command_fails_at_once_with_its_reason() {
    let mut stage = Stage::new(&[("db", service(&[]))]);
    stage.up(&[]);
    assert_eq!(stage.start_fails("db", "pstgres: not found"), ["acknowledge db 1"]);
    assert_eq!(stage.said, ["db failed: could not be started: pstgres: not found"]);
    let failed = names(&["db"]);
    let outcome = Outcome::Failed { failed, not_ready: Vec::new() };
    assert_eq!(stage.outcome(&[], Goal::Ready), Some(outcome));
}

#[test]
fn a_command_that_ran_before_and_is_gone_for_a_moment_is_tried_again() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    stage.ends("db", 1);
    stage.after(ms(100));
    stage.start_fails("db", "not found");
    assert_eq!(stage.state("db"), State::Backoff);
}

#[test]
fn success_before_ready_is_failed_and_after_ready_is_done() {
    let mut stage = Stage::new(&[("db", Definition { settle: ms(500), ..service(&[]) })]);
    stage.up(&[]);
    stage.started("db");
    stage.ends("db", 0);
    assert_eq!(stage.said, ["db failed: exited with code 0 before it was ready"]);
    stage.up(&[]);
    stage.started("db");
    stage.after(ms(500));
    stage.ends("db", 0);
    assert_eq!(stage.state("db"), State::Done);
}

#[test]
fn a_service_that_is_not_ready_in_time_is_stopped_and_counts_as_a_failure() {
    let mut db = tested(&[]);
    db.give_up.failures = 2;
    let mut stage = Stage::new(&[("db", db)]);
    stage.up(&[]);
    for life in 1..=2 {
        stage.started("db");
        stage.fails("db");
        let deeds = stage.after(ms(60_000));
        assert_eq!(deeds, [format!("cancel db {life}"), format!("stop db {life}")]);
        stage.ends("db", 143);
        stage.after(ms(100));
    }
    assert_eq!(stage.state("db"), State::Failed, "the time of a hanging start doesn't count");
    assert!(stage.health("db").1.ends_with("last: not ready within 1m: connection refused"));
}

#[test]
fn a_test_that_was_never_heard_of_is_told_by_what_it_waits_for() {
    let silent = "no line has matched".to_owned();
    let log = Test { event_driven: true, silent, ..test() };
    let mut stage = Stage::new(&[("db", Definition { tests: vec![log], ..service(&[]) })]);
    stage.up(&[]);
    stage.started("db");
    stage.after(ms(5_000));
    assert_eq!(stage.health("db"), (HealthStatus::Failure, "no line has matched".into()));
    stage.after(ms(55_000));
    assert_eq!(stage.said.last().unwrap(), "db stopping: not ready within 1m: no line has matched");
}

#[test]
fn all_tests_must_pass_and_each_is_asked_again_by_its_own_pause() {
    let log = Test { event_driven: true, ..test() };
    let db = Definition { tests: vec![test(), log], ..service(&[]) };
    let mut stage = Stage::new(&[("db", db)]);
    stage.up(&[]);
    assert_eq!(stage.started("db"), ["probe db 1", "probe db 1"]);
    stage.fails("db");
    assert_eq!(stage.after(ms(1_000)), ["probe db 1"]);
    assert_eq!(stage.passes("db"), [""; 0]);
    assert_eq!(stage.probed("db", 1, Verdict::Pass("listens".into())), ["mark db 1"]);
    assert_eq!(stage.health("db"), (HealthStatus::Success, "200 OK, listens".into()));
    assert_eq!(stage.after(ms(29_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["probe db 1"]);
}

#[test]
fn grace_softens_what_is_reported_and_loading_shows_past_it() {
    let mut stage = Stage::new(&[("db", tested(&[]))]);
    stage.up(&[]);
    stage.started("db");
    stage.fails("db");
    assert_eq!(stage.health("db").0, HealthStatus::Starting);
    stage.after(ms(5_000));
    assert_eq!(stage.health("db"), (HealthStatus::Failure, "connection refused".into()));
    stage.probed("db", 0, Verdict::Loading("replays its log".into()));
    assert_eq!(stage.health("db"), (HealthStatus::Loading, "replays its log".into()));
}

#[test]
fn a_killed_shim_counts_as_a_failure_of_unknown_kind() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    assert_eq!(
        stage.step(Event::ShimLost { id: id("db"), life: 1, at: "then".into(), left: vec![] }),
        [""; 0]
    );
    assert_eq!(stage.said, ["db backoff: ended, and nobody saw how, next try in 100ms"]);
    let lost = Exit { code: None, signal: None, at: "then".into() };
    assert_eq!(stage.world.view(&id("db")).unwrap().exit, Some(lost));
    assert_eq!(stage.after(ms(100)), ["spawn db 2"]);
}

fn found(name: &str, definition: &Definition) -> Event {
    Event::Adopted {
        id: id(name),
        definition: Some(definition.clone()),
        life: 7,
        pid: Some(100),
        exit: None,
        ready: true,
        want: Want::Up,
        restarts: 2,
        stopping: false,
    }
}

#[test]
fn an_adopted_service_runs_on_and_its_tests_go_on() {
    let mut stage = Stage::new(&[("db", tested(&[]))]);
    assert_eq!(stage.step(found("db", &tested(&[]))), ["probe db 7"]);
    assert_eq!(stage.said, ["db ready: taken over by a new agent"]);
    assert_eq!(stage.up(&[]), [""; 0], "never a second copy");
    assert_eq!(stage.world.view(&id("db")).unwrap().restarts, 2);
}

#[test]
fn an_adopted_service_that_ended_meanwhile_is_restarted_by_its_policy() {
    let mut stage = Stage::new(&[("db", service(&[]))]);
    let Event::Adopted { id: db, definition, life, pid, ready, want, restarts, stopping, .. } =
        found("db", &service(&[]))
    else {
        unreachable!()
    };
    let exit = Some(exit(1));
    let event =
        Event::Adopted { id: db, definition, life, pid, exit, ready, want, restarts, stopping };
    assert_eq!(stage.step(event), [""; 0]);
    assert_eq!(stage.emptied("db"), ["acknowledge db 7"]);
    assert_eq!(stage.after(ms(100)), ["spawn db 8"]);
}

#[test]
fn adopted_services_that_are_not_wanted_go_in_order_whatever_the_order_of_their_finding() {
    let mut stage = Stage::new(&[]);
    for (name, definition) in [("db", service(&[])), ("api", service(&["db"]))] {
        let mut event = found(name, &definition);
        if let Event::Adopted { want, .. } = &mut event {
            *want = Want::Down;
        }
        assert_eq!(stage.step(event), [""; 0]);
    }
    assert_eq!(stage.world.next_deadline(), Some(stage.now));
    assert_eq!(stage.step(Event::Tick), ["stop api 7"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 7", "stop db 7"]);
}

#[test]
fn a_cycle_fails_with_its_way_and_nothing_is_started() {
    let mut stage = Stage::new(&[("a", service(&["b"])), ("b", service(&["a"]))]);
    assert_eq!(stage.up(&[]), [""; 0]);
    assert_eq!(stage.health("a"), (HealthStatus::Failure, "needs itself: a -> b -> a".into()));
}

#[test]
fn life_numbers_count_on_from_what_the_driver_says() {
    let mut stage = Stage::new(&[("db", service(&[]))]);
    stage.world.set_last_life(&id("db"), 41);
    assert_eq!(stage.up(&[]), ["spawn db 42"]);
}

#[test]
fn readiness_counts_from_the_lifes_beginning_whichever_agent_saw_it() {
    let definition = Definition { settle: ms(2_000), ..service(&[]) };
    let mut first = Stage::new(&[("a", definition.clone())]);
    first.up(&[]);
    first.started("a");
    first.after(ms(1_500));
    let (saved, now, life) = (first.world.saved(), first.now, first.life("a"));
    let mut second = Stage::new(&[("a", definition.clone())]);
    second.now = now;
    second.world.restore(saved, now);
    second.step(Event::Adopted {
        id: id("a"),
        definition: Some(definition),
        life,
        pid: Some(7),
        exit: None,
        ready: false,
        want: Want::Up,
        restarts: 0,
        stopping: false,
    });
    second.step(Event::Settled);
    assert_eq!(second.state("a"), State::Starting);
    second.after(ms(400));
    assert_eq!(second.state("a"), State::Starting);
    second.after(ms(100));
    assert_eq!(second.state("a"), State::Ready);
    assert!(second.world.lived(&id("a"), second.now) >= ms(2_000));
}

#[test]
fn one_that_waits_says_how_things_are_now_and_changes_its_state_once() {
    let file =
        [("db", service(&[])), ("migrate", oneshot(&["db"])), ("api", service(&["migrate"]))];
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    let says = |stage: &Stage| stage.world.view(&id("api")).unwrap().message;
    assert_eq!(says(&stage), "waits for migrate (waiting)");
    stage.comes_up("db");
    assert_eq!(says(&stage), "waits for migrate (starting)");
    stage.started("migrate");
    stage.ends("migrate", 1);
    assert_eq!(stage.said, ["migrate backoff: exited with code 1, next try in 100ms"]);
    let words = "waits for migrate (backoff: exited with code 1, next try in 100ms)";
    assert_eq!((says(&stage).as_str(), stage.health("api").1.as_str()), (words, words));
}

#[test]
fn a_loss_goes_through_a_chain_in_order_and_so_does_its_return() {
    let file = [
        ("db", tested(&[])),
        ("migrate", lost_stop(oneshot(&["db"]))),
        ("api", lost_stop(service(&["db", "migrate"]))),
        ("web", lost_stop(service(&["api"]))),
    ];
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    stage.started("db");
    stage.passes("db");
    stage.started("migrate");
    stage.ends("migrate", 0);
    stage.comes_up("api");
    stage.comes_up("web");
    let flaps = |stage: &mut Stage| {
        stage.after(ms(30_000));
        for _ in 0..3 {
            stage.fails("db");
            stage.after(ms(1_000));
        }
    };
    flaps(&mut stage);
    assert_eq!(stage.state("web"), State::Stopping);
    assert_eq!(stage.state("api"), State::Ready, "after web");
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"]);
    assert_eq!(stage.world.view(&id("web")).unwrap().waits_for, names(&["api"]));
    stage.ends("api", 0);
    assert_eq!(stage.health("api").1, "waits for db (unhealthy: connection refused)");
    assert_eq!(stage.state("migrate"), State::Done);
    assert_eq!(stage.passes("db"), ["spawn api 2"], "migrate does not run again for that");
    assert_eq!(stage.comes_up("api"), ["mark api 2", "spawn web 2"]);
    flaps(&mut stage);
    assert_eq!(stage.passes("db"), [""; 0], "back before web has gone: api stays");
    assert_eq!(stage.ends("web", 0), ["acknowledge web 2", "spawn web 3"]);
    assert_eq!((stage.life("api"), stage.state("api")), (2, State::Ready));
}

#[test]
fn work_in_between_is_no_failure_and_breaks_a_row() {
    let mut stage = running(&[("db", tested(&[]))], &["db"]);
    stage.passes("db");
    let says = |stage: &mut Stage, verdict: Verdict| {
        stage.after(ms(30_000));
        stage.probed("db", 0, verdict);
        stage.state("db")
    };
    let (no, busy) = (Verdict::Fail("no".into()), Verdict::Loading("vacuums".into()));
    for verdict in [&no, &no, &busy, &busy, &busy, &no, &no] {
        assert_eq!(says(&mut stage, verdict.clone()), State::Ready);
    }
    assert_eq!(says(&mut stage, no), State::Unhealthy);
    assert_eq!(says(&mut stage, busy), State::Unhealthy, "at work again is not ready again");
}

#[test]
fn a_wait_that_asks_for_nothing_waits_for_what_nobody_wants_and_fails_with_what_failed() {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    assert_eq!(stage.outcome(&["api"], Goal::Arrive), None, "not known yet");
    assert!(matches!(stage.outcome(&["api"], Goal::Ready), Some(Outcome::Failed { .. })));
    stage.up(&["db"]);
    assert_eq!(stage.outcome(&["api"], Goal::Arrive), None, "not wanted yet");
    stage.comes_up("db");
    assert_eq!(stage.outcome(&["db"], Goal::Arrive), Some(Outcome::Ready));
    stage.down(&[]);
    stage.ends("db", 0);
    assert_eq!(stage.outcome(&["db"], Goal::Arrive), None, "not wanted any more: not yet again");
    stage.up(&["api"]);
    stage.start_fails("db", "not found");
    let (failed, not_ready) = (names(&["db"]), names(&["api"]));
    let outcome = Some(Outcome::Failed { failed, not_ready });
    assert_eq!(stage.outcome(&["api"], Goal::Arrive), outcome);
}

#[test]
fn a_stop_for_the_start_timeout_is_one_also_to_an_agent_that_finds_it() {
    let mut first = Stage::new(&[("db", tested(&[]))]);
    first.up(&[]);
    first.started("db");
    let (saved, restarts) = (first.world.saved(), 0);
    assert_eq!(first.after(ms(60_000)), ["cancel db 1", "stop db 1"]);
    let mut second = Stage::new(&[]);
    second.now = first.now;
    second.world.restore(saved, second.now);
    second.step(Event::Adopted {
        id: id("db"),
        definition: None,
        life: 1,
        pid: Some(7),
        exit: None,
        ready: false,
        want: Want::Up,
        restarts,
        stopping: true,
    });
    second.step(Event::Settled);
    assert_eq!(second.ends("db", 143), ["acknowledge db 1"], "it is not started at once");
    assert_eq!(second.said, ["db backoff: not ready within 1m, next try in 100ms"]);
}

#[test]
fn a_wait_goes_by_what_a_changed_service_has_become() {
    let mut stage = running(&[("db", service(&[]))], &["db"]);
    stage.edit("db", |db| *db = Definition { fingerprint: db.fingerprint, ..check(&[]) });
    stage.up(&[]);
    let mut wait = Wait::new(PROJECT.into(), [], Goal::Ready);
    assert_eq!(stage.world.look(&mut wait), None);
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "probe db 2"]);
    assert_eq!(stage.world.look(&mut wait), None);
    for _ in 0..3 {
        stage.fails("db");
        stage.after(ms(1_000));
    }
    assert_eq!(stage.state("db"), State::Unhealthy);
    assert_eq!(stage.world.look(&mut wait), Some(Outcome::Ready), "its verdict will do");
}

#[test]
fn a_stopped_start_that_is_not_wanted_any_more_says_nothing_of_a_next_try() {
    let mut stage = Stage::new(&[("db", tested(&[]))]);
    stage.up(&[]);
    stage.started("db");
    stage.after(ms(60_000));
    stage.down(&[]);
    stage.ends("db", 143);
    assert_eq!(stage.said, ["db down: exited with code 143"]);
}

#[test]
fn what_a_found_service_needs_is_wanted_whatever_is_found_first() {
    let mut stage = Stage::new(&[]);
    stage.step(found("api", &service(&["db"])));
    let mut event = found("db", &service(&[]));
    if let Event::Adopted { want, .. } = &mut event {
        *want = Want::Down;
    }
    stage.step(event);
    assert_eq!(stage.step(Event::Tick), [""; 0], "api runs, and needs it");
    assert_eq!(stage.world.view(&id("db")).unwrap().want, Want::Up);
}

#[test]
fn what_stands_on_a_oneshot_that_is_done_goes_before_what_that_needed() {
    let file = [("db", service(&[])), ("seed", oneshot(&["db"])), ("web", service(&["seed"]))];
    let mut stage = Stage::new(&file);
    stage.up(&[]);
    stage.comes_up("db");
    stage.started("seed");
    stage.ends("seed", 0);
    stage.comes_up("web");
    assert_eq!(stage.down(&[]), ["stop web 1"]);
    assert_eq!(stage.state("db"), State::Ready);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop db 1"]);
    stage.ends("db", 0);
    assert!(stage.world.is_idle());
}

#[test]
fn a_restart_is_not_held_back_by_what_stands_on_a_oneshot_that_stays_done() {
    let web = lost_stop(service(&["seed"]));
    let mut stage = Stage::new(&[("db", service(&[])), ("seed", oneshot(&["db"])), ("web", web)]);
    stage.up(&[]);
    stage.comes_up("db");
    stage.started("seed");
    stage.ends("seed", 0);
    stage.comes_up("web");
    assert_eq!(stage.restart(&["db"]), ["stop db 1"], "web stands on seed, which stays done");
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    assert_eq!(stage.state("web"), State::Ready);
}

#[test]
fn an_answer_that_may_be_a_strangers_counts_when_the_life_has_lasted() {
    let mut stage = Stage::new(&[("web", tested(&[]))]);
    let doubtful = || Verdict::Doubtful("accepts connections".into());
    stage.up(&[]);
    assert_eq!(stage.started("web"), ["probe web 1"]);
    assert_eq!(stage.probed("web", 0, doubtful()), [""; 0]);
    assert_eq!(stage.state("web"), State::Starting);
    assert_eq!(stage.after(ms(999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["probe web 1"]);
    assert_eq!(stage.probed("web", 0, doubtful()), ["mark web 1"]);
    assert_eq!(stage.state("web"), State::Ready);
}

#[test]
fn who_needs_whom_may_be_turned_round_while_an_agent_dies() {
    for (first, second) in [("a", "z"), ("z", "a")] {
        let file = [(first, service(&[second])), (second, service(&[]))];
        let mut old = running(&file, &[second, first]);
        old.ends(second, 1);
        old.edit(first, |first| first.needs.clear());
        old.edit(second, |second| second.needs = service(&[first]).needs);
        assert_eq!(old.up(&[]), [format!("stop {first} 1")]);
        assert_eq!(old.state(second), State::Waiting);
        let mut new = Stage::new(&[]);
        new.world.restore(old.world.saved(), new.now);
        let (id, life) = (id(first), 1);
        new.step(Event::Missing { id, life, at: "then".into() });
        assert_eq!(new.step(Event::Settled), [""; 0], "{second} waits still");
        assert_eq!(new.life(first), 2);
        assert_eq!(new.comes_up(first), [format!("mark {first} 2"), format!("spawn {second} 2")]);
    }
}
