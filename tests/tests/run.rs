//! Services without a file, in a project and in none, and what else is asked over the socket about
//! services: waiting, environments.

use std::path::{Path, PathBuf};

use hearth_tests::http::{Reply, request};
use hearth_tests::{Project, await_end, runs};
use serde_json::{Value, json};

const SLEEPER: &str = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

/// A project with an agent, and its socket.
fn with_agent(toml: &str) -> (Project, PathBuf) {
    let project = Project::new(toml);
    let socket = project.socket();
    (project, socket)
}

fn post(socket: &Path, path: &str, body: &Value) -> Reply {
    request(socket, "POST", path, &[], &body.to_string())
}

/// `sleep 1000`, ready at its first line.
fn sleeper(project: Value, name: &str) -> Value {
    json!({
        "project": project, "name": name, "dir": "/", "env": { "PATH": "/usr/bin:/bin", "A": "1" },
        "run": ["sh", "-c", "echo \"begins with $A\"; exec sleep 1000"],
        "ready": { "log": "begins" },
    })
}

/// All lines of a reply, the outcome last.
#[track_caller]
fn lines(mut reply: Reply) -> Vec<Value> {
    if reply.status != 200 {
        let status = reply.status;
        panic!("{status}: {}", reply.text());
    }
    std::iter::from_fn(|| reply.line()).collect()
}

#[track_caller]
fn ends(reply: Reply, result: &str) -> Value {
    let outcome = lines(reply).pop().expect("a last line");
    assert_eq!(outcome["result"], result, "{outcome}");
    outcome
}

#[track_caller]
fn refused(reply: Reply, status: u16, words: &str) -> Value {
    assert_eq!(reply.status, status);
    let problem = reply.json();
    assert!(problem["detail"].as_str().unwrap().contains(words), "no `{words}` in {problem}");
    problem
}

fn rows(socket: &Path, project: Option<&str>) -> Vec<Value> {
    let path = match project {
        Some(path) => format!("/v1/services?project={path}"),
        None => "/v1/services".to_owned(),
    };
    let reply = request(socket, "GET", &path, &[], "").json();
    reply["services"].as_array().expect("rows").clone()
}

#[test]
fn in_no_project_it_has_null_for_one_and_is_asked_for_by_an_empty_one() {
    let (project, socket) = with_agent(SLEEPER);
    project.run(&["up"]).exits(0);
    let told = lines(post(&socket, "/v1/run", &sleeper(Value::Null, "web")));
    let transition = told.iter().find(|line| line["to"] == "ready").expect("it got ready");
    assert_eq!((&transition["project"], &transition["service"]), (&Value::Null, &json!("web")));
    assert_eq!(told.last().unwrap()["result"], "ready");
    let mine = rows(&socket, Some(""));
    assert_eq!(mine.len(), 1, "{mine:?}");
    assert_eq!((&mine[0]["project"], &mine[0]["name"]), (&Value::Null, &json!("web")));
    assert_eq!((&mine[0]["changed"], &mine[0]["state"]), (&json!(false), &json!("ready")));
    assert_eq!(rows(&socket, None).len(), 2);
    let logs = request(&socket, "GET", "/v1/logs?project=&service=web", &[], "");
    let line = lines(logs).remove(0);
    assert_eq!((&line["project"], &line["line"]), (&Value::Null, &json!("begins with 1")));
    // A new life with another environment.
    let body = json!({ "project": "", "services": ["web"], "env": { "PATH": "/bin", "A": "2" } });
    ends(post(&socket, "/v1/restart", &body), "ready");
    let logs = request(&socket, "GET", "/v1/logs?project=&n=1", &[], "");
    assert_eq!(lines(logs)[0]["line"], "begins with 2");
    let pid = rows(&socket, Some(""))[0]["pid"].as_u64().unwrap() as u32;
    ends(post(&socket, "/v1/down", &json!({ "project": "" })), "down");
    assert!(!runs(pid));
    assert_eq!(project.state("s"), "ready", "it has a project");
    let wrong = json!({ "project": "", "services": ["we"] });
    let problem = refused(post(&socket, "/v1/restart", &wrong), 404, "no project");
    assert!(problem["hint"].as_str().unwrap().contains("`web`"), "{problem}");
}

