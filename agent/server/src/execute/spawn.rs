//! Starting a shim: the spec of one life, a socket, and `hearth shim PROJECT/SERVICE`.
//!
//! On Linux the shim is nobody's child from the first (`hearth_process::borrowed`). Elsewhere no code
//! runs between fork and exec (`posix_spawn(3)`), and the process that is our child ends by itself as
//! soon as the shim is on its own: it is reaped by a task that the kernel wakes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as Socket;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::{ffi::CString, os::unix::ffi::OsStringExt};
#[cfg(not(target_os = "linux"))]
use std::{
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, Stdio},
};

use hearth_config::{Probe, Resolved, Service};
use hearth_core::ServiceId;
use hearth_process::facts::{self, User};
use hearth_process::{ProcessHandle, ProcessId, pass};
use hearth_shim::frames::{self, Decoder, LogLimits, Spec, ToShim, encode};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::link::{Ending, Line, Link, Seen, Told};
use super::{fd, link, taken};
use crate::bundle::Held;
use crate::capture::Capture;
use crate::convert;
use crate::place::Place;

/// After its end a shim waits for so long to be acknowledged.
const ACKNOWLEDGE_WITHIN_MS: u64 = 600_000;

/// One life that is to begin.
pub(crate) struct Order {
    /// Whose.
    pub(crate) id: ServiceId,
    /// Which life.
    pub(crate) life: u64,
    /// What the file says.
    pub(crate) service: Arc<Service>,
    /// The same with its `${...}` replaced.
    pub(crate) resolved: Arc<Resolved>,
    /// Where somebody else listened before it.
    pub(crate) before: Arc<taken::Before>,
    /// What the shell gave.
    pub(crate) capture: Arc<Capture>,
    /// How many files it may open where its capture does not say.
    pub(crate) open_files: Option<u64>,
    /// For the agent that adopts it.
    pub(crate) keep: String,
    /// What it is to hold for its project.
    pub(crate) held: Option<Held>,
}

/// Begins it. Everything that can go wrong comes as [`Told::Gone`] with its reason.
pub(crate) fn begin(order: Order, place: &Place, told: mpsc::Sender<Told>) -> Link {
    let (giver, orders) = mpsc::unbounded_channel();
    let line = Line {
        id: order.id.clone(),
        life: order.life,
        socket: place.socket(&Place::shim(&order.id)),
        record: place.record(&Place::shim(&order.id)),
        ending: ending(&order.service),
        told,
        orders,
        seen: Seen::default(),
    };
    let place = place.clone();
    tokio::spawn(async move {
        match start(order, &place).await {
            Ok(stream) => line.relay(stream, Decoder::new()).await,
            Err(reason) => line.never(reason).await,
        }
    });
    Link::to(giver)
}

/// How what a killed shim of this service leaves behind is ended.
pub(crate) fn ending(service: &Service) -> Ending {
    let signal = service.stop.signal.parse().unwrap_or(hearth_process::Signal::TERM);
    Ending { signal, patience: service.stop.timeout }
}

async fn start(mut order: Order, place: &Place) -> Result<UnixStream, String> {
    let held = order.held.take();
    if let Some(port) = order.resolved.port
        && let Some(words) = taken::told(port).await
    {
        return Err(words);
    }
    order.before.look(&order.resolved.ports);
    let name = match &*order.id.project {
        "" => order.id.name.to_string(),
        project => format!("{project}/{}", order.id.name),
    };
    let spec = spec(order, place).await?;
    let failed = |error: io::Error| format!("its shim could not be started: {error}");
    let (ours, theirs) = Socket::pair().map_err(failed)?;
    execute(&name, theirs, place).map_err(failed)?;
    ours.set_nonblocking(true).map_err(failed)?;
    let start = encode(&ToShim::Start(Box::new(spec)));
    // At once, and not when the runtime comes round: the shim begins while others are spawned.
    let written = (&ours).write(&start).unwrap_or(0);
    // In the same breath: an agent that is killed in between would leave a shim that runs and holds
    // nothing.
    let hold = held.as_ref().map(|held| ToShim::Hold { generation: held.generation });
    let hold = hold.map(|hold| encode(&hold)).unwrap_or_default();
    let sent = match &held {
        Some(held) if written == start.len() => {
            pass::send(&ours, &hold, &[held.fd.as_fd()]).unwrap_or(0)
        }
        Some(_) | None => 0,
    };
    let mut stream = UnixStream::from_std(ours).map_err(failed)?;
    // An error here is a shim that died at once: what it said, if anything, is read next.
    let _ = stream.write_all(&start[written..]).await;
    if let Some(held) = held {
        let _ = match sent {
            0 => link::write(&mut stream, &hold, Some(&held.fd)).await,
            _ => stream.write_all(&hold[sent..]).await,
        };
    }
    Ok(stream)
}

#[cfg(target_os = "linux")]
fn execute(name: &str, control: Socket, place: &Place) -> io::Result<()> {
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    let log = OpenOptions::new().append(true).open(place.home().join("agent.log"));
    let log = log.as_ref().unwrap_or(&null);
    let file = CString::new(executable().into_os_string().into_vec())?;
    let name = CString::new(name)?;
    let stdio = [control.as_fd(), null.as_fd(), log.as_fd()];
    hearth_process::borrowed::orphan(&file, &[c"hearth", c"shim", &name], stdio)
}

#[cfg(not(target_os = "linux"))]
fn execute(name: &str, control: Socket, place: &Place) -> io::Result<()> {
    let log = OpenOptions::new().append(true).open(place.home().join("agent.log"));
    let child = Command::new(executable())
        .arg0("hearth")
        .args(["shim", name])
        .current_dir("/")
        .stdin(OwnedFd::from(control))
        .stdout(Stdio::null())
        .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
        .spawn()?;
    tokio::spawn(reap(child));
    Ok(())
}

