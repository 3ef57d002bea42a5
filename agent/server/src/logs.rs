//! Lines of logs on their way out: what is there now, merged by time, or what comes.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use hearth_api::LogLine;
use hearth_api::time::rfc3339;
use hearth_core::ServiceId;
use hearth_lifecycle::agent::Handle;
use hearth_logs::{Extent, Follow, Line, Merge, Next, Reader, Stream};
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;
use tracing::warn;

use crate::convert;
use crate::execute::fd::{self, Followed};

/// Bytes that go out in one piece.
const PIECE: usize = 32 * 1024;
/// Pieces that may wait for the reader.
const WAITING: usize = 4;

/// Whose log.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    /// The service.
    pub(crate) id: ServiceId,
    /// Where its log is.
    pub(crate) dir: PathBuf,
}

/// A reply's body.
#[derive(Debug)]
pub(crate) struct Lines {
    pieces: mpsc::Receiver<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.pieces.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// What is there now of `extent`, of each.
pub(crate) fn now(services: Vec<Service>, extent: Extent, place: OwnedSemaphorePermit) -> Lines {
    let (sender, pieces) = mpsc::channel(WAITING);
    // A thread: there may be gigabytes, and nobody else shall wait for the disk.
    spawn_blocking(move || {
        if let Err(error) = read(&services, extent, &sender) {
            warn!(%error, "cannot read a log");
        }
    });
    Lines { pieces, _place: place }
}

fn read(services: &[Service], extent: Extent, sender: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let logs = services.iter().map(|service| Reader::open(&service.dir).read(extent));
    let mut logs = logs.collect::<io::Result<Vec<_>>>()?;
    let mut merge = Merge::new(logs.len());
    let mut piece = Vec::new();
    loop {
        let is_end = match merge.next() {
            Next::Line(number, line) => {
                write(&mut piece, &services[number], &line);
                false
            }
            Next::Needs(number) => {
                merge.give(number, logs[number].portion()?);
                false
            }
            Next::Dry => true,
        };
        // Who does not listen any more needs nothing.
        if is_due(&piece, is_end)
            && sender.blocking_send(std::mem::take(&mut piece).into()).is_err()
            || is_end
        {
            return Ok(());
        }
    }
}

/// Whether a piece goes out now.
fn is_due(piece: &[u8], is_last: bool) -> bool {
    piece.len() >= PIECE || (is_last && !piece.is_empty())
}

/// What is there of `extent`, of each, and then whatever comes, until the reader or the agent goes.
pub(crate) fn follow(
    services: Vec<Service>,
    extent: Extent,
    handle: Handle,
    place: OwnedSemaphorePermit,
) -> Lines {
    let (sender, pieces) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = relay(&services, extent, &sender) => ended,
            () = handle.stopping() => Ok(()),
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = ended {
            warn!(%error, "cannot follow a log");
        }
    });
    Lines { pieces, _place: place }
}

/// By time, as far as it is there when it is looked at.
async fn relay(
    services: &[Service],
    extent: Extent,
    sender: &mpsc::Sender<Bytes>,
) -> io::Result<()> {
    let follow = |service: &Service| Followed::new(Follow::after(&service.dir, extent)?);
    let mut logs = services.iter().map(follow).collect::<io::Result<Vec<_>>>()?;
    if logs.is_empty() {
        return Ok(());
    }
    let mut merge = Merge::new(logs.len());
    let mut piece = Vec::new();
    loop {
        let is_dry = match merge.next() {
            Next::Line(number, line) => {
                write(&mut piece, &services[number], &line);
                false
            }
            Next::Needs(number) => {
                merge.give(number, logs[number].now()?);
                false
            }
            Next::Dry => true,
        };
        if is_due(&piece, is_dry) && sender.send(std::mem::take(&mut piece).into()).await.is_err() {
            return Ok(());
        }
        if is_dry {
            fd::any(&logs).await?;
            merge.wake();
        }
    }
}

fn write(piece: &mut Vec<u8>, service: &Service, line: &Line) {
    let line = LogLine {
        at: line.at.map(rfc3339),
        project: convert::project(&service.id.project),
        service: service.id.name.to_string(),
        life: line.life,
        stream: line.stream.map(|stream| match stream {
            Stream::Stdout => "stdout".to_owned(),
            Stream::Stderr => "stderr".to_owned(),
        }),
        line: String::from_utf8_lossy(&line.bytes).into_owned(),
    };
    piece.extend_from_slice(&crate::upstream::to_bytes(&line));
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_logs::{Limits, Writer};
    use http_body_util::BodyExt;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};
    use tokio::sync::Semaphore;

    fn service(dir: &tempfile::TempDir, name: &str, lines: &[(u64, &str)]) -> Service {
        let service = Service { id: ServiceId::new("/p", name), dir: dir.path().join(name) };
        let limits = Limits { max_size: 10_000, keep: 2 };
        let mut writer = Writer::open(&service.dir, limits, 1).unwrap();
        for (second, line) in lines {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(*second);
            writer.write(Stream::Stdout, line.as_bytes(), at).unwrap();
        }
        service
    }

    async fn place() -> OwnedSemaphorePermit {
        Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap()
    }

    #[tokio::test]
    async fn two_logs_are_merged_by_time_and_n_counts_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let a = service(&dir, "a", &[(1, "a1\n"), (3, "a3\n"), (5, "a5\n")]);
        let b = service(&dir, "b", &[(2, "b2\n"), (4, "b4\n")]);
        let all = |last, since| {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
            let extent = Extent { last, since: Some(since) };
            let services = vec![a.clone(), b.clone()];
            async move {
                let bytes =
                    now(services, extent, place().await).collect().await.unwrap().to_bytes();
                let lines = std::str::from_utf8(&bytes).unwrap().lines();
                let line = |line| serde_json::from_str::<LogLine>(line).unwrap().line;
                lines.map(line).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(all(None, 0).await, "a1 b2 a3 b4 a5");
        assert_eq!(all(Some(1), 0).await, "b4 a5");
        assert_eq!(all(None, 4).await, "b4 a5");
        assert_eq!(all(Some(9), 5).await, "a5");
    }
}
