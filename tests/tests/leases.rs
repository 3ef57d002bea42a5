//! Leases by the API: what sessions hold stays, and goes with the last of them, however it ends.

use std::path::{Path, PathBuf};

use hearth_tests::http::{get, refused, request};
use hearth_tests::{Project, Session};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_session");

/// A service that writes down what it is told, a line in NAME.told, and goes as soon as nobody holds it.
fn service(name: &str, more: &str) -> String {
    format!(
        "[services.{name}]\nrun = \"trap 'echo told >> {name}.told; exit 0' TERM; echo up; \
         while :; do sleep 1000 & wait; done\"\nready = {{ log = \"up\" }}\n\
         stop = {{ to = \"leader\" }}\n{more}\n"
    )
}

/// Goes as soon as nobody holds it.
const AT_ONCE: &str = "linger = \"0s\"";

fn with_agent(toml: &str) -> (Project, PathBuf) {
    let project = Project::new(toml);
    let socket = project.socket();
    (project, socket)
}

fn begin(socket: &Path, name: &str) -> Session {
    Session::begin(PROGRAM, socket, json!({ "name": name }))
}

/// Leases services to a session; the lease's name.
#[track_caller]
fn lease(project: &Project, socket: &Path, session: &Session, services: &[&str]) -> String {
    let body = project.asks(json!({ "session": session.id(), "services": services }));
    let reply = request(socket, "POST", "/v1/leases", &[], &body);
    assert_eq!(reply.status, 201);
    let reply = reply.json();
    let id = reply["id"].as_str().unwrap();
    assert!(id.starts_with("l-") && id.len() == 8, "{reply}");
    id.to_owned()
}

/// A request that is answered by lines: the last one's `result`.
#[track_caller]
fn result(project: &Project, socket: &Path, path: &str, more: Value) -> Value {
    let mut reply = request(socket, "POST", path, &[], &project.asks(more));
    assert_eq!(reply.status, 200, "{path}");
    let last = std::iter::from_fn(|| reply.line()).last().unwrap();
    assert_eq!(last["type"], "outcome", "{last}");
    last["result"].clone()
}

/// Waits until these are ready; nothing is asked for by it.
#[track_caller]
fn await_ready(project: &Project, services: &[&str]) {
    let mut watch = project.watch(services);
    services.iter().for_each(|service| drop(watch.until_state(service, "ready")));
}

fn by(session: &Session, name: &str) -> Value {
    json!({ "type": "lease", "session": session.id(), "pid": session.pid(), "name": name })
}

fn why(project: &Project, socket: &Path, service: &str) -> Value {
    get(socket, &format!("/v1/why?project={}&service={service}", project.dir().display()))
}

/// The leases of a session, as its row has them.
fn leases(socket: &Path, session: &Session) -> Value {
    get(socket, &format!("/v1/sessions/{}", session.id()))["leases"].clone()
}

#[test]
fn a_service_goes_with_the_session_that_was_killed() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let session = begin(&socket, "zsh");
    let id = lease(&project, &socket, &session, &["db"]);
    await_ready(&project, &["db"]);
    assert_eq!(
        leases(&socket, &session),
        json!([{ "id": id, "project": project.dir(), "services": ["db"] }])
    );
    let row = project.row("db");
    assert_eq!((&row["want"], &row["held_by"]), (&json!("up"), &json!([by(&session, "zsh")])));
    let mut watch = project.watch(&["db"]);
    session.kill();
    watch.until_state("db", "down");
    assert_eq!(project.read("db.told"), "told\n");
    assert_eq!(project.row("db")["held_by"], json!([]));
}

