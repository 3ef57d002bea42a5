//! What a life is begun with: variables that are put in, shells that differ, limits that are cut; and
//! what becomes of it when commands cross.

use hearth_tests::http::request;
use hearth_tests::{Project, runs};
use serde_json::{Value, json};

const SAYS: &str =
    "[services.s]\nrun = 'echo \"a $A\"; exec sleep 1000'\nready = { log = \"a\" }\n";

/// `hearth VERB --json` with these variables besides.
#[track_caller]
fn outcome(project: &Project, arguments: &[&str], env: &[(&str, &str)], code: i32) -> Value {
    let mut command = project.command(&[&["--json"], arguments].concat());
    command.envs(env.iter().copied());
    project.ran(&mut command).exits(code).json_lines().pop().expect("an outcome")
}

#[test]
fn another_shell_is_told_which_variables_differ_and_no_value() {
    let project = Project::new(SAYS);
    outcome(&project, &["up"], &[("A", "old"), ("SHLVL", "1")], 0);
    let pid = project.pid("s");
    let again = outcome(&project, &["up"], &[("A", "old"), ("SHLVL", "7"), ("TERM", "x")], 0);
    assert_eq!(again["notes"], Value::Null, "{again}");
    let told = outcome(&project, &["up"], &[("A", "secret-1"), ("B", "secret-2")], 0);
    let note = told["notes"][0].as_str().unwrap_or_else(|| panic!("{told}"));
    assert!(note.starts_with("A, B differ from the environment that s was started with"), "{note}");
    assert!(note.contains("`hearth restart s`"), "{note}");
    assert!(!told.to_string().contains("secret"), "{told}");
    assert_eq!(project.pid("s"), pid);
    let told = outcome(&project, &["restart", "s"], &[("A", "new"), ("B", "2")], 0);
    assert_eq!(told["notes"], Value::Null, "{told}");
    assert_eq!(project.run(&["logs", "-n", "1"]).exits(0).stdout, "a new\n");
}

#[test]
fn a_variable_that_is_not_set_is_named_at_once_and_can_be_given() {
    let toml = "[services.s]\nrun = 'echo \"$URL $KIND\"; exec sleep 1000'\nready = { log = \"http\" }\n\
                env = { URL = \"http://${HOST_OF_S}/\", KIND = \"${KIND_OF_S:-plain}\" }\n";
    let project = Project::new(toml);
    let told = outcome(&project, &["up"], &[], 1);
    let words = told["failed"][0]["message"].as_str().unwrap();
    assert!(words.contains("`${HOST_OF_S}` is not set"), "{words}");
    assert_eq!(told["failed"][0]["log_tail"], json!([]), "it was not begun");
    assert_eq!(project.state("s"), "failed");
    let socket = project.socket();
    let ask = |env: Value| {
        let body = json!({ "project": project.dir(), "service": "s", "env": env }).to_string();
        request(&socket, "POST", "/v1/env", &[], &body)
    };
    // It failed with what it was given, and that is asked about as long as it is wanted.
    let refusal = ask(json!({ "HOST_OF_S": "x" }));
    assert_eq!(refusal.status, 422);
    assert!(refusal.json()["detail"].as_str().unwrap().contains("HOST_OF_S"));
    outcome(&project, &["restart", "s"], &[("HOST_OF_S", "here")], 0);
    assert_eq!(project.run(&["logs", "-n", "1"]).exits(0).stdout, "http://here/ plain\n");
    assert_eq!(ask(json!({})).json()["URL"], "http://here/");
}

#[test]
fn limits_above_the_agents_own_are_cut_and_told_once() {
    let project = Project::new(SAYS);
    let mut command = std::process::Command::new("sh");
    let hearth = project.command(&["daemon", "up"]);
    command.args(["-c", "ulimit -n 512; exec \"$0\" daemon up"]).arg(hearth.get_program());
    command.env("HEARTH_HOME", project.home.dir()).current_dir(project.dir());
    project.ran(&mut command).exits(0);
    let socket = project.socket();
    let body = json!({
        "project": project.dir(), "env": { "PATH": "/usr/bin:/bin" },
        "limits": { "nofile": { "soft": 100, "hard": 100_000 } },
    });
    let up = || {
        let mut reply = request(&socket, "POST", "/v1/up", &[], &body.to_string());
        std::iter::from_fn(|| reply.line()).last().expect("an outcome")
    };
    let told = up();
    assert_eq!(told["result"], "ready", "{told}");
    let note = told["notes"][0].as_str().unwrap_or_else(|| panic!("{told}"));
    assert!(note.contains("nofile is cut to 512"), "{note}");
    assert_eq!(up()["notes"], Value::Null, "nothing was given to anybody");
}

