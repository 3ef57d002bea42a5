//! A service that stands in no file: the one of `hearth run`. It obeys the rules of one that does,
//! by the same readers.

use std::collections::BTreeMap;
use std::path::Path;

use crate::invalid::{Invalid, quoted};
use crate::project::{Kind, Run, Service};
use crate::ready::{Probe, Test};
use crate::{address, fingerprint, name, pattern};

/// When a service without a file is ready; each text as it would stand in `ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LooseReady<'a> {
    /// A port, or `host:port`.
    Tcp(&'a str),
    /// An `http://` URL.
    Http(&'a str),
    /// A regular expression on a line of its output.
    Log(&'a str),
}

/// A service of this name that executes `run` as it is in `dir`, with every default but `enabled`,
/// which is false: no verb without names means it. Nothing in its texts is replaced by
/// [`Service::resolve`].
///
/// Errors: a bad name, an empty command, a NUL, a `dir` that is not absolute or no directory, or a
/// bad text of `ready`.
pub fn loose(
    name: &str,
    run: Vec<String>,
    dir: &Path,
    ready: Option<LooseReady<'_>>,
) -> Result<Service, Invalid> {
    name::check(name)?;
    let run = run.into_iter().map(as_it_is).collect();
    let mut service = Service::new(name, Some(Run::list(run)?), Kind::Service, dir.to_owned());
    if !dir.is_absolute() || !dir.is_dir() {
        let dir = quoted(&dir.to_string_lossy());
        return Err(Invalid::new(format!("bad directory {dir}"), "a directory, absolute"));
    }
    service.enabled = false;
    service.ready.extend(ready.map(probe).transpose()?.map(Test::new));
    service.ports.extend(service.ready.iter().filter_map(|test| test.probe.local_port()));
    service.fingerprint = fingerprint::of(&service, &BTreeMap::new());
    Ok(service)
}

fn probe(ready: LooseReady<'_>) -> Result<Probe, Invalid> {
    match ready {
        LooseReady::Tcp(text) => {
            let (host, port) = address::tcp(text)?;
            Ok(Probe::Tcp { host, port })
        }
        LooseReady::Http(text) => {
            Ok(Probe::Http { url: address::http(text)?, status: Probe::STATUS, body: None })
        }
        LooseReady::Log(text) => pattern::compile(text).map(|_| Probe::Log(text.to_owned())),
    }
}

/// A word of the command line with hearth's own names taken for what they are: letters.
fn as_it_is(word: String) -> String {
    word.replace("${services.", "$${services.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn it_is_as_one_of_a_file_that_says_no_more() {
        let root = Path::new("/");
        let text = "[services.web]\nrun = ['sleep', '1']\nenabled = false\nready = { tcp = 80 }\n";
        let file = crate::parse(text, &root.join("hearth.toml"), root).expect("no fault");
        let mut one = loose("web", run(&["sleep", "1"]), root, Some(LooseReady::Tcp("80")))
            .expect("a service");
        one.line = 1;
        assert_eq!(one, file.services[0]);
    }

    #[test]
    fn what_a_file_may_not_say_is_refused_here_too() {
        let refused = |name: &str, words: &[&str], dir: &str, ready| {
            loose(name, run(words), Path::new(dir), ready).expect_err("refused").message
        };
        let long = "x".repeat(300);
        for name in ["", "A", "a/b", "a b", "é", &long] {
            assert!(refused(name, &["x"], "/", None).starts_with("bad name"), "{name}");
        }
        assert_eq!(refused("a", &[], "/", None), "`run` is empty");
        assert_eq!(refused("a", &[""], "/", None), "`run` is empty");
        assert_eq!(refused("a", &["x", "\0"], "/", None), "`run` holds a NUL");
        assert!(refused("a", &["x"], "usr", None).contains("bad directory `usr`"));
        assert!(refused("a", &["x"], "/no/such", None).contains("bad directory"));
        for (ready, what) in [
            (LooseReady::Tcp("0"), "bad port `0`"),
            (LooseReady::Tcp("host"), "bad address `host`"),
            (LooseReady::Http("https://localhost/"), "https"),
            (LooseReady::Http("localhost"), "bad URL"),
            (LooseReady::Log("("), "bad regex `(`"),
        ] {
            let message = refused("a", &["x"], "/", Some(ready));
            assert!(message.contains(what), "{message}");
        }
    }
}
