//! A logout and the next login: services end in order and by their stop signal, with their exits on
//! record, and what is enabled is there again. Each test stops a manager of its own.
//! Ignored where there is no systemd user manager; `packaging/with-user-systemd` makes one.

use std::fs;
use std::time::Duration;

use hearth_tests::Project;
use hearth_tests::systemd::{Installed, Manager, SERVICE, SOCKET};

/// `db` takes a second to heed its stop signal, and `web` needs it; both say what happens to them.
const PAIR: &str = "\
[services.db]\nrun = \"trap 'sleep 1; echo db ended >> ends; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done\"\n\
ready = { log = \"^up$\" }\n\
[services.web]\nrun = \"trap 'echo web ended >> ends; exit 0' TERM; echo up; while :; do sleep 1000 & wait; done\"\n\
ready = { log = \"^up$\" }\nneeds = [\"db\"]\n";

/// What both say of themselves, for a test that fails.
fn told(project: &Project, manager: &Manager) -> String {
    let log = fs::read_to_string(project.home.path("agent.log")).unwrap_or_default();
    format!("{log}\n{}", manager.said())
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_logout_ends_services_in_order_and_a_login_finds_them_down() {
    let project = Project::new(PAIR);
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let pids = ["db", "web"].map(|name| installed.pid(name));
    installed.keep();
    let (took, left) = manager.end();
    assert!(left.is_empty(), "the manager had to kill {left:?}:\n{}", told(&project, &manager));
    assert!(pids.iter().all(|pid| !hearth_tests::runs(*pid)));
    assert_eq!(project.read("ends"), "web ended\ndb ended\n", "{}", told(&project, &manager));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(project.home.record().expect("a record")["stage"], "stopped");

    manager.begin();
    let installed = Installed::found(&project, &manager);
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active", "{}", told(&project, &manager));
    assert_eq!(manager.property(SERVICE, "ActiveState"), "inactive", "nothing is enabled");
    let status = installed.verb(&["status", "--json"]).exits(0).json();
    for row in status["services"].as_array().expect("rows") {
        assert_eq!((&row["state"], &row["want"]), (&"down".into(), &"down".into()), "{row}");
        assert_eq!(row["exit"]["code"], 0, "its exit is on record: {row}");
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_service_that_heeds_no_signal_is_killed_by_the_agent_in_time() {
    let deaf = "[services.deaf]\nrun = \"trap '' TERM; echo up; while :; do sleep 1000; done\"\n\
                ready = { log = \"^up$\" }\nstop = { timeout = \"1s\" }\n";
    let project = Project::new(deaf);
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    installed.keep();
    let (took, left) = manager.end();
    assert!(left.is_empty(), "{left:?}:\n{}", told(&project, &manager));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_that_is_stopped_or_restarted_before_takes_nothing_down() {
    let project = Project::new(PAIR);
    let manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    let db = installed.pid("db");
    manager.systemctl(&["restart", SERVICE]).exits(0);
    manager.systemctl(&["stop", SERVICE]).exits(0);
    assert!(hearth_tests::runs(db));
    assert_eq!(installed.pid("db"), db);
    assert!(fs::metadata(project.dir().join("ends")).is_err());
    installed.verb(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn what_is_enabled_is_up_after_the_next_login_and_nothing_else() {
    let project = Project::new(PAIR);
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    installed.verb(&["enable", "db"]).exits(0);
    installed.keep();
    let (_, left) = manager.end();
    assert!(left.is_empty(), "{left:?}:\n{}", told(&project, &manager));
    manager.begin();
    // The manager starts the agent by itself.
    let installed = Installed::found(&project, &manager);
    manager.await_property(SERVICE, "ActiveState", |it| it == "active");
    let mut watch = project.watch(&["db", "web"]);
    watch.until_state("db", "ready");
    watch.until_state("web", "down");
    installed.verb(&["disable"]).exits(0);
    installed.verb(&["down"]).exits(0);
}
