//! What it costs that many hear of everything: 200 subscribers, 500 events a second, ten that do not
//! read. Every reader must get every event in order, whoever else reads or not.
//!
//! `cargo bench -p hearth-tests --bench events`; `HEARTH_BENCH_ROUNDS` sets for how many seconds.
//! The events are sessions that begin and end: a process that registers itself and ends itself again,
//! 250 times a second. All readers are one thread, so that most of the machine is the agent's.

use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearth_tests::Project;
use hearth_tests::http::{Client, request};
use hearth_tests::measure::{
    build, cost, floor_command, in_project, line, median, ms, number, rounds,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const SUBSCRIBERS: usize = 200;
const DEAF: usize = 10;
const A_SECOND: u32 = 500;

fn main() {
    let floor = build().join("floor");
    let project = Project::new("");
    let socket = project.socket();
    let agent = project.home.agent_pid().expect("an agent lives");
    let seconds = rounds(30);
    let events = seconds * A_SECOND as usize;
    let quiet = verbs(&project, &floor, |turn| turn < 40);
    let idle = number(agent, "VmRSS:");
    let mut readers: Vec<Reader> = (0..SUBSCRIBERS - DEAF).map(|_| Reader::new(&socket)).collect();
    let mut deaf: Vec<Reader> = (0..DEAF).map(|_| Reader::new(&socket)).collect();
    let woken = number(agent, "voluntary_ctxt_switches:");
    std::thread::sleep(Duration::from_secs(5));
    let woken = number(agent, "voluntary_ctxt_switches:") - woken;
    let (sent, begun) =
        ((0..=events).map(|_| AtomicU64::new(0)).collect::<Vec<_>>(), Instant::now());
    let done = AtomicBool::new(false);
    let (mut delays, beside) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_all(&mut readers, events, &sent, begun));
        let beside = scope.spawn(|| verbs(&project, &floor, |_| !done.load(Ordering::Relaxed)));
        let mut client = Client::new(&socket);
        for pair in 0..events / 2 {
            let due = Duration::from_secs(2) * u32::try_from(pair).expect("few") / A_SECOND;
            // The pace is what is measured at.
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let now = nanoseconds(begun);
            sent[2 * pair + 1].store(now, Ordering::Relaxed);
            sent[2 * pair + 2].store(now, Ordering::Relaxed);
            client.come_and_go();
        }
        let delays = reading.join().expect("every event, in order");
        done.store(true, Ordering::Relaxed);
        (delays, beside.join().expect("verbs run"))
    });
    let took = begun.elapsed();
    let (now, peak) = (number(agent, "VmRSS:"), number(agent, "VmHWM:"));
    line(
        &format!("{events} events to {} readers, {DEAF} that do not read", SUBSCRIBERS - DEAF),
        &format!("all in order, {:.0} a second", events as f64 / took.as_secs_f64()),
        "every one, in order, 500 a second",
    );
    delays.sort_unstable();
    let of = |part: usize| ms(delays[delays.len() * part / 1000]);
    let worst = ms(delays.last().copied().unwrap_or_default());
    let last = format!("median {:.1} ms, p99 {:.1} ms, worst {worst:.1} ms", of(500), of(990));
    line("  from the request to the last reader", &last, "");
    let memory = format!("{:.1} MB (peak {:.1}, before {:.1})", mb(now), mb(peak), mb(idle));
    line("  resident memory of the agent", &memory, "under 100 MB");
    let ratio = |ours: Duration, floor: Duration| ours.as_secs_f64() / floor.as_secs_f64();
    line("  woken in 5 s while nothing happens", &format!("{woken} times"), "0");
    line(
        "  `status --json` beside it",
        &format!(
            "{:.2} ms, floor beside {:.2}: {:.2} x, floor in quiet {:.2}: {:.2} x; in quiet {:.2} ms",
            ms(beside.0),
            ms(beside.1),
            ratio(beside.0, beside.1),
            ms(quiet.1),
            ratio(beside.0, quiet.1),
            ms(quiet.0),
        ),
        "under 5 x",
    );
    // They have what their sockets held, in order, and then a new beginning.
    let resynced = deaf.iter_mut().filter_map(|reader| reader.until_resync(events)).count();
    line("  those that did not read, when they do", &format!("{resynced} got `resync`"), "");
}

