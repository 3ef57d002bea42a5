//! What an agent knew outlives it: pauses, counts, failures, wants; and secrets are never on disk.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use hearth_process::locked::{self, LockedFile};
use hearth_process::{ProcessId, Signal, facts};
use hearth_tests::{Project, await_end, has_program, is_root, runs, send};
use serde_json::{Value, json};

/// What the agent has saved of a service.
fn saved(project: &Project, service: &str) -> Value {
    let text = fs::read_to_string(project.home.path("state.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let mut services = whole["services"].as_array().unwrap().clone().into_iter();
    services.find(|entry| entry["state"]["id"]["name"] == service).unwrap()["state"].clone()
}

fn log(project: &Project) -> String {
    fs::read_to_string(project.home.path("agent.log")).unwrap_or_default()
}

fn shim_of(service: u32) -> u32 {
    facts::parent_of(service).unwrap()
}

fn message(project: &Project, service: &str) -> String {
    project.row(service)["health"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_pause_its_count_and_who_waits_go_on_where_they_were() {
    let project = Project::new(
        r#"
        [services.keeper]
        run = "exec sleep 1000"
        ready = { settle = "0s" }
        [services.crash]
        run = "echo life >> lives; exit 3"
        ready = { settle = "10s" }
        backoff = { min = "1s", max = "1s" }
        give_up = { failures = 3, within = "60s" }
        [services.after]
        run = "echo never >> after; exec sleep 1000"
        needs = ["crash"]
        "#,
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_states(&[("keeper", "ready"), ("crash", "backoff")]);
    up.kill();
    let before = project.row("crash");
    // What has a deadline is on disk a moment after it is told.
    project.home_file("state.json", |text| text.contains("next try"));
    let until = saved(&project, "crash")["phase"].clone();
    project.home.kill_agent();
    let after = project.row("crash");
    for field in ["state", "restarts", "exit", "since", "want"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!((&after["state"], &after["restarts"]), (&"backoff".into(), &1.into()));
    assert_eq!(saved(&project, "crash")["phase"], until, "the same deadline");
    assert_eq!(project.state("after"), "waiting");
    // Once more in the next pause: three failures are three, whoever counted.
    project.await_lines("lives", 2);
    let mut up = project.start(&["up", "keeper", "--json"]);
    up.until(|line| line["type"] == "outcome");
    project.home.kill_agent();
    project.run(&["status"]).exits(0);
    project.await_lines("lives", 3);
    let failed = project.run(&["up", "keeper"]);
    failed.exits(0);
    project.home_file("state.json", |text| text.contains("gave up after 3 failures"));
    assert_eq!(project.state("crash"), "failed");
    assert_eq!(project.read("after"), "");
    assert_eq!(project.read("lives").lines().count(), 3);
}

#[test]
fn done_failed_and_down_stay_what_they_are() {
    let project = Project::new(
        r#"
        [services.once]
        kind = "oneshot"
        run = "echo ran >> once"
        [services.bad]
        run = "echo ran >> bad; exit 4"
        restart = "never"
        [services.off]
        run = "echo ran >> off; exec sleep 1000"
        ready = { settle = "0s" }
        "#,
    );
    project.run(&["up"]).exits(1);
    project.run(&["up", "off"]).exits(0);
    project.run(&["down", "off"]).exits(0);
    project.home.kill_agent();
    assert_eq!(project.state("once"), "done");
    let bad = project.row("bad");
    assert_eq!(
        (&bad["state"], &bad["exit"]["code"], &bad["want"]),
        (&json!("failed"), &json!(4), &json!("up"))
    );
    let off = project.row("off");
    assert_eq!((&off["state"], &off["want"]), (&json!("down"), &json!("down")));
    project.run(&["up", "once"]).exits(0);
    for name in ["once", "bad", "off"] {
        assert_eq!(project.read(name), "ran\n", "{name}");
    }
}

#[test]
fn what_is_down_by_a_verb_stays_down_though_nothing_of_it_lived() {
    let project = Project::new(
        "[services.s]\nrun = \"echo life >> lives; exit 1\"\nready = { settle = \"10s\" }\n\
         backoff = { min = \"1h\", max = \"1h\" }\n",
    );
    let mut up = project.start(&["up", "--json"]);
    up.until_state("s", "backoff");
    up.kill();
    project.home_file("state.json", |text| text.contains("next try"));
    project.home.kill_agent();
    project.run(&["down"]).exits(0);
    let row = project.row("s");
    assert_eq!((&row["state"], &row["want"]), (&json!("down"), &json!("down")));
    if project.home.agent_pid().is_some() {
        project.home.kill_agent();
    }
    let row = project.row("s");
    assert_eq!((&row["state"], &row["want"]), (&json!("down"), &json!("down")));
}

#[test]
fn a_file_that_is_not_understood_is_set_aside_and_costs_no_service() {
    for text in ["{\"version\":1,\"boot\":\"tor", "{\"version\":7,\"new\":[]}", "\0\0", ""] {
        let project = Project::new(
            "[services.s]\nrun = \"echo $$ >> pids; exec sleep 1000\"\nready = { settle = \"0s\" }\n",
        );
        project.run(&["up"]).exits(0);
        let pid = project.pid("s");
        project.home.run(&["daemon", "down"]).exits(0);
        project.home.write("state.json", text);
        project.home.run(&["daemon", "up"]).exits(0);
        assert_eq!((project.pid("s"), project.state("s")), (pid, "ready".into()), "{text:?}");
        assert_eq!(fs::read_to_string(project.home.path("state.json.bad")).unwrap(), text);
        assert!(log(&project).contains("state.json.bad"), "{}", log(&project));
        project.run(&["up"]).exits(0);
        assert_eq!(project.read("pids").lines().count(), 1);
    }
}

#[test]
fn where_no_shim_is_left_the_environment_is_gone_and_up_brings_a_new_one() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $MARKER >> seen; test -e good && exec sleep 1000; exit 1\"\n\
         ready = { exec = \"test -e good\", every = \"20ms\" }\n\
         backoff = { min = \"2s\", max = \"2s\" }\n",
    );
    let mut up = project.begin(project.command(&["up", "--json"]).env("MARKER", "first"));
    up.until_state("s", "backoff");
    up.kill();
    project.home_file("state.json", |text| text.contains("next try"));
    // The shim may go as soon as that is written, and with it all that knows the environment.
    let shims = project.home.path("shims");
    project.home_file("shims/none", |_| fs::read_dir(&shims).unwrap().next().is_none());
    project.home.kill_agent();
    project.run(&["status"]).exits(0);
    project.home_file("state.json", |text| text.contains("environment is gone"));
    assert_eq!(project.state("s"), "failed");
    assert_eq!(message(&project, "s"), "its environment is gone, run `hearth up`");
    let seen = project.read("seen");
    project.write("good", "");
    project.ran(project.command(&["up"]).env("MARKER", "second")).exits(0);
    let now = project.await_file("seen", |text| text.ends_with("second\n"));
    assert_eq!(now, seen + "second\n", "not tried without it");
}

/// Every file below a directory that has `secret` in it.
fn with(secret: &str, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            with(secret, &entry.path(), found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

#[test]
fn a_secret_is_never_on_disk_and_yet_outlives_the_agent() {
    let (shell, file) = ("planted-in-the-shell-5f1c", "planted-in-the-file-9a2e");
    let project = Project::new(&format!(
        r#"
        [services.s]
        run = "test $A = {shell} && test $B = {file} && echo ok >> ok; exec sleep 1000"
        ready = {{ settle = "0s" }}
        backoff = {{ min = "1ms" }}
        env = {{ B = "{file}" }}
        [services.keeper]
        run = "exec sleep 1000"
        ready = {{ settle = "0s" }}
        env = {{ B = "{file}" }}
        [services.crash]
        run = "exit 1"
        env = {{ B = "{file}" }}
        restart = "never"
        "#
    ));
    let clean = |moment: &str| {
        let mut found = Vec::new();
        with(shell, project.home.dir(), &mut found);
        with(file, project.home.dir(), &mut found);
        assert!(found.is_empty(), "{moment}: {found:?}");
    };
    project.ran(project.command(&["up"]).env("A", shell)).exits(1);
    project.await_lines("ok", 1);
    clean("up");
    project.home.kill_agent();
    clean("killed");
    project.run(&["status"]).exits(0);
    clean("taken over");
    // A life that begins under the next agent has both.
    send(project.pid("s"), Signal::KILL);
    project.await_lines("ok", 2);
    project.home.run(&["daemon", "down"]).exits(0);
    clean("left");
    // The shell's own name for it proves that the search finds anything at all.
    let mut found = Vec::new();
    with(file, project.dir(), &mut found);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn agent_and_shim_killed_together_leave_one_life_after_the_other() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; sleep 1000 & exec sleep 1000\"\n\
         ready = { settle = \"0s\" }\nbackoff = { min = \"1ms\" }\n\
         [services.keeper]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n",
    );
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    let shim = shim_of(pid);
    let agent = project.home.agent_pid().unwrap();
    send(agent, Signal::STOP);
    send(shim, Signal::KILL);
    send(agent, Signal::KILL);
    await_end(agent);
    project.run(&["status"]).exits(0);
    let pids = project.await_lines("pids", 2);
    assert!(!runs(pid), "two copies at once");
    // The line is there before the agent has heard of its life.
    project.run(&["up"]).exits(0);
    let row = project.row("s");
    assert_eq!((&row["restarts"], &row["want"]), (&json!(1), &json!("up")), "{row}");
    let nobody_saw = (&row["exit"]["code"], &row["exit"]["signal"]);
    assert_eq!(nobody_saw, (&Value::Null, &Value::Null));
    assert_eq!(pids[1], project.pid("s").to_string());
    // Told where it is missing; and once more where an agent looks on.
    let told = || project.run(&["logs", "s"]).exits(0).stdout.matches("is lost").count();
    assert_eq!(told(), 1);
    send(shim_of(project.pid("s")), Signal::KILL);
    project.await_lines("pids", 3);
    assert_eq!(told(), 2);
}

#[test]
fn a_mute_shims_service_is_shown_as_it_was_and_taken_over_when_it_speaks() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; exec sleep 1000\"\nready = { settle = \"0s\" }\n",
    );
    project.run(&["up"]).exits(0);
    let pid = project.pid("s");
    let shim = shim_of(pid);
    project.home_file("state.json", |text| text.contains("\"ready\""));
    send(shim, Signal::STOP);
    project.home.kill_agent();
    let row = project.row("s");
    assert_eq!((&row["state"], &row["pid"]), (&json!("ready"), &json!(pid)), "{row}");
    assert_eq!(row["health"]["message"], format!("its shim (pid {shim}) does not answer"));
    project.run(&["down", "--timeout", "300ms"]).exits(4);
    assert!(runs(pid));
    // It was told nothing, and hears of it now.
    let down = project.start(&["down"]);
    send(shim, Signal::CONT);
    down.finish().exits(0);
    assert!(!runs(pid));
    assert_eq!(project.state("s"), "down");
    assert_eq!(project.read("pids").lines().count(), 1);
}

#[test]
fn what_a_mute_shim_holds_is_waited_for() {
    let project = Project::new(
        "[services.keeper]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n\
         [services.s]\nrun = \"echo $MARKER >> seen; test -e good && exec sleep 1000; exit 1\"\n\
         ready = { exec = \"test -e good\", every = \"20ms\" }\n\
         backoff = { min = \"500ms\", max = \"500ms\" }\ngive_up = { failures = 100, within = \"1s\" }\n",
    );
    let mut up = project.begin(project.command(&["up", "--json"]).env("MARKER", "first"));
    up.until_states(&[("keeper", "ready"), ("s", "backoff")]);
    up.kill();
    let keeper = shim_of(project.pid("keeper"));
    send(keeper, Signal::STOP);
    project.home.kill_agent();
    project.write("good", "");
    // Whatever lived of it at that moment has ended by then, or is the one that goes on.
    let state = project.state("s");
    assert_ne!(state, "failed");
    send(keeper, Signal::CONT);
    let seen = project.await_lines("seen", 2);
    assert!(seen.iter().all(|line| line == "first"), "{seen:?}");
}

struct Bystander(Child);

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Power fails, and pids are given out anew: simulated by ending all that ran, and writing into
/// the records that they were made in another boot, by a pid that is a stranger's now.
#[test]
fn after_a_reboot_nothing_is_started_and_no_stranger_is_signalled() {
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; exec sleep 1000\"\nready = { settle = \"0s\" }\n",
    );
    project.run(&["up"]).exits(0);
    let (pid, agent) = (project.pid("s"), project.home.agent_pid().unwrap());
    let shim = shim_of(pid);
    send(shim, Signal::STOP);
    send(agent, Signal::KILL);
    await_end(agent);
    send(shim, Signal::KILL);
    await_end(shim);
    if runs(pid) {
        send(pid, Signal::KILL);
        await_end(pid);
    }
    let bystander = Bystander(Command::new("sleep").arg("1000").spawn().unwrap());
    let stranger = bystander.0.id();
    let mut record_of = serde_json::to_value(ProcessId::of(stranger).unwrap()).unwrap();
    record_of["boot"] = "00000000-another-boot".into();
    let mut changed = 0;
    for entry in fs::read_dir(project.home.path("shims")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "rec") {
            continue;
        }
        let Ok(locked::Record::Valid(bytes)) = locked::read_path(&path) else { panic!("{path:?}") };
        let mut record: Value = serde_json::from_slice(&bytes).unwrap();
        record["shim"] = record_of.clone();
        record["leader"] = record_of.clone();
        let file = LockedFile::exclusive(locked::open(&path, false).unwrap()).unwrap();
        file.write(&serde_json::to_vec(&record).unwrap()).unwrap();
        changed += 1;
    }
    assert_eq!(changed, 1);
    let file = project.home.path("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut whole: Value = serde_json::from_str(&text).unwrap();
    whole["boot"] = "00000000-another-boot".into();
    fs::write(&file, serde_json::to_vec(&whole).unwrap()).unwrap();
    project.home.run(&["daemon", "up"]).exits(0);
    let row = project.row("s");
    assert_eq!(
        (&row["state"], &row["want"], &row["pid"]),
        (&json!("down"), &json!("down"), &Value::Null)
    );
    assert!(runs(stranger), "a stranger was signalled");
    project.run(&["up"]).exits(0);
    project.await_lines("pids", 2);
    let life = saved(&project, "s")["life"]["number"].as_u64().unwrap();
    assert_eq!(life, 2, "lives count on");
}

#[test]
fn a_state_that_cannot_be_written_stops_nobody_and_is_told_once() {
    let project =
        Project::new("[services.s]\nrun = \"exec sleep 1000\"\nready = { settle = \"0s\" }\n");
    project.home.run(&["daemon", "up"]).exits(0);
    // Where the new file would be written stands a directory.
    let obstacle = project.home.path("state.json.new");
    fs::create_dir(&obstacle).unwrap();
    project.run(&["up"]).exits(0);
    project.run(&["restart", "s"]).exits(0);
    let pid = project.pid("s");
    let told = log(&project).matches("cannot be written").count();
    assert_eq!(told, 1, "{}", log(&project));
    project.home.kill_agent();
    assert_eq!(project.pid("s"), pid, "taken over by what its shim knows");
    fs::remove_dir(&obstacle).unwrap();
    project.run(&["down"]).exits(0);
    assert_eq!(saved(&project, "s")["want"], "down");
    assert!(log(&project).contains("can be written again"), "{}", log(&project));
}

#[test]
fn a_status_writes_nothing() {
    let project = Project::new("[services.s]\nrun = \"exec sleep 1000\"\n");
    project.run(&["status"]).exits(0);
    assert!(!project.home.path("state.json").exists());
}

/// A home of its own file system, full to the last block.
#[test]
fn a_full_disk_costs_no_verb_and_no_service() {
    if !is_root("a full disk") || !has_program("unshare") {
        return;
    }
    let project = Project::new(
        "[services.s]\nrun = \"echo $$ >> pids; echo > told; exec sleep 1000\"\nready = { settle = \"0s\" }\n",
    );
    let home = project.home.dir();
    fs::create_dir(home).unwrap();
    let script = format!(
        "set -u; mount -t tmpfs -o mode=700,size=1m none {home}; H={hearth}
         mkfifo told
         $H up && read x < told || exit 11
         cat /dev/zero > {home}/ballast 2>/dev/null
         $H restart s && read x < told || exit 12
         test $(wc -l < pids) = 2 || exit 13
         kill -9 $($H daemon status --json | grep -o '\"pid\":[0-9]*' | head -n1 | cut -d: -f2)
         $H up s || exit 14
         test $(wc -l < pids) = 2 || exit 15
         $H down || exit 16
         rm {home}/ballast
         $H up && read x < told || exit 17
         grep -c 'can be written again' {home}/agent.log
         grep -o '\"want\":\"up\"' {home}/state.json
         $H down || exit 18
         $H daemon down",
        home = home.display(),
        hearth = hearth_tests::hearth().display(),
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    command.current_dir(project.dir()).env("HEARTH_HOME", home).env_remove("HEARTH_NO_AUTOSPAWN");
    let ran = project.ran(&mut command).exits(0);
    fs::remove_dir(home).unwrap();
    // A shim that was let go may be a moment from its end, and from here nobody can ask for it.
    project.home.processes().iter().for_each(|process| await_end(process.id.pid));
    assert_eq!(ran.stdout, "1\n\"want\":\"up\"\n", "{}", ran.stderr);
}
