//! Connecting to a name that may stand for several addresses: one that accepts is enough.
//!
//! Invariant: all are tried side by side, so that one that swallows packets keeps no other from
//! being heard. `localhost` is `127.0.0.1` and `::1`, and most services listen on one of them.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::aside;
use super::words::short;

/// The first connection that is accepted. Not bounded in time; dropped, nothing of it is left.
///
/// Errors: in words for people, what each address said where they differ.
pub(crate) async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = aside::addresses(host).await.map_err(|words| words.to_string())?;
    if let [only] = &*addresses {
        return TcpStream::connect((*only, port)).await.map_err(|error| short(&error));
    }
    let mut tries = JoinSet::new();
    for address in addresses.iter() {
        let address = SocketAddr::new(*address, port);
        tries.spawn(async move { (address, TcpStream::connect(address).await) });
    }
    let mut refusals: Vec<(SocketAddr, io::Error)> = Vec::new();
    while let Some(tried) = tries.join_next().await {
        match tried {
            Ok((_, Ok(stream))) => return Ok(stream),
            Ok((address, Err(error))) => refusals.push((address, error)),
            // It panicked: no answer of that one.
            Err(_) => {}
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
