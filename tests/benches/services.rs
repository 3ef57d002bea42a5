//! What a project of any size costs: a thousand services up and down, a chain of needs, a restart,
//! probes. The floor (one warm exchange with a small agent) and the peer are measured in turn with it.
//!
//! `cargo bench -p hearth-tests --bench services`; `-- thousand chain restart probes` chooses,
//! `HEARTH_BENCH_ROUNDS` sets the number of rounds, `HEARTH_BENCH_SERVICES` the sizes of `thousand`
//! (`10,100,1000`). All of it as an ordinary user.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hearth_process::Signal;
use hearth_tests::measure::{
    build_as_ordinary_user, cost, floor_command, in_project, line, median, ms, number, rounds,
    wanted,
};
use hearth_tests::{Project, send};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let programs = build_as_ordinary_user();
    let floor = Floor::new(&programs);
    if wanted("thousand") {
        thousand(&floor, &programs);
    }
    if wanted("chain") {
        chain(&floor, &programs);
    }
    if wanted("restart") {
        restart(&floor, &programs);
    }
    if wanted("probes") {
        probes();
    }
}

/// The least that any client of an agent has to do, against an agent of three services: that of the
/// first benchmarks.
struct Floor {
    program: PathBuf,
    project: Project,
}

impl Floor {
    fn new(programs: &Path) -> Self {
        let project = Project::new(&sleeps(3));
        project.run(&["up"]).exits(0);
        let floor = Self { program: programs.join("floor"), project };
        floor.measure();
        floor
    }

    /// Now, of 31.
    fn measure(&self) -> Duration {
        let one = |_| {
            let cost = cost(&mut floor_command(&self.program, &self.project));
            assert!(cost.status.success());
            cost.wall
        };
        median(&mut (0..31).map(one).collect::<Vec<_>>())
    }
}

fn sleeps(count: usize) -> String {
    let service = |n| {
        format!("[services.s{n}]\nrun = [\"sleep\", \"100000\"]\nready = {{ settle = \"0s\" }}\n")
    };
    (0..count).map(service).collect()
}

/// What one round of `up` and `down` gave.
struct Round {
    up: Duration,
    down: Duration,
    floor: Duration,
    rss: u64,
    peak: u64,
}

/// A project that was never up, under an agent that has just started.
fn round(floor: &Floor, toml: &str) -> Round {
    let project = Project::new(toml);
    project.run(&["daemon", "up"]).exits(0);
    let least = floor.measure();
    let up = cost(&mut in_project(&project, &["up"]));
    assert!(up.status.success(), "{}", project.run(&["status"]).stdout);
    let agent = project.home.agent_pid().expect("an agent lives");
    let (rss, peak) = (number(agent, "VmRSS:"), number(agent, "VmHWM:"));
    let down = cost(&mut in_project(&project, &["down"]));
    assert!(down.status.success());
    Round { up: up.wall, down: down.wall, floor: least, rss, peak }
}

fn of<T: Ord + Copy>(rounds: &[Round], what: impl Fn(&Round) -> T) -> T {
    median(&mut rounds.iter().map(what).collect::<Vec<_>>())
}

/// Services that sleep, each by itself.
fn thousand(floor: &Floor, programs: &Path) {
    let sizes = std::env::var("HEARTH_BENCH_SERVICES").unwrap_or_else(|_| "10,100,1000".into());
    let sizes = sizes.split(',').map(|size| size.parse::<usize>().expect("a number"));
    let mut first = None;
    for size in sizes {
        let toml = sleeps(size);
        let count = rounds((300 / size).clamp(3, 15));
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            ours.push(round(floor, &toml));
            peers.extend(s6(programs, size));
        }
        let (up, least) = (of(&ours, |round| round.up), of(&ours, |round| round.floor));
        let each = ms(up) / size as f64;
        line(
            &format!("{size} services, `up` to its exit"),
            &format!(
                "{:.1} ms: {each:.3} ms each, floor {:.3} ms: {:.2} x",
                ms(up),
                ms(least),
                each / ms(least)
            ),
            "at most 3 x a service",
        );
        match &first {
            None => first = Some((size, each)),
            Some((size, before)) => line(
                &format!("  a service, against that of {size}"),
                &format!("{:.2} x", each / before),
                "linear: 1 x",
            ),
        }
        let down = of(&ours, |round| round.down);
        line(
            "  `down` of all, to its exit",
            &format!("{:.1} ms: {:.3} ms each", ms(down), ms(down) / size as f64),
            "told",
        );
        let megabytes = |kilobytes| kilobytes as f64 / 1024.0;
        line(
            "  agent RSS after, and at most",
            &format!(
                "{:.1} MB, {:.1} MB",
                megabytes(of(&ours, |round| round.rss)),
                megabytes(of(&ours, |round| round.peak))
            ),
            "at most 40 MB",
        );
        if peers.is_empty() {
            line("  s6-svscan", "s6 is not installed", "a peer");
        } else {
            let wall = median(&mut peers);
            line(
                "  s6-svscan, the same (without logs and readiness)",
                &format!("{:.1} ms: {:.3} ms each", ms(wall), ms(wall) / size as f64),
                "a peer",
            );
        }
    }
}

