//! A small agent: starts shims, speaks with them, and sees that nothing is left behind.

use std::collections::BTreeMap;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hearth_process::{ProcessHandle, ProcessId, Signal, tree};
use hearth_shim::Record;
use hearth_shim::frames::*;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tempfile::TempDir;

/// Longer than anything takes that works.
const PATIENCE: Duration = Duration::from_secs(20);

/// A home for one service.
pub struct Home {
    pub dir: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a home");
        std::fs::create_dir(dir.path().join("shims")).expect("shims");
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn spec(&self, run: Run) -> Spec {
        let path = std::env::var("PATH").unwrap_or("/usr/bin:/bin".into());
        let to = match &run {
            Run::List(_) => StopTo::Leader,
            Run::Shell(_) => StopTo::Group,
        };
        Spec {
            home: self.path(""),
            socket_path: self.path("shims/00ff.sock"),
            record_path: self.path("shims/00ff.rec"),
            id: "00ff".into(),
            project: "/src/app".into(),
            service: "db".into(),
            life: 1,
            run,
            dir: self.path(""),
            env: BTreeMap::from([("PATH".into(), path)]),
            user: None,
            umask: None,
            limits: BTreeMap::new(),
            stop: Stop { signal: Signal::TERM, timeout_ms: 10_000, to },
            log_dir: self.path("logs/db"),
            log: LogLimits { max_size: 1 << 20, keep: 3 },
            keep: "the agent's notes".into(),
            notify_path: None,
            acknowledge_within_ms: 600_000,
        }
    }

    pub fn shell(&self, line: &str) -> Spec {
        self.spec(Run::Shell(line.into()))
    }

    pub fn fifo(&self, name: &str) {
        let made = Command::new("mkfifo").arg(self.path(name)).status();
        assert!(made.expect("mkfifo").success());
    }

    /// All output so far, both streams.
    pub fn log(&self) -> String {
        let Ok(entries) = std::fs::read_dir(self.path("logs/db")) else { return String::new() };
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        files.sort();
        let text = files.iter().map(|path| std::fs::read(path).unwrap());
        String::from_utf8_lossy(&text.collect::<Vec<_>>().concat()).into_owned()
    }

    pub fn record(&self) -> Option<Record> {
        Record::read(&self.path("shims/00ff.rec")).expect("the record")
    }

    /// Starts a shim and tells it what to do; the call's own process has ended then.
    pub fn start(&self, spec: &Spec) -> Agent {
        self.start_and(spec, &[])
    }

    /// The same with more in the same write.
    pub fn start_and(&self, spec: &Spec, more: &[ToShim]) -> Agent {
        let mut agent = self.shim();
        let start = encode(&ToShim::Start(Box::new(spec.clone())));
        let more = more.iter().flat_map(encode);
        let together: Vec<u8> = start.into_iter().chain(more).collect();
        agent.send_bytes(&together);
        agent
    }

    /// A shim that was told nothing yet.
    fn shim(&self) -> Agent {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let status = Command::new(std::env::current_exe().unwrap())
            .arg0("hearth")
            .args(["shim", "/src/app/db"])
            .stdin(OwnedFd::from(theirs))
            .status()
            .expect("a shim");
        assert!(status.success(), "{status}");
        Agent::over(ours)
    }

    /// Starts it and waits until the service runs.
    pub fn started(&self, spec: &Spec) -> Running {
        Self::runs(self.start(spec))
    }

    /// The same, and `fd` is to be held from the start on.
    pub fn started_holding(&self, spec: &Spec, generation: u64, fd: BorrowedFd<'_>) -> Running {
        let mut agent = self.shim();
        agent.send_bytes(&encode(&ToShim::Start(Box::new(spec.clone()))));
        agent.send_with(&encode(&ToShim::Hold { generation }), &[fd]);
        Self::runs(agent)
    }

    fn runs(mut agent: Agent) -> Running {
        let state = agent.state();
        let leader = match agent.next() {
            FromShim::Started { leader } => leader,
            other => panic!("not started: {other:?}"),
        };
        Running { agent, shim: state.shim, leader }
    }

    /// Another agent.
    pub fn connect(&self) -> Agent {
        let socket = UnixStream::connect(self.path("shims/00ff.sock")).expect("its socket");
        let mut agent = Agent::over(socket);
        agent.send(&ToShim::Hello { version: VERSION, agent: ProcessId::current() });
        agent
    }
}

