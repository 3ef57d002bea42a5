//! Connecting to a name that may stand for several addresses: one that accepts is enough.
//!
//! Invariant: one that swallows packets keeps no other from being heard: the next is tried as soon as
//! one has refused, or has taken long (RFC 8305, 5). `localhost` is `127.0.0.1` and `::1`, and most
//! services listen on one of them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::aside;
use super::words::short;

/// One that takes longer than this does not keep the next one waiting.
const LONG: Duration = Duration::from_millis(100);

/// The first connection that is accepted. Not bounded in time; dropped, nothing of it is left.
///
/// Errors: in words for people, what each address said where they differ.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = aside::addresses(host).await.map_err(|words| words.to_string())?;
    if let [only] = &*addresses {
        return TcpStream::connect((*only, port)).await.map_err(|error| short(&error));
    }
    let mut left = addresses.iter().map(|address| SocketAddr::new(*address, port));
    let mut tries = JoinSet::new();
    let mut refusals: Vec<(SocketAddr, io::Error)> = Vec::new();
    loop {
        let next = left.next();
        if let Some(address) = next {
            tries.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        // Who comes last is waited for.
        let bound = if next.is_some() { LONG } else { Duration::MAX };
        match timeout(bound, tries.join_next()).await {
            Ok(Some(Ok((_, Ok(stream))))) => return Ok(stream),
            Ok(Some(Ok((address, Err(error))))) => refusals.push((address, error)),
            // It takes long, or it panicked, which is no answer.
            Err(_) | Ok(Some(Err(_))) => {}
            Ok(None) => break,
        }
    }
    refusals.sort_by_key(|(address, _)| *address);
    Err(together(&refusals))
}

fn together(refusals: &[(SocketAddr, io::Error)]) -> String {
    let mut words: Vec<String> = refusals.iter().map(|(_, error)| short(error)).collect();
    words.dedup();
    match &words[..] {
        [] => "it has no address".to_owned(),
        [one] => one.clone(),
        [..] => {
            let each = refusals.iter().map(|(at, error)| format!("{}: {}", at.ip(), short(error)));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_that_accepts_is_enough_whichever_it_is() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(host) else {
                eprintln!("this machine has no {host}");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            assert!(connect("localhost", port).await.is_ok(), "{host}");
            drop(listener);
            let refusal = connect("localhost", port).await.unwrap_err();
            assert!(refusal.contains("connection refused"), "{refusal}");
        }
    }

    #[test]
    fn what_all_say_is_said_once() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let at = |text: &str| text.parse().unwrap();
        let same = [(at("127.0.0.1:1"), refused()), (at("[::1]:1"), refused())];
        assert_eq!(together(&same), "connection refused");
        let other = io::Error::from(io::ErrorKind::TimedOut);
        let differ = [(at("127.0.0.1:1"), refused()), (at("[::1]:1"), other)];
        assert_eq!(together(&differ), "127.0.0.1: connection refused, ::1: timed out");
    }
}
