//! Everything at once: twenty services, and agents and shims that are killed, stopped and replaced
//! while verbs come and go. By a seed that is printed: `HEARTH_CHAOS_SEED` repeats a run,
//! `HEARTH_CHAOS_ROUNDS` makes it longer.
//!
//! What must hold at the end, whatever came: what is wanted runs exactly once, what is not wanted
//! runs nowhere; every line that a service wrote is in its log once and in order, but what a killed
//! shim had not read, which is told; every end of a life is on record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use hearth_process::{ProcessHandle, ProcessId, Signal, locked};
use hearth_tests::{Project, Ran};
use serde_json::Value;

/// Rounds where the environment does not say otherwise.
const ROUNDS: u64 = 50;

/// Services by kind: name, what `chatter` is told, what the file says beyond that.
const KINDS: &[(&str, u32, &str, &str)] = &[
    ("quiet", 4, "--quiet", ""),
    ("chatty", 5, "--burst 20", ""),
    ("loud", 2, "--burst 400", "log = { max_size = \"64KB\", keep = 100000 }\n"),
    ("crashing", 3, "--burst 5 --die-after 40", "restart = \"always\"\n"),
    ("forking", 3, "--fork --burst 3", ""),
    ("stubborn", 3, "--ignore-term --burst 2", "stop = { timeout = \"100ms\" }\n"),
];

/// Pseudorandom numbers (xorshift64*): the same for the same seed on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % end
    }

    fn some<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        (!of.is_empty()).then(|| &of[self.below(of.len() as u64) as usize])
    }
}

/// What a living shim's record says.
struct Shim {
    process: ProcessId,
    service: String,
    life: u64,
}

struct Chaos {
    project: Project,
    dice: Dice,
    names: Vec<String>,
    /// What the last command that was taken wanted; None: it is not known whether one was.
    wants: BTreeMap<String, Option<bool>>,
    /// Lives whose shim was killed.
    killed: BTreeSet<(String, u64)>,
    stopped: Vec<ProcessId>,
}

fn seed() -> u64 {
    let given = std::env::var("HEARTH_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64 | 1
    })
}