/// Our own file: a shim must be of its agent's version, also after an upgrade in place. By its
/// name where that is still the same file, so that `ps` shows it.
pub(super) fn executable() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    let inode = |path: &PathBuf| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    match (std::env::current_exe(), inode(&running)) {
        (Ok(named), Some(ours)) if inode(&named) == Some(ours) => named,
        (Ok(_) | Err(_), Some(_)) => running,
        // No /proc: macOS.
        (Ok(named), None) => named,
        (Err(_), None) => running,
    }
}

/// Takes the exit of a child as soon as there is one.
pub(super) async fn reap(mut child: Child) {
    let waited = match ProcessId::of(child.id()).map(|id| ProcessHandle::open(&id)) {
        Ok(Ok(handle)) => fd::ended(handle).await.is_ok(),
        // Ended already, or no descriptor left.
        Ok(Err(_)) | Err(_) => false,
    };
    if waited || !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = spawn_or_wait(child, waited).await;
    }
}

/// Where its end was seen, waiting takes no time; where not, a thread does it.
async fn spawn_or_wait(mut child: Child, ended: bool) -> io::Result<()> {
    if ended {
        return child.wait().map(drop);
    }
    spawn_blocking(move || child.wait().map(drop)).await.map_err(io::Error::other)?
}

async fn spec(order: Order, place: &Place) -> Result<Spec, String> {
    let Order { id, life, service, resolved, before: _, capture, open_files, keep, held: _ } =
        order;
    let user = match service.user.clone() {
        None => None,
        // The user database may ask the network.
        Some(name) => {
            let found = spawn_blocking(move || facts::user_by_name(&name).map_err(|e| (name, e)));
            let found = found.await.map_err(|error| error.to_string())?;
            Some(found.map_err(|(name, error)| format!("`user = \"{name}\"`: {error}"))?)
        }
    };
    let becomes = become_user(user.as_ref(), rustix::process::geteuid().as_raw())?;
    let shim = Place::shim(&id);
    let notifies = resolved.ready.iter().any(|test| test.probe == Probe::Notify);
    let notify_path = notifies.then(|| place.notify(&shim));
    Ok(Spec {
        home: place.home().to_owned(),
        socket_path: place.socket(&shim),
        record_path: place.record(&shim),
        id: shim,
        project: id.project.to_string(),
        service: id.name.to_string(),
        life,
        run: convert::run(resolved.run.as_ref().ok_or("it has no command")?),
        dir: service.dir.clone(),
        env: environment(&capture.env, user.as_ref().filter(|_| becomes.is_some()), &resolved.env),
        user: becomes,
        umask: Some(capture.umask),
        limits: capture.limits(open_files),
        stop: convert::stop(&service.stop)?,
        log_dir: place.log(&id),
        log: LogLimits { max_size: service.log.max_size, keep: service.log.keep },
        keep,
        notify_path,
        acknowledge_within_ms: ACKNOWLEDGE_WITHIN_MS,
    })
}

/// Whom the shim is to become; `None`: nobody else. `euid`: our own.
fn become_user(user: Option<&User>, euid: u32) -> Result<Option<frames::User>, String> {
    match user {
        None => Ok(None),
        Some(user) if euid == 0 => {
            Ok(Some(frames::User { uid: user.uid, gid: user.gid, groups: user.groups.clone() }))
        }
        Some(user) if user.uid == euid => Ok(None),
        Some(user) => Err(format!(
            "`user = \"{}\"`: the agent runs as uid {euid}, and only root can become somebody else",
            user.name
        )),
    }
}

/// The captured variables, those of the user that it becomes over them, those of the file over all.
pub(crate) fn environment(
    captured: &BTreeMap<String, String>,
    user: Option<&User>,
    file: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let mut env = captured.clone();
    if let Some(user) = user {
        let texts = [
            ("HOME", user.home.display().to_string()),
            ("USER", user.name.clone()),
            ("LOGNAME", user.name.clone()),
            ("SHELL", user.shell.display().to_string()),
        ];
        env.extend(texts.map(|(name, value)| (name.to_owned(), value)));
    }
    for (name, value) in file {
        match value {
            Some(value) => drop(env.insert(name.clone(), value.clone())),
            None => drop(env.remove(name)),
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(uid: u32) -> User {
        User {
            name: "postgres".into(),
            uid,
            gid: uid,
            home: "/var/lib/postgresql".into(),
            shell: "/bin/sh".into(),
            groups: vec![uid],
        }
    }

    #[test]
    fn the_file_goes_over_the_user_and_the_user_over_the_shell() {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let captured = [text("HOME", "/root"), text("USER", "root"), text("A", "1")].into();
        let file = [("A".to_owned(), None), ("USER".to_owned(), Some("me".to_owned()))].into();
        let env = environment(&captured, Some(&somebody(7)), &file);
        assert_eq!(env["HOME"], "/var/lib/postgresql");
        assert_eq!((env["USER"].as_str(), env["LOGNAME"].as_str()), ("me", "postgres"));
        assert!(!env.contains_key("A"));
        assert_eq!(environment(&captured, None, &BTreeMap::new())["HOME"], "/root");
    }

    #[test]
    fn only_root_becomes_somebody_else() {
        assert_eq!(become_user(Some(&somebody(7)), 0).unwrap().unwrap().uid, 7);
        assert_eq!(become_user(Some(&somebody(7)), 7).unwrap(), None);
        let refusal = become_user(Some(&somebody(7)), 1000).unwrap_err();
        assert!(refusal.contains("postgres") && refusal.contains("1000"), "{refusal}");
    }
}
