//! `up --lease`, `--lease-to`, `run --lease`, `sessions`, `session`, and `down` of what is leased.

use std::os::unix::process::CommandExt;
use std::process::Command;

use hearth_tests::{Project, Terminal, Verb, await_end, runs};
use serde_json::Value;

const TWO: &str = "[services.db]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\n\
    [services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\nlinger = \"0s\"\nneeds = [\"db\"]\n\
    [groups]\nall = [\"db\", \"web\"]\n";

/// Starts a script in a session of the kernel's own, without a terminal; it has said `here`.
#[track_caller]
fn script(project: &Project, text: &str) -> Verb {
    let mut command = detached(project.script(text));
    let mut verb = project.begin(&mut command);
    while verb.line().expect("it says `here`") != "here" {}
    verb
}

fn detached(mut command: Command) -> Command {
    // SAFETY: setsid(2) is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        });
    }
    command
}

#[track_caller]
fn id_of(session: &Value) -> String {
    session["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_script_leases_to_itself_and_the_same_again_is_the_same() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let verb = script(
        &project,
        "hearth up web --lease-to $$ && hearth up web --lease-to $$ && hearth up db --lease && echo here; read x < gate",
    );
    let sessions = project.sessions();
    assert_eq!((sessions.len(), sessions[0]["pid"].as_u64()), (1, Some(verb.pid().into())));
    let leases = sessions[0]["leases"].as_array().expect("leases");
    let held: Vec<&Value> = leases.iter().map(|lease| &lease["services"]).collect();
    assert_eq!(held, [&serde_json::json!(["web"]), &serde_json::json!(["db"])]);
    let pids = [project.pid("db"), project.pid("web")];
    gate.open();
    let ran = verb.finish().exits(0);
    assert!(ran.stderr.contains("leased to sh (pid "), "{}", ran.stderr);
    pids.into_iter().for_each(await_end);
}

#[test]
fn a_group_is_leased_and_what_up_holds_stays_when_the_lease_ends() {
    let project = Project::new(TWO);
    project.run(&["up", "db"]).exits(0);
    let mut gate = project.gate("gate");
    let verb =
        script(&project, "hearth up all --no-wait --lease-to $$ && echo here; read x < gate");
    project.watch(&["web"]).until_state("web", "ready");
    let held_by = project.row("db")["held_by"].clone();
    let kinds: Vec<_> = held_by.as_array().expect("holders").iter().map(|by| &by["type"]).collect();
    assert_eq!(kinds, ["up", "lease", "dependent"], "{held_by}");
    let shown = project.run(&["status", "-v"]).exits(0).stdout;
    assert!(
        shown.contains("HELD BY") && shown.contains(&format!("up, sh (pid {}), web", verb.pid())),
        "{shown}"
    );
    gate.open();
    verb.finish().exits(0);
    project.watch(&["web"]).until_state("web", "down");
    assert_eq!(project.state("db"), "ready");
}

#[test]
fn a_pid_that_is_not_above_is_refused_with_what_to_type() {
    let project = Project::new(TWO);
    let mut stranger = project.by("sleep", &["1000"]).spawn().expect("sleep runs");
    let pid = stranger.id().to_string();
    let ran = project.run(&["up", "--lease-to", &pid, "--json"]).exits(2);
    let refusal = ran.refusal();
    assert_eq!(refusal["code"], "forbidden", "{refusal}");
    assert!(
        refusal["hint"].as_str().unwrap_or("").contains("hearth up --lease-to PID"),
        "{refusal}"
    );
    project.run(&["session", "start", "--pid", &pid]).exits(2);
    stranger.kill().and_then(|()| stranger.wait()).expect("it ends");
    project.run(&["up", "--lease-to", &pid]).exits(2);
    project.run(&["up", "--lease-to", "0"]).exits(2);
    assert_eq!((project.state("db"), project.sessions().len()), ("down".into(), 0));
}

