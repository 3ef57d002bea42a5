//! hearth installed: what holds as long as its units are in charge. Ignored where there is no systemd
//! user manager; `packaging/with-user-systemd` makes one.

use hearth_tests::Project;
use hearth_tests::systemd::{Installed, Manager, SOCKET};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_manager_of_the_tests_own_comes_and_goes() {
    let project = Project::new(SLEEPER);
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    assert_eq!(manager.property(SOCKET, "ActiveState"), "active");
    drop(installed);
    let (_, left) = manager.end();
    assert!(left.is_empty(), "{left:?} {}", manager.said());
    manager.begin();
    assert_eq!(manager.property(SOCKET, "ActiveState"), "inactive");
}
