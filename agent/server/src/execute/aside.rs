//! Work that may hang in the kernel or eat a processor, aside of the one thread that serves.
//!
//! Invariant: what hangs costs its own place and nobody's turn. A name server that does not answer
//! holds a thread for half a minute, a dead network file system for ever, and neither can be told to
//! stop; without a bound, the probes that come round every second would take every thread there is.
//! So there are few places of each kind, and who gets none in its time says so as one whose
//! question was not answered.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

/// Names that are looked up at a time.
const LOOKUPS: usize = 32;
/// Paths that are looked at at a time.
const LOOKS: usize = 32;
/// Texts of each kind that are searched at a time: more would only take the processors from the
/// services.
const SEARCHES: usize = 2;

// Of the process, as its threads are.
static LOOKS_LEFT: Semaphore = Semaphore::const_new(LOOKS);
static LINES_LEFT: Semaphore = Semaphore::const_new(SEARCHES);
static BODIES_LEFT: Semaphore = Semaphore::const_new(SEARCHES);
static NAMES: LazyLock<Names> = LazyLock::new(Names::default);

/// Looks at the file system.
pub(crate) async fn look<T: Send + 'static>(
    at: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    run(&LOOKS_LEFT, at).await
}

/// Searches lines of a log.
pub(crate) async fn search_lines<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    run(&LINES_LEFT, what).await
}

/// Searches the body of an answer, which may take far longer than a few lines.
pub(crate) async fn search_body<T: Send + 'static>(
    what: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    run(&BODIES_LEFT, what).await
}

async fn run<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // Kept to the work's end, and not to that of who waits for it.
    let place = places.acquire().await.map_err(io::Error::other)?;
    let done = spawn_blocking(move || {
        let _place = place;
        work()
    });
    done.await.map_err(io::Error::other)
}

type Found = Result<Arc<[IpAddr]>, Arc<str>>;

/// Names that are being looked up: each once, however many ask.
#[derive(Default)]
struct Names {
    under_way: Mutex<HashMap<String, watch::Receiver<Option<Found>>>>,
}

/// What a name stands for, `getaddrinfo(3)`. An address is itself, and `localhost` is this machine
/// whatever a name server says (RFC 6761, 6.3): neither costs a thread.
///
/// Errors: in words for people. Not bounded in time: the caller is to do that.
pub(crate) async fn addresses(host: &str) -> Found {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(Arc::from([address]));
    }
    if host.eq_ignore_ascii_case("localhost") {
        use std::net::{Ipv4Addr, Ipv6Addr};
        return Ok(Arc::from([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
    }
    let mut answer = NAMES.ask(host, resolve);
    let found = answer.wait_for(Option::is_some).await;
    let found = found.ok().and_then(|found| found.clone());
    found.unwrap_or_else(|| Err("its name could not be looked up".into()))
}

impl Names {
    /// A lookup goes on when nobody waits for it any more, and its answer is for who comes next.
    fn ask(
        &'static self,
        host: &str,
        resolve: impl FnOnce(&str) -> Found + Send + 'static,
    ) -> watch::Receiver<Option<Found>> {
        // A std mutex is right: it is held for a look and an insertion, never across an await.
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = under_way.get(host) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        under_way.insert(host.to_owned(), answer.clone());
        let host = host.to_owned();
        tokio::spawn(async move {
            static LOOKUPS_LEFT: Semaphore = Semaphore::const_new(LOOKUPS);
            let name = host.clone();
            let found = run(&LOOKUPS_LEFT, move || resolve(&name)).await;
            let found = found.unwrap_or_else(|error| Err(error.to_string().into()));
            self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
            let _ = tell.send(Some(found));
        });
        answer
    }
}

fn resolve(host: &str) -> Found {
    let found = (host, 0).to_socket_addrs().map_err(|error| {
        // "failed to lookup address information: Name or service not known"
        let words = error.to_string();
        let words = words.rsplit(": ").next().unwrap_or(&words).to_lowercase();
        Arc::from(format!("its name can't be looked up: {words}"))
    })?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn an_address_is_itself_and_localhost_is_both_loopbacks() {
        assert_eq!(addresses("::1").await.unwrap().len(), 1);
        assert_eq!(addresses("LocalHost").await.unwrap().len(), 2);
        let refusal = addresses("no-such-name.invalid").await.unwrap_err();
        assert!(refusal.starts_with("its name can't be looked up"), "{refusal}");
    }

    #[tokio::test]
    async fn a_name_that_hangs_is_asked_once_and_holds_up_no_other() {
        let (go, hung) = mpsc::channel::<()>();
        let hangs = move |_: &str| {
            let _ = hung.recv();
            Ok(Arc::from([]))
        };
        let mut first = NAMES.ask("hangs.invalid", hangs);
        // Whoever comes later, and would find it at once, waits for the same.
        let mut second = NAMES.ask("hangs.invalid", |_| unreachable!("it is under way"));
        assert!(addresses("no-such-name.invalid").await.is_err());
        assert!(first.borrow().is_none() && second.borrow().is_none());
        drop(go);
        assert!(first.wait_for(Option::is_some).await.is_ok());
        assert!(second.wait_for(Option::is_some).await.is_ok());
        // Answered: the next one asks anew.
        let mut third = NAMES.ask("hangs.invalid", |_| Err("gone".into()));
        assert!(third.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().is_err());
    }

    #[tokio::test]
    async fn what_hangs_keeps_its_place_and_no_other() {
        let (go, hung) = mpsc::channel::<()>();
        let hangs = tokio::spawn(look(move || hung.recv().is_ok()));
        assert_eq!(look(|| 7).await.unwrap(), 7);
        // Who waited is gone; what hangs is still there.
        hangs.abort();
        assert!(hangs.await.unwrap_err().is_cancelled());
        assert_eq!(
            tokio::time::timeout(Duration::from_secs(9), look(|| 8)).await.unwrap().unwrap(),
            8
        );
        drop(go);
    }
}