#[test]
fn in_a_project_no_up_takes_it_for_removed_and_the_file_wins() {
    let (project, socket) = with_agent(SLEEPER);
    let dir = json!(project.dir());
    ends(post(&socket, "/v1/run", &sleeper(dir.clone(), "web")), "ready");
    let pid = project.pid("web");
    assert_eq!(project.row("s")["state"], "down", "nothing else was asked for");
    project.run(&["up"]).exits(0);
    assert_eq!((project.pid("web"), project.row("web")["changed"].clone()), (pid, json!(false)));
    let web = json!({ "project": dir, "services": ["web"], "env": { "PATH": "/usr/bin:/bin" } });
    ends(post(&socket, "/v1/down", &json!({ "project": dir, "services": ["web"] })), "down");
    assert!(!runs(pid));
    // It can be had again, with what it was.
    ends(post(&socket, "/v1/restart", &web), "ready");
    let again = project.pid("web");
    let toml = "[services.web]\nrun = \"echo from the file; exec sleep 1000\"\n\
                ready = { log = \"from\" }\n";
    project.write("hearth.toml", &format!("{SLEEPER}{toml}"));
    assert_eq!(project.row("web")["changed"], true);
    let body = json!({ "project": dir, "env": { "PATH": "/usr/bin:/bin" } });
    let outcome = ends(post(&socket, "/v1/up", &body), "ready");
    assert!(outcome["notes"][0].as_str().unwrap().contains("web is in the file now"), "{outcome}");
    assert!(!runs(again));
    assert_eq!(project.row("web")["changed"], false);
    // It is the file's for good: said once, and gone with it, also after another agent has come.
    let outcome = ends(post(&socket, "/v1/up", &body), "ready");
    assert!(!outcome["notes"].to_string().contains("is in the file now"), "{outcome}");
    project.run(&["daemon", "restart"]).exits(0);
    let pid = project.pid("web");
    project.write("hearth.toml", SLEEPER);
    project.run(&["up"]).exits(0);
    await_end(pid);
}

#[test]
fn a_taken_name_is_refused_and_one_that_is_over_is_free() {
    let (project, socket) = with_agent(&format!("{SLEEPER}[groups]\nall = [\"s\"]\n"));
    let dir = json!(project.dir());
    let run = |name: &str| post(&socket, "/v1/run", &sleeper(dir.clone(), name));
    refused(run("s"), 400, "has a service of that name");
    refused(run("all"), 400, "has a group of that name");
    refused(run("A B"), 400, "bad name");
    ends(run("web"), "ready");
    refused(run("web"), 400, "`hearth down web` ends it");
    ends(post(&socket, "/v1/down", &json!({ "project": dir, "services": ["web"] })), "down");
    ends(run("web"), "ready");
    let mut fails = sleeper(dir.clone(), "once");
    fails["run"] = json!(["sh", "-c", "exit 3"]);
    let outcome = ends(post(&socket, "/v1/run", &fails), "failed");
    assert_eq!(outcome["failed"][0]["exit"]["code"], 3, "{outcome}");
    ends(run("once"), "ready");
    // Said twice, done once.
    let body = sleeper(dir.clone(), "twice").to_string();
    let twice = || request(&socket, "POST", "/v1/run", &[("hearth-request", "r1")], &body);
    ends(twice(), "ready");
    let pid = project.pid("twice");
    ends(twice(), "ready");
    assert_eq!(project.pid("twice"), pid);
    // Who waits for it comes again to the next agent, however the last one has ended.
    for dies in [true, false] {
        match dies {
            true => project.home.kill_agent(),
            false => drop(project.run(&["daemon", "down"]).exits(0)),
        }
        project.run(&["up"]).exits(0);
        ends(twice(), "ready");
        assert_eq!(project.pid("twice"), pid, "the agent was killed: {dies}");
    }
}

#[test]
fn it_outlives_the_agent_as_what_it_is() {
    let (project, socket) = with_agent(SLEEPER);
    ends(post(&socket, "/v1/run", &sleeper(json!(project.dir()), "web")), "ready");
    ends(post(&socket, "/v1/run", &sleeper(Value::Null, "free")), "ready");
    let pid = project.pid("web");
    project.home.kill_agent();
    project.run(&["up"]).exits(0);
    assert_eq!(project.pid("web"), pid, "no file has it, and it runs on");
    let free = rows(&socket, Some(""));
    assert_eq!((&free[0]["state"], &free[0]["changed"]), (&json!("ready"), &json!(false)));
    ends(post(&socket, "/v1/restart", &json!({ "project": "", "services": ["free"] })), "ready");
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!(project.pid("web"), pid);
    let web = json!({ "project": project.dir(), "services": ["web"] });
    ends(post(&socket, "/v1/restart", &web), "ready");
    assert!(!runs(pid));
    ends(post(&socket, "/v1/down", &json!({ "project": null })), "down");
}

