//! `${...}`: what it may say, and what is put in its place.
//!
//! Invariant: a text is taken apart once, before anything is put in, so nothing that was put in is
//! looked at again, whatever it holds. The file is checked by the same reader that replaces later:
//! a text that was accepted can only fail for want of a value.

use std::collections::BTreeMap;

use crate::invalid::{Invalid, did_you_mean, quoted};
use crate::name;
use crate::resolve::Values;

const EXPECTED: &str = "`${port}`, `${services.NAME.port}`, `${VAR}` or `${VAR:-default}`; `$${` \
                        is a `${` that stays";
const OF_SERVICES: &str = "`${services.NAME.port}`";

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part<'t> {
    Text(&'t str),
    /// `${port}`
    Port,
    /// `${services.NAME.port}`
    PortOf(&'t str),
    /// `${VAR}`, `${VAR:-default}`
    Variable {
        name: &'t str,
        default: Option<&'t str>,
    },
}

/// Whose `${...}` a text may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All are hearth's: `env`, and addresses of tests.
    Value,
    /// Only ports are, `${port}` where the service has one: the rest is the shell's.
    Command { port: bool },
}

impl Kind {
    /// Whether hearth reads the `${` at the start of `text`.
    fn reads(self, text: &str) -> bool {
        match self {
            Self::Value => text.starts_with("${"),
            Self::Command { port } => {
                (port && text.starts_with("${port}")) || text.starts_with("${services.")
            }
        }
    }
}

/// Takes a text apart. Errors: a `${` without end, or with something in it that means nothing.
pub(crate) fn parts(text: &str, kind: Kind) -> Result<Vec<Part<'_>>, Invalid> {
    let mut parts = Vec::new();
    let (mut from, mut at) = (0, 0);
    while let Some(dollar) = text[at..].find('$').map(|n| at + n) {
        let rest = &text[dollar..];
        if rest.starts_with('$') && kind.reads(&rest[1..]) {
            parts.push(Part::Text(&text[from..dollar]));
            // The second `$` begins the text that stays.
            from = dollar + 1;
            at = dollar + "$${".len();
        } else if kind.reads(rest) {
            let Some(end) = rest.find('}') else {
                let message = format!("`${{` without `}}` in {}", quoted(text));
                return Err(Invalid::new(message, EXPECTED));
            };
            parts.push(Part::Text(&text[from..dollar]));
            parts.push(named(&rest[..=end])?);
            at = dollar + end + 1;
            from = at;
        } else {
            at = dollar + 1;
        }
    }
    parts.push(Part::Text(&text[from..]));
    parts.retain(|part| *part != Part::Text(""));
    Ok(parts)
}

/// What `${...}` names.
fn named(whole: &str) -> Result<Part<'_>, Invalid> {
    let inner = &whole["${".len()..whole.len() - 1];
    let bad = |why: &str| Invalid::new(format!("bad {}: {why}", quoted(whole)), EXPECTED);
    if inner == "port" {
        return Ok(Part::Port);
    }
    if let Some(rest) = inner.strip_prefix("services.") {
        return match rest.rsplit_once('.') {
            Some((service, "port")) if name::is_name(service) => Ok(Part::PortOf(service)),
            Some((_, key)) if key != "port" => {
                let message = format!("bad {}: a service has no {}", quoted(whole), quoted(key));
                Err(Invalid::new(message, OF_SERVICES))
            }
            _ => Err(Invalid::new(format!("bad {}", quoted(whole)), OF_SERVICES)),
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() {
        return Err(bad("no name"));
    }
    if name == "port" {
        return Err(bad("`port` takes no default"));
    }
    if !name.bytes().all(word) || name.as_bytes()[0].is_ascii_digit() {
        return Err(bad("that is no name of a variable"));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(bad("a default is plain text"));
    }
    Ok(Part::Variable { name, default })
}

/// Where values come from, for one service.
pub(crate) struct Sources<'a> {
    pub(crate) service: &'a str,
    pub(crate) port: Option<u16>,
    pub(crate) values: &'a Values<'a>,
    pub(crate) env_file: &'a BTreeMap<String, String>,
}

