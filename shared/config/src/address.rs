//! Where a readiness test connects to: `host:port` and http URLs, split into what a prober needs,
//! so that it parses nothing and can't fail on a text that was accepted.

use crate::invalid::{Invalid, quoted};
use crate::ready::Http;

const PORT: &str = "a port from 1 to 65535";
const HOST_PORT: &str = "a port (`5432`, without quotes) or \"host:port\", such as \
                         \"localhost:5432\" or \"[::1]:5432\"";
const URL: &str = "an http URL, such as \"http://localhost:8080/health\"";

/// A port that can be connected to.
pub(crate) fn port(number: i128) -> Result<u16, Invalid> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(Invalid::new(format!("bad port `{number}`"), PORT)),
    }
}

/// A port of this machine, or `host:port`.
pub(crate) fn tcp(text: &str) -> Result<(String, u16), Invalid> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return host_port(text);
    }
    let number = text.parse().unwrap_or(i128::MAX);
    Ok(("localhost".to_owned(), port(number)?))
}

/// `host:port` or `[v6]:port`; the host without brackets.
pub(crate) fn host_port(text: &str) -> Result<(String, u16), Invalid> {
    let bad = |why: &str| Invalid::new(format!("bad address {}: {why}", quoted(text)), HOST_PORT);
    let (host, number) = text.rsplit_once(':').ok_or_else(|| bad("no `host:`"))?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("the port is no number"));
    }
    let number = number.parse().map_err(|_| bad("the port is too large"))?;
    let port = port(number).map_err(|refusal| bad(&refusal.to_string()))?;
    let host = host_name(host).ok_or_else(|| bad("that is no host"))?;
    Ok((host.to_owned(), port))
}

/// The host without brackets; `None` for what can be no host.
fn host_name(host: &str) -> Option<&str> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return inner.parse::<std::net::Ipv6Addr>().is_ok().then_some(inner);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(plain)).then_some(host)
}

/// An `http://` URL.
pub(crate) fn http(text: &str) -> Result<Http, Invalid> {
    if text.starts_with("https://") {
        return Err(Invalid::new(
            format!("`https` can't be tested: {}", quoted(text)),
            "an `http://` URL, or `exec = \"curl -fsS https://...\"`",
        ));
    }
    let bad = |why: &str| Invalid::new(format!("bad URL {}: {why}", quoted(text)), URL);
    if text.contains('#') {
        return Err(bad("a fragment (`#`) is never sent to a server"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(bad("spaces and non-ASCII must be percent-encoded"));
    }
    let uri: http::Uri = text.parse().map_err(|error| bad(&format!("{error}")))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some(_) => return Err(bad("the scheme is not http")),
        None => return Err(bad("it does not begin with `http://`")),
    }
    let authority = uri.authority().ok_or_else(|| bad("no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("a user in a URL is not sent"));
    }
    let host = host_name(authority.host()).ok_or_else(|| bad("that is no host"))?;
    // `port_u16` is also None for a port that is there and too large.
    let after_host = &authority.as_str()[authority.host().len()..];
    let port = match (authority.port_u16(), after_host.is_empty()) {
        (None, true) => 80,
        (Some(number), _) if number > 0 => number,
        _ => return Err(bad("the port is not from 1 to 65535")),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    // `http://host?query` has an empty path, which is sent as `/` (RFC 9112, 3.2.1).
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Http {
        host: host.to_owned(),
        port,
        path: format!("{slash}{path}"),
        host_header: authority.as_str().to_owned(),
    })
}

/// Whether this name means the machine itself.
pub(crate) fn is_local(host: &str) -> bool {
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        assert_eq!(host_port("localhost:5432"), Ok(("localhost".to_owned(), 5432)));
        assert_eq!(host_port("[::1]:80"), Ok(("::1".to_owned(), 80)));
        for text in
            ["5432", "localhost", ":80", "a:b", "a:0", "a:65536", "[x]:80", "::1:80", "a b:1"]
        {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_are_split() {
        let url = http("http://localhost:8080/health?x=1").expect("a good URL");
        assert_eq!((url.host.as_str(), url.port), ("localhost", 8080));
        assert_eq!(
            (url.path.as_str(), url.host_header.as_str()),
            ("/health?x=1", "localhost:8080")
        );
        let url = http("http://[::1]").expect("a good URL");
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", 80, "/"));
        assert_eq!(http("http://h?x").expect("a good URL").path, "/?x");
        for text in [
            "",
            "/health",
            "localhost:80",
            "ftp://x/",
            "http://",
            "http:///x",
            "http://u@h/",
            "http://h:0/",
            "http://h:99999/",
            "http://h:/",
            "http://h/#x",
            "http://h/a b",
            "http://é/",
        ] {
            assert!(http(text).is_err(), "{text}");
        }
    }
}
