//! One GET for a readiness test: connect, send, look at the status and, if asked, at the body.

use std::io;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use hearth_config::Http;
use hearth_core::Verdict;

/// So much of a body is looked at.
const BODY: usize = 1 << 20;

/// What the answer must be.
pub(crate) struct Expected<'a> {
    /// First and last status that passes.
    pub(crate) status: (u16, u16),
    /// A pattern to be found in the body.
    pub(crate) body: Option<&'a str>,
}

/// Asks once. The caller bounds it in time; dropped, it closes its connection.
pub(crate) async fn get(url: &Http, expected: &Expected<'_>) -> Verdict {
    match try_get(url, expected).await {
        Ok(verdict) => verdict,
        Err(error) => Verdict::Fail(error.to_string()),
    }
}

async fn try_get(url: &Http, expected: &Expected<'_>) -> io::Result<Verdict> {
    let stream = TcpStream::connect((url.host.as_str(), url.port)).await?;
    let (mut sender, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let exchange = async {
        let request = Request::get(&url.path)
            .header(header::HOST, &url.host_header)
            .header(header::USER_AGENT, concat!("hearth/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(io::Error::other)?;
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        judge(answer, expected).await
    };
    // Both in this task, so that one cancelled probe leaves nothing behind.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        verdict = &mut exchange => verdict,
        ended = connection => match ended {
            // The answer may have been read to its end before the connection ended.
            Ok(()) => exchange.await,
            Err(error) => Err(io::Error::other(error)),
        },
    }
}

async fn judge(answer: Response<Incoming>, expected: &Expected<'_>) -> io::Result<Verdict> {
    let status = answer.status();
    let (first, last) = expected.status;
    if !(first..=last).contains(&status.as_u16()) {
        return Ok(Verdict::Fail(format!("answered {status}, expected {first}-{last}")));
    }
    let Some(pattern) = expected.body else { return Ok(Verdict::Pass(status.to_string())) };
    let pattern = hearth_config::pattern::compile(pattern).map_err(io::Error::other)?;
    let body = match Limited::new(answer.into_body(), BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Ok(Verdict::Fail(format!("answered {status}, its body: {error}"))),
    };
    Ok(match pattern.is_match(&body) {
        true => Verdict::Pass(status.to_string()),
        false => Verdict::Fail(format!("answered {status}, but the body does not match")),
    })
}