#[test]
fn without_session_and_terminal_the_ways_there_are_are_named() {
    let project = Project::new(TWO);
    let lines: [&[&str]; 2] = [&["up", "--lease"], &["run", "--lease", "--", "sleep", "1000"]];
    for line in lines {
        let ran = project.ran(&mut detached(project.command(line))).exits(2);
        for way in ["--lease-to PID", "hearth with", "hearth session start"] {
            assert!(ran.stderr.contains(way), "{line:?}: no `{way}` in {}", ran.stderr);
        }
        let mut piped = project.script(&format!("echo x | hearth {} | cat", line.join(" ")));
        piped.stdin(std::process::Stdio::null());
        let ran = project.ran(&mut detached(piped));
        assert!(ran.stderr.contains("--lease-to PID"), "{}", ran.stderr);
    }
    assert_eq!((project.state("db"), project.sessions().len()), ("down".into(), 0));
}

#[test]
fn on_a_terminal_its_shell_is_the_session_also_from_a_command_of_it() {
    let project = Project::new(TWO);
    let mut terminal = Terminal::start(
        project.script(
            "hearth up db --lease; bash -c 'hearth up web --lease; echo done'; read x; true",
        ),
        120,
        40,
    );
    terminal.until(|text| text.contains("done"));
    assert!(terminal.text().contains("leased to sh (pid "), "{}", terminal.text());
    let sessions = project.sessions();
    assert_eq!((sessions.len(), sessions[0]["pid"].as_u64()), (1, Some(terminal.pid().into())));
    assert_eq!(sessions[0]["kind"], "shell");
    assert_eq!(sessions[0]["leases"].as_array().map(Vec::len), Some(2));
    let pids = [project.pid("db"), project.pid("web")];
    terminal.close();
    pids.into_iter().for_each(await_end);
}

#[test]
fn a_session_that_has_ended_is_passed_over() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let verb = script(
        &project,
        "HEARTH_SESSION=s-222222; export HEARTH_SESSION; hearth session start; \
        hearth up db --lease -v; hearth down db; hearth up db --lease; echo here; read x < gate",
    );
    assert_eq!(project.sessions().len(), 1);
    assert_eq!(project.row("db")["held_by"][0]["pid"].as_u64(), Some(verb.pid().into()));
    gate.open();
    let ran = verb.finish().exits(0);
    assert!(ran.stderr.contains("1 service down"), "it has given it up: {}", ran.stderr);
    assert_eq!(
        ran.stderr.matches("HEARTH_SESSION names s-222222, which has ended").count(),
        1,
        "{}",
        ran.stderr
    );
    for name in ["s-222222", "../../v1/shutdown", ""] {
        let mut command = detached(project.command(&["up", "--lease"]));
        let ran = project.ran(command.env("HEARTH_SESSION", name)).exits(2);
        assert!(ran.stderr.contains("--lease-to PID"), "{}", ran.stderr);
    }
}

#[test]
fn what_is_leased_goes_down_by_its_own_session_or_by_force() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let verb = script(
        &project,
        "hearth session start --kind agent --name coder; hearth up web --lease; echo here; read x < gate; \
         hearth down web; hearth up web --lease; echo here; read x < gate",
    );
    let session = id_of(&project.sessions()[0]);
    let pid = verb.pid();
    for names in [&["web"][..], &["db"], &[], &["--all"]] {
        let mut line = vec!["down"];
        line.extend(names);
        let ran = project.run(&line).exits(1);
        assert!(ran.stderr.contains(&format!("coder (pid {pid})")), "{names:?}: {}", ran.stderr);
        let force = format!("`hearth {} --force`", line.join(" "));
        assert!(ran.stderr.contains(&force), "{names:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(&format!("`hearth session end {session}`")), "{}", ran.stderr);
    }
    let through = project.run(&["down", "db"]).exits(1).stderr;
    assert!(through.contains("web, which needs db, is leased by coder"), "{through}");
    let ran = project.run(&["down", "web", "--json"]).exits(1);
    let refusal = ran.refusal();
    assert_eq!(
        (&refusal["code"], &refusal["details"]["leased"][0]["session"]),
        (&"leased".into(), &session.as_str().into())
    );
    let web = project.pid("web");
    // The one that holds it may.
    gate.open();
    await_end(web);
    project.watch(&["web"]).until_state("web", "ready");
    let web = project.pid("web");
    project.run(&["down", "web", "--force"]).exits(0);
    assert!(!runs(web));
    gate.open();
    verb.finish().exits(0);
}

