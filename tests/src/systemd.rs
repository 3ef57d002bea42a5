//! A systemd user manager, and hearth installed under it for one test.
//!
//! Invariant: one at a time. A manager knows one `hearth-agent.socket`, so whoever installs holds a
//! lock until all of it is taken away again: also against the tests of another process. What needs a
//! manager of its own, because it stops it, makes one ([`Manager::own`]) and meets nobody.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hearth_process::Signal;

use crate::verb::PATIENCE;
use crate::{Project, Ran, Verb, home, send};

/// The unit that listens.
pub const SOCKET: &str = "hearth-agent.socket";
/// The unit that runs the agent.
pub const SERVICE: &str = "hearth-agent.service";

/// A user manager: the one of the environment, or one of a test's own.
#[derive(Debug)]
pub struct Manager {
    home: PathBuf,
    runtime: PathBuf,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    root: tempfile::TempDir,
    group: PathBuf,
    child: Option<Child>,
}

impl Manager {
    /// The one that `packaging/with-user-systemd` has made.
    #[track_caller]
    pub fn of_environment() -> Self {
        let get = |name| PathBuf::from(std::env::var_os(name).unwrap_or_default());
        let manager = Self { home: get("HOME"), runtime: get("XDG_RUNTIME_DIR"), own: None };
        let its = manager.runtime.join("systemd/private");
        assert!(its.exists(), "no systemd user manager here: run packaging/with-user-systemd");
        manager
    }

    /// A second one beside it, with a home, a runtime directory and a control group of its own.
    #[track_caller]
    pub fn own() -> Self {
        let root =
            tempfile::Builder::new().prefix("hearth-manager-").tempdir().expect("a directory");
        let (home, runtime) = (root.path().join("home"), root.path().join("run"));
        fs::create_dir_all(home.join(".config/systemd/user")).expect("a directory can be made");
        fs::create_dir(&runtime).expect("a directory can be made");
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("it is ours");
        let name = root.path().file_name().expect("a name").to_owned();
        let group = Path::new("/sys/fs/cgroup").join(name);
        fs::create_dir(&group).expect("a control group can be made: packaging/with-user-systemd");
        let own = Own { root, group, child: None };
        let mut manager = Self { home, runtime, own: Some(own) };
        manager.begin();
        manager
    }

    /// Logs in: starts it, and returns when it has brought up what is to be up by then.
    #[track_caller]
    pub fn begin(&mut self) {
        let own = self.own.as_mut().expect("a manager of the test's own");
        let told = own.root.path().join("told");
        let _ = fs::remove_file(&told);
        let socket = UnixDatagram::bind(&told).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time");
        let said = File::create(own.root.path().join("said")).expect("a file can be made");
        let mut command = Command::new("sh");
        let group = own.group.join("cgroup.procs");
        command.args(["-c", "echo $$ >\"$0\" && exec /lib/systemd/systemd --user"]).arg(group);
        command.args(["--log-level=info", "--log-target=console"]);
        surround(&mut command, &self.home, &self.runtime);
        command.env("NOTIFY_SOCKET", &told).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        own.child = Some(command.spawn().expect("sh is installed"));
        // systemd tells its own readiness as its services do (sd_notify(3)).
        let mut buffer = [0; 4096];
        loop {
            let got = match socket.recv(&mut buffer) {
                Ok(got) => got,
                // With a timeout it is not begun again by itself (signal(7)).
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("{error}: {}", self.said()),
            };
            if buffer[..got].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return;
            }
        }
    }

    /// Logs out, as the system's manager does: SIGTERM, and all that is left in its control group
    /// when it has ended is killed. How long it took, and what was left.
    #[track_caller]
    pub fn end(&mut self) -> (Duration, Vec<u32>) {
        let own = self.own.as_mut().expect("a manager of the test's own");
        let mut child = own.child.take().expect("it runs");
        let begun = Instant::now();
        send(child.id(), Signal::TERM);
        child.wait().expect("it can be waited for");
        let took = begun.elapsed();
        let left = members(&own.group);
        own.kill();
        (took, left)
    }

    /// What it has written about itself.
    pub fn said(&self) -> String {
        let own = self.own.as_ref().map(|own| own.root.path().join("said"));
        own.map(|said| fs::read_to_string(said).unwrap_or_default()).unwrap_or_default()
    }

    /// Where its user's units stand.
    pub fn units(&self) -> PathBuf {
        self.home.join(".config/systemd/user")
    }

    /// Has a command be one of its user's.
    pub fn of_its_user<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        if self.own.is_some() {
            surround(command, &self.home, &self.runtime);
        }
        command
    }

    /// Runs one of systemd's programs: `systemctl`, `systemd-run`.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Ran {
        self.start(program, arguments).finish()
    }

    /// Starts one.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Verb {
        let mut command = Command::new(program);
        command.arg("--user").args(arguments).stdin(Stdio::null());
        home::start(self.of_its_user(&mut command))
    }

    /// `systemctl --user`.
    pub fn systemctl(&self, arguments: &[&str]) -> Ran {
        self.run("systemctl", arguments)
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let ran = self.systemctl(&["show", "--value", "--property", name, unit]).exits(0);
        ran.stdout.trim().to_owned()
    }

    /// Waits until a property is what `is_it` wants. Only for what a unit comes to by itself, which
    /// no program of systemd's can be had to wait for: it is looked at again and again.
    #[track_caller]
    pub fn await_property(&self, unit: &str, name: &str, is_it: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let value = self.property(unit, name);
            if is_it(&value) {
                return value;
            }
            assert!(Instant::now() < deadline, "{name} of {unit} stays {value}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Own {
    fn kill(&mut self) {
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        for pid in members(&self.group) {
            crate::await_end(pid);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
        let mut dirs = vec![self.group.clone()];
        let mut next = 0;
        while let Some(dir) = dirs.get(next) {
            let below = fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path());
            let below: Vec<_> = below.filter(|path| path.is_dir()).collect();
            dirs.extend(below);
            next += 1;
        }
        for dir in dirs.iter().rev() {
            let _ = fs::remove_dir(dir);
        }
    }
}

fn surround(command: &mut Command, home: &Path, runtime: &Path) {
    command.env("HOME", home).env("XDG_RUNTIME_DIR", runtime);
    for name in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"] {
        command.env_remove(name);
    }
    command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}/bus", runtime.display()));
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        command.env_remove(name);
    }
}