#[test]
fn groups_stand_for_their_services_in_every_command() {
    let toml = "[services.a]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                [services.b]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                [services.c]\nrun = [\"sleep\", \"1000\"]\n[groups]\nback = [\"a\", \"b\"]\n";
    let (project, socket) = with_agent(toml);
    let body = json!({ "project": project.dir(), "services": ["back"] });
    ends(post(&socket, "/v1/up", &body), "ready");
    assert_eq!(
        [project.state("a"), project.state("b"), project.state("c")],
        ["ready", "ready", "down"]
    );
    let pids = [project.pid("a"), project.pid("b")];
    let path = format!("/v1/wait?project={}&service=back", project.dir().display());
    ends(request(&socket, "GET", &path, &[], ""), "ready");
    ends(post(&socket, "/v1/restart", &body), "ready");
    assert!(!pids.into_iter().any(runs));
    ends(post(&socket, "/v1/down", &body), "down");
    assert_eq!([project.state("a"), project.state("b")], ["down", "down"]);
    let wrong = json!({ "project": project.dir(), "services": ["bck"] });
    let problem = refused(post(&socket, "/v1/up", &wrong), 404, "bck");
    assert!(problem["hint"].as_str().unwrap().contains("`back`"), "{problem}");
}

#[test]
fn an_environment_is_told_before_and_after_it_is_given() {
    let toml = "[services.my-db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                port = 5999\nenv = { B = \"file\", C = false }\n";
    let (project, socket) = with_agent(toml);
    let ask = |service: Value, env: Value| {
        let body = json!({ "project": project.dir(), "service": service, "env": env });
        post(&socket, "/v1/env", &body).json()
    };
    let given = json!({ "A": "now", "B": "shell", "C": "shell", "HEARTH_SESSION": "x" });
    let told = json!({ "A": "now", "B": "file", "PORT": "5999" });
    assert_eq!(ask(json!("my-db"), given.clone()), told);
    assert_eq!(ask(Value::Null, json!({})), json!({ "HEARTH_MY_DB_PORT": "5999" }));
    let up = json!({ "project": project.dir(), "env": given });
    ends(post(&socket, "/v1/up", &up), "ready");
    assert_eq!(ask(json!("my-db"), json!({ "A": "later" })), told, "it runs with that");
    let wrong = json!({ "project": project.dir(), "service": "mydb" });
    refused(post(&socket, "/v1/env", &wrong), 404, "mydb");
    let wrong = json!({ "project": project.dir(), "colour": 1 });
    refused(post(&socket, "/v1/env", &wrong), 400, "colour");
    refused(request(&socket, "GET", "/v1/env", &[], ""), 405, "POST");
}

#[test]
fn who_waits_asks_for_nothing_and_is_told_when_somebody_did() {
    let toml = "[services.s]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
                [services.bad]\nrun = \"exit 4\"\nenabled = false\ngive_up = { failures = 1 }\n";
    let (project, socket) = with_agent(toml);
    let path =
        |service: &str| format!("/v1/wait?project={}&service={service}", project.dir().display());
    let mut waits = request(&socket, "GET", &path("s"), &[], "");
    assert_eq!(waits.line().unwrap()["type"], "snapshot");
    assert_eq!(project.state("s"), "down");
    project.run(&["up"]).exits(0);
    ends(waits, "ready");
    // What has failed for good is not waited for.
    project.run(&["up", "bad"]).exits(1);
    let outcome = ends(request(&socket, "GET", &path("bad"), &[], ""), "failed");
    assert_eq!(outcome["failed"][0]["exit"]["code"], 4, "{outcome}");
    refused(request(&socket, "GET", &path("bda"), &[], ""), 404, "`bda`");
    refused(request(&socket, "GET", "/v1/wait?service=s", &[], ""), 400, "`project` is missing");
    refused(request(&socket, "POST", "/v1/wait", &[], ""), 405, "GET");
    // Of what runs, although its file is broken.
    project.write("hearth.toml", "[services");
    ends(request(&socket, "GET", &path("s"), &[], ""), "ready");
}