fn mb(kilobytes: u64) -> f64 {
    kilobytes as f64 / 1024.0
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The medians of a warm verb and of the floor, in turn for as long as `go_on`.
fn verbs(project: &Project, floor: &Path, go_on: impl Fn(usize) -> bool) -> (Duration, Duration) {
    let (mut ours, mut base) = (Vec::new(), Vec::new());
    for turn in 0.. {
        if !go_on(turn) {
            break;
        }
        base.push(cost(&mut floor_command(floor, project)).wall);
        let verb = cost(&mut in_project(project, &["status", "--json"]));
        assert!(verb.status.success());
        ours.push(verb.wall);
    }
    (median(&mut ours), median(&mut base))
}

/// Reads until everybody has had everything; for each event, how long it took to the last reader.
fn read_all(
    readers: &mut [Reader],
    events: usize,
    sent: &[AtomicU64],
    begun: Instant,
) -> Vec<Duration> {
    let mut arrived = vec![0u64; events + 1];
    let mut open = readers.len();
    let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
    while open > 0 {
        let mut fds: Vec<_> =
            readers.iter().map(|reader| PollFd::new(&reader.stream, PollFlags::IN)).collect();
        let ready = poll(&mut fds, Some(&patience)).expect("it can be waited for");
        assert!(ready > 0, "nothing comes any more");
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        for (reader, _) in readers.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            let before = reader.seq;
            reader.read();
            let now = nanoseconds(begun);
            arrived[before + 1..=reader.seq].fill(now);
            open -= usize::from(before < events && reader.seq == events);
        }
    }
    let delay = |seq: usize| {
        Duration::from_nanos(arrived[seq].saturating_sub(sent[seq].load(Ordering::Relaxed)))
    };
    (1..=events).map(delay).collect()
}

/// A subscriber that looks at ids alone.
struct Reader {
    stream: UnixStream,
    /// The last that it has had.
    seq: usize,
    /// The beginning of a line.
    part: Vec<u8>,
    resynced: bool,
    buffer: Vec<u8>,
}

impl Reader {
    fn new(socket: &Path) -> Self {
        let mut reply = request(socket, "GET", "/v1/events", &[], "");
        let first = reply.event().expect("a snapshot");
        assert_eq!((first.name.as_str(), first.seq()), ("snapshot", 0));
        let stream = reply.into_stream();
        stream.set_nonblocking(true).expect("it can be read without waiting");
        Self { stream, seq: 0, part: Vec::new(), resynced: false, buffer: vec![0; 64 * 1024] }
    }

    /// Takes in what is there.
    fn read(&mut self) {
        loop {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => panic!("the stream has ended"),
                Ok(got) => {
                    let bytes = std::mem::take(&mut self.buffer);
                    for piece in bytes[..got].split_inclusive(|byte| *byte == b'\n') {
                        self.part.extend_from_slice(piece);
                        if piece.ends_with(b"\n") {
                            self.line();
                        }
                    }
                    self.buffer = bytes;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn line(&mut self) {
        let line = std::str::from_utf8(&self.part).expect("UTF-8");
        if let Some(id) = line.strip_prefix("id: ") {
            let seq = id.trim_end().rsplit(':').next().and_then(|seq| seq.parse().ok());
            let seq: usize = seq.expect("INSTANCE:SEQ");
            assert!(seq == self.seq + 1 || self.resynced, "{seq} after {}", self.seq);
            self.seq = seq;
        }
        self.resynced |= line.starts_with("event: resync");
        self.part.clear();
    }

    /// Reads on up to the newest; whether something was left out, told by `resync`.
    fn until_resync(&mut self, events: usize) -> Option<usize> {
        self.stream.set_nonblocking(true).expect("it can be read without waiting");
        while self.seq < events {
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&Timespec { tv_sec: 30, tv_nsec: 0 }));
            assert_eq!(ready, Ok(1), "nothing comes any more");
            self.read();
        }
        self.resynced.then_some(self.seq)
    }
}