/// From the start of `s6-svscan` to the moment at which all run. A run file is a program here, so that
/// it pays for no shell, and says by itself that it runs: to be told that costs s6 nothing.
fn s6(programs: &Path, size: usize) -> Option<Duration> {
    let scan = tempfile::tempdir().expect("a directory");
    for n in 0..size {
        let service = scan.path().join(format!("s{n}"));
        fs::create_dir(&service).expect("a directory can be made");
        let run = service.join("run");
        std::os::unix::fs::symlink(programs.join("begins"), run).expect("a link can be made");
    }
    let begun = Instant::now();
    let mut s6 = Command::new("s6-svscan")
        .arg("-c")
        .arg((size + 10).to_string())
        .arg(scan.path())
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut said = BufReader::new(s6.stdout.take().expect("piped"));
    for _ in 0..size {
        assert_ne!(said.read_line(&mut String::new()).expect("a pipe"), 0, "s6 has ended");
    }
    let wall = begun.elapsed();
    // Its end takes all down; the pipe's end is that of the last service.
    send(s6.id(), Signal::TERM);
    s6.wait().expect("it ends");
    let _ = said.read_to_end(&mut Vec::new());
    Some(wall)
}

/// Each needs the one before, and says by `notify` that it is ready.
fn chain(floor: &Floor, programs: &Path) {
    const LINKS: usize = 100;
    let program = programs.join("begins");
    let service = |n: usize| {
        let needs = if n == 0 { String::new() } else { format!("needs = [\"s{}\"]\n", n - 1) };
        format!("[services.s{n}]\nrun = [{program:?}]\nready = {{ notify = true }}\n{needs}")
    };
    let toml: String = (0..LINKS).map(service).collect();
    let ours: Vec<Round> = (0..rounds(7)).map(|_| round(floor, &toml)).collect();
    let (up, least) = (of(&ours, |round| round.up), of(&ours, |round| round.floor));
    let each = ms(up) / LINKS as f64;
    line(
        &format!("a chain of {LINKS} needs, `notify`, `up` to its exit"),
        &format!(
            "{:.1} ms: {each:.3} ms a link, floor {:.3} ms: {:.2} x",
            ms(up),
            ms(least),
            each / ms(least)
        ),
        "at most 12 x a link",
    );
    let down = of(&ours, |round| round.down);
    line(
        "  `down` of all, to its exit",
        &format!("{:.1} ms: {:.3} ms a link", ms(down), ms(down) / LINKS as f64),
        "told",
    );
}

fn nanoseconds() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// From SIGKILL to the first line of the successor's main function.
fn restart(floor: &Floor, programs: &Path) {
    let project = Project::empty();
    let pipe = project.dir().join("begun");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a FIFO can be made");
    let both = OpenOptions::new().read(true).write(true).open(&pipe).expect("it can be opened");
    let mut begun = BufReader::new(both);
    project.write(
        "hearth.toml",
        &format!(
            "[services.a]\nrun = [{:?}, \"--to\", {pipe:?}]\nready = {{ settle = \"0s\" }}\n\
             restart = \"always\"\nbackoff = {{ min = \"0s\", max = \"0s\" }}\n\
             give_up = {{ failures = 0 }}\n",
            programs.join("begins")
        ),
    );
    project.run(&["up"]).exits(0);
    let mut next = || -> (i64, u32) {
        let mut line = String::new();
        begun.read_line(&mut line).expect("it begins");
        let (time, pid) = line.trim().split_once(' ').expect("a time and a pid");
        (time.parse().expect("a number"), pid.parse().expect("a number"))
    };
    let (_, mut pid) = next();
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for n in 0..rounds(100) {
        if n % 10 == 0 {
            least.push(floor.measure());
        }
        // Ready, so that a life ends of which the agent knows.
        project.run(&["up"]).exits(0);
        let killed = nanoseconds();
        send(pid, Signal::KILL);
        let began;
        (began, pid) = next();
        ours.push(Duration::from_nanos(u64::try_from(began - killed).expect("it came after")));
    }
    let (ours, least) = (median(&mut ours), median(&mut least));
    line(
        "SIGKILL of a service to its successor running",
        &format!(
            "{:.3} ms, floor {:.3} ms: {:.2} x",
            ms(ours),
            ms(least),
            ours.as_secs_f64() / least.as_secs_f64()
        ),
        "at most 6 x",
    );
    line("  pm2", "not measured: not installed (6 ms elsewhere)", "a peer");
}

/// A probe of a TCP port each, once a second.
fn probes() {
    const SERVICES: usize = 100;
    const LONG: Duration = Duration::from_secs(30);
    let listeners: Vec<TcpListener> =
        (0..SERVICES).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
    let service = |(n, listener): (usize, &TcpListener)| {
        let port = listener.local_addr().expect("an address").port();
        format!(
            "[services.s{n}]\nrun = [\"sleep\", \"100000\"]\n\
             ready = {{ tcp = {port}, every = \"1s\", then_every = \"1s\" }}\n"
        )
    };
    let toml: String = listeners.iter().enumerate().map(service).collect();
    for listener in listeners {
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                drop(connection);
            }
        });
    }
    let project = Project::new(&toml);
    project.run(&["up"]).exits(0);
    let agent = project.home.agent_pid().expect("an agent lives");
    let before = busy(agent);
    std::thread::sleep(LONG);
    let used = busy(agent) - before;
    line(
        &format!("{SERVICES} tcp probes, once a second each, for {LONG:?}"),
        &format!(
            "{:.0} ms of CPU: {:.2} % of a core",
            ms(used),
            used.as_secs_f64() / LONG.as_secs_f64() * 100.0
        ),
        "under 1 %",
    );
}

/// How long all threads of a process have run on a processor.
fn busy(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("it lives").flatten();
    let ran = |path: PathBuf| -> Option<u64> {
        let mut text = String::new();
        File::open(path.join("schedstat")).ok()?.read_to_string(&mut text).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Duration::from_nanos(threads.filter_map(|thread| ran(thread.path())).sum())
}