#[test]
fn inside_of_a_command_its_own_lease_stands_in_no_way() {
    let project = Project::new(TWO);
    let mut command = project.by(
        "hearth",
        &["with", "-q", "web", "--", "sh", "-c", "hearth down && hearth status --json"],
    );
    let ran = project.ran(&mut command).exits(0);
    assert_eq!(ran.json()["services"][0]["state"], "down");
}

#[test]
fn sessions_are_shown_and_ended() {
    let project = Project::new(TWO);
    assert_eq!(project.run(&["sessions"]).exits(0).stdout, "no sessions\n");
    let mut gate = project.gate("gate");
    let verb = script(
        &project,
        "id=$(hearth session start --kind shell --name mine); hearth up db --lease; echo $id > id; echo here; read x < gate; \
         hearth session end; echo ended; read x < gate",
    );
    let id = project.read("id").trim().to_owned();
    assert!(id.starts_with("s-") && id.len() == 8, "{id}");
    let table = project.run(&["sessions"]).exits(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("LEASES"), "{table}");
    let holds = format!("db in {}", project.dir().display());
    assert!(lines[1].starts_with(&id) && lines[1].ends_with(&holds), "{table}");
    assert!(lines[1].contains(&format!("shell  mine  {}", verb.pid())), "{table}");
    let db = project.pid("db");
    // It ends, and its process lives on.
    gate.open();
    await_end(db);
    assert!(runs(verb.pid()) && project.sessions().is_empty());
    let ran = project.run(&["session", "end", &id, "--json"]).exits(5);
    assert_eq!(ran.refusal()["code"], "not-found");
    let ran = project.ran(&mut detached(project.command(&["session", "end"]))).exits(5);
    assert!(ran.stderr.contains("in no session"), "{}", ran.stderr);
    project.run(&["session"]).exits(2);
    gate.open();
    verb.finish().exits(0);
}

#[test]
fn a_command_without_a_file_is_leased_too() {
    let project = Project::empty();
    let mut gate = project.gate("gate");
    let verb = script(
        &project,
        "hearth session start > /dev/null; hearth run --lease --name job -- sleep 1000; echo here; read x < gate; \
         hearth session end; hearth why job; hearth down",
    );
    let row = &project.run(&["status", "--json"]).exits(0).json()["services"][0];
    assert_eq!(
        (row["name"].as_str(), row["held_by"][0]["type"].as_str()),
        (Some("job"), Some("lease"))
    );
    gate.open();
    let ran = verb.finish().exits(0);
    assert!(ran.stdout.contains("nobody holds job any more: it goes in 10 s"), "{}", ran.stdout);
}

#[test]
fn ctrl_c_of_an_attached_lease_takes_down_what_it_brought_up() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let mut verb = script(
        &project,
        "hearth session start > /dev/null; echo here; read x < gate; hearth up --attach --lease",
    );
    gate.open();
    verb.until_stderr("leased to sh");
    let pids = [project.pid("db"), project.pid("web")];
    let children = hearth_process::tree::below(verb.pid(), &|_| false).expect("it can be seen");
    let attached = children.first().expect("the verb");
    hearth_tests::send(attached.id.pid, hearth_process::Signal::INT);
    pids.into_iter().for_each(await_end);
    let ran = verb.finish().exits(130);
    assert!(ran.stderr.contains("taking down what this brought up: db, web"), "{}", ran.stderr);
}

#[test]
fn an_attached_up_leaves_what_somebody_has_leased_meanwhile() {
    let project = Project::new(TWO);
    let mut gate = project.gate("gate");
    let mut attached = project.start(&["up", "--attach"]);
    attached.until_stderr("ready in");
    let verb = script(&project, "hearth up db --lease-to $$; echo here; read x < gate");
    let db = project.pid("db");
    attached.interrupt();
    let ran = attached.finish().exits(130);
    let stays = format!("`db` stays: sh (pid {}) needs it", verb.pid());
    assert!(ran.stderr.contains(&stays), "{}", ran.stderr);
    assert_eq!((project.pid("db"), project.state("web")), (db, "down".into()));
    gate.open();
    verb.finish().exits(0);
}
