//! Units that are installed, seen through a `systemctl` of the test's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_tests::{Home, hearth};

use crate::support::{Report, command, report, units};

/// As systemd has it: no empty line at the end of a block of `show`.
const LISTENS: &str = "printf 'Id=hearth-agent.service\\nLoadState=loaded\\nActiveState=inactive\\nSubState=dead\\n\\n\
    Id=hearth-agent.socket\\nLoadState=loaded\\nActiveState=active\\nSubState=listening\\n'";

/// A unit in the person's directory, and a manager that answers by this script.
struct Place {
    home: Home,
    bin: PathBuf,
}

impl Place {
    fn new(systemctl: &str) -> Self {
        let home = Home::new();
        let bin = home.root().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let program = bin.join("systemctl");
        fs::write(home.root().join("script"), format!("#!/bin/sh\n{systemctl}\n")).unwrap();
        // By another process, so that no fork of another test's has it open for writing.
        let cp = Command::new("cp").arg(home.root().join("script")).arg(&program).status();
        assert!(cp.unwrap().success());
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(units(&home)).unwrap();
        Self { home, bin }
    }

    fn unit(&self, home: &Path, version: &str, executable: &Path) {
        let bare = format!(
            "[Service]\nExecStart={} daemon run\n\n[X-Hearth]\nHome={}\nVersion={version}\n",
            executable.display(),
            home.display()
        );
        self.write("hearth-agent.service", &sealed(&bare));
        self.write("hearth-agent.socket", &sealed("[Socket]\n\n[X-Hearth]\n"));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(units(&self.home).join(name), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = command(&self.home);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()));
        command
    }

    #[track_caller]
    fn doctor(&self) -> Report {
        report(&mut self.command())
    }
}

/// With the sum that says that nobody has edited it: FNV-1a over all other lines.
fn sealed(text: &str) -> String {
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{text}Checksum={sum:016x}\n")
}

