//! What is enabled, under a real manager: a logout takes all down in order, a login brings up what is
//! enabled. Ignored where there is no systemd user manager; `packaging/with-user-systemd` makes one.

use hearth_tests::Project;
use hearth_tests::systemd::{Installed, Manager, SERVICE};
use serde_json::Value;

/// A service that writes down when it begins and when it is told to end.
fn service(name: &str, more: &str) -> String {
    format!(
        "[services.{name}]\nrun = \"trap 'echo {name} >> ended; exit 0' TERM; env > {name}.env; \
         echo {name} >> began; echo up; while :; do sleep 1000 & wait; done\"\n\
         ready = {{ log = \"up\" }}\nstop = {{ to = \"leader\" }}\n{more}\n"
    )
}

fn log(project: &Project) -> String {
    std::fs::read_to_string(project.home.path("agent.log")).unwrap_or_default()
}

fn state(project: &Project) -> Value {
    let text = std::fs::read_to_string(project.home.path("state.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_logout_takes_all_down_in_order_and_a_login_brings_up_what_is_enabled() {
    let toml = service("web", "needs = [\"db\"]\nenv_file = [\".env\"]")
        + &service("db", "")
        + &service("other", "");
    let project = Project::new(&toml);
    project.write(".env", "OF_FILE=yes\n");
    let mut manager = Manager::own();
    {
        let installed = Installed::new(&project, &manager);
        let enabled = installed.verb(&["enable", "web"]).exits(0);
        assert!(enabled.stderr.contains("starts the agent at login"), "{}", enabled.stderr);
        assert_eq!(manager.property(SERVICE, "UnitFileState"), "enabled");
        let mut up = project.command(&["up"]);
        project.ran(manager.of_its_user(up.env("OF_SHELL", "secret"))).exits(0);
        installed.verb(&["run", "--name", "loose", "--", "sleep", "1000"]).exits(0);
        assert!(project.read("web.env").contains("OF_SHELL=secret\n"));
        installed.keep();
    }
    let (took, left) = manager.end();
    assert!(left.is_empty(), "{left:?} after {took:?}: {}{}", manager.said(), log(&project));
    let ended = project.read("ended");
    let at = |name: &str| ended.lines().position(|line| line == name).unwrap_or(usize::MAX);
    assert!(at("web") < at("db") && ended.lines().count() == 3, "{ended}");
    let saved = state(&project);
    assert_eq!(saved["at_boot"]["due"], true, "{saved}");
    let wants = saved["services"].as_array().unwrap().iter().map(|one| &one["state"]["want"]);
    assert!(wants.into_iter().all(|want| *want == "down"), "{saved}");

    project.write("began", "");
    project.write("web.env", "");
    manager.begin();
    let installed = Installed::found(&project, &manager);
    installed.await_agent(None);
    project.await_file("began", |text| text == "db\nweb\n");
    let env = project.read("web.env");
    assert!(env.contains("OF_FILE=yes\n") && !env.contains("OF_SHELL"), "{env}");
    let leaked = ["NOTIFY_SOCKET", "LISTEN_", "INVOCATION_ID", "MANAGERPID", "JOURNAL_STREAM"];
    assert!(leaked.iter().all(|name| !env.contains(name)), "{env}");
    let rows = installed.verb(&["status", "--json"]).exits(0).json()["services"].clone();
    let wanted = rows.as_array().unwrap().iter().filter(|row| row["want"] == "up");
    let wanted: Vec<&str> = wanted.map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(wanted, ["web", "db"], "{rows}");
    assert_eq!(state(&project)["at_boot"]["due"], false);

    // A mere restart brings up nothing that was taken down since.
    installed.verb(&["down", "web"]).exits(0);
    manager.systemctl(&["restart", SERVICE]).exits(0);
    let row = installed.verb(&["status", "web", "--json"]).exits(0).json();
    assert_eq!(row["services"][0]["want"], "down", "{row}");
    installed.verb(&["disable"]).exits(0);
    assert_eq!(manager.property(SERVICE, "UnitFileState"), "disabled");
    installed.verb(&["down"]).exits(0);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn at_a_logout_nothing_begins_and_who_is_stubborn_has_his_time() {
    let stubborn = "[services.stubborn]\nrun = \"trap '' TERM; echo up; echo $$ >> pids; \
        while :; do sleep 0.2; done\"\nready = { log = \"up\" }\nrestart = \"always\"\n\
        stop = { timeout = \"1s\" }\n";
    let project = Project::new(&(stubborn.to_owned() + &service("always", "restart = \"always\"")));
    let mut manager = Manager::own();
    let installed = Installed::new(&project, &manager);
    installed.verb(&["up"]).exits(0);
    installed.keep();
    let (took, left) = manager.end();
    assert!(left.is_empty(), "{left:?} after {took:?}: {}{}", manager.said(), log(&project));
    assert!(took.as_secs_f64() > 0.9 && took.as_secs() < 20, "{took:?}");
    assert_eq!(project.read("pids").lines().count(), 1);
    assert_eq!(project.read("began"), "always\n");
    assert_eq!(project.read("ended"), "always\n");
    let log = log(&project);
    assert!(log.contains("all services are down"), "{log}");
}