/// The processes of a control group and of those below it.
pub fn members(group: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = procs.lines().filter_map(|line| line.parse().ok()).collect();
    let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
    pids.extend(below.filter(|path| path.is_dir()).flat_map(|path| members(&path)));
    pids
}

/// The last part of a process's control group: its unit.
pub fn unit_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// hearth, installed for a project's home. Dropped, all of it is taken away.
pub struct Installed<'a> {
    /// The project.
    pub project: &'a Project,
    /// Under whom.
    pub manager: &'a Manager,
    alone: Option<File>,
    kept: bool,
}

impl<'a> Installed<'a> {
    /// Installs it, as a person does; its agent runs then.
    #[track_caller]
    pub fn new(project: &'a Project, manager: &'a Manager) -> Self {
        Self::of(project, manager, crate::hearth())
    }

    /// The same, of another executable.
    #[track_caller]
    pub fn of(project: &'a Project, manager: &'a Manager, executable: &Path) -> Self {
        let installed = Self::alone(project, manager);
        let like = project.command(&[]);
        let mut command = Command::new(executable);
        // Tests run in CI, where an installation is refused to who has not said that he means it.
        command.args(["install", "--force"]).current_dir(project.dir()).stdin(Stdio::null());
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        home::start(manager.of_its_user(&mut command)).finish().exits(0);
        installed
    }

    /// Units such as a person may write by hand, listening; nobody has looked who else listens.
    #[track_caller]
    pub fn written(project: &'a Project, manager: &'a Manager) -> Self {
        let installed = Self::files(project, manager);
        installed.enable();
        installed
    }

    /// Their files alone, which the manager has not heard of.
    #[track_caller]
    pub fn files(project: &'a Project, manager: &'a Manager) -> Self {
        let installed = Self::alone(project, manager);
        installed.write(crate::hearth());
        installed
    }

    fn alone(project: &'a Project, manager: &'a Manager) -> Self {
        let alone = manager.own.is_none().then(|| {
            let lock = File::create(manager.runtime.join("hearth-tests.lock")).expect("a file");
            lock.lock().expect("a lock can be waited for");
            lock
        });
        Self { project, manager, alone, kept: false }
    }

    fn enable(&self) {
        self.manager.systemctl(&["daemon-reload"]).exits(0);
        self.manager.systemctl(&["enable", "--now", SOCKET]).exits(0);
    }

    /// Leaves it installed, for a manager that ends and begins anew.
    pub fn keep(mut self) {
        self.kept = true;
    }

    /// What was left so.
    #[track_caller]
    pub fn found(project: &'a Project, manager: &'a Manager) -> Self {
        let found = Self::alone(project, manager);
        assert!(manager.units().join(SOCKET).exists(), "it is installed");
        found
    }

    /// Has no agent run, as after a login: its socket alone is there.
    #[track_caller]
    pub fn rest(&self) {
        self.manager.systemctl(&["stop", SERVICE]).exits(0);
        assert_eq!(self.project.home.agent_pid(), None);
    }

    /// The pid of a service.
    #[track_caller]
    pub fn pid(&self, service: &str) -> u32 {
        let ran = self.verb(&["status", "--json"]).exits(0);
        let status = ran.json();
        let rows = status["services"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["name"] == service).expect("it is in the file");
        let pid = row["pid"].as_u64();
        let pid = pid.unwrap_or_else(|| panic!("{service} does not run: {row}\n{}", ran.stderr));
        u32::try_from(pid).expect("a pid")
    }

