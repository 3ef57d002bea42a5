//! CPU and memory of services, each with its whole tree, when somebody asks.
//!
//! Invariants: nothing is measured by a timer, and the owner never waits for it: a thread reads the
//! table of processes, once for all services. What is not known is `None`: the share of a processor
//! needs two looks, so the first one at a life gives none.
//!
//! What the figures are: memory is the sum of the resident sizes of all processes, so pages that they
//! share count once for each (to share them out, `smaps_rollup`, stops each process for as long as it
//! is read). CPU is what the processes that are there have used since the last look, of one
//! processor; what ended in between took its count along. A probe's processes count while they run.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_core::ServiceId;
use hearth_process::ProcessId;
use hearth_process::tree::{self, Member};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::task::spawn_blocking;

/// Looks that are closer together give the same share: the kernel counts in hundredths of a second.
const TOO_SOON: Duration = Duration::from_millis(100);

/// What is to be measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trees {
    /// Every life that has a shim, with the shim's pid.
    pub(crate) lives: Vec<(ServiceId, u64, u32)>,
}

/// Of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Of one processor, since the last look.
    pub(crate) cpu_percent: Option<f64>,
    /// Resident.
    pub(crate) memory_bytes: Option<u64>,
}

/// Measures, and remembers the last look. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measuring(Arc<Mutex<HashMap<(ServiceId, u64), Look>>>);

/// What was seen of a life.
#[derive(Clone, Debug)]
struct Look {
    at: Instant,
    /// Milliseconds that each process has used.
    used: HashMap<ProcessId, u64>,
    /// The share that it came to.
    cpu_percent: Option<f64>,
}

impl Measuring {
    /// Figures of each life that is there, of one project or of all. Errors: those of reading the table.
    pub(crate) async fn measure(
        &self,
        trees: Trees,
        project: Option<Arc<str>>,
    ) -> io::Result<HashMap<ServiceId, Figures>> {
        let known = Arc::clone(&self.0);
        let measure = move || {
            // Whoever asks meanwhile waits here, in a thread.
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            look(&trees, project.as_deref(), &mut known)
        };
        spawn_blocking(measure).await.map_err(io::Error::other)?
    }
}

fn look(
    trees: &Trees,
    project: Option<&str>,
    known: &mut HashMap<(ServiceId, u64), Look>,
) -> io::Result<HashMap<ServiceId, Figures>> {
    // The agent, too, may have been started from inside a service, and is no part of it.
    let roots: Vec<u32> =
        trees.lives.iter().map(|(_, _, shim)| *shim).chain([std::process::id()]).collect();
    let found = tree::below_each(&roots)?;
    let mut before = std::mem::take(known);
    let mut asked = Vec::new();
    for ((id, life, _), members) in trees.lives.iter().zip(found) {
        let key = (id.clone(), *life);
        if project.is_none_or(|project| *id.project == *project) {
            asked.push((key, members));
        } else if let Some(look) = before.remove(&key) {
            // Its share is of the time since it was asked itself.
            known.insert(key, look);
        }
    }
    let mut system = System::new().map_err(io::Error::other)?;
    let members = asked.iter().flat_map(|(_, members)| members);
    let pids: Vec<Pid> = members.map(|member| Pid::from_u32(member.id.pid)).collect();
    let what = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&pids), true, what);
    let at = Instant::now();
    let mut all = HashMap::new();
    for (key, members) in asked {
        let Some((memory, used)) = sums(&system, &members) else { continue };
        let look = match before.remove(&key) {
            Some(last) if at.duration_since(last.at) < TOO_SOON => last,
            Some(last) => {
                let cpu_percent = Some(share(&last, &used, at));
                Look { at, used, cpu_percent }
            }
            None => Look { at, used, cpu_percent: None },
        };
        let figures = Figures { cpu_percent: look.cpu_percent, memory_bytes: Some(memory) };
        all.insert(key.0.clone(), figures);
        known.insert(key, look);
    }
    Ok(all)
}

/// Memory, and what each process has used; `None`: there is none.
fn sums(system: &System, members: &[Member]) -> Option<(u64, HashMap<ProcessId, u64>)> {
    let there = members.iter().filter_map(|member| {
        let process = system.process(Pid::from_u32(member.id.pid))?;
        Some((member.id.clone(), process.memory(), process.accumulated_cpu_time()))
    });
    let (mut memory, mut used) = (0_u64, HashMap::new());
    for (id, bytes, milliseconds) in there {
        memory = memory.saturating_add(bytes);
        used.insert(id, milliseconds);
    }
    (!used.is_empty()).then_some((memory, used))
}

/// One decimal.
fn share(last: &Look, used: &HashMap<ProcessId, u64>, at: Instant) -> f64 {
    let since =
        |(id, now): (&ProcessId, &u64)| now.saturating_sub(*last.used.get(id).unwrap_or(&0));
    let milliseconds: u64 = used.iter().map(since).sum();
    let passed = at.duration_since(last.at).as_secs_f64() * 1000.0;
    (milliseconds as f64 / passed * 1000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> ProcessId {
        ProcessId { pid, ..ProcessId::current() }
    }

    #[test]
    fn the_share_is_of_what_was_used_since_by_whom_is_there() {
        let at = Instant::now();
        let last = [(process(1), 1000), (process(2), 50)].into();
        let last = Look { at, used: last, cpu_percent: None };
        // One goes on, one has ended, one has come.
        let used = [(process(1), 1500), (process(3), 250)].into();
        assert_eq!(share(&last, &used, at + Duration::from_secs(1)), 75.0);
        assert_eq!(share(&last, &used, at + Duration::from_secs(3)), 25.0);
        // More than one processor.
        assert_eq!(share(&last, &used, at + Duration::from_millis(500)), 150.0);
    }

    #[tokio::test]
    async fn the_first_look_at_a_life_has_no_share_and_who_has_no_process_no_figures() {
        // Stands for a shim: what counts is below it.
        let mut shim = std::process::Command::new("sh")
            .args(["-c", "sleep 1000 & echo up; read line; kill $!"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read_exact(shim.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
        let (id, gone) = (ServiceId::new("/p", "s"), ServiceId::new("/q", "gone"));
        let trees =
            |life| Trees { lives: vec![(id.clone(), life, shim.id()), (gone.clone(), 1, 1 << 30)] };
        let measuring = Measuring::default();
        let first = measuring.measure(trees(1), None).await.unwrap();
        assert!(first[&id].memory_bytes.unwrap() > 4096, "{first:?}");
        assert_eq!(first[&id].cpu_percent, None);
        assert!(!first.contains_key(&gone));
        let other = measuring.measure(trees(1), Some("/q".into())).await.unwrap();
        assert!(other.is_empty());
        tokio::time::sleep(TOO_SOON).await;
        let next = measuring.measure(trees(1), Some("/p".into())).await.unwrap();
        assert_eq!(next[&id].cpu_percent, Some(0.0));
        let soon = measuring.measure(trees(1), None).await.unwrap();
        assert_eq!(soon[&id].cpu_percent, Some(0.0));
        let anew = measuring.measure(trees(2), None).await.unwrap();
        assert_eq!(anew[&id].cpu_percent, None);
        drop(shim.stdin.take());
        shim.wait().unwrap();
    }
}
