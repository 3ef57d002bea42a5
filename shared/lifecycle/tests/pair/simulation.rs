//! Rounds of verbs with random kills of agents and of the verbs that start them: every verb that
//! lives gets an agent, and there is never a second one.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::support::{Home, told};
use hearth_process::{ProcessHandle, ProcessId, Signal};

const ROUNDS: u32 = 40;
const VERBS: u64 = 30;

/// xorshift64*: the order of kills is all that is drawn, and a printed seed brings it back.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// Agents of this home that run, by their command line and environment.
fn agents(home: &Home) -> Vec<u32> {
    let mut wanted = b"PAIR_HOME=".to_vec();
    wanted.extend_from_slice(home.dir.as_os_str().as_bytes());
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_agent = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        command.starts_with(b"pair\0agent") && environment.split(|b| *b == 0).any(|e| e == wanted)
    };
    pids.filter(is_agent).collect()
}

#[test]
fn whoever_is_killed_whenever_every_other_verb_gets_the_one_agent() {
    let seed = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| std::process::id().into());
    println!("SEED={seed}");
    let mut dice = Dice(u64::max(seed, 1));
    let home = Home::new();
    home.write("agent.toml", "idle_timeout = \"20ms\"\n");
    for round in 0..ROUNDS {
        let mut verbs: Vec<_> = (0..VERBS).map(|_| (home.spawn(&["get"]), false)).collect();
        for _ in 0..dice.below(6) {
            let until = Instant::now() + Duration::from_micros(dice.below(4000));
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            if dice.below(2) == 0 {
                let victim = dice.below(VERBS) as usize;
                let _ = verbs[victim].0.kill();
                verbs[victim].1 = true;
            } else if let Some(agent) = agents(&home).first() {
                // Only one that answers: a start that is killed is a failed start, and says so.
                let running = home
                    .record()
                    .is_some_and(|record| record["stage"] == "running" && record["pid"] == *agent);
                if running && let Ok(id) = ProcessId::of(*agent) {
                    let _ = ProcessHandle::open(&id).map(|handle| handle.signal(Signal::KILL));
                }
            }
        }
        for (verb, killed) in verbs {
            let output = verb.wait_with_output().unwrap();
            if !killed {
                let told = told(&output);
                assert_eq!(told.code, Some(0), "SEED={seed}, round {round}: {told:?}");
            }
        }
        let living = agents(&home);
        assert!(living.len() <= 1, "SEED={seed}, round {round}: agents {living:?}");
    }
}
