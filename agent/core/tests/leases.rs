//! Services live as long as somebody needs them: what sessions hold, and what goes with them.

mod stage;

use hearth_core::*;
use stage::*;

/// web needs api needs db, linger 0; nothing runs.
fn chain() -> Stage {
    let brief = |needs: &[&str]| Definition { linger: ms(0), ..service(needs) };
    Stage::new(&[("db", brief(&[])), ("api", brief(&["db"])), ("web", brief(&["api"]))])
}

/// All of `chain` runs, for this lease of web.
fn leased(lease: &str) -> Stage {
    let mut stage = chain();
    stage.lease(lease, &["web"]);
    for name in ["db", "api", "web"] {
        stage.comes_up(name);
    }
    stage
}

#[test]
fn a_service_stays_until_the_last_of_two_sessions_has_given_it_back() {
    let mut stage = chain();
    assert_eq!(stage.lease("zsh/1", &["db"]), ["spawn db 1"]);
    stage.comes_up("db");
    assert_eq!(stage.lease("vim/1", &["db"]), [""; 0], "it runs already");
    assert_eq!(stage.held_by("db"), ["zsh/1", "vim/1"]);
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    assert_eq!(stage.held_by("db"), ["vim/1"]);
    assert_eq!(stage.release(&["vim/1"]), ["stop db 1"]);
    stage.ends("db", 0);
    assert!(stage.world.is_idle() && stage.world.next_deadline().is_none());
    assert_eq!(stage.leases(), [""; 0]);
}

#[test]
fn what_nobody_holds_any_more_lingers_and_goes() {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    stage.lease("zsh/1", &["api"]);
    stage.comes_up("db");
    stage.comes_up("api");
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    let view = stage.world.view(&id("api")).unwrap();
    assert_eq!((view.want, view.held_by.len()), (Want::Up, 0));
    assert_eq!(view.lingers_until, Some(stage.now.after(ms(10_000))));
    assert_eq!(stage.after(ms(9_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["stop api 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
}

#[test]
fn down_takes_what_leases_hold_and_leaves_them_empty() {
    let mut stage = leased("zsh/1");
    stage.lease("vim/1", &["db"]);
    assert_eq!(stage.down(&["api"]), ["stop web 1"]);
    assert_eq!(stage.leases(), ["zsh/1: ", "vim/1: db"]);
    stage.ends("web", 0);
    stage.ends("api", 0);
    assert_eq!(stage.state("db"), State::Ready);
    assert_eq!(stage.release(&["zsh/1", "vim/1"]), ["stop db 1"]);
}

#[test]
fn leases_are_taken_up_again_after_an_agents_death() {
    let mut first = leased("zsh/1");
    first.lease("vim/1", &["db", "api"]);
    let services = serde_json::to_string(&first.world.saved()).unwrap();
    let leases = serde_json::to_string(&first.world.saved_leases()).unwrap();
    let mut second = Stage::new(&[]);
    second.now = first.now;
    second.world.restore(serde_json::from_str(&services).unwrap(), second.now);
    second.world.restore_leases(serde_json::from_str(&leases).unwrap());
    assert_eq!(second.leases(), ["zsh/1: web", "vim/1: db, api"]);
    assert_eq!(second.world.saved_leases(), first.world.saved_leases());
    for name in ["api", "db", "web"] {
        second.step(Event::Adopted {
            id: id(name),
            definition: None,
            life: 1,
            pid: Some(7),
            exit: None,
            ready: true,
            want: Want::Up,
            restarts: 0,
            stopping: false,
        });
    }
    second.step(Event::Settled);
    second.step(Event::Tick);
    assert_eq!(second.held_by("db"), ["vim/1", "needed by api"]);
    assert_eq!(second.release(&["vim/1"]), [""; 0]);
    assert_eq!(second.release(&["zsh/1"]), ["stop web 1"]);
}

#[test]
fn what_a_down_would_take_from_others_is_told() {
    let mut stage = leased("zsh/1");
    stage.lease("vim/1", &["db"]);
    let told = |stage: &Stage, targets: &[&str], but: Option<&str>| {
        let rows = stage.world.leased(Some(PROJECT), &names(targets), but);
        let words = |row: Leased| match row.needs {
            Some(need) => format!("{}, which needs {need}: {}", row.id.name, row.lease.id),
            None => format!("{}: {}", row.id.name, row.lease.id),
        };
        rows.into_iter().map(words).collect::<Vec<_>>()
    };
    assert_eq!(told(&stage, &["db"], None), ["db: vim/1", "web, which needs db: zsh/1"]);
    assert_eq!(told(&stage, &["db"], Some("vim")), ["web, which needs db: zsh/1"]);
    assert_eq!(told(&stage, &["api"], Some("vim")), ["web, which needs api: zsh/1"]);
    assert_eq!(told(&stage, &["api"], Some("zsh")), [""; 0]);
    assert_eq!(told(&stage, &[], None), ["db: vim/1", "web: zsh/1"]);
    assert_eq!(stage.world.leased(Some("/other"), &[], None), []);
    assert_eq!(stage.world.leased(None, &[], None).len(), 2);
}

#[test]
fn why_names_everybody_by_his_shortest_way() {
    let mut stage = leased("zsh/1");
    assert_eq!(stage.why("db"), ["zsh/1 through web, api"]);
    assert_eq!(stage.why("web"), ["zsh/1"]);
    stage.up(&["web"]);
    stage.lease("vim/1", &["db", "web"]);
    assert_eq!(stage.why("db"), ["up through web, api", "zsh/1 through web, api", "vim/1"]);
    stage.down(&[]);
    assert_eq!(stage.why("db"), [""; 0]);
    assert_eq!(stage.why("nobody"), [""; 0]);
}