#[test]
fn what_cannot_be_leased_is_refused_and_leaves_nothing() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let session = begin(&socket, "zsh");
    let post = |body: Value| request(&socket, "POST", "/v1/leases", &[], &body.to_string());
    let dir = project.dir();
    let id = session.id();
    let ended = json!({ "session": "s-nosuch", "project": dir });
    refused(post(ended), 404, "not-found", "s-nosuch");
    refused(post(json!({ "session": id })), 400, "bad-request", "project");
    refused(post(json!({ "project": dir })), 400, "bad-request", "session");
    let field = json!({ "session": id, "project": dir, "colour": "red" });
    refused(post(field), 400, "bad-request", "colour");
    let unknown = json!({ "session": id, "project": dir, "services": ["bd"] });
    refused(post(unknown), 404, "not-found", "bd");
    refused(post(json!({ "session": id, "project": "/nowhere" })), 404, "not-found", "/nowhere");
    refused(post(json!({ "session": id, "project": "here" })), 400, "bad-request", "absolute");
    for path in ["/v1/up", "/v1/down", "/v1/restart"] {
        let body = project.asks(json!({ "session": "s-nosuch" }));
        refused(request(&socket, "POST", path, &[], &body), 404, "not-found", "s-nosuch");
    }
    let run = project.asks(json!({ "session": "s-nosuch", "name": "x", "run": ["x"], "dir": "/" }));
    refused(request(&socket, "POST", "/v1/run", &[], &run), 404, "not-found", "s-nosuch");
    refused(request(&socket, "DELETE", "/v1/leases/l-x", &[], ""), 404, "not-found", "l-x");
    project.write("hearth.toml", "[services.db]\n");
    let faulty = json!({ "session": id, "project": dir });
    assert_eq!(post(faulty).status, 422);
    for (query, status) in [
        (format!("project={}", dir.display()), 400),
        ("service=db".to_owned(), 400),
        (format!("project={}&service=bd", dir.display()), 404),
        (format!("project={}&service=db&x=1", dir.display()), 400),
    ] {
        let reply = request(&socket, "GET", &format!("/v1/why?{query}"), &[], "");
        assert_eq!(reply.status, status, "{query}");
    }
    assert_eq!(leases(&socket, &session), json!([]));
}

#[test]
fn a_lease_is_given_back_by_name_and_its_request_can_be_repeated() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let session = begin(&socket, "zsh");
    let body = project.asks(json!({ "session": session.id(), "services": ["db"] }));
    let post = |request_id: &str| {
        let headers = [("hearth-request", request_id)];
        let reply = request(&socket, "POST", "/v1/leases", &headers, &body);
        assert_eq!(reply.status, 201);
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let first = post("one");
    assert_eq!(post("one"), first);
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    assert_eq!(post("one"), first, "the next agent knows it, too");
    project.run(&["daemon", "restart"]).exits(0);
    assert_eq!(post("one"), first);
    let second = post("two");
    assert_ne!(second, first);
    await_ready(&project, &["db"]);
    let pid = project.pid("db");
    assert_eq!(project.row("db")["held_by"], json!([by(&session, "zsh")]), "once");
    assert_eq!(why(&project, &socket, "db")["held_by"].as_array().unwrap().len(), 1);
    let give_back = |id: &str| {
        let reply = request(&socket, "DELETE", &format!("/v1/leases/{id}"), &[], "");
        (reply.status, reply.json()["id"].clone())
    };
    assert_eq!(give_back(&first), (200, json!(first)));
    assert_eq!(give_back(&first).0, 404);
    assert_eq!(project.pid("db"), pid, "the other one holds it");
    let mut watch = project.watch(&["db"]);
    assert_eq!(give_back(&second).0, 200);
    watch.until_state("db", "down");
    assert_eq!(leases(&socket, &session), json!([]));
}

#[test]
fn a_request_that_another_session_calls_by_the_same_name_is_another_one() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let sessions = [begin(&socket, "zsh"), begin(&socket, "fish")];
    let given = sessions.each_ref().map(|session| {
        let body = project.asks(json!({ "session": session.id(), "services": ["db"] }));
        let reply = request(&socket, "POST", "/v1/leases", &[("hearth-request", "1")], &body);
        reply.json()["id"].clone()
    });
    for (session, id) in sessions.iter().zip(&given) {
        assert_eq!(leases(&socket, session)[0]["id"], *id, "it has what it was told");
    }
    let held_by = json!([by(&sessions[0], "zsh"), by(&sessions[1], "fish")]);
    assert_eq!(project.row("db")["held_by"], held_by);
}

