//! Health of nodes and of the agent itself.

use hearth_tests::{Port, Project};
use serde_json::{Value, json};

fn report(project: &Project) -> Value {
    project.run(&["health", "--json"]).json()
}

fn said(project: &Project, name: &str) -> (String, String) {
    let report = report(project);
    let check = &report["checks"][name];
    let text = |field: &str| {
        check[field].as_str().unwrap_or_else(|| panic!("{name}: {report}")).to_owned()
    };
    (text("status"), text("message"))
}

#[test]
fn each_of_the_six_has_its_words() {
    let port = Port::reserve();
    let project = Project::new(&format!(
        r#"
        [services.well]
        run = ["sleep", "1000"]
        display = "The one that is well"
        ready = {{ delay = "0ms", ok = "at your service" }}
        [services.slow]
        run = ["sleep", "1000"]
        ready = {{ tcp = {port}, grace = "1000s", every = "20ms" }}
        [services.waits]
        run = ["sleep", "1000"]
        needs = ["slow"]
        [services.sick]
        run = ["sleep", "1000"]
        ready = {{ tcp = {port}, grace = "0s", every = "20ms", failing = "nobody home" }}
        [services.works]
        run = ["sleep", "1000"]
        ready = {{ exec = "echo 3 of 9; exit 75", grace = "0s", every = "20ms" }}
        [services.off]
        run = ["sleep", "1000"]
        enabled = false
        [services.hidden]
        run = ["sleep", "1000"]
        display = false
        ready = {{ settle = "0ms" }}
        "#,
        port = port.number
    ));
    let up = project.start(&["up", "--json"]);
    let expected = [
        ("The one that is well", "success", "at your service"),
        ("sick", "failure", "nobody home"),
        ("works", "loading", "3 of 9"),
        ("off", "disabled", ""),
    ];
    let mut watch = project.watch(&["well", "sick", "works"]);
    watch.until_state("well", "ready");
    watch.until_said("sick", "nobody home");
    watch.until_said("works", "3 of 9");
    for (name, status, message) in expected {
        let (is, words) = said(&project, name);
        assert!(is == status && words.contains(message), "{name}: {is}: {words}");
    }
    assert_eq!(said(&project, "slow").0, "starting");
    let (status, words) = said(&project, "waits");
    assert_eq!(status, "waiting");
    assert!(words.contains("slow"), "{words}");
    let report = report(&project);
    assert_eq!(report["healthy"], json!(false));
    assert!(report["checks"].get("hidden").is_none() && report["checks"].get("well").is_none());
    let refused = project.run(&["health"]).exits(1);
    assert!(refused.stderr.contains("sick (nobody home)"), "{}", refused.stderr);
    project.run(&["down"]).exits(0);
    up.finish();
    assert_eq!(said(&project, "sick").0, "disabled");
    project.run(&["health"]).exits(0);
}

#[test]
fn the_agent_says_how_its_home_is() {
    let project = Project::new("[services.s]\nrun = [\"sleep\", \"1000\"]\n");
    project.run(&["health"]).exits(0);
    let (status, message) = said(&project, "home");
    assert_eq!(status, "success");
    assert!(message.ends_with(" free"), "{message}");
    assert_eq!(said(&project, "agent").0, "success");
    assert!(!project.home.path(".health").exists());
}

#[test]
fn a_service_that_is_called_as_a_check_of_the_agents_is_shown_beside_it() {
    let project = Project::new(
        "[services.home]\nrun = [\"sleep\", \"1000\"]\n[services.s]\nrun = [\"sleep\", \"1000\"]\ndisplay = \"agent\"\n",
    );
    let report = report(&project);
    let names: Vec<_> = report["checks"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["agent", "boot", "home", "project/agent", "project/home"]);
}

#[test]
fn a_home_that_hangs_is_a_failure_of_that_check_alone() {
    let project =
        Project::new("[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0ms\" }\n");
    project.run(&["up"]).exits(0);
    // Opening a pipe for writing waits for a reader, as opening a file of a dead server waits.
    let trial = project.home.path(".health");
    let made = std::process::Command::new("mkfifo").arg(&trial).status().unwrap();
    assert!(made.success());
    for _ in 0..2 {
        let began = std::time::Instant::now();
        let report = report(&project);
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        assert_eq!(report["healthy"], json!(false));
        assert_eq!(report["checks"]["home"]["message"], "no answer within 1s");
        assert_eq!(report["checks"]["agent"]["status"], "success");
        assert_eq!(report["checks"]["s"]["status"], "success");
    }
    // The server is back. What hung tells nobody when it is done, so it is asked until it is.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&trial).unwrap();
    let began = std::time::Instant::now();
    while said(&project, "home").0 != "success" {
        assert!(began.elapsed().as_secs() < 20);
    }
    drop(reader);
    project.run(&["health"]).exits(0);
}

#[test]
fn a_home_that_can_not_be_written_is_told() {
    let project = Project::new("[services.s]\nrun = [\"sleep\", \"1000\"]\n");
    project.run(&["health"]).exits(0);
    // Not even root writes a directory as if it were a file.
    std::fs::create_dir(project.home.path(".health")).unwrap();
    let (status, message) = said(&project, "home");
    assert_eq!(status, "failure");
    assert!(message.contains("can't be written"), "{message}");
    project.run(&["health"]).exits(1);
}
