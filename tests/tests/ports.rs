//! Ports: those that are chosen and kept, and those that somebody else has.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hearth_tests::http::request;
use hearth_tests::{Project, runs};
use serde_json::{Value, json};

/// Two services that say where they are to listen; ready at once.
const AUTO: &str = "[services.web]\nport = \"auto\"\nrun = 'echo \"port ${port} $PORT\"; exec sleep 1000'\n\
                    ready = { log = \"port\" }\n\
                    [services.api]\nport = \"auto\"\nneeds = [\"web\"]\n\
                    run = 'echo \"web at $WEB\"; exec sleep 1000'\nready = { log = \"web\" }\n\
                    env = { WEB = \"http://localhost:${services.web.port}/\" }\n";

#[track_caller]
fn port(project: &Project, service: &str) -> u16 {
    let row = project.row(service);
    let ports = row["ports"].as_array().unwrap();
    assert_eq!(ports.len(), 1, "{row}");
    u16::try_from(ports[0].as_u64().unwrap()).unwrap()
}

#[track_caller]
fn last_line(project: &Project, service: &str) -> String {
    project.run(&["logs", "-n", "1", service]).exits(0).stdout.trim().to_owned()
}

/// The outcome of a `hearth up --json`.
#[track_caller]
fn outcome(project: &Project, arguments: &[&str], code: i32) -> Value {
    let ran = project.run(&[&["up", "--json"], arguments].concat()).exits(code);
    ran.json_lines().pop().expect("an outcome")
}

#[test]
fn a_chosen_port_is_told_everywhere_and_kept_over_lives_agents_and_edits() {
    let project = Project::new(AUTO);
    project.run(&["up"]).exits(0);
    let (web, api) = (port(&project, "web"), port(&project, "api"));
    assert_ne!(web, api);
    assert!(!hearth_process::port::ephemeral().contains(&web), "{web}");
    assert_eq!(last_line(&project, "web"), format!("port {web} {web}"));
    assert_eq!(last_line(&project, "api"), format!("web at http://localhost:{web}/"));
    let same = |project: &Project| {
        assert_eq!((port(project, "web"), port(project, "api")), (web, api));
    };
    project.run(&["restart", "web"]).exits(0);
    same(&project);
    project.home.kill_agent();
    project.run(&["up"]).exits(0);
    same(&project);
    project.run(&["daemon", "restart"]).exits(0);
    project.run(&["restart", "api"]).exits(0);
    same(&project);
    assert_eq!(last_line(&project, "api"), format!("web at http://localhost:{web}/"));
    project.run(&["down"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    project.run(&["up"]).exits(0);
    same(&project);
    // It leaves the file, and with that its port.
    project.write("hearth.toml", "[services.other]\nrun = [\"sleep\", \"1000\"]\n");
    project.run(&["up"]).exits(0);
    let state = project.home_file("state.json", |text| text.contains("other"));
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["ports"], json!([]));
}

#[test]
fn a_reboot_keeps_ports_and_a_damaged_state_costs_no_service() {
    let project = Project::new(AUTO);
    project.run(&["up"]).exits(0);
    let web = port(&project, "web");
    project.run(&["down"]).exits(0);
    project.run(&["daemon", "down"]).exits(0);
    let file = project.home.path("state.json");
    let state: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut rebooted = state.clone();
    rebooted["boot"] = json!("another");
    std::fs::write(&file, rebooted.to_string()).unwrap();
    project.run(&["up"]).exits(0);
    assert_eq!(port(&project, "web"), web);
    // The agent dies and its file with it: what runs says itself where.
    let pid = project.pid("web");
    let lock = project.home.kill_agent_for_good();
    std::fs::write(&file, "{\"version\": 1, \"bo").unwrap();
    drop(lock);
    project.run(&["up"]).exits(0);
    assert_eq!((project.pid("web"), port(&project, "web")), (pid, web));
}

#[test]
fn services_of_two_projects_have_two_ports() {
    let project = Project::new(AUTO);
    project.run(&["up"]).exits(0);
    let other = project.beside("other", AUTO);
    project.run(&["-C", other.to_str().unwrap(), "up"]).exits(0);
    let rows = project.run(&["status", "--all", "--json"]).exits(0).json();
    let rows = rows["services"].as_array().unwrap().clone();
    let mut ports: Vec<u64> = rows.iter().map(|row| row["ports"][0].as_u64().unwrap()).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4, "{rows:?}");
}