#[test]
fn a_service_lingers_and_is_found_as_it_was_by_who_needs_it_meanwhile() {
    let (project, socket) =
        with_agent(&(service("db", "linger = \"1000s\"") + &service("mq", "linger = \"300ms\"")));
    let first = begin(&socket, "zsh");
    lease(&project, &socket, &first, &[]);
    await_ready(&project, &["db", "mq"]);
    let pid = project.pid("db");
    let mut watch = project.watch(&["db", "mq"]);
    first.kill();
    watch.until_state("mq", "down");
    let row = project.row("db");
    assert_eq!((&row["want"], &row["state"]), (&json!("up"), &json!("ready")));
    assert_eq!(row["held_by"], json!([]));
    let said = why(&project, &socket, "db");
    assert_eq!(said["held_by"], json!([]));
    let words = said["message"].as_str().unwrap();
    assert!(words.starts_with("nobody holds db any more: it goes in "), "{words}");
    assert_eq!(why(&project, &socket, "mq")["message"], "nobody wants mq");
    let second = begin(&socket, "bash");
    lease(&project, &socket, &second, &["db"]);
    let row = project.row("db");
    assert_eq!((&row["pid"], &row["held_by"]), (&json!(pid), &json!([by(&second, "bash")])));
    project.run(&["down", "--force"]).exits(0);
}

#[test]
fn what_a_leased_service_needs_is_held_through_it() {
    let (project, socket) = with_agent(
        &(service("web", "needs = [\"db\"]\nlinger = \"0s\"") + &service("db", AT_ONCE)),
    );
    let session = begin(&socket, "zsh");
    lease(&project, &socket, &session, &["web"]);
    await_ready(&project, &["web", "db"]);
    let dependent = json!([{ "type": "dependent", "service": "web" }]);
    assert_eq!(project.row("db")["held_by"], dependent);
    let said = why(&project, &socket, "db");
    let since = get(&socket, &format!("/v1/sessions/{}", session.id()))["started_at"].clone();
    let mut reason = by(&session, "zsh");
    (reason["since"], reason["through"]) = (since, json!(["web"]));
    assert_eq!(said["held_by"], json!([reason]));
    assert_eq!((&said["service"], &said["project"]), (&json!("db"), &json!(project.dir())));
    // The file is of no use any more: it goes by what runs.
    project.write("hearth.toml", "[services.web]\nrun = 3\n");
    assert_eq!(why(&project, &socket, "db")["held_by"], json!([reason]));
    let mut watch = project.watch(&["web", "db"]);
    session.kill();
    watch.until_state("db", "down");
    assert_eq!(project.read("web.told") + &project.read("db.told"), "told\ntold\n");
}

#[test]
fn what_up_has_named_and_what_another_session_holds_stays() {
    let text = ["named", "shared", "own"].map(|name| service(name, AT_ONCE)).concat();
    let (project, socket) = with_agent(&text);
    let (first, second) = (begin(&socket, "one"), begin(&socket, "two"));
    lease(&project, &socket, &first, &[]);
    lease(&project, &socket, &second, &["shared"]);
    project.run(&["up", "named"]).exits(0);
    await_ready(&project, &["named", "shared", "own"]);
    let pids = (project.pid("named"), project.pid("shared"));
    let held = project.row("shared")["held_by"].clone();
    assert_eq!(held, json!([by(&first, "one"), by(&second, "two")]), "oldest first");
    let mut watch = project.watch(&["shared", "own"]);
    first.kill();
    watch.until_state("own", "down");
    assert_eq!((project.pid("named"), project.pid("shared")), pids);
    assert_eq!(project.row("named")["held_by"], json!([{ "type": "up" }]));
    second.kill();
    watch.until_state("shared", "down");
    assert_eq!(project.pid("named"), pids.0);
}

