//! Lines of logs on their way out: what is there now, merged by time, or what comes.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use hearth_api::LogLine;
use hearth_api::time::rfc3339;
use hearth_core::ServiceId;
use hearth_lifecycle::agent::Handle;
use hearth_logs::{Follow, Line, Position, Reader, Stream};
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::warn;

use crate::execute::fd::Followed;

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

/// What is there now: the last `n` lines of each, or all.
pub(crate) fn now(services: Vec<Service>, n: Option<usize>, place: OwnedSemaphorePermit) -> Lines {
    let (sender, pieces) = mpsc::channel(WAITING);
    // A thread: there may be gigabytes, and nobody else shall wait for the disk.
    spawn_blocking(move || {
        if let Err(error) = read(&services, n, &sender) {
            warn!(%error, "cannot read a log");
        }
    });
    Lines { pieces, _place: place }
}

type Source = Box<dyn Iterator<Item = io::Result<Line>>>;

fn read(services: &[Service], n: Option<usize>, sender: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut sources: Vec<(&Service, Source, Option<Line>)> = Vec::new();
    for service in services {
        let reader = Reader::open(&service.dir);
        let mut lines: Source = match n {
            Some(n) => Box::new(reader.last_lines(n)?.into_iter().map(Ok)),
            None => Box::new(reader.lines_from(Position::START)),
        };
        let first = lines.next().transpose()?;
        sources.push((service, lines, first));
    }
    let mut piece = Vec::new();
    // The earliest line goes next; one of an unknown time goes before what is known.
    while let Some((service, lines, head)) = sources
        .iter_mut()
        .filter(|(_, _, head)| head.is_some())
        .min_by_key(|(_, _, head)| head.as_ref().and_then(|line| line.at))
    {
        if let Some(line) = head.take() {
            write(&mut piece, service, &line);
        }
        *head = lines.next().transpose()?;
        if piece.len() >= PIECE && sender.blocking_send(std::mem::take(&mut piece).into()).is_err()
        {
            return Ok(());
        }
    }
    if !piece.is_empty() {
        // Who does not listen any more needs nothing.
        let _ = sender.blocking_send(piece.into());
    }
    Ok(())
}

/// The last `n` lines of each, or all, and then whatever comes, until the reader or the agent goes.
pub(crate) fn follow(
    services: Vec<Service>,
    n: Option<usize>,
    handle: Handle,
    place: OwnedSemaphorePermit,
) -> Lines {
    let (sender, pieces) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let followed = async {
            let mut all = JoinSet::new();
            for (service, log, first) in begin(services, n, &sender).await? {
                all.spawn(relay(service, log, first, sender.clone()));
            }
            while all.join_next().await.is_some() {}
            io::Result::Ok(())
        };
        let ended = tokio::select! {
            ended = followed => ended,
            () = handle.stopping() => Ok(()),
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = ended {
            warn!(%error, "cannot follow a log");
        }
    });
    Lines { pieces, _place: place }
}

type Begun = Vec<(Service, Followed, VecDeque<Line>)>;

/// Watches all of them, and gives out what was asked for of the past, by time.
async fn begin(
    services: Vec<Service>,
    n: Option<usize>,
    sender: &mpsc::Sender<Bytes>,
) -> io::Result<Begun> {
    let mut begun: Begun = Vec::new();
    for service in services {
        let follow = match n {
            Some(n) => Follow::last(&service.dir, n)?,
            None => Follow::new(&service.dir, Position::START)?,
        };
        let mut log = Followed::new(follow)?;
        let first = log.now()?.into();
        begun.push((service, log, first));
    }
    let mut piece = Vec::new();
    // As far as it is in memory; what comes later of each comes in its own order.
    while let Some((service, _, lines)) = begun
        .iter_mut()
        .filter(|(_, _, lines)| !lines.is_empty())
        .min_by_key(|(_, _, lines)| lines.front().and_then(|line| line.at))
    {
        if let Some(line) = lines.pop_front() {
            write(&mut piece, service, &line);
        }
    }
    if !piece.is_empty() {
        let _ = sender.send(piece.into()).await;
    }
    Ok(begun)
}

async fn relay(
    service: Service,
    mut log: Followed,
    mut lines: VecDeque<Line>,
    sender: mpsc::Sender<Bytes>,
) {
    loop {
        let mut piece = Vec::new();
        for line in lines.drain(..) {
            write(&mut piece, &service, &line);
        }
        if !piece.is_empty() && sender.send(piece.into()).await.is_err() {
            return;
        }
        match log.lines().await {
            Ok(more) => lines.extend(more),
            Err(error) => {
                warn!(service = %service.id.name, %error, "cannot follow a log");
                return;
            }
        }
    }
}

fn write(piece: &mut Vec<u8>, service: &Service, line: &Line) {
    let line = LogLine {
        at: line.at.map(rfc3339),
        project: Some(service.id.project.to_string()),
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
        let all = |n| {
            let services = vec![a.clone(), b.clone()];
            async move {
                let bytes = now(services, n, place().await).collect().await.unwrap().to_bytes();
                let lines = std::str::from_utf8(&bytes).unwrap().lines();
                let line = |line| serde_json::from_str::<LogLine>(line).unwrap().line;
                lines.map(line).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(all(None).await, "a1 b2 a3 b4 a5");
        assert_eq!(all(Some(1)).await, "b4 a5");
    }
}
