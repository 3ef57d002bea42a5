//! One question to a service or a check. Bounded in time, and gone when its task is aborted.
//!
//! `exec` is not here: for a service it is its shim that runs it, in the service's own surroundings,
//! and for a check `one_shot`. `notify` is no question: the service speaks, its shim keeps the latest,
//! and [`said`] judges it. Nor is `file`, which is watched ([`super::file`]) and speaks unasked.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use hearth_config::{Probe, Test};
use hearth_core::{ServiceId, Verdict};
use hearth_shim::frames::{FromShim, Notify};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::connect::connect;
use super::http::{self, Expected};
use super::link::Told;
use super::log;
use super::taken::Before;
use super::words::{short, shown};

/// The exit code by which an `exec` test says that it is still at work.
const STILL_AT_WORK: i32 = 75;

/// Who hears what a test says.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// Whose.
    pub(crate) id: ServiceId,
    /// Which life.
    pub(crate) life: u64,
    /// Number of the test.
    pub(crate) test: usize,
    /// The owner.
    pub(crate) tell: mpsc::Sender<Told>,
}

impl Answers {
    /// Tells it; an owner that is gone does not want to know.
    pub(crate) async fn tell(&self, verdict: Verdict) {
        let (id, life, test) = (self.id.clone(), self.life, self.test);
        let _ = self.tell.send(Told::Probed { id, life, test, verdict }).await;
    }
}

/// Asks a test of a service. Where somebody listened on its port before the service was there, the
/// answer may be a stranger's.
pub(crate) async fn ask_service(
    test: &Test,
    before: &Before,
    log_dir: PathBuf,
    life: u64,
    lived: Duration,
) -> Option<Verdict> {
    let verdict = ask(test, log_dir, life, lived).await?;
    let strange = test.probe.local_port().is_some_and(|port| before.had(port));
    Some(match verdict {
        Verdict::Pass(message) if strange => Verdict::Doubtful(message),
        verdict => verdict,
    })
}