fn signal(process: &ProcessId, signal: Signal) -> bool {
    ProcessHandle::open(process).is_ok_and(|handle| handle.signal(signal).is_ok())
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let project = Project::empty();
        let (chatter, books) = (env!("CARGO_BIN_EXE_chatter"), project.dir().join("books"));
        fs::create_dir(&books).unwrap();
        let (mut toml, mut names) = (String::new(), Vec::new());
        for (kind, count, options, more) in KINDS {
            for n in 1..=*count {
                let name = format!("{kind}{n}");
                toml.push_str(&format!(
                    "[services.{name}]\nrun = [\"{chatter}\", \"{name}\", \"{}\"{}]\n\
                     ready = {{ log = \"^begin\" }}\n\
                     backoff = {{ min = \"20ms\", max = \"200ms\" }}\ngive_up = {{ failures = 100000 }}\n{more}",
                    books.display(),
                    options.split(' ').map(|option| format!(", \"{option}\"")).collect::<String>(),
                ));
                names.push(name);
            }
        }
        project.write("hearth.toml", &toml);
        let wants = names.iter().map(|name| (name.clone(), Some(false))).collect();
        let (killed, stopped) = (BTreeSet::new(), Vec::new());
        Self { project, dice: Dice(seed), names, wants, killed, stopped }
    }

    fn shims(&self) -> Vec<Shim> {
        let entries = fs::read_dir(self.project.home.path("shims"));
        let paths = entries.into_iter().flatten().flatten().map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|kind| kind == "rec"));
        let held = records.filter(|path| locked::is_held(path).unwrap_or(false));
        held.filter_map(|path| {
            let Ok(locked::Record::Valid(bytes)) = locked::read_path(&path) else { return None };
            let record: Value = serde_json::from_slice(&bytes).ok()?;
            Some(Shim {
                process: serde_json::from_value(record["shim"].clone()).ok()?,
                service: record["service"].as_str()?.to_owned(),
                life: record["life"].as_u64()?,
            })
        })
        .collect()
    }

    fn agent(&self) -> Option<ProcessId> {
        ProcessId::of(self.project.home.agent_pid()?).ok()
    }

    fn some_names(&mut self) -> Vec<String> {
        let count = 1 + self.dice.below(6);
        let mut some: Vec<String> =
            (0..count).filter_map(|_| self.dice.some(&self.names).cloned()).collect();
        some.sort();
        some.dedup();
        some
    }

    /// Time for whatever is under way to get somewhere else.
    fn pass(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.dice.below(most_ms)));
    }

    fn round(&mut self) -> String {
        match self.dice.below(12) {
            0 | 1 => self.agent().map_or("no agent to kill".into(), |agent| {
                signal(&agent, Signal::KILL);
                format!("killed the agent {}", agent.pid)
            }),
            2 => self.kill_a_shim(),
            3 => self.stop_a_shim(),
            4 => self.let_them_go_on(),
            5 => {
                let Some(agent) = self.agent() else { return "no agent to stop".into() };
                signal(&agent, Signal::STOP);
                self.pass(30);
                signal(&agent, Signal::CONT);
                format!("stopped the agent {} for a moment", agent.pid)
            }
            6 => {
                let replaced = self.project.run(&["daemon", "restart"]);
                assert_eq!(replaced.code, Some(0), "{replaced:?}");
                "replaced the agent".into()
            }
            7 | 8 => self.verb(&["up", "--no-wait"], Some(true)),
            9 => self.verb(&["down", "--timeout", "1s"], Some(false)),
            10 => self.verb(&["restart", "--timeout", "1s"], Some(true)),
            _ => self.verb_and_kill(),
        }
    }

    fn kill_a_shim(&mut self) -> String {
        let shims = self.shims();
        let Some(shim) = self.dice.some(&shims) else { return "no shim to kill".into() };
        self.killed.insert((shim.service.clone(), shim.life));
        signal(&shim.process, Signal::KILL);
        format!("killed the shim of {} (life {})", shim.service, shim.life)
    }

    fn stop_a_shim(&mut self) -> String {
        let shims = self.shims();
        let Some(shim) = self.dice.some(&shims) else { return "no shim to stop".into() };
        signal(&shim.process, Signal::STOP);
        self.stopped.push(shim.process.clone());
        format!("stopped the shim of {} (life {})", shim.service, shim.life)
    }

    fn let_them_go_on(&mut self) -> String {
        let count = self.stopped.len();
        for process in self.stopped.drain(..) {
            signal(&process, Signal::CONT);
        }
        format!("let {count} shims go on")
    }

    fn verb(&mut self, words: &[&str], want: Option<bool>) -> String {
        let names = self.some_names();
        let arguments: Vec<&str> =
            words.iter().copied().chain(names.iter().map(String::as_str)).collect();
        let ran = self.project.run(&arguments);
        self.took(&names, want, &ran);
        format!("{} = {:?}", arguments.join(" "), ran.code)
    }

    /// A verb whose agent is killed under it asks the next one by itself.
    fn verb_and_kill(&mut self) -> String {
        let names = self.some_names();
        let up = self.dice.below(2) == 0;
        let words: &[&str] = if up { &["up", "--no-wait"] } else { &["down", "--timeout", "1s"] };
        let arguments: Vec<&str> =
            words.iter().copied().chain(names.iter().map(String::as_str)).collect();
        let verb = self.project.start(&arguments);
        self.pass(15);
        if let Some(agent) = self.agent() {
            signal(&agent, Signal::KILL);
        }
        let ran = verb.finish();
        self.took(&names, Some(up), &ran);
        format!("{} and killed the agent = {:?}", arguments.join(" "), ran.code)
    }

    /// Over its time (4) a verb was taken nevertheless; refused (1, 3), nobody knows.
    fn took(&mut self, names: &[String], want: Option<bool>, ran: &Ran) {
        assert_ne!(ran.code, Some(2), "{ran:?}");
        let want = if matches!(ran.code, Some(0 | 4)) { want } else { None };
        for name in names {
            self.wants.insert(name.clone(), want);
        }
    }

    fn rows(&self) -> BTreeMap<String, Value> {
        let status = self.project.run(&["status", "--json"]).exits(0).json();
        let rows = status["services"].as_array().cloned().unwrap_or_default();
        rows.into_iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row)).collect()
    }

    /// Nothing disturbs any more: what is wanted comes up, what is not goes.
    fn settle(&mut self) {
        self.let_them_go_on();
        // One that was killed before it was ready keeps the next from being started for a while.
        self.project.run(&["daemon", "up"]).exits(0);
        for (name, want) in &mut self.wants {
            if want.is_none() {
                *want = Some(true);
                self.project.run(&["up", "--no-wait", name]).exits(0);
            }
        }
        for (name, row) in self.rows() {
            let want = if self.wants[&name] == Some(true) { "up" } else { "down" };
            assert_eq!(row["want"], want, "what was asked for last is what is wanted: {row}");
        }
        for (verb, want) in [("up", true), ("down", false)] {
            let mine = self.wants.iter().filter(|(name, wanted)| {
                // One that crashes all the time is never ready for long.
                **wanted == Some(want) && !(want && name.starts_with("crashing"))
            });
            let names: Vec<&str> = mine.map(|(name, _)| name.as_str()).collect();
            if !names.is_empty() {
                let arguments: Vec<&str> =
                    [verb, "--timeout", "30s"].into_iter().chain(names).collect();
                self.project.run(&arguments).exits(0);
            }
        }
    }

    /// Who runs, by what the system says.
    fn running(&self) -> BTreeMap<String, usize> {
        let mut running = BTreeMap::new();
        for process in self.project.home.processes() {
            let mut words = process.command.split(' ');
            if words.next().is_some_and(|program| program.ends_with("/chatter")) {
                *running.entry(words.next().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        running
    }

    fn check_who_runs(&self) {
        let running = self.running();
        for name in &self.names {
            let count = running.get(name).copied().unwrap_or(0);
            let child = running.get(&format!("{name}.child")).copied().unwrap_or(0);
            match self.wants[name] {
                Some(true) if name.starts_with("crashing") => assert!(count <= 1, "{name}"),
                Some(true) => {
                    assert_eq!(count, 1, "{name} is wanted and runs once");
                    let forks = usize::from(name.starts_with("forking"));
                    assert_eq!(child, forks, "the child of {name}");
                }
                _ => assert_eq!(count + child, 0, "{name} is not wanted"),
            }
        }
        let violations = self.project.read("books/violations");
        assert!(violations.is_empty(), "two at once: {violations}");
    }

    fn check_logs(&self) {
        for name in &self.names {
            let ran = self.project.run(&["logs", "--json", "--no-spawn", name]).exits(0);
            let mut lives: BTreeMap<u64, Vec<(String, String)>> = BTreeMap::new();
            for line in ran.json_lines() {
                let life = line["life"].as_u64().unwrap_or_else(|| panic!("no life: {line}"));
                let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                lives.entry(life).or_default().push((text("stream"), text("line")));
            }
            for (life, lines) in lives {
                self.check_life(name, life, &lines);
            }
        }
    }

    fn check_life(&self, name: &str, life: u64, lines: &[(String, String)]) {
        let whose = format!("life {life} of {name}");
        let told = lines.iter().any(|(_, line)| line.starts_with("hearth: "));
        let of = |stream: &str, sign: &str| {
            let mine =
                lines.iter().filter(|(on, line)| on == stream && !line.starts_with("hearth: "));
            mine.map(|(_, line)| line.clone())
                .filter(|line| line.starts_with(sign))
                .collect::<Vec<_>>()
        };
        let begins = of("stdout", "begin ");
        if begins.is_empty() && self.killed.contains(&(name.to_owned(), life)) {
            return;
        }
        assert_eq!(begins.len(), 1, "{whose} begins once: {begins:?}");
        let books = format!("books/{}.run", begins[0].trim_start_matches("begin "));
        let books = fs::read(self.project.dir().join(&books)).unwrap_or_default();
        for (stream, sign, place) in [("stdout", "o ", 0), ("stderr", "e ", 8)] {
            let numbers: Vec<u64> = of(stream, sign)
                .iter()
                .map(|line| line[2..].parse().unwrap_or_else(|_| panic!("{whose}: `{line}`")))
                .collect();
            let count = numbers.len() as u64;
            assert!(
                numbers.iter().copied().eq(1..=count),
                "{whose}, {stream}: every line once and in order: {numbers:?}"
            );
            let written = books
                .get(place..place + 8)
                .map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
            // The last one may not be in its books yet when it is killed.
            assert!(count <= written + 1, "{whose}, {stream}: {count} of {written}");
            if count < written {
                let killed = self.killed.contains(&(name.to_owned(), life));
                assert!(
                    killed,
                    "{whose}, {stream}: {count} of {written}, and nobody killed its shim"
                );
                assert!(told, "{whose}, {stream}: {count} of {written}, and its log does not tell");
            }
        }
    }

    /// Each life that began has ended, and how is in the agent's log.
    fn check_ends(&self) {
        let log = fs::read_to_string(self.project.home.path("agent.log")).unwrap_or_default();
        for name in &self.names {
            let directory = self.log_directory(name);
            let Some(last) = directory else { continue };
            for life in 1..=last {
                let mine = |line: &&str| {
                    line.contains("a life has ended")
                        && line.contains(&format!("service={name} "))
                        && line.contains(&format!("life={life} "))
                };
                assert!(log.lines().any(|line| mine(&line)), "the end of life {life} of {name}");
            }
        }
    }

    fn log_directory(&self, name: &str) -> Option<u64> {
        let ran = self.project.run(&["logs", "--json", "--no-spawn", name]).exits(0);
        ran.json_lines().iter().filter_map(|line| line["life"].as_u64()).max()
    }
}

#[test]
fn whatever_is_killed_stopped_or_replaced_nothing_is_lost() {
    let seed = seed();
    println!("seed: {seed} (HEARTH_CHAOS_SEED={seed} repeats it)");
    let rounds = std::env::var("HEARTH_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut chaos = Chaos::new(seed);
    chaos.project.run(&["up"]).exits(0);
    for name in chaos.names.clone() {
        chaos.wants.insert(name, Some(true));
    }
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let begun = Instant::now();
        let what = chaos.round();
        println!("{round}: {what} ({} ms)", begun.elapsed().as_millis());
        chaos.pass(60);
    }
    chaos.settle();
    chaos.check_who_runs();
    chaos.project.run(&["down", "--all", "--timeout", "30s"]).exits(0);
    assert!(chaos.running().is_empty(), "{:?}", chaos.running());
    assert!(!Path::new(&chaos.project.dir().join("books/violations")).exists());
    chaos.check_logs();
    chaos.check_ends();
}
