//! What the benchmarks have in common: they measure one thing beside another in turn, in one run, and
//! print medians; a ratio holds on a machine that is slow, or busy, where a figure does not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Project;

/// Whether a figure is asked for: by name, or because none is named.
pub fn wanted(name: &str) -> bool {
    let mut named = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
    named.peek().is_none() || named.any(|word| word == name)
}

/// Where the benchmark of an ordinary user finds what root has built for it.
const BUILT: &str = "HEARTH_BENCH_BUILT";

/// Builds hearth and the programs of this crate with the release profile; where they are.
pub fn build() -> PathBuf {
    if let Some(built) = std::env::var_os(BUILT) {
        return PathBuf::from(built);
    }
    let bench = std::env::current_exe().expect("a benchmark knows where it is");
    let target = bench.ancestors().nth(3).expect("target/release/deps/BENCH").to_owned();
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--quiet",
            "--package",
            "hearth",
            "--package",
            "hearth-tests",
            "--bins",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "hearth does not build");
    target.join("release")
}

/// The same, for figures that are those of an ordinary user: run by root, the benchmark goes on as
/// `nobody`, with copies of all programs and a directory of that user's, and ends with it.
pub fn build_as_ordinary_user() -> PathBuf {
    const NOBODY: u32 = 65_534;
    let built = build();
    if !rustix::process::geteuid().is_root() {
        return built;
    }
    let root = tempfile::tempdir().expect("a directory");
    let (programs, own) = (root.path().join("programs"), root.path().join("own"));
    for dir in [&programs, &own] {
        fs::create_dir(dir).expect("a directory can be made");
    }
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    chown(&own, Some(NOBODY), Some(NOBODY)).expect("root may");
    for name in ["hearth", "floor", "begins"] {
        fs::copy(built.join(name), programs.join(name)).expect("it can be copied");
    }
    let bench = programs.join("bench");
    fs::copy(std::env::current_exe().expect("a name"), &bench).expect("it can be copied");
    println!("run by root: all of this is measured as uid {NOBODY}");
    let status = Command::new(&bench)
        .args(std::env::args_os().skip(1))
        .env(BUILT, &programs)
        .env("HEARTH_TEST_BINARY", programs.join("hearth"))
        .env("HOME", &own)
        .env("TMPDIR", &own)
        .current_dir(&own)
        .uid(NOBODY)
        .gid(NOBODY)
        .status()
        .expect("it runs");
    drop(root);
    std::process::exit(status.code().unwrap_or(1));
}

/// How many rounds: what `HEARTH_BENCH_ROUNDS` says, else `default`.
pub fn rounds(default: usize) -> usize {
    std::env::var("HEARTH_BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a command took.
#[derive(Debug)]
pub struct Cost {
    /// From its start to its end.
    pub wall: Duration,
    /// Page faults without I/O.
    pub faults: i64,
    /// How it ended.
    pub status: ExitStatus,
}

/// Runs a command to its end, silently.
pub fn cost(command: &mut Command) -> Cost {
    // Cargo sets it for the benchmark, and the loader of every child would search it.
    command.env_remove("LD_LIBRARY_PATH");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    #[expect(clippy::zombie_processes, reason = "wait4 below reaps it, and tells what it used")]
    let child = command.spawn().expect("it runs");
    // SAFETY: plain data, filled by wait4 below.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    // SAFETY: the child is ours and not reaped yet; the pointers are valid for the call.
    let reaped =
        unsafe { libc::wait4(child.id().cast_signed(), &raw mut status, 0, &raw mut usage) };
    let wall = begun.elapsed();
    assert!(reaped > 0, "the child can be waited for");
    Cost { wall, faults: usage.ru_minflt, status: ExitStatus::from_raw(status) }
}

/// The median; of an even number, the greater one.
pub fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// In milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Prints a figure: what, how much, and the goal.
pub fn line(what: &str, measured: &str, goal: &str) {
    println!("{what:<52} {measured:<44} {goal}");
}

/// `hearth` in a project's directory.
pub fn in_project(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.home.command(arguments);
    command.current_dir(project.dir());
    command
}

/// The floor, against a project's agent.
pub fn floor_command(floor: &Path, project: &Project) -> Command {
    let mut command = Command::new(floor);
    command.arg(project.home.path("agent.sock"));
    command
}

/// A number of `/proc/PID/status`.
pub fn number(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