/// Asks a test; `None` where it is of a kind that is not asked here. `log_dir`, `life` and `lived`
/// are those of the service.
pub(crate) async fn ask(
    test: &Test,
    log_dir: PathBuf,
    life: u64,
    lived: Duration,
) -> Option<Verdict> {
    let verdict = match &test.probe {
        Probe::Tcp { host, port } => {
            within(test.timeout, async {
                match connect(host, *port).await {
                    Ok(_) => Verdict::Pass(format!("{host}:{port} accepts connections")),
                    Err(words) => Verdict::Fail(format!("{host}:{port}: {words}")),
                }
            })
            .await
        }
        Probe::Http { url, status, body } => {
            let within = test.timeout;
            http::get(url, &Expected { status: *status, body: body.as_deref(), within }).await
        }
        Probe::Log(pattern) => log::watch(log_dir, life, pattern).await,
        Probe::Delay(delay) => {
            sleep(delay.saturating_sub(lived)).await;
            Verdict::Pass(format!("it has lived for {}", humantime::format_duration(*delay)))
        }
        Probe::Unix(path) => {
            within(test.timeout, async {
                match UnixStream::connect(path).await {
                    Ok(_) => Verdict::Pass(format!("{} accepts connections", path.display())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => Verdict::Fail(format!(
                        "{}: nobody takes the connections that wait there",
                        path.display()
                    )),
                    Err(error) => Verdict::Fail(format!("{}: {}", path.display(), short(&error))),
                }
            })
            .await
        }
        Probe::Exec(_) | Probe::Notify | Probe::File(_) | Probe::Later(_) => return None,
    };
    Some(in_its_words(test, verdict))
}

async fn within(bound: Duration, asking: impl Future<Output = Verdict>) -> Verdict {
    match timeout(bound, asking).await {
        Ok(verdict) => verdict,
        Err(_) => Verdict::Fail(no_answer(bound)),
    }
}

pub(crate) fn no_answer(bound: Duration) -> String {
    format!("no answer within {}", humantime::format_duration(bound))
}

/// What the shim's answer to an `exec` means; `None`: it is no answer to one.
pub(crate) fn judge(test: &Test, answer: FromShim) -> Option<Verdict> {
    let FromShim::Probed { code, last_line, timed_out, .. } = answer else { return None };
    let last_line = shown(last_line.as_bytes());
    let verdict = match (code, timed_out) {
        (_, true) => Verdict::Fail(no_answer(test.timeout)),
        (Some(0), false) => Verdict::Pass(last_line),
        (Some(STILL_AT_WORK), false) => Verdict::Loading(last_line),
        (Some(code), false) if last_line.is_empty() => {
            Verdict::Fail(format!("the test exited with code {code}"))
        }
        (None, false) if last_line.is_empty() => Verdict::Fail("the test was killed".to_owned()),
        (Some(_) | None, false) => Verdict::Fail(last_line),
    };
    Some(in_its_words(test, verdict))
}

/// What it means for a `notify` that the service has said this of itself; `None`: it is another
/// test, or nothing was said.
pub(crate) fn said(test: &Test, notify: &Notify) -> Option<Verdict> {
    if test.probe != Probe::Notify {
        return None;
    }
    let words = |own: &str| notify.status.clone().unwrap_or_else(|| own.to_owned());
    let verdict = match notify {
        Notify { stopping: true, .. } => Verdict::Fail(words("it says that it is stopping")),
        Notify { ready: true, .. } => Verdict::Pass(words("it says that it is ready")),
        Notify { status: Some(status), .. } => Verdict::Loading(status.clone()),
        Notify { status: None, .. } => return None,
    };
    Some(in_its_words(test, verdict))
}

/// The file's own words go before the probe's.
pub(crate) fn in_its_words(test: &Test, verdict: Verdict) -> Verdict {
    match (verdict, &test.ok, &test.failing) {
        (Verdict::Pass(_), Some(ok), _) => Verdict::Pass(ok.clone()),
        (Verdict::Fail(_), _, Some(failing)) => Verdict::Fail(failing.clone()),
        (verdict, _, _) => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_config::Run;

    fn answer(code: Option<i32>, last_line: &str, timed_out: bool) -> FromShim {
        FromShim::Probed { id: 1, code, last_line: last_line.into(), timed_out }
    }

    #[test]
    fn an_exec_passes_by_0_loads_by_75_and_fails_by_everything_else() {
        let test = Test::new(Probe::Exec(Run::Shell("x".into())));
        let judged = |code, line: &str, late| judge(&test, answer(code, line, late)).unwrap();
        assert_eq!(judged(Some(0), "fine", false), Verdict::Pass("fine".into()));
        assert_eq!(judged(Some(75), "40 %", false), Verdict::Loading("40 %".into()));
        assert_eq!(judged(Some(1), "", false), Verdict::Fail("the test exited with code 1".into()));
        assert_eq!(judged(None, "", true), Verdict::Fail("no answer within 2s".into()));
        assert_eq!(judged(None, "not run", false), Verdict::Fail("not run".into()));
    }

    #[test]
    fn a_notify_loads_until_ready_and_fails_when_it_stops() {
        let test = Test::new(Probe::Notify);
        let said = |ready, stopping, status: Option<&str>| {
            said(&test, &Notify { ready, stopping, status: status.map(str::to_owned) })
        };
        assert_eq!(said(false, false, None), None);
        assert_eq!(said(false, false, Some("40 %")), Some(Verdict::Loading("40 %".into())));
        assert_eq!(said(true, false, Some("fine")), Some(Verdict::Pass("fine".into())));
        assert!(matches!(said(true, false, None), Some(Verdict::Pass(_))));
        assert_eq!(said(true, true, Some("bye")), Some(Verdict::Fail("bye".into())));
        let other = Test::new(Probe::Delay(Duration::ZERO));
        let notify = Notify { ready: true, ..Notify::default() };
        assert_eq!(super::said(&other, &notify), None);
    }

    #[test]
    fn the_files_words_go_first_but_not_for_what_is_loading() {
        let mut test = Test::new(Probe::Exec(Run::Shell("x".into())));
        (test.ok, test.failing) = (Some("good".into()), Some("bad".into()));
        let judged = |code| judge(&test, answer(Some(code), "line", false)).unwrap();
        assert_eq!(judged(0), Verdict::Pass("good".into()));
        assert_eq!(judged(75), Verdict::Loading("line".into()));
        assert_eq!(judged(3), Verdict::Fail("bad".into()));
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_fails_and_one_that_is_listened_on_passes() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let text = format!("[services.a]\nrun = 'x'\nready = {{ tcp = \"127.0.0.1:{port}\" }}\n");
        std::fs::write(dir.path().join("hearth.toml"), text).unwrap();
        let service = hearth_config::load(dir.path()).unwrap().services.remove(0);
        let asked = || ask(&service.ready[0], PathBuf::new(), 1, Duration::ZERO);
        assert!(matches!(asked().await, Some(Verdict::Pass(_))));
        drop(listener);
        assert!(matches!(asked().await, Some(Verdict::Fail(_))));
    }
}
