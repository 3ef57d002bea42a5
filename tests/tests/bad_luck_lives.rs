//! Ten thousand lives of services that only crash: afterwards there is no more of anything than
//! before. Real processes, which are counted by what a verb is told of them.
//!
//! In a file of its own, so that nothing else runs beside what is measured.

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use hearth_tests::{Project, await_end, await_file, files_below};

/// Lives of each of the four, that of the last by far: the others' ends do more.
const LIVES: &[(&str, &str, u32)] = &[
    ("ends", r#"["true"]"#, 4700),
    ("fails", r#"["false"]"#, 4600),
    ("talks", r#"["sh", "-c", "echo out; echo err >&2; exit 3"]"#, 500),
    ("forks", r#"["sh", "-c", "setsid sleep 1000 & kill -9 $$"]"#, 200),
];
/// To find out what the agent has at rest, once everything in it has been used.
const FIRST: u32 = 10;
/// More than this an agent must not have grown by.
const GROWTH_KB: u64 = 2048;

/// Never given up: what an agent remembers of a service's failures is not to grow either.
fn toml() -> String {
    let service = |(name, run, _): &(&str, &str, u32)| {
        format!(
            "[services.{name}]\nrun = {run}\nrestart = \"always\"\n\
             backoff = {{ min = \"1ms\", max = \"1ms\" }}\ngive_up = {{ failures = 0 }}\n\
             stop = {{ timeout = \"100ms\" }}\nlog = {{ max_size = \"16KB\", keep = 2 }}\n"
        )
    };
    LIVES.iter().map(service).collect()
}

/// What an agent has.
#[derive(Debug)]
struct Has {
    fds: BTreeMap<String, usize>,
    watches: usize,
    threads: usize,
    children: Vec<String>,
    anonymous_kb: u64,
}

impl Has {
    fn of(pid: u32) -> Self {
        let proc = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap();
        let status = proc("status");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        let mut fds = BTreeMap::new();
        let mut watches = 0;
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
            // One that was closed since the list was made is none.
            let Ok(name) = fs::read_link(entry.path()) else { continue };
            let name = name.display().to_string();
            // Inodes of sockets and pipes differ each time.
            let kind = name.split_once(":[").map_or(name.as_str(), |(kind, _)| kind).to_owned();
            *fds.entry(kind).or_default() += 1;
            let info = format!("/proc/{pid}/fdinfo/{}", entry.file_name().display());
            let info = fs::read_to_string(info).unwrap_or_default();
            watches += info.lines().filter(|line| line.starts_with("inotify ")).count();
        }
        Self {
            fds,
            watches,
            threads: usize::try_from(field("Threads:")).unwrap(),
            children: children(pid),
            anonymous_kb: field("RssAnon:"),
        }
    }
}

impl Has {
    /// What it has when it has no more descriptors than before, or when it has had its time. Either
    /// look may come before the agent has closed its end of what is gone, a shim's socket or a verb's,
    /// and of that nothing tells from outside.
    fn once_no_more_than(before: &Self, pid: u32) -> Self {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let has = Self::of(pid);
            if has.more_than(before).is_empty() || Instant::now() > deadline {
                return has;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Of which kinds it has more. Less is as good: what was still to be closed then.
    fn more_than(&self, before: &Self) -> Vec<String> {
        let was = |kind: &str| before.fds.get(kind).copied().unwrap_or(0);
        let more = self.fds.iter().filter(|(kind, number)| **number > was(kind));
        more.map(|(kind, number)| format!("{kind}: {number}, was {}", was(kind))).collect()
    }
}

/// Also those that have ended and that nobody has waited for.
fn children(parent: u32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stat = |pid| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    pids.map(stat)
        .filter(|stat| {
            let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
            after.split(' ').nth(1) == Some(&parent.to_string())
        })
        .collect()
}

/// Brings each up, and down after so many lives. A verb each: the `down` of one ends an `up` that
/// waits for it.
fn live(project: &Project, lives: impl Fn(u32) -> u32 + Sync) {
    let one = |name: &'static str, count: u32| {
        let mut up = project.start(&["up", "--json", name]);
        for _ in 0..count {
            up.until_state(name, "starting");
        }
        // The last one's end, so that it has been one.
        up.until_state(name, "backoff");
        project.run(&["down", name]).exits(0);
        up.finish().exits(1);
    };
    thread::scope(|scope| {
        for (name, _, count) in LIVES {
            let (one, lives) = (&one, &lives);
            scope.spawn(move || one(name, lives(*count)));
        }
    });
}

#[test]
fn ten_thousand_lives_leave_nothing_behind() {
    let project = Project::new(&toml());
    project.home.write("agent.toml", "log = { max_size = \"64KB\", keep = 2 }\n");
    live(&project, |_| FIRST);
    let agent = project.home.agent_pid().expect("an agent lives");
    // The last shims go a moment after they were told to, and the agent's end of their sockets.
    let shims = project.home.path("shims");
    await_file(&shims.join("none"), |_| files_below(&shims).is_empty());
    let before = Has::of(agent);

    let start = Instant::now();
    live(&project, |count| count);
    let took = start.elapsed().as_secs_f64();
    println!("10,000 lives in {took:.1} s: {:.0} a second", 10_000.0 / took);
    assert_eq!(LIVES.iter().map(|(.., count)| count).sum::<u32>(), 10_000);

    assert_eq!(project.home.agent_pid(), Some(agent), "the same agent");
    await_file(&shims.join("none"), |_| files_below(&shims).is_empty());
    let after = Has::once_no_more_than(&before, agent);
    println!("before: {before:?}\nafter: {after:?}");
    assert_eq!(after.more_than(&before), Vec::<String>::new());
    assert!(after.watches <= before.watches, "watches");
    assert!(after.threads <= before.threads, "threads: {after:?}");
    assert!(after.children.is_empty(), "{after:?}");
    assert!(after.anonymous_kb <= before.anonymous_kb + GROWTH_KB, "{before:?}, {after:?}");

    let processes = project.home.processes();
    let shims = processes.iter().filter(|process| process.command.starts_with("hearth shim"));
    shims.for_each(|shim| await_end(shim.id.pid));
    let processes = project.home.processes();
    assert!(processes.iter().all(|process| process.id.pid == agent), "{processes:?}");
    // Two files of 16 KB each, and for each an index that is not longer.
    let logs = files_below(&project.home.path("logs"));
    assert!(logs.len() <= LIVES.len() * 4, "{logs:?}");
    let bytes: u64 = logs.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= LIVES.len() as u64 * 4 * 16_000, "{bytes} bytes in {logs:?}");
    let home: Vec<_> = files_below(project.home.dir());
    let own = home.iter().filter(|path| path.to_string_lossy().contains("agent.log"));
    let bytes: u64 = own.map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(bytes <= 2 * 64_000 + 4096, "{bytes} bytes of the agent's log");
    assert!(home.len() - logs.len() <= 12, "{home:?}");
}