#[test]
fn a_kept_port_that_a_stranger_took_is_exchanged_by_up_and_never_by_a_restart_of_its_own() {
    let text = "[services.web]\nport = \"auto\"\nrun = 'echo at $PORT; read x < gate; exit 1'\n\
                ready = { log = \"at\" }\nbackoff = { min = \"0s\" }\ngive_up = { failures = 3 }\n";
    let project = Project::new(text);
    let mut gate = project.gate("gate");
    project.run(&["up"]).exits(0);
    let had = port(&project, "web");
    let stranger = TcpListener::bind(("127.0.0.1", had)).unwrap();
    gate.open();
    // It falls, and is tried again and again where somebody listens now.
    let outcome = outcome_of_wait(&project, "web");
    let failed = &outcome["failed"][0];
    let words = failed["message"].as_str().unwrap();
    assert!(words.contains(&format!("port {had} is in use by")), "{words}");
    assert!(words.contains(&format!("(pid {})", std::process::id())), "{words}");
    assert_eq!(port(&project, "web"), had);
    project.run(&["down"]).exits(0);
    let outcome = self::outcome(&project, &[], 0);
    let now = port(&project, "web");
    assert_ne!(now, had);
    let note = outcome["notes"][0].as_str().unwrap();
    assert!(note.contains(&format!("port {now} now instead of {had}")), "{note}");
    drop(stranger);
    project.run(&["down"]).exits(0);
    project.run(&["up"]).exits(0);
    assert_eq!(port(&project, "web"), now, "and that is kept");
}

#[test]
fn who_is_given_the_port_of_another_is_started_anew_with_its_new_one() {
    let free = [0; 2].map(|any| TcpListener::bind(("127.0.0.1", any)).unwrap());
    let [first, second] = free.map(|listener| listener.local_addr().unwrap().port());
    let text = |port: u16| {
        format!(
            "[services.db]\nport = {port}\nrun = 'exec sleep 1000'\nready = {{ settle = \"0s\" }}\n\
             [services.web]\nrun = 'echo \"db at ${{services.db.port}}\"; exec sleep 1000'\n\
             ready = {{ log = \"db\" }}\n"
        )
    };
    let project = Project::new(&text(first));
    project.run(&["up"]).exits(0);
    assert_eq!(last_line(&project, "web"), format!("db at {first}"));
    project.write("hearth.toml", &text(second));
    assert_eq!(project.row("web")["changed"], true);
    project.run(&["up"]).exits(0);
    assert_eq!(last_line(&project, "web"), format!("db at {second}"));
}

#[test]
fn who_runs_with_a_port_that_another_had_before_is_told_of_until_it_is_restarted() {
    let project = Project::new(&AUTO.replace("needs = [\"web\"]\n", ""));
    project.run(&["up"]).exits(0);
    let had = port(&project, "web");
    project.run(&["down", "web"]).exits(0);
    let _stranger = TcpListener::bind(("127.0.0.1", had)).unwrap();
    for names in [&["api", "web"][..], &[]] {
        let outcome = outcome(&project, names, 0);
        let notes: Vec<_> = outcome["notes"].as_array().unwrap().iter().collect();
        let told = |note: &&&Value| note.as_str().unwrap().contains("`hearth restart api`");
        assert_eq!(notes.iter().filter(told).count(), 1, "{notes:?}");
    }
    assert_eq!(last_line(&project, "api"), format!("web at http://localhost:{had}/"));
    project.run(&["restart", "api"]).exits(0);
    let now = port(&project, "web");
    assert_eq!(last_line(&project, "api"), format!("web at http://localhost:{now}/"));
    assert_eq!(outcome(&project, &[], 0)["notes"], Value::Null);
}

/// Waits until a service has fallen for the port that it finds taken, and what comes of it.
#[track_caller]
fn outcome_of_wait(project: &Project, service: &str) -> Value {
    let path = format!("/v1/wait?project={}&service={service}", project.dir().display());
    // Until it falls it is ready.
    project.home_file("state.json", |text| text.contains("in use"));
    let mut reply = request(&project.socket(), "GET", &path, &[], "");
    std::iter::from_fn(|| reply.line()).last().expect("an outcome")
}

const LISTENS: &str = env!("CARGO_BIN_EXE_listens");

/// A process of its own that listens, of `user` where that is given.
struct Stranger {
    child: Child,
    port: u16,
}