#[test]
fn up_for_a_session_can_be_repeated_and_takes_one_lease_for_the_same_services() {
    let (project, socket) = with_agent(&(service("db", AT_ONCE) + &service("mq", AT_ONCE)));
    let session = begin(&socket, "zsh");
    let up = |services: &[&str]| {
        let more = json!({ "session": session.id(), "services": services });
        assert_eq!(result(&project, &socket, "/v1/up", more), "ready");
        let held = leases(&socket, &session);
        held.as_array().unwrap().iter().map(|lease| lease["services"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(up(&["db"]), [json!(["db"])]);
    assert_eq!(up(&["db"]), [json!(["db"])]);
    assert_eq!(up(&[]), [json!(["db"]), json!(["db", "mq"])]);
    assert_eq!(up(&["mq", "db"]), [json!(["db"]), json!(["db", "mq"])]);
    assert_eq!(project.row("db")["held_by"], json!([by(&session, "zsh")]));
    let mut watch = project.watch(&["db", "mq"]);
    session.kill();
    watch.until_state("db", "down");
    watch.until_state("mq", "down");
}

#[test]
fn up_of_nothing_for_a_session_takes_one_lease_however_often() {
    let (project, socket) = with_agent(&service("db", "enabled = false"));
    let session = begin(&socket, "zsh");
    for path in ["/v1/up", "/v1/restart", "/v1/up", "/v1/restart"] {
        assert_eq!(result(&project, &socket, path, json!({ "session": session.id() })), "ready");
    }
    let held = leases(&socket, &session);
    assert_eq!((held.as_array().unwrap().len(), &held[0]["services"]), (1, &json!([])), "{held}");
}

#[test]
fn restart_for_a_session_leases_what_is_down_and_leaves_the_rest_to_whom_it_belongs() {
    let (project, socket) = with_agent(&(service("db", AT_ONCE) + &service("mq", AT_ONCE)));
    project.run(&["up", "db"]).exits(0);
    let pid = project.pid("db");
    let session = begin(&socket, "zsh");
    let more = json!({ "session": session.id() });
    assert_eq!(result(&project, &socket, "/v1/restart", more.clone()), "ready");
    assert_ne!(project.pid("db"), pid);
    assert_eq!(project.row("db")["held_by"], json!([{ "type": "up" }]));
    assert_eq!(project.row("mq")["held_by"], json!([by(&session, "zsh")]));
    assert_eq!(leases(&socket, &session)[0]["services"], json!(["mq"]));
    // Nothing is down now: nothing is leased.
    assert_eq!(result(&project, &socket, "/v1/restart", more), "ready");
    assert_eq!(leases(&socket, &session).as_array().unwrap().len(), 1);
    let mut watch = project.watch(&["mq"]);
    session.kill();
    watch.until_state("mq", "down");
    assert_eq!(project.state("db"), "ready");
}

#[test]
fn a_service_of_no_file_goes_with_its_session_and_its_name_can_be_had_again() {
    let (project, socket) = with_agent(&(service("db", AT_ONCE) + &service("mq", AT_ONCE)));
    let run = |session: &Session, run: &str| {
        let more = json!({ "session": session.id(), "name": "loose", "dir": project.dir(),
            "run": ["sh", "-c", run] });
        result(&project, &socket, "/v1/run", more)
    };
    project.run(&["up", "db"]).exits(0);
    let first = begin(&socket, "one");
    assert_eq!(run(&first, "exec sleep 1000"), "ready");
    assert_eq!(project.row("loose")["held_by"], json!([by(&first, "one")]));
    lease(&project, &socket, &first, &["mq"]);
    await_ready(&project, &["mq"]);
    let mut watch = project.watch(&["mq", "loose"]);
    first.kill();
    watch.until_state("mq", "down");
    let words = why(&project, &socket, "loose")["message"].clone();
    assert!(words.as_str().unwrap().contains("it goes in"), "it lingers as all do: {words}");
    let second = begin(&socket, "two");
    project.run(&["down", "loose"]).exits(0);
    assert_eq!(run(&second, "exit 3"), "failed");
    assert_eq!(run(&second, "exec sleep 1001"), "ready");
    assert_eq!(project.row("loose")["held_by"], json!([by(&second, "two")]));
    assert_eq!(leases(&socket, &second).as_array().unwrap().len(), 1, "the same one again");
    assert_eq!(project.row("db")["held_by"], json!([{ "type": "up" }]), "the file was not touched");
}

#[test]
fn what_is_run_anew_without_a_session_does_not_go_with_the_one_that_had_it_before() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let run = |more: Value| result(&project, &socket, "/v1/run", more);
    let again =
        |run: &str| json!({ "name": "loose", "dir": project.dir(), "run": ["sh", "-c", run] });
    let session = begin(&socket, "zsh");
    let mut leased = again("exit 3");
    leased["session"] = json!(session.id());
    assert_eq!(run(leased), "failed");
    assert_eq!(project.row("loose")["held_by"], json!([by(&session, "zsh")]));
    assert_eq!(run(again("exec sleep 1000")), "ready");
    assert_eq!(project.row("loose")["held_by"], json!([{ "type": "up" }]));
    // And so it was before: what is over and named stays named.
    project.run(&["down", "loose"]).exits(0);
    assert_eq!(run(again("exit 3")), "failed");
    assert_eq!(run(again("exec sleep 1000")), "ready");
    assert_eq!(project.row("loose")["held_by"], json!([{ "type": "up" }]));
    project.run(&["down"]).exits(0);
}

#[test]
fn down_names_everybody_from_whom_it_would_take_something_and_changes_nothing() {
    let text = service("web", "needs = [\"db\"]\nlinger = \"0s\"") + &service("db", AT_ONCE);
    let (project, socket) = with_agent(&text);
    let (zsh, vim) = (begin(&socket, "zsh"), begin(&socket, "vim"));
    lease(&project, &socket, &zsh, &["db"]);
    lease(&project, &socket, &vim, &["web"]);
    project.run(&["up", "db"]).exits(0);
    await_ready(&project, &["web", "db"]);
    let before = (project.row("db"), project.row("web"));
    let down = |more: Value| request(&socket, "POST", "/v1/down", &[], &project.asks(more));
    let (a, b) = (format!("zsh (pid {})", zsh.pid()), format!("vim (pid {})", vim.pid()));
    let problem = refused(down(json!({ "services": ["db"] })), 409, "leased", "db is leased by");
    let words = problem["detail"].as_str().unwrap();
    assert!(words.contains(&format!("db is leased by {a}")), "{words}");
    assert!(words.contains(&format!("web, which needs db, is leased by {b}")), "{words}");
    assert!(problem["hint"].as_str().unwrap().contains("--force"), "{problem}");
    let row = |session: &Session, service, name| {
        json!({ "project": project.dir(), "service": service, "session": session.id(),
            "pid": session.pid(), "name": name })
    };
    let leased = problem["details"]["leased"].as_array().unwrap();
    assert_eq!(leased.len(), 2, "{problem}");
    assert!(leased.contains(&row(&zsh, "db", "zsh")) && leased.contains(&row(&vim, "web", "vim")));
    assert_eq!((project.row("db"), project.row("web")), before, "nothing was changed");
    // Its own stands in no way; the other's does.
    let own = json!({ "services": ["web"], "session": vim.id() });
    assert_eq!(result(&project, &socket, "/v1/down", own), "down");
    assert_eq!(leases(&socket, &vim)[0]["services"], json!([]), "it stays until its session ends");
    let all = json!({ "session": vim.id() });
    let problem = refused(down(all), 409, "leased", &a);
    assert!(!problem["detail"].as_str().unwrap().contains("vim"), "{problem}");
    refused(down(json!({})), 409, "leased", &a);
    let everywhere = json!({ "project": null }).to_string();
    refused(request(&socket, "POST", "/v1/down", &[], &everywhere), 409, "leased", &a);
    // Nobody has leased that one any more.
    assert_eq!(result(&project, &socket, "/v1/down", json!({ "services": ["web"] })), "down");
    assert_eq!(result(&project, &socket, "/v1/down", json!({ "force": true })), "down");
    assert_eq!(leases(&socket, &zsh)[0]["services"], json!([]));
    assert_eq!(result(&project, &socket, "/v1/down", json!({})), "down", "of what is down");
}

#[test]
fn a_lease_goes_on_over_the_agents_and_ends_with_its_session() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let session = begin(&socket, "zsh");
    let id = lease(&project, &socket, &session, &["db"]);
    await_ready(&project, &["db"]);
    let pid = project.pid("db");
    let is_as_before = || {
        let held = json!([{ "id": id, "project": project.dir(), "services": ["db"] }]);
        assert_eq!(leases(&socket, &session), held);
        let row = project.row("db");
        assert_eq!((&row["pid"], &row["held_by"]), (&json!(pid), &json!([by(&session, "zsh")])));
    };
    project.home.kill_agent();
    project.run(&["daemon", "up"]).exits(0);
    is_as_before();
    project.run(&["daemon", "restart"]).exits(0);
    is_as_before();
    project.run(&["daemon", "down"]).exits(0);
    project.run(&["daemon", "up"]).exits(0);
    is_as_before();
    session.kill();
    project.await_lines("db.told", 1);
}

#[test]
fn a_successor_that_fails_costs_no_lease_and_leaves_none() {
    let (project, socket) = with_agent(&(service("db", AT_ONCE) + &service("mq", AT_ONCE)));
    let (session, mut heir) = (begin(&socket, "zsh"), begin(&socket, "heir"));
    let id = lease(&project, &socket, &session, &["db"]);
    lease(&project, &socket, &heir, &["mq"]);
    await_ready(&project, &["db", "mq"]);
    let (agent, pid) = (project.home.agent_pid(), project.pid("db"));
    heir.succeeds_and_fails();
    project.await_lines("mq.told", 1);
    assert_eq!(project.home.agent_pid(), agent, "it goes on");
    assert_eq!(leases(&socket, &session)[0]["id"], json!(id));
    assert_eq!(project.pid("db"), pid);
    session.kill();
    project.await_lines("db.told", 1);
}

#[test]
fn who_dies_while_there_is_no_agent_is_reaped_by_the_next_one() {
    let (project, socket) = with_agent(&(service("db", AT_ONCE) + &service("mq", AT_ONCE)));
    let (dies, lives) = (begin(&socket, "dies"), begin(&socket, "lives"));
    lease(&project, &socket, &dies, &[]);
    lease(&project, &socket, &lives, &["mq"]);
    await_ready(&project, &["db", "mq"]);
    let election = project.home.kill_agent_for_good();
    dies.kill();
    assert_eq!(project.read("db.told"), "");
    drop(election);
    project.run(&["daemon", "up"]).exits(0);
    project.await_lines("db.told", 1);
    assert_eq!(project.row("mq")["held_by"], json!([by(&lives, "lives")]));
    assert_eq!((project.state("mq"), project.read("mq.told")), ("ready".into(), "".into()));
}

#[test]
fn a_lease_whose_session_is_not_on_record_is_over_at_the_next_start() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let session = begin(&socket, "zsh");
    lease(&project, &socket, &session, &["db"]);
    await_ready(&project, &["db"]);
    let election = project.home.kill_agent_for_good();
    std::fs::remove_file(project.home.path("sessions.json")).unwrap();
    drop(election);
    project.run(&["daemon", "up"]).exits(0);
    project.await_lines("db.told", 1);
}