impl Sources<'_> {
    /// The text with every value put in. Errors: the name that has none, and what to do.
    pub(crate) fn replace(&self, text: &str, kind: Kind) -> Result<String, Invalid> {
        if !text.contains("${") {
            return Ok(text.to_owned());
        }
        let mut out = String::with_capacity(text.len());
        for part in parts(text, kind)? {
            match part {
                Part::Text(text) => out += text,
                Part::Port => out += &self.port_of(self.service)?.to_string(),
                Part::PortOf(service) => out += &self.port_of(service)?.to_string(),
                Part::Variable { name, default } => out += self.variable(name, default)?,
            }
        }
        if out.contains('\0') {
            let message = format!("{} holds a NUL with its values put in", quoted(text));
            return Err(Invalid::new(message, "values without NUL"));
        }
        Ok(out)
    }

    fn port_of(&self, service: &str) -> Result<u16, Invalid> {
        let own = if service == self.service { self.port } else { None };
        own.or_else(|| self.values.ports.get(service).copied()).ok_or_else(|| {
            let known = self.values.ports.keys().map(String::as_str);
            let guess = did_you_mean(service, known);
            Invalid::new(
                format!("no port of {} is known{guess}", quoted(service)),
                format!("`port` in `[services.{service}]`"),
            )
        })
    }

    fn variable<'v>(&'v self, name: &str, default: Option<&'v str>) -> Result<&'v str, Invalid> {
        let set = self.values.captured.get(name).or_else(|| self.env_file.get(name));
        match (set, default) {
            (Some(value), _) if !value.is_empty() => Ok(value),
            // As sh does: with `:-`, what is empty counts as unset.
            (_, Some(default)) => Ok(default),
            (Some(empty), None) => Ok(empty),
            (None, None) => Err(Invalid::new(
                format!("{} is not set", quoted(&format!("${{{name}}}"))),
                format!(
                    "{name} in the environment from which it is brought up, or in an `env_file`; \
                     or a default: `${{{name}:-...}}`"
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart() {
        let value = |text| parts(text, Kind::Value).expect(text);
        assert_eq!(value("plain $5 $ $$ } {"), [Part::Text("plain $5 $ $$ } {")]);
        assert_eq!(
            value("a${port}b${services.db.port}${X}"),
            [
                Part::Text("a"),
                Part::Port,
                Part::Text("b"),
                Part::PortOf("db"),
                Part::Variable { name: "X", default: None }
            ]
        );
        let default = |text| Part::Variable { name: "X", default: Some(text) };
        assert_eq!(value("${X:-}"), [default("")]);
        assert_eq!(value("${X:-a:-$b}"), [default("a:-$b")]);
        assert_eq!(value("$${X}"), [Part::Text("${X}")]);
        assert_eq!(value("a$$${port}"), [Part::Text("a$"), Part::Text("${port}")]);
        assert_eq!(value("$${${port}"), [Part::Text("${"), Part::Port]);
    }

    #[test]
    fn a_command_keeps_what_is_the_shells() {
        let command = |text, port| parts(text, Kind::Command { port }).expect(text);
        assert_eq!(command("${X ${port:-1} $${X}", true), [Part::Text("${X ${port:-1} $${X}")]);
        assert_eq!(command("${port}", false), [Part::Text("${port}")]);
        assert_eq!(command("${port}", true), [Part::Port]);
        assert_eq!(command("$${port}", true), [Part::Text("${port}")]);
        assert_eq!(command("$${port}", false), [Part::Text("$${port}")]);
        assert_eq!(command("${services.a.port}", false), [Part::PortOf("a")]);
        let refused = parts("${services.a.prot}", Kind::Command { port: false });
        assert!(refused.expect_err("no such key").message.contains("a service has no `prot`"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (text, why) in [
            ("${", "without `}`"),
            ("a ${X", "without `}`"),
            ("${}", "no name"),
            ("${:-x}", "no name"),
            ("${port:-1}", "`port` takes no default"),
            ("${a b}", "no name of a variable"),
            ("${1}", "no name of a variable"),
            ("${X:=1}", "no name of a variable"),
            ("${X-1}", "no name of a variable"),
            ("${é}", "no name of a variable"),
            ("${X:-${Y}}", "a default is plain text"),
            ("${services.}", "bad `${services.}`"),
            ("${services.A.port}", "bad `${services.A.port}`"),
            ("${services.port}", "bad `${services.port}`"),
            ("${services.a.pid}", "a service has no `pid`"),
        ] {
            let refusal = parts(text, Kind::Value).expect_err(text);
            assert!(refusal.message.contains(why), "{text}: {refusal}");
        }
    }
}