impl Stranger {
    fn listens(user: Option<u32>) -> Self {
        // Where others too may execute it.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let program = dir.path().join("listens");
        Command::new("chmod").arg("755").arg(dir.path()).status().unwrap();
        Command::new("cp").arg(LISTENS).arg(&program).status().unwrap();
        let mut command = Command::new(program);
        if let Some(uid) = user {
            command.uid(uid);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be executed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_service_is_not_started_where_somebody_listens() {
    let stranger = Stranger::listens(None);
    let (port, pid) = (stranger.port, stranger.child.id());
    let project = Project::new(&format!(
        "[services.web]\nport = {port}\nrun = 'echo x >> lives; exec sleep 1000'\n\
         ready = {{ file = \"lives\" }}\ngive_up = {{ failures = 1 }}\n"
    ));
    let told = outcome(&project, &[], 1);
    let words = told["failed"][0]["message"].as_str().unwrap();
    assert!(words.contains(&format!("port {port} is in use by listens (pid {pid})")), "{words}");
    assert_eq!(project.read("lives"), "", "it was not started");
    drop(stranger);
    project.run(&["up"]).exits(0);
    assert_eq!(project.read("lives"), "x\n");
}

#[test]
fn somebody_elses_process_is_told_as_what_can_be_known_of_it() {
    if !hearth_tests::is_root("a listener of another user") {
        return;
    }
    let stranger = Stranger::listens(Some(65534));
    let project = Project::new(&format!(
        "[services.web]\nport = {}\nrun = [\"sleep\", \"1000\"]\ngive_up = {{ failures = 1 }}\n",
        stranger.port
    ));
    let words = outcome(&project, &[], 1)["failed"][0]["message"].to_string();
    // Root sees everything.
    assert!(words.contains(&format!("listens (pid {})", stranger.child.id())), "{words}");
}

#[test]
fn a_port_of_tests_that_somebody_has_is_told_with_the_failure() {
    let stranger = Stranger::listens(None);
    let (port, pid) = (stranger.port, stranger.child.id());
    let project = Project::new(&format!(
        "[services.db]\nrun = 'echo cannot listen; exit 1'\nready = [{{ tcp = {port} }}, {{ log = \"never\" }}]\n\
         give_up = {{ failures = 1 }}\n[services.same]\nrun = 'exit 1'\ngive_up = {{ failures = 1 }}\n"
    ));
    let told = outcome(&project, &["db"], 1);
    let words = told["failed"][0]["message"].as_str().unwrap();
    assert!(words.contains(&format!("port {port} is in use by listens (pid {pid})")), "{words}");
    assert_eq!(told["failed"][0]["log_tail"], json!(["cannot listen"]));
    let told = outcome(&project, &["same"], 1);
    assert!(!told.to_string().contains("in use"), "{told}");
}

#[test]
fn what_is_left_of_connections_keeps_nobody_from_the_next_life() {
    // Who closes first leaves its port in TIME_WAIT.
    let project = Project::new(&format!(
        "[services.web]\nport = \"auto\"\nrun = [\"{LISTENS}\", \"127.0.0.1:${{port}}\", \"closes\"]\n\
         ready = {{ log = \"[0-9]\" }}\n"
    ));
    project.run(&["up"]).exits(0);
    let had = port(&project, "web");
    let pid = project.pid("web");
    let mut client = std::net::TcpStream::connect(("127.0.0.1", had)).unwrap();
    assert_eq!(std::io::Read::read(&mut client, &mut [0]).unwrap(), 0, "it closed");
    drop(client);
    project.run(&["restart", "web"]).exits(0);
    assert!(!runs(pid));
    project.run(&["down"]).exits(0);
    let told = outcome(&project, &[], 0);
    assert_eq!((port(&project, "web"), &told["notes"]), (had, &Value::Null), "{told}");
}

#[test]
fn a_port_is_known_before_the_first_up_to_who_asks_for_the_environment() {
    let project = Project::new(AUTO);
    let socket = project.socket();
    let ask = |socket: &Path| {
        let body = json!({ "project": project.dir(), "service": null }).to_string();
        request(socket, "POST", "/v1/env", &[], &body).json()
    };
    let before = ask(&socket);
    project.run(&["up"]).exits(0);
    assert_eq!(before["HEARTH_WEB_PORT"], port(&project, "web").to_string());
    assert_eq!(ask(&socket), before);
}

#[test]
fn a_stranger_that_answers_makes_no_service_ready_that_ends_for_want_of_its_port() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stranger.local_addr().unwrap().port();
    let test = format!("ready = {{ tcp = \"127.0.0.1:{port}\" }}\nrestart = \"never\"\n");
    // As a server does that finds its port taken, after a while.
    let run = "run = \"echo begun > begun; read x < gate; exit 98\"\n";
    let project = Project::new(&["[services.web]\n", run, &test].concat());
    let mut gate = project.gate("gate");
    let up = project.start(&["up", "--json"]);
    project.await_lines("begun", 1);
    gate.open();
    let last = up.finish().exits(1).json_lines().pop().unwrap();
    let words = last["failed"][0]["message"].as_str().unwrap();
    assert!(words.contains(&format!("port {port} is in use by ")), "{words}");
    assert!(words.contains(&format!("(pid {})", std::process::id())), "{words}");
    // One that lives on beside it may be meant to: it forwards, or is asked about somewhere else.
    project
        .write("hearth.toml", &["[services.web]\nrun = [\"sleep\", \"1000\"]\n", &test].concat());
    project.run(&["up"]).exits(0);
    assert_eq!(project.state("web"), "ready");
    drop(stranger);
}
