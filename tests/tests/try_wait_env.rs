//! `try`, `wait`, `env`, and `run` as the command line has them.

use hearth_tests::Project;
use serde_json::json;

const TWO: &str = "[services.db]\nrun = \"echo here; exec sleep 1000\"\nready = { log = \"here\" }\n\
    [services.web]\nrun = [\"sleep\", \"1000\"]\nneeds = [\"db\"]\nready = { settle = \"10ms\" }\n";

#[test]
fn try_brings_up_and_takes_down_and_its_outcome_is_that_of_the_bringing_up() {
    let project = Project::new(TWO);
    let ran = project.run(&["try", "--json"]).exits(0);
    let lines = ran.json_lines();
    let outcomes: Vec<_> = lines.iter().filter(|line| line["type"] == "outcome").collect();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((&outcomes[0]["result"], lines.last()), (&json!("ready"), Some(outcomes[0])));
    assert!(lines.iter().any(|line| line["service"] == "web" && line["to"] == "down"));
    assert_eq!(project.state("db"), "down");
}

#[test]
fn try_takes_down_after_a_failure_over_its_time_and_after_ctrl_c() {
    let failing = Project::new(&format!(
        "{TWO}[services.bad]\nrun = \"echo why; exit 3\"\nrestart = \"never\"\nneeds = [\"web\"]\n"
    ));
    let ran = failing.run(&["try"]).exits(1);
    assert!(ran.stderr.contains("  | why\n"), "{}", ran.stderr);
    assert_eq!(failing.state("db"), "down");

    let slow = Project::new(&format!(
        "{TWO}[services.slow]\nrun = [\"sleep\", \"1000\"]\nready = {{ file = \"never\" }}\n"
    ));
    let ran = slow.run(&["try", "--timeout", "500ms", "--json"]).exits(4);
    assert_eq!(ran.refusal()["code"], "timeout");
    assert_eq!(ran.json_lines().last().expect("an outcome")["result"], "timeout");
    assert_eq!((slow.state("db"), slow.state("slow")), ("down".into(), "down".into()));

    let mut verb = slow.start(&["try"]);
    verb.until_stderr("web: ready");
    verb.interrupt();
    let ran = verb.finish().exits(130);
    assert!(!ran.stderr.contains("services stay"), "{}", ran.stderr);
    assert_eq!((slow.state("db"), slow.state("slow")), ("down".into(), "down".into()));
}

#[test]
fn try_leaves_alone_what_was_up() {
    let project = Project::new(TWO);
    project.run(&["up", "db"]).exits(0);
    let pid = project.pid("db");
    project.run(&["try"]).exits(0);
    assert_eq!((project.pid("db"), project.state("web")), (pid, "down".into()));
    project.run(&["up"]).exits(0);
    let ran = project.run(&["try"]).exits(0);
    assert!(ran.stderr.contains("nothing to take down"), "{}", ran.stderr);
    assert_eq!(project.pid("db"), pid);
}

#[test]
fn wait_wants_nothing_and_ends_when_somebody_has_brought_it_up() {
    let project = Project::new(TWO);
    let ran = project.run(&["wait", "web", "--timeout", "200ms"]).exits(4);
    assert!(
        ran.stderr.contains("web (down)") && ran.stderr.contains("hint: nobody"),
        "{}",
        ran.stderr
    );
    assert_eq!(project.state("web"), "down");
    let mut verb = project.start(&["wait", "web", "--json"]);
    verb.until(|line| line["type"] == "snapshot");
    project.run(&["up"]).exits(0);
    let ran = verb.finish().exits(0);
    assert_eq!(ran.json_lines().last().expect("an outcome")["result"], "ready");
    project.run(&["wait", "nope"]).exits(5);
}