    fn write(&self, executable: &Path) {
        let home = self.project.home.dir().display();
        let socket = self.project.home.path("agent.sock");
        fs::create_dir_all(self.manager.units()).expect("a directory can be made");
        let write = |name: &str, text: String| {
            fs::write(self.manager.units().join(name), text).expect("a unit can be written");
        };
        let marks = format!("[X-Hearth]\nHome={home}\nVersion={}\n", env!("CARGO_PKG_VERSION"));
        write(
            SOCKET,
            format!(
                "[Unit]\nStartLimitIntervalSec=0\n[Socket]\nListenStream={}\nSocketMode=0600\nDirectoryMode=0700\nBacklog=4096\n\
                 RemoveOnStop=yes\nTriggerLimitIntervalSec=10s\nTriggerLimitBurst=100\n\
                 [Install]\nWantedBy=sockets.target\n{marks}",
                socket.display()
            ),
        );
        write(
            SERVICE,
            format!(
                "[Service]\nType=notify\nNotifyAccess=main\nExecStart={} daemon run\n\
                 Environment=HEARTH_HOME={home}\nRestart=on-failure\nRestartSec=50ms\n\
                 RestartPreventExitStatus=1 2 3 203\nKillMode=process\nOOMPolicy=continue\n\
                 TimeoutStopSec=110s\n[Unit]\nStartLimitIntervalSec=0\n\
                 [Install]\nWantedBy=default.target\n{marks}",
                executable.display()
            ),
        );
    }

    /// A verb of the project, run by the manager's user.
    #[track_caller]
    pub fn verb(&self, arguments: &[&str]) -> Ran {
        self.begin(arguments).finish()
    }

    /// The same, started.
    pub fn begin(&self, arguments: &[&str]) -> Verb {
        let mut command = self.project.command(arguments);
        home::start(self.manager.of_its_user(&mut command))
    }

    /// Waits for an agent that is another one than `before`; its pid.
    #[track_caller]
    pub fn await_agent(&self, before: Option<u32>) -> u32 {
        let home = &self.project.home;
        let another = || home.agent_pid().filter(|pid| Some(*pid) != before);
        home_event(home, || another().is_some());
        another().expect("it lives")
    }

    /// Checks that the agent is the unit's main process, in the unit's control group; its pid.
    #[track_caller]
    pub fn agent(&self) -> u32 {
        let pid = self.project.home.agent_pid().expect("an agent lives");
        assert_eq!(unit_of(pid), SERVICE);
        assert_eq!(self.manager.property(SERVICE, "MainPID"), pid.to_string());
        pid
    }
}

#[track_caller]
fn home_event(home: &crate::Home, is_it: impl Fn() -> bool) {
    crate::await_file(&home.path("agent.lock"), |_| is_it());
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if self.manager.runtime.join("systemd/private").exists() {
            for words in [&["stop", SOCKET, SERVICE][..], &["disable", SOCKET, SERVICE]] {
                let _ = self.manager.systemctl(words);
            }
        }
        for name in [SOCKET, SERVICE] {
            for path in [name.to_owned(), format!("{name}.bak"), format!("{name}.d")] {
                let path = self.manager.units().join(path);
                let _ =
                    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
        }
        if self.manager.runtime.join("systemd/private").exists() {
            let _ = self.manager.systemctl(&["daemon-reload"]);
            let _ = self.manager.systemctl(&["reset-failed"]);
        }
        drop(self.alone.take());
    }
}

/// Lets a process run out of memory, as soon as `nudge` has it ask for some: it is killed by the
/// kernel. False where there is no memory controller to be had, which is said aloud.
///
/// By a group of cgroup v1 where that is where the controller is: a process is then in the group of
/// its unit, and in this one besides. systemd looks for the kernel's kills in the controller of v2,
/// and takes this one for any SIGKILL.
#[track_caller]
pub fn out_of_memory(pid: u32, nudge: impl FnOnce()) -> bool {
    let root = tempfile::Builder::new().prefix("hearth-memory-").tempdir().expect("a directory");
    let mut mount = Command::new("mount");
    mount.args(["-t", "cgroup", "-o", "memory", "none"]).arg(root.path()).stderr(Stdio::null());
    if !mount.status().expect("mount is installed").success() {
        return crate::skip("a process without memory", "the memory controller of cgroup v1");
    }
    let group = root.path().join(format!("hearth-{pid}"));
    fs::create_dir(&group).expect("a control group can be made");
    fs::write(group.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
    fs::write(group.join("memory.limit_in_bytes"), "0").expect("a limit can be set");
    nudge();
    crate::await_end(pid);
    let _ = fs::remove_dir(&group);
    let left = Command::new("umount").arg("-l").arg(root.path()).status();
    assert!(left.expect("umount is installed").success());
    true
}
