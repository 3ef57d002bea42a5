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

#[test]
fn what_up_named_stays_when_the_lease_ends_and_the_reverse() {
    let mut stage = leased("zsh/1");
    assert_eq!(stage.up(&["web"]), [""; 0]);
    assert_eq!(stage.held_by("web"), ["up", "zsh/1"]);
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    assert_eq!(stage.held_by("web"), ["up"]);
    assert_eq!(stage.lease("vim/1", &["db"]), [""; 0]);
    assert_eq!(stage.down(&["web"]), ["stop web 1"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"]);
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1"], "db is leased itself");
    assert_eq!(stage.release(&["vim/1"]), ["stop db 1"]);
}

#[test]
fn a_lease_of_what_needs_it_holds_it_as_well() {
    let mut stage = leased("zsh/1");
    stage.lease("vim/1", &["db"]);
    assert_eq!(stage.held_by("db"), ["vim/1", "needed by api"]);
    assert_eq!(stage.release(&["vim/1"]), [""; 0], "web stands on it");
    assert_eq!(stage.release(&["zsh/1"]), ["stop web 1"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"], "dependents first");
    assert_eq!(stage.ends("api", 0), ["acknowledge api 1", "stop db 1"]);
}

#[test]
fn a_lease_that_is_known_gets_more_and_somebody_elses_is_left_alone() {
    let mut stage = chain();
    stage.lease("zsh/1", &["db"]);
    stage.comes_up("db");
    assert_eq!(stage.lease("zsh/1", &["api"]), ["spawn api 1"]);
    assert_eq!(stage.leases(), ["zsh/1: db, api"]);
    let (definitions, targets) = (stage.file.clone(), names(&["web"]));
    let stranger = Lease { session: "vim".into(), ..lease("zsh/1") };
    let other = [(stranger, PROJECT), (lease("zsh/1"), "/other")];
    for (lease, project) in other {
        let (project, definitions) = (project.into(), definitions.clone());
        let targets = targets.clone();
        assert_eq!(stage.step(Event::Lease { lease, project, definitions, targets }), [""; 0]);
    }
    assert_eq!(stage.leases(), ["zsh/1: db, api"]);
    assert_eq!(stage.state("web"), State::Down);
    assert!(stage.world.view(&ServiceId::new("/other", "web")).is_none());
}

#[test]
fn a_lease_without_names_holds_what_is_enabled_now() {
    let mut stage = chain();
    stage.edit("web", |web| web.enabled = false);
    stage.lease("zsh/1", &[]);
    stage.edit("web", |web| web.enabled = true);
    stage.up(&["db"]);
    assert_eq!(stage.leases(), ["zsh/1: db, api"]);
    stage.lease("vim/1", &["nobody"]);
    assert_eq!(stage.leases(), ["zsh/1: db, api", "vim/1: "], "it lasts all the same");
    stage.release(&["vim/1", "vim/2"]);
    assert_eq!(stage.leases(), ["zsh/1: db, api"]);
}

#[test]
fn what_is_starting_when_it_is_given_back_lingers_too() {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    stage.lease("zsh/1", &["api"]);
    stage.started("db");
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    assert_eq!((stage.state("api"), stage.state("db")), (State::Down, State::Starting));
    stage.step(Event::Tick);
    assert_eq!(stage.state("db"), State::Ready);
    assert_eq!(stage.after(ms(9_999)), [""; 0]);
    assert_eq!(stage.after(ms(1)), ["stop db 1"]);
}

#[test]
fn what_rests_or_has_failed_goes_with_its_lease() {
    let mut stage = Stage::new(&[("db", service(&[])), ("bad", service(&[]))]);
    stage.edit("bad", |bad| bad.give_up = GiveUp { failures: 1, within: ms(60_000) });
    stage.lease("zsh/1", &["db", "bad"]);
    stage.comes_up("db");
    stage.ends("db", 1);
    stage.comes_up("bad");
    stage.ends("bad", 1);
    assert_eq!((stage.state("db"), stage.state("bad")), (State::Backoff, State::Failed));
    assert!(!stage.world.is_idle(), "somebody wants them");
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    assert_eq!(stage.said, ["bad down: not wanted any more", "db down: not wanted any more"]);
    assert!(stage.world.is_idle() && stage.world.next_deadline().is_none());
    assert_eq!(stage.lease("zsh/2", &[]), ["spawn bad 2", "spawn db 2"], "tried again, at once");
}

#[test]
fn a_oneshot_that_is_done_is_not_done_again_for_the_next_session() {
    let mut stage = Stage::new(&[("migrate", oneshot(&[])), ("api", service(&["migrate"]))]);
    stage.lease("zsh/1", &["api"]);
    stage.started("migrate");
    stage.ends("migrate", 0);
    stage.comes_up("api");
    stage.release(&["zsh/1"]);
    stage.after(ms(5_000));
    assert_eq!(stage.lease("vim/1", &["migrate"]), [""; 0]);
    assert_eq!(stage.after(ms(5_000)), ["stop api 1"], "nobody leased that");
    stage.ends("api", 0);
    assert_eq!(stage.state("migrate"), State::Done);
    stage.release(&["vim/1"]);
    stage.after(ms(10_000));
    assert_eq!(stage.state("migrate"), State::Down);
}

#[test]
fn a_lease_tries_again_what_has_failed_as_up_does() {
    let mut stage = Stage::new(&[("db", service(&[]))]);
    stage.edit("db", |db| db.restart = Restart::Never);
    stage.lease("zsh/1", &["db"]);
    stage.comes_up("db");
    stage.ends("db", 1);
    assert_eq!(stage.state("db"), State::Failed);
    assert_eq!(stage.lease("vim/1", &["db"]), ["spawn db 2"]);
    assert_eq!(stage.held_by("db"), ["zsh/1", "vim/1"]);
}

#[test]
fn what_an_edited_file_lost_is_leased_no_more() {
    let mut stage = leased("zsh/1");
    stage.lease("vim/1", &["web", "db"]);
    stage.file.remove("web");
    assert_eq!(stage.lease("cargo/1", &["db"]), ["stop web 1"]);
    assert_eq!(stage.leases(), ["zsh/1: ", "vim/1: db", "cargo/1: db"]);
    assert_eq!(stage.ends("web", 0), ["acknowledge web 1", "stop api 1"]);
    stage.ends("api", 0);
    stage.edit("db", |db| db.settle = ms(5));
    assert_eq!(stage.lease("cargo/1", &["db"]), ["stop db 1"], "what changed begins anew");
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    assert_eq!(stage.leases(), ["zsh/1: ", "vim/1: db", "cargo/1: db"]);
}

#[test]
fn a_restart_leases_only_what_nobody_holds() {
    let mut stage = chain();
    stage.up(&["db"]);
    stage.comes_up("db");
    let restart = |stage: &mut Stage, lease: &str, targets: &[&str]| {
        let (project, definitions) = (PROJECT.into(), stage.file.clone());
        let (targets, lease) = (names(targets), Some(self::lease(lease)));
        stage.step(Event::Restart { project, definitions, targets, lease })
    };
    assert_eq!(restart(&mut stage, "zsh/1", &["db"]), ["stop db 1"]);
    assert_eq!(stage.leases(), [""; 0], "it had nothing to hold");
    assert_eq!(stage.release(&["zsh/1"]), [""; 0]);
    assert_eq!(restart(&mut stage, "zsh/2", &["db", "api"]), [""; 0], "its turn comes");
    assert_eq!(stage.leases(), ["zsh/2: api"]);
    assert_eq!(stage.ends("db", 0), ["acknowledge db 1", "spawn db 2"]);
    assert_eq!(stage.comes_up("db"), ["mark db 2", "spawn api 1"]);
    assert_eq!(stage.release(&["zsh/2"]), ["stop api 1"]);
    assert_eq!(stage.held_by("db"), ["up"]);
}

#[test]
fn sessions_that_end_together_give_back_in_all_projects() {
    let mut stage = leased("zsh/1");
    let project: std::sync::Arc<str> = "/src/other".into();
    let definitions = [("db".into(), service(&[]))].into();
    let (lease, targets) = (lease("zsh/2"), Vec::new());
    stage.step(Event::Lease { lease, project: project.clone(), definitions, targets });
    stage.lease("vim/1", &["db"]);
    assert_eq!(stage.leases(), ["zsh/1: web", "zsh/2: db", "vim/1: db"], "oldest first");
    let mine = stage.world.leases_of("zsh");
    assert_eq!(mine.iter().map(|view| &*view.project).collect::<Vec<_>>(), [PROJECT, &*project]);
    stage.step(Event::Started { id: ServiceId::new(project.clone(), "db"), life: 1, pid: 7 });
    assert_eq!(stage.world.leased(None, &names(&["db"]), None).len(), 3);
    assert_eq!(stage.release(&["zsh/2", "vim/1", "zsh/1"]), ["stop web 1"]);
    let other = stage.world.view(&ServiceId::new(project, "db")).unwrap();
    assert_eq!(other.lingers_until, Some(stage.now.after(ms(10_000))));
    assert_eq!((stage.leases(), stage.world.leases_of("zsh").len()), (Vec::new(), 0));
}

#[test]
fn why_goes_the_shortest_way_through_a_diamond() {
    let file = [
        ("db", service(&[])),
        ("api", service(&["db"])),
        ("jobs", service(&["db"])),
        ("queue", service(&["jobs"])),
        ("web", service(&["api", "queue"])),
        ("docs", service(&["api"])),
    ];
    let mut stage = Stage::new(&file);
    stage.lease("zsh/1", &["web"]);
    assert_eq!(stage.why("db"), ["zsh/1 through web, api"]);
    assert_eq!(stage.why("jobs"), ["zsh/1 through web, queue"]);
    stage.lease("vim/1", &["web", "queue", "docs"]);
    assert_eq!(stage.why("db"), ["zsh/1 through web, api", "vim/1 through docs, api"]);
    stage.up(&["queue"]);
    let all = ["up through queue", "zsh/1 through web, queue", "vim/1 through queue"];
    assert_eq!(stage.why("jobs"), all);
    stage.release(&["zsh/1", "vim/1"]);
    assert_eq!(stage.why("db"), ["up through queue, jobs"], "api is wanted by nobody");
    assert_eq!(stage.why("api"), [""; 0]);
}

#[test]
fn what_lingers_is_kept_by_nobody_and_taken_from_nobody() {
    let mut stage = Stage::new(&[("db", service(&[])), ("api", service(&["db"]))]);
    stage.lease("zsh/1", &["api"]);
    stage.comes_up("db");
    stage.comes_up("api");
    stage.release(&["zsh/1"]);
    assert_eq!((stage.why("api"), stage.why("db")), (Vec::new(), Vec::new()));
    assert_eq!(stage.world.leased(None, &[], None), []);
    assert_eq!(stage.lease("vim/1", &["db"]), [""; 0]);
    assert_eq!(stage.why("db"), ["vim/1"], "not through api, which is on its way out");
}

#[test]
fn what_was_not_saved_as_wanted_is_held_by_no_lease_again() {
    let mut first = leased("zsh/1");
    let before = first.world.saved_leases();
    assert_eq!(before.iter().map(|lease| &**lease.session()).collect::<Vec<_>>(), ["zsh"]);
    let rebooted = first.world.saved().into_iter().map(Saved::after_reboot).collect();
    first.down(&[]);
    for saved in [rebooted, first.world.saved(), Vec::new()] {
        let mut second = Stage::new(&[]);
        second.world.restore(saved, second.now);
        second.world.restore_leases(before.clone());
        assert_eq!(second.leases(), ["zsh/1: "]);
        assert_eq!(second.step(Event::Settled), [""; 0]);
        assert_eq!(second.release(&["zsh/1"]), [""; 0]);
        assert_eq!(second.leases(), [""; 0]);
    }
}