#[test]
fn wait_fails_at_once_for_what_has_failed_for_good() {
    let project = Project::new("[services.bad]\nrun = \"echo why; exit 3\"\nrestart = \"never\"\n");
    project.run(&["up"]).exits(1);
    let ran = project.run(&["wait", "bad"]).exits(1);
    assert!(
        ran.stderr.contains("`bad` failed") && ran.stderr.contains("  | why"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_environment_goes_through_sh_unharmed() {
    let project = Project::new(
        "[services.web]\nrun = [\"sleep\", \"1000\"]\nenv = { MULTI = \"a'b\\n$HOME \\\"c\\\"\", A = \"1\" }\n",
    );
    let mut command = project.command(&["env", "web"]);
    let ran = project.ran(command.env("no-name", "x").env("BASH_FUNC_f%%", "() { :; }")).exits(0);
    let names: Vec<&str> =
        ran.stdout.lines().filter_map(|line| line.strip_prefix("export ")).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(ran.stderr.contains("BASH_FUNC_f%%, no-name"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("no-name"), "{}", ran.stdout);
    let script = format!("{}printf %s \"$MULTI\"", ran.stdout);
    let sh = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&sh.stdout), "a'b\n$HOME \"c\"");
    let env = project.run(&["env", "web", "--json"]).exits(0).json();
    assert_eq!((&env["A"], &env["MULTI"]), (&json!("1"), &json!("a'b\n$HOME \"c\"")));
    project.run(&["env", "nope"]).exits(5);
}

#[test]
fn variables_that_bash_can_not_set_do_not_end_the_eval() {
    let project = Project::new(
        "[services.web]\nrun = [\"sleep\", \"1000\"]\nenv = { SHELLOPTS = \"braceexpand\", UID = \"0\", ZZ = \"last\" }\n",
    );
    let ran = project.run(&["env", "web"]).exits(0);
    assert!(ran.stderr.contains("sh can't set them: SHELLOPTS, UID"), "{}", ran.stderr);
    // As `sh`, it ends at the first that it can't.
    let script = format!("{}printf %s \"$ZZ\"", ran.stdout);
    let bash = std::process::Command::new("bash").args(["--posix", "-c", &script]).output();
    assert_eq!(String::from_utf8_lossy(&bash.expect("bash").stdout), "last");
    assert_eq!(project.run(&["env", "web", "--json"]).exits(0).json()["UID"], "0");
}

#[test]
fn an_eval_takes_no_shell_elsewhere_and_a_check_has_no_environment() {
    let project = Project::new(
        "[services.web]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n\
         [checks.fine]\nready = { exec = \"true\" }\n",
    );
    let mut up = project.command(&["up"]);
    project.ran(up.env("PWD", "/elsewhere").env("SHLVL", "7")).exits(0);
    let ran = project.run(&["env", "web"]).exits(0);
    assert!(ran.stdout.contains("export PATH="), "{}", ran.stdout);
    assert!(!ran.stdout.contains("PWD=") && !ran.stdout.contains("SHLVL="), "{}", ran.stdout);
    assert_eq!(project.run(&["env", "web", "--json"]).exits(0).json()["SHLVL"], "7");
    let refused = project.run(&["env", "fine"]).exits(2);
    assert!(refused.stderr.contains("fine is a check"), "{}", refused.stderr);
}

#[test]
fn a_command_becomes_a_service_in_no_project_and_every_verb_finds_it() {
    let project = Project::empty();
    let ran = project.run(&[
        "run",
        "--ready-log",
        "^here",
        "--",
        "sh",
        "-c",
        "echo here; exec sleep 1000",
    ]);
    let ran = ran.exits(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("hearth down sh"), "{}", ran.stderr);
    let row = project.row("sh");
    assert!(row["project"].is_null() && row["state"] == "ready", "{row}");
    assert_eq!(project.run(&["logs"]).exits(0).stdout, "here\n");
    project.run(&["wait", "sh"]).exits(0);
    project.run(&["restart", "sh"]).exits(0);
    let second = project.run(&["run", "--", "sh", "-c", "exec sleep 1000"]).exits(2);
    assert!(second.stderr.contains("sh") && second.stderr.contains("--name"), "{}", second.stderr);
    project.run(&["run", "--name", "two", "--", "sleep", "1000"]).exits(0);
    project.run(&["down", "sh"]).exits(0);
    assert_eq!(project.state("two"), "ready");
    project.run(&["down"]).exits(0);
}

#[test]
fn a_command_in_a_project_belongs_to_it() {
    let project = Project::new(TWO);
    let taken = project.run(&["run", "--name", "db", "--", "sleep", "1000"]).exits(2);
    assert!(taken.stderr.contains("db"), "{}", taken.stderr);
    project.run(&["run", "--", "sleep", "1000"]).exits(0);
    assert_eq!(project.row("sleep")["project"], project.dir().to_str().expect("UTF-8"));
    let failed =
        project.run(&["run", "--name", "bad", "--", "sh", "-c", "echo why; exit 3"]).exits(1);
    assert!(failed.stderr.contains("  | why"), "{}", failed.stderr);
    project.run(&["down"]).exits(0);
}