#[test]
fn where_a_caller_has_no_limits_a_service_may_open_what_the_agent_was_started_with() {
    let file = "[services.s]\nrun = \"ulimit -Sn; exec sleep 1000\"\nready.delay = \"1ms\"\n";
    let project = Project::new(file);
    let mut command = std::process::Command::new("sh");
    let hearth = project.command(&["daemon", "up"]);
    command.args(["-c", "ulimit -Sn 321; exec \"$0\" daemon up"]).arg(hearth.get_program());
    command.env("HEARTH_HOME", project.home.dir()).current_dir(project.dir());
    project.ran(&mut command).exits(0);
    let body = json!({ "project": project.dir(), "env": { "PATH": "/usr/bin:/bin" } });
    let socket = project.socket();
    let up = |path: &str| {
        let mut reply = request(&socket, "POST", path, &[], &body.to_string());
        let told = std::iter::from_fn(|| reply.line()).last().expect("an outcome");
        assert_eq!(told["result"], "ready", "{told}");
    };
    up("/v1/up");
    // Another agent, started with other limits, is still the agent of these services.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -Sn 432; exec \"$0\" daemon restart"]).arg(hearth.get_program());
    command.env("HEARTH_HOME", project.home.dir()).current_dir(project.dir());
    project.ran(&mut command).exits(0);
    let soft = |pid: u64| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    let agent = project.run(&["daemon", "status", "--json"]).exits(0).json();
    assert_ne!(soft(agent["pid"].as_u64().unwrap()), "432", "its own is raised");
    up("/v1/restart");
    assert_eq!(project.run(&["logs"]).exits(0).stdout, "321\n321\n");
}

#[test]
fn the_environment_of_another_user_has_his_home() {
    if !hearth_tests::is_root("a service of another user") {
        return;
    }
    let project = Project::new(&format!("{SAYS}user = \"nobody\"\n"));
    let socket = project.socket();
    let body = json!({ "project": project.dir(), "service": "s", "env": { "HOME": "/root" } });
    let told = request(&socket, "POST", "/v1/env", &[], &body.to_string()).json();
    let nobody = hearth_process::facts::user_by_name("nobody").unwrap();
    assert_eq!(told["HOME"], nobody.home.to_str().unwrap());
    assert_eq!((&told["USER"], &told["LOGNAME"]), (&json!("nobody"), &json!("nobody")));
}

#[test]
fn an_edited_env_file_is_a_changed_service() {
    let project = Project::empty();
    project.write("one.env", "A=first\n");
    project.write("hearth.toml", &format!("{SAYS}env_file = \"one.env\"\n"));
    project.run(&["up"]).exits(0);
    assert_eq!(project.row("s")["changed"], false);
    let pid = project.pid("s");
    project.replace("one.env", "A=second\n");
    assert_eq!(project.row("s")["changed"], true);
    assert_eq!(project.pid("s"), pid);
    project.run(&["up"]).exits(0);
    assert_eq!(project.row("s")["changed"], false);
    assert_eq!(project.run(&["logs", "-n", "1"]).exits(0).stdout, "a second\n");
}

#[test]
fn fifty_ups_and_downs_at_once_leave_what_the_last_one_wanted() {
    // Whoever of the lives before still runs is found by its pid.
    let toml = r#"
        [services.a]
        ready = { log = "begins" }
        run = """
        touch pids
        while read pid; do if kill -0 $pid; then echo $pid >> twice; fi; done < pids 2> /dev/null
        echo $$ >> pids
        echo begins
        exec sleep 1000
        """
        [services.b]
        needs = ["a"]
        run = ["sleep", "1000"]
        ready = { settle = "0s" }
    "#;
    let project = Project::new(toml);
    project.run(&["up"]).exits(0);
    let verbs: Vec<_> = (0..50)
        .map(|number| project.start(if number % 2 == 0 { &["down"] } else { &["up"] }))
        .collect();
    for verb in verbs {
        // The later want holds: whoever wanted the other is told that it was taken from him.
        let ran = verb.finish();
        assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
        assert!(!ran.stderr.contains("failed"), "{ran:?}");
    }
    project.run(&["up"]).exits(0);
    assert_eq!([project.state("a"), project.state("b")], ["ready", "ready"]);
    let pid = project.pid("a");
    project.run(&["down"]).exits(0);
    assert!(!runs(pid));
    assert_eq!(project.read("twice"), "");
    assert!(project.read("pids").lines().count() >= 2, "it began anew");
}
