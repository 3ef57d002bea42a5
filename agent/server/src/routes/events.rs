//! `GET /v1/events[?project=]`: a snapshot and then everything that happens, as server-sent events.
//!
//! Who comes back says by `Last-Event-ID` what it has had; a value that is not understood can only
//! mean that it has had something, so it gets `resync` and a snapshot.

use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use hearth_api::event::ResyncReason;

use super::{Routes, query, stream_place};
use crate::command::Command;
use crate::events::{Begin, Stream, Subscribe};
use crate::refuse::Refusal;

const LAST: &str = "last-event-id";

pub(super) async fn answer(
    State(routes): State<Routes>,
    RawQuery(text): RawQuery,
    headers: HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let project = query::project_only(text.as_deref())?;
    let begin = begin(headers.get(LAST), routes.events.instance());
    let place = stream_place(&routes.handle).await?;
    let ask = Subscribe { project: project.clone(), begin };
    let first = routes.port.ask(|reply| Command::Subscribe(ask, reply)).await?;
    let stream = Stream::new(routes.events, routes.port, project, first, place);
    let mut reply = Response::new(Body::new(stream));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// An empty value is none (the HTML standard, 9.2.4).
fn begin(last: Option<&HeaderValue>, instance: &str) -> Begin {
    let Some(last) = last.filter(|last| !last.is_empty()) else { return Begin::Now };
    let Some((whose, number)) = last.to_str().ok().and_then(|last| last.rsplit_once(':')) else {
        return Begin::Anew(ResyncReason::Unknown);
    };
    // Not what `parse` takes besides: `+1`.
    let number = number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok());
    match number.flatten() {
        None => Begin::Anew(ResyncReason::Unknown),
        Some(_) if whose != instance => Begin::Anew(ResyncReason::OtherAgent),
        Some(number) => Begin::After(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_here_goes_on_behind_what_it_had() {
        let begin = |text: &str| begin(Some(&HeaderValue::from_str(text).unwrap()), "abc");
        assert_eq!(begin("abc:7"), Begin::After(7));
        assert_eq!(begin("abc:0"), Begin::After(0));
        assert_eq!(begin(""), Begin::Now);
        assert_eq!(begin("xyz:7"), Begin::Anew(ResyncReason::OtherAgent));
        for damaged in
            ["abc", "abc:", "abc:-1", "abc:+1", "abc:7x", ":", "abc:99999999999999999999"]
        {
            assert_eq!(begin(damaged), Begin::Anew(ResyncReason::Unknown), "{damaged}");
        }
        assert_eq!(super::begin(None, "abc"), Begin::Now);
        let bytes = HeaderValue::from_bytes(b"abc:\xff").unwrap();
        assert_eq!(super::begin(Some(&bytes), "abc"), Begin::Anew(ResyncReason::Unknown));
    }
}