/// This build's version.
fn version(home: &Home) -> String {
    let said = home.run(&["--version"]).exits(0).stdout;
    said.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn one_that_is_in_charge_and_listens_is_in_order_and_is_not_woken() {
    let place = Place::new(LISTENS);
    place.unit(place.home.dir(), &version(&place.home), hearth());
    place.home.write("x", "");
    // What the manager's socket is: somebody listens, and a connection starts an agent.
    let listener = UnixListener::bind(place.home.path("agent.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let found = place.doctor();
    found.says("unit", "ok", &["in charge of this home"]);
    found.says("unit-manager", "ok", &["active (listening)"]);
    found.says("unit-version", "ok", &["unchanged since"]);
    found.says("unit-executable", "warning", &["in a build's directory"]);
    found.says("socket", "ok", &["the service manager listens"]);
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock,
        "it was woken"
    );
    fs::remove_file(place.home.path("agent.sock")).unwrap();
    // Nobody but a test's own manager brings an agent up: the unit goes before the home's end.
    fs::remove_dir_all(units(&place.home)).unwrap();
}

#[test]
fn one_of_another_home_is_told_and_is_in_order_where_this_one_was_named() {
    let place = Place::new(LISTENS);
    place.unit(Path::new("/somewhere/else"), &version(&place.home), hearth());
    place.doctor().says("unit", "ok", &["/somewhere/else", "which was named"]);
    let found = report(place.command().env_remove("HEARTH_HOME"));
    let remedy = "`hearth --home /somewhere/else uninstall`";
    found.says("unit", "warning", &["/somewhere/else", remedy, "hearth install"]);
}

#[test]
fn a_home_that_is_reached_through_a_link_is_the_units_too_and_is_not_woken() {
    let place = Place::new(LISTENS);
    place.unit(place.home.dir(), &version(&place.home), hearth());
    place.home.write("x", "");
    let above = place.home.root().join("link");
    symlink(place.home.root(), &above).unwrap();
    let listener = UnixListener::bind(place.home.path("agent.sock")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let home = above.join(place.home.dir().strip_prefix(place.home.root()).unwrap());
    let found = report(place.command().env("HEARTH_HOME", home));
    found.says("unit", "ok", &["in charge of this home"]);
    found.says("socket", "ok", &["the service manager listens"]);
    let woken = listener.accept().unwrap_err().kind();
    assert_eq!(woken, std::io::ErrorKind::WouldBlock, "it was woken");
    fs::remove_file(place.home.path("agent.sock")).unwrap();
    fs::remove_dir_all(units(&place.home)).unwrap();
}

#[test]
fn masked_edited_older_newer_and_foreign_ones_are_told() {
    let place = Place::new(LISTENS);
    let (home, version) = (place.home.dir(), version(&place.home));
    place.unit(home, &version, hearth());
    let file = units(&place.home).join("hearth-agent.service");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("[X-Hearth]", "Nice=5\n[X-Hearth]")).unwrap();
    place.doctor().says("unit-version", "warning", &["edited by hand", "hearth install --force"]);
    place.unit(home, "0.0.1", hearth());
    place.doctor().says("unit-version", "warning", &["written by 0.0.1", "hearth install"]);
    place.unit(home, "99.0.0", hearth());
    place.doctor().says("unit-version", "warning", &["99.0.0", "use the newer"]);
    fs::write(&file, "[Service]\nExecStart=/bin/true\n").unwrap();
    let remedy = format!("`rm {}`", file.display());
    place.doctor().says("unit", "fault", &["can't be understood", "for which home", &remedy]);
    fs::remove_file(&file).unwrap();
    symlink("/dev/null", &file).unwrap();
    place.doctor().says("unit", "warning", &["masked", "hearth install"]);
}

#[test]
fn an_executable_that_is_gone_or_another_one_is_told() {
    let place = Place::new(LISTENS);
    let (home, version) = (place.home.dir(), version(&place.home));
    place.unit(home, &version, Path::new("/no/such/hearth"));
    place.doctor().says(
        "unit-executable",
        "fault",
        &["/no/such/hearth", "not there", "hearth install"],
    );
    place.unit(home, &version, Path::new("/bin/sh"));
    place.doctor().says("unit-executable", "warning", &["/bin/sh", "this command is"]);
}

#[test]
fn what_the_manager_says_is_passed_on() {
    let not_loaded =
        "printf 'Id=hearth-agent.service\\nLoadState=not-found\\nActiveState=inactive\\n'";
    let masked = LISTENS.replace("LoadState=loaded", "LoadState=masked");
    let failed = LISTENS.replace(
        "ActiveState=inactive\\nSubState=dead",
        "ActiveState=failed\\nSubState=failed\\nResult=exit-code\\nExecMainCode=1\\nExecMainStatus=203",
    );
    let inactive = LISTENS.replace("active\\nSubState=listening", "inactive\\nSubState=dead");
    let no_bus = "echo 'Failed to connect to bus: No medium found' >&2; exit 1";
    let cases: &[(&str, &str, &[&str])] = &[
        (not_loaded, "fault", &["has not loaded", "daemon-reload"]),
        (&masked, "fault", &["never to run", "unmask"]),
        (&failed, "fault", &["status=203/EXEC", "systemctl --user status"]),
        (&inactive, "warning", &["nobody listens", "hearth daemon up"]),
        (no_bus, "fault", &["No medium found", "hearth uninstall"]),
        ("echo gibberish", "fault", &["gibberish"]),
    ];
    for (script, level, words) in cases {
        let place = Place::new(script);
        place.unit(place.home.dir(), &version(&place.home), hearth());
        place.doctor().says("unit-manager", level, words);
    }
    let place = Place::new("exit 0");
    place.unit(place.home.dir(), &version(&place.home), hearth());
    let none = place.home.root().join("none");
    let found = report(place.command().env("PATH", none));
    found.says("unit-manager", "fault", &["not installed", "hearth uninstall"]);
}

#[test]
fn a_manager_that_hangs_holds_nothing_up() {
    let place = Place::new("exec sleep 1000");
    place.unit(place.home.dir(), &version(&place.home), hearth());
    let began = Instant::now();
    let found = place.doctor();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    found.says("unit-manager", "fault", &["did not end within"]);
    found.says("home", "ok", &[]).says("kernel-exits", "ok", &[]);
}
