//! What stays for a while when nobody needs it any more.

mod stage;

use hearth_core::*;
use stage::*;

/// web needs api needs db; all run, and only web was asked for.
fn chain(db: Definition, api: Definition) -> Stage {
    let file = [("db", db), ("api", api), ("web", service(&["api"]))];
    let mut stage = Stage::new(&file);
    stage.up(&["web"]);
    for name in ["db", "api", "web"] {
        stage.comes_up(name);
    }
    assert_eq!(stage.outcome(&["web"], Goal::Ready), Some(Outcome::Ready));
    stage
}

fn lingering(millis: u64, definition: Definition) -> Definition {
    Definition { linger: ms(millis), ..definition }
}

#[test]
fn what_only_it_needed_stays_for_its_linger_and_goes_dependents_first() {
    let mut stage = chain(service(&[]), service(&["db"]));
    assert_eq!(stage.down(&["web"]), ["stop web 1"]);
    let view = stage.world.view(&id("api")).unwrap();
    assert_eq!((view.want, view.held_by.len(), view.state), (Want::Up, 0, State::Ready));
    assert_eq!(view.message, "nobody needs it any more, goes in 10s");
    assert_eq!(view.lingers_until, Some(stage.now.after(ms(10_000))));
    stage.ends("web", 0);
    assert_eq!(stage.outcome(&["web"], Goal::Down), Some(Outcome::Down));
    assert!(!stage.world.is_idle());
    assert_eq!(stage.after(ms(9_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["stop api 1"], "db in its turn");
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
    stage.ends("db", 0);
    assert!(stage.world.is_idle() && stage.world.next_deadline().is_none());
}

#[test]
fn who_needs_it_again_finds_it_as_it_was() {
    let mut stage = chain(service(&[]), service(&["db"]));
    stage.down(&["web"]);
    stage.ends("web", 0);
    stage.after(ms(9_000));
    assert_eq!(stage.up(&["api"]), [""; 0]);
    let view = stage.world.view(&id("api")).unwrap();
    assert_eq!((view.held_by, view.lingers_until), (vec![Holder::Up], None));
    assert_eq!(view.message, "ready");
    assert_eq!(stage.after(ms(100_000)), [""; 0]);
    stage.down(&["web"]);
    assert_eq!(stage.state("api"), State::Ready, "it is named now");
}

#[test]
fn what_a_lingering_one_needs_stays_as_long() {
    let mut stage = chain(lingering(0, service(&[])), lingering(30_000, service(&["db"])));
    stage.down(&["web"]);
    stage.ends("web", 0);
    assert_eq!(stage.after(ms(29_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["stop api 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
    let mut stage = chain(lingering(30_000, service(&[])), lingering(0, service(&["db"])));
    stage.down(&["web"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"], "linger = 0s");
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1"]);
    assert_eq!(stage.after(ms(30_000)), ["stop db 1"]);
}

#[test]
fn what_down_names_or_the_file_lost_goes_at_once() {
    let mut stage = chain(service(&[]), service(&["db"]));
    stage.down(&["web"]);
    stage.ends("web", 0);
    assert_eq!(stage.down(&["api"]), ["stop api 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1"]);
    assert_eq!(stage.down(&[]), ["stop db 1"], "a down of all leaves nothing behind");
    let mut stage = chain(service(&[]), service(&["db"]));
    assert_eq!(stage.down(&[]), ["stop web 1"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"]);
    let mut stage = chain(service(&[]), service(&["db"]));
    stage.down(&["web"]);
    stage.ends("web", 0);
    stage.file.retain(|name, _| &**name == "db");
    assert_eq!(stage.up(&["db"]), ["stop api 1"], "removed from the file");
}

#[test]
fn what_waits_or_has_gone_bad_is_not_kept_warm() {
    let mut stage = chain(service(&[]), lost_stop(service(&["db"])));
    stage.exits("db", 1);
    stage.ends("api", 0);
    assert_eq!(stage.state("api"), State::Waiting);
    stage.down(&["web"]);
    assert_eq!((stage.state("api"), stage.state("db")), (State::Down, State::Stopping));
    let mut stage = chain(service(&[]), service(&["db"]));
    stage.down(&["web"]);
    stage.ends("web", 0);
    stage.exits("db", 1);
    assert_eq!(stage.said, ["db stopping: exited with code 1, next try in 100ms"]);
    stage.emptied("db");
    assert_eq!(stage.state("db"), State::Down);
    assert_eq!(stage.state("api"), State::Ready, "lost = keep, for its own time");
    assert_eq!(stage.up(&["api"]), ["spawn db 2"]);
}

#[test]
fn a_oneshot_that_is_done_lingers_with_what_it_did() {
    let file = [("migrate", oneshot(&[])), ("api", service(&["migrate"]))];
    let mut stage = Stage::new(&file);
    stage.up(&["api"]);
    stage.started("migrate");
    stage.ends("migrate", 0);
    stage.comes_up("api");
    stage.down(&["api"]);
    stage.ends("api", 0);
    assert_eq!(stage.state("migrate"), State::Done);
    stage.after(ms(9_000));
    assert_eq!(stage.up(&["api"]), ["spawn api 2"], "it is done still");
    stage.comes_up("api");
    stage.down(&["api"]);
    stage.ends("api", 0);
    stage.after(ms(10_000));
    assert_eq!(stage.state("migrate"), State::Down);
    assert_eq!(stage.up(&["api"]), ["spawn migrate 2"]);
}

#[test]
fn a_check_lingers_only_for_what_needs_it() {
    let file = [
        ("db", service(&[])),
        ("broker", check(&["db"])),
        ("api", service(&["broker"])),
        ("web", service(&["api"])),
    ];
    let mut stage = Stage::new(&file);
    stage.up(&["web"]);
    stage.comes_up("db");
    stage.passes("broker");
    stage.comes_up("api");
    stage.comes_up("web");
    assert_eq!(stage.down(&["web"]), ["stop web 1"]);
    assert_eq!(stage.state("broker"), State::Ready);
    assert_eq!(stage.down(&["api"]), ["cancel broker 1"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"]);
    stage.ends("api", 0);
    assert_eq!(stage.state("db"), State::Ready);
    assert_eq!(stage.after(ms(10_000)), ["stop db 1"]);
}

#[test]
fn its_time_goes_on_over_an_agents_death() {
    let mut first = chain(service(&[]), service(&["db"]));
    first.down(&["web"]);
    first.ends("web", 0);
    first.after(ms(4_000));
    let text = serde_json::to_string(&first.world.saved()).unwrap();
    let mut second = Stage::new(&[]);
    second.now = first.now;
    second.world.restore(serde_json::from_str(&text).unwrap(), second.now);
    for name in ["api", "db"] {
        let (exit, restarts) = (None, 0);
        second.step(Event::Adopted {
            id: id(name),
            definition: None,
            life: 1,
            pid: Some(7),
            exit,
            ready: true,
            want: Want::Up,
            restarts,
            stopping: false,
        });
    }
    second.step(Event::Settled);
    second.step(Event::Tick);
    assert_eq!(second.world.view(&id("db")).unwrap().held_by, []);
    assert_eq!(second.after(ms(5_999)), [""; 0]);
    assert_eq!(second.after(ms(1)), ["stop api 1"]);
    assert_eq!(second.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
}
