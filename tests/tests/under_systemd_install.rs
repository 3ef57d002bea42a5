//! `hearth install` and `hearth uninstall` under a real systemd user manager, each test with one of its
//! own. Ignored where there is none; `packaging/with-user-systemd` makes what they need.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hearth_tests::systemd::{Manager, SERVICE, SOCKET, unit_of};
use hearth_tests::{Project, Ran, Verb, runs};

const SLEEPER: &str =
    "[services.sleeper]\nrun = [\"sleep\", \"1000\"]\nready = { settle = \"0s\" }\n";

struct Place {
    // First: its units are to be there for as long as its project is taken down.
    project: Project,
    manager: Manager,
}

impl Place {
    fn new() -> Self {
        Self { project: Project::new(SLEEPER), manager: Manager::own() }
    }

    fn start(&self, arguments: &[&str]) -> Verb {
        self.start_as(hearth_tests::hearth(), arguments)
    }

    /// `executable`, as the manager's user, who is no CI.
    fn start_as(&self, executable: &Path, arguments: &[&str]) -> Verb {
        let mut command = Command::new(executable);
        command.args(arguments).current_dir(self.project.dir()).stdin(Stdio::null());
        for (name, value) in self.project.command(&[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        for name in ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE"] {
            command.env_remove(name);
        }
        self.manager.of_its_user(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Verb::of(command.spawn().expect("hearth runs"))
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).finish()
    }

    fn agent(&self) -> u32 {
        self.project.home.agent_pid().expect("an agent lives")
    }

    fn unit(&self, name: &str) -> PathBuf {
        self.manager.units().join(name)
    }

    fn pid(&self, service: &str) -> u32 {
        let status = self.run(&["status", "--json"]).exits(0).json();
        let rows = status["services"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["name"] == service).expect("it is there");
        row["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("it runs")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // An agent of the manager's would be brought back by it while the home is taken down.
        let _ = self.run(&["down", "--all", "--force"]);
        let _ = self.run(&["uninstall"]);
        let _ = self.run(&["daemon", "down"]);
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn it_listens_from_then_on_and_the_first_verb_starts_the_agent() {
    let place = Place::new();
    let ran = place.run(&["install"]).exits(0);
    for line in ["ok      connected to pid ", "ok      agent", "ok      home "] {
        assert!(ran.stderr.contains(line), "{line}: {}", ran.stderr);
    }
    assert_eq!(ran.stdout, "");
    let home = &place.project.home;
    assert_eq!((mode(home.dir()), mode(&home.path("agent.sock"))), (0o700, 0o600));
    assert_eq!(place.manager.property(SOCKET, "UnitFileState"), "enabled");
    assert_eq!(unit_of(place.agent()), SERVICE);
    place.manager.systemctl(&["stop", SERVICE]).exits(0);
    assert_eq!(home.agent_pid(), None);
    place.run(&["up"]).exits(0);
    assert_eq!(place.manager.property(SERVICE, "MainPID"), place.agent().to_string());
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn what_it_writes_is_what_systemd_understands() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    let (service, socket) = (place.unit(SERVICE), place.unit(SOCKET));
    let arguments = ["verify", service.to_str().unwrap(), socket.to_str().unwrap()];
    let ran = place.manager.run("systemd-analyze", &arguments).exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    for (name, expected) in [
        ("Type", "notify"),
        ("KillMode", "process"),
        ("OOMPolicy", "continue"),
        ("RestartUSec", "50ms"),
        ("RestartPreventExitStatus", "1 2 3 200 203"),
        ("TimeoutStopUSec", "1min 50s"),
        ("UMask", "0077"),
    ] {
        assert_eq!(place.manager.property(SERVICE, name), expected, "{name}");
    }
    assert_eq!(place.manager.property(SOCKET, "Backlog"), "4096");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn it_can_be_repeated_and_changes_nothing_then() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    let agent = place.agent();
    let written = fs::metadata(place.unit(SERVICE)).unwrap().modified().unwrap();
    let again = place.run(&["install", "--json"]).exits(0).json();
    let steps = again["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["what"] != "write" && step["done"] == true), "{again}");
    assert_eq!((&again["ok"], steps[0]["what"].as_str()), (&true.into(), Some("unchanged")));
    let names: Vec<_> = again["checks"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    for name in ["environment", "connected", "agent", "home"] {
        assert!(names.iter().any(|found| *found == name), "{name}: {again}");
    }
    assert_eq!(place.agent(), agent);
    assert_eq!(fs::metadata(place.unit(SERVICE)).unwrap().modified().unwrap(), written);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_dry_run_prints_what_is_done_then_and_does_nothing() {
    let place = Place::new();
    let dry = place.run(&["install", "--dry-run"]).exits(0);
    assert!(!place.unit(SERVICE).exists() && !place.project.home.dir().exists(), "{dry:?}");
    let planned: Vec<_> =
        dry.stdout.lines().filter(|line| !line.starts_with("    ") && !line.is_empty()).collect();
    let done = place.run(&["install"]).exits(0);
    for line in planned {
        assert!(done.stderr.contains(line), "{line}: {}", done.stderr);
    }
    for name in [SERVICE, SOCKET] {
        for line in fs::read_to_string(place.unit(name)).unwrap().lines() {
            assert!(dry.stdout.contains(line), "{line}: {}", dry.stdout);
        }
    }
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn services_of_an_agent_that_a_verb_started_keep_their_pids_and_no_verb_fails() {
    let place = Place::new();
    place.run(&["up"]).exits(0);
    let (agent, service) = (place.agent(), place.pid("sleeper"));
    assert_ne!(unit_of(agent), SERVICE);
    let install = place.start(&["install"]);
    let verbs: Vec<_> = (0..20).map(|_| place.start(&["up"])).collect();
    let ran = install.finish().exits(0);
    assert!(ran.stderr.contains(&format!("end the agent that runs (pid {agent})")), "{ran:?}");
    for verb in verbs {
        verb.finish().exits(0);
    }
    assert!(!runs(agent) && runs(service));
    assert_eq!(unit_of(place.agent()), SERVICE);
    assert_eq!(place.pid("sleeper"), service);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn what_a_person_has_edited_is_kept_and_with_force_it_is_kept_aside() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    let text = fs::read_to_string(place.unit(SERVICE)).unwrap();
    let mine = text.replace("UMask=0077", "UMask=0077\nNice=5");
    fs::write(place.unit(SERVICE), &mine).unwrap();
    let ran = place.run(&["install"]).exits(0);
    assert!(ran.stderr.contains("hearth-agent.service: it was edited"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hearth install --force"), "what to type: {}", ran.stderr);
    assert_eq!(fs::read_to_string(place.unit(SERVICE)).unwrap(), mine);
    let before = place.agent();
    let ran = place.run(&["install", "--force"]).exits(0);
    assert!(ran.stderr.contains("hearth-agent.service.bak"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(place.unit(SERVICE)).unwrap(), text);
    assert_eq!(fs::read_to_string(place.unit("hearth-agent.service.bak")).unwrap(), mine);
    assert_ne!(place.agent(), before, "it runs as it is written now");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_of_an_older_version_is_written_anew_and_its_agent_with_it() {
    let place = Place::new();
    let executable = place.project.home.root().join("hearth");
    let copied = Command::new("cp").arg(hearth_tests::hearth()).arg(&executable).status();
    assert!(copied.unwrap().success());
    place.start_as(&executable, &["install"]).finish().exits(0);
    place.run(&["up"]).exits(0);
    let (agent, service) = (place.agent(), place.pid("sleeper"));
    let version = place.project.home.record().unwrap()["version"].clone();
    fs::remove_file(&executable).unwrap();
    hearth_tests::next_version(&executable);
    let ran = place.start_as(&executable, &["install"]).finish().exits(0);
    assert!(ran.stderr.contains("write "), "{}", ran.stderr);
    assert_ne!(place.agent(), agent);
    assert_ne!(place.project.home.record().unwrap()["version"], version);
    assert_eq!(place.pid("sleeper"), service);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn whatever_the_home_is_called_the_agent_runs_in_it() {
    let place = Place::new();
    let odd = place.project.home.root().join("a b %h%% 'q' \"q\" \\x20 $HOME é 火 <&>--; #");
    let odd = odd.to_str().unwrap();
    let ran = place.run(&["--home", odd, "install"]).exits(0);
    let unit = place.start(&["--home", odd, "daemon", "status", "--json"]).finish().exits(0).json();
    assert_eq!(unit["home"], odd, "{ran:?}");
    let pid = place.manager.property(SERVICE, "MainPID");
    assert_eq!(unit["pid"].to_string(), pid, "{unit}");
    place.run(&["--home", odd, "uninstall"]).exits(0);
    assert_eq!(place.start(&["--home", odd, "daemon", "status"]).finish().code, Some(3));
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_uninstall_leaves_services_as_they_are_and_an_agent_for_them() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    place.run(&["up"]).exits(0);
    let (agent, service) = (place.agent(), place.pid("sleeper"));
    let ran = place.run(&["uninstall"]).exits(0);
    assert!(ran.stderr.contains("services stay up"), "{}", ran.stderr);
    assert!(!runs(agent) && runs(service));
    assert_ne!(unit_of(place.agent()), SERVICE);
    assert_eq!(place.pid("sleeper"), service);
    assert_eq!(place.manager.property(SOCKET, "LoadState"), "not-found");
    let left = hearth_tests::files_below(&place.manager.units());
    assert!(left.is_empty(), "{left:?}");
    let again = place.run(&["uninstall"]).exits(0);
    assert!(again.stderr.contains("nothing is installed"), "{}", again.stderr);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_uninstall_ends_services_where_that_was_asked_for() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    place.run(&["up"]).exits(0);
    let service = place.pid("sleeper");
    let text = fs::read_to_string(place.unit(SOCKET)).unwrap();
    fs::write(place.unit(SOCKET), format!("# mine\n{text}")).unwrap();
    let told = place.run(&["uninstall", "--services", "--json"]).exits(0).json();
    assert!(!runs(service));
    assert_eq!(place.project.home.agent_pid(), None);
    assert_eq!(told["ok"], true);
    let kept = fs::read_to_string(place.unit("hearth-agent.socket.bak")).unwrap();
    assert!(kept.starts_with("# mine\n"), "what a person wrote is not thrown away");
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_uninstall_right_behind_a_down_starts_an_agent_for_nobody() {
    let place = Place::new();
    place.run(&["install"]).exits(0);
    for number in 0..6 {
        let name = format!("s{number}");
        place.run(&["run", "--name", &name, "--", "sleep", "1000"]).exits(0);
    }
    place.run(&["down", "--all"]).exits(0);
    let ran = place.run(&["uninstall"]).exits(0);
    assert!(!ran.stderr.contains("services stay up"), "{}", ran.stderr);
    assert_eq!(place.project.home.agent_pid(), None);
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn a_unit_that_is_masked_or_of_another_home_is_left_alone() {
    let place = Place::new();
    place.manager.systemctl(&["mask", "--runtime", SERVICE]).exits(0);
    let ran = place.run(&["install", "--json"]).exits(3);
    assert_eq!(ran.refusal()["code"], "service-not-ready");
    assert!(ran.refusal()["hint"].as_str().unwrap().contains("systemctl --user unmask"));
    assert!(!place.unit(SERVICE).exists());
    place.manager.systemctl(&["unmask", "--runtime", SERVICE]).exits(0);
    place.manager.systemctl(&["mask", SOCKET]).exits(0);
    let ran = place.run(&["install"]).exits(3);
    assert!(ran.stderr.contains("is masked"), "{}", ran.stderr);
    place.manager.systemctl(&["unmask", SOCKET]).exits(0);

    place.run(&["install"]).exits(0);
    let other = place.project.home.root().join("other");
    let other = other.to_str().unwrap();
    let ran = place.run(&["--home", other, "install", "--json"]).exits(1);
    let home = place.project.home.dir().to_str().unwrap();
    assert!(ran.refusal()["hint"].as_str().unwrap().contains(home), "{ran:?}");
    let ran = place.run(&["--home", other, "uninstall"]).exits(0);
    assert!(ran.stderr.contains(home), "{}", ran.stderr);
    assert!(place.unit(SERVICE).exists());
}

#[test]
#[ignore = "needs a systemd user manager: packaging/with-user-systemd"]
fn an_agent_that_cannot_start_is_told_with_the_way_on_and_back() {
    let place = Place::new();
    place.project.home.write("agent.toml", "idle_timeout = 5\n");
    let ran = place.run(&["install", "--json"]).exits(3);
    let refusal = ran.refusal();
    assert_eq!(refusal["code"], "service-not-ready", "{ran:?}");
    let hint = refusal["hint"].as_str().unwrap();
    assert!(
        hint.contains("hearth uninstall") && hint.contains("systemctl --user status"),
        "{hint}"
    );
    assert!(refusal["message"].as_str().unwrap().contains("agent.toml"), "{refusal}");
    place.project.home.write("agent.toml", "");
    place.run(&["install"]).exits(0);
}