#[test]
fn no_lease_is_restored_in_another_boot_and_an_older_state_is_read() {
    let (project, socket) = with_agent(&service("db", "linger = \"1000s\""));
    let session = begin(&socket, "zsh");
    lease(&project, &socket, &session, &["db"]);
    await_ready(&project, &["db"]);
    project.run(&["down", "--force"]).exits(0);
    lease(&project, &socket, &session, &["db"]);
    await_ready(&project, &["db"]);
    let rewrite = |change: &dyn Fn(&mut Value)| {
        let election = project.home.kill_agent_for_good();
        let path = project.home.path("state.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut state: Value = serde_json::from_str(&text).unwrap();
        change(&mut state);
        std::fs::write(path, state.to_string()).unwrap();
        drop(election);
        project.run(&["daemon", "up"]).exits(0);
    };
    rewrite(&|state| {
        assert_eq!(state["leases"].as_array().unwrap().len(), 2, "{state}");
        let fields = state.as_object_mut().unwrap();
        fields.remove("leases");
        fields.remove("granted");
    });
    assert_eq!(leases(&socket, &session), json!([]));
    assert_eq!(project.state("db"), "ready", "who lost a lease only lingers");
    let id = lease(&project, &socket, &session, &["db"]);
    rewrite(&|state| state["boot"] = json!("another"));
    assert_eq!(leases(&socket, &session), json!([]), "{id}");
    project.run(&["down"]).exits(0);
}

#[test]
fn what_leaves_the_file_leaves_its_leases() {
    let both = service("db", AT_ONCE) + &service("mq", AT_ONCE);
    let (project, socket) = with_agent(&both);
    let session = begin(&socket, "zsh");
    lease(&project, &socket, &session, &[]);
    await_ready(&project, &["db", "mq"]);
    let mut watch = project.watch(&["mq"]);
    project.replace("hearth.toml", &service("db", AT_ONCE));
    project.run(&["up"]).exits(0);
    watch.until_state("mq", "down");
    assert_eq!(leases(&socket, &session)[0]["services"], json!(["db"]));
}

#[test]
fn a_lease_that_is_asked_for_while_its_session_ends_does_not_outlive_it() {
    let (project, socket) = with_agent(&service("db", AT_ONCE));
    let mut watch = project.watch(&["db"]);
    let mut events = request(&socket, "GET", "/v1/events", &[], "");
    assert_eq!(events.event().unwrap().name, "snapshot");
    let body = |session: &Session| project.asks(json!({ "session": session.id() }));
    for _ in 0..20 {
        let mut session = begin(&socket, "zsh");
        let (id, body) = (session.id().to_owned(), body(&session));
        session.sends("POST", "/v1/leases", &body);
        session.kill();
        // When its end was heard of, its request is decided, or will be refused.
        events.events_until(|event| {
            event.data["what"] == "ended" && event.data["session"]["id"] == json!(id)
        });
    }
    // Behind all of them.
    let last = begin(&socket, "last");
    let up = json!({ "session": last.id() });
    assert_eq!(result(&project, &socket, "/v1/up", up), "ready");
    assert_eq!(project.row("db")["held_by"], json!([by(&last, "last")]));
    watch.until_state("db", "ready");
    last.kill();
    watch.until_state("db", "down");
    assert_eq!(get(&socket, "/v1/sessions"), json!({ "sessions": [] }));
}

#[test]
fn many_sessions_that_end_at_once_give_back_what_they_hold() {
    let names: Vec<String> = (0..20).map(|n| format!("s{n}")).collect();
    let text: String = names.iter().map(|name| service(name, AT_ONCE)).collect();
    let (project, socket) = with_agent(&text);
    let sessions: Vec<_> = names.iter().map(|name| begin(&socket, name)).collect();
    for (name, session) in names.iter().zip(&sessions) {
        lease(&project, &socket, session, &[name]);
        lease(&project, &socket, session, &["s0"]);
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    await_ready(&project, &all);
    let mut watch = project.watch(&all);
    drop(sessions);
    all.iter().for_each(|name| drop(watch.until_state(name, "down")));
    assert!(all.iter().all(|name| project.read(&format!("{name}.told")) == "told\n"));
}