/// A service that runs.
pub struct Running {
    pub agent: Agent,
    pub shim: ProcessId,
    pub leader: ProcessId,
}

/// One connection.
pub struct Agent {
    socket: UnixStream,
    decoder: Decoder,
    /// What came with bytes, each closed on exec.
    pub came: Vec<OwnedFd>,
}

impl Agent {
    pub fn over(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, decoder: Decoder::new(), came: Vec::new() }
    }

    /// Writes `bytes`, and `fds` with the first of them.
    pub fn send_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let bytes = [IoSlice::new(bytes)];
        sendmsg(&self.socket, &bytes, &mut control, SendFlags::empty()).expect("it listens");
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the shim listens");
    }

    /// Another connection, which says nothing by itself.
    pub fn stranger(home: &Home) -> Self {
        Self::over(UnixStream::connect(home.path("shims/00ff.sock")).expect("its socket"))
    }

    pub fn send(&mut self, frame: &ToShim) {
        self.socket.write_all(&encode(frame)).expect("the shim listens");
    }

    /// The next frame; None: the end of the connection.
    pub fn frame(&mut self) -> Option<FromShim> {
        loop {
            if let Some(frame) = self.decoder.next().expect("a frame") {
                return Some(frame);
            }
            let mut bytes = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut buffers = [IoSliceMut::new(&mut bytes)];
            let got = recvmsg(&self.socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC);
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.came.extend(fds);
                }
            }
            match got.map(|got| got.bytes) {
                Ok(0) => return None,
                Ok(count) => self.decoder.push(&bytes[..count]),
                Err(rustix::io::Errno::CONNRESET) => return None,
                Err(error) => panic!("the shim says nothing: {error}"),
            }
        }
    }

    pub fn next(&mut self) -> FromShim {
        self.frame().expect("a frame before the end")
    }

    pub fn state(&mut self) -> State {
        match self.next() {
            FromShim::State(state) => *state,
            other => panic!("no state: {other:?}"),
        }
    }

    pub fn exited(&mut self) -> Exit {
        match self.next() {
            FromShim::Exited { exit } => exit,
            other => panic!("no exit: {other:?}"),
        }
    }

    pub fn emptied(&mut self) {
        assert_eq!(self.next(), FromShim::Emptied);
    }

    /// The end of every test that started something.
    pub fn acknowledge(mut self) {
        self.send(&ToShim::Acknowledge);
        assert_eq!(self.frame(), None);
    }

    /// Kills what runs and acknowledges it.
    pub fn finish(mut self) {
        self.send(&ToShim::Kill);
        while self.next() != FromShim::Emptied {}
        self.acknowledge();
    }
}

/// Waits until there is a line like this in the log. The log grows without telling us here, so
/// this is the one place that looks again and again.
pub fn wait_for_log(home: &Home, text: &str) {
    wait_until(text, || home.log().contains(text));
}

/// Waits for something that nothing tells of.
pub fn wait_until(what: &str, happened: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !happened() {
        assert!(start.elapsed() < PATIENCE, "it did not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a process has ended.
pub fn wait_for_end(process: &ProcessId) {
    if let Ok(handle) = ProcessHandle::open(process) {
        assert!(handle.wait_timeout(PATIENCE).expect("a handle"), "{process:?} goes on");
    }
}

/// Reaps what has ended; kills and names what has not.
pub fn left_behind() -> Vec<String> {
    let mut left = Vec::new();
    loop {
        let below = tree::below(std::process::id(), &|_| false).expect("the tree");
        if below.is_empty() {
            return left;
        }
        for member in below {
            if let Ok(handle) = ProcessHandle::open(&member.id) {
                // A shim that has closed its connections still has to exit.
                if !handle.wait_timeout(Duration::from_secs(3)).expect("a handle") {
                    left.push(format!("{} {}", member.id.pid, member.command));
                    let _ = handle.signal(Signal::KILL);
                    let _ = handle.wait_timeout(PATIENCE);
                }
            }
            // SAFETY: numbers only; reaps it if it is ours.
            unsafe {
                libc::waitpid(member.id.pid as i32, std::ptr::null_mut(), libc::WNOHANG);
            }
        }
    }
}

pub fn signal(process: &ProcessId, signal: Signal) {
    ProcessHandle::open(process).expect("it is there").signal(signal).expect("signalled");
}
