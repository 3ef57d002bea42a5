//! `ready`: a table with one test, or a list of such.

use toml::de::{DeTable, DeValue};

use super::{Field, Fields, Found, value};
use crate::address;
use crate::invalid::{Invalid, quoted};
use crate::project::{Kind, Service};
use crate::ready::{Http, Probe, Test};

const READY: &str = "a test, or a list of such: `{ tcp = 5432 }`, `{ http = \"http://...\" }`, \
                     `{ exec = \"cmd\" }`, `{ log = \"regex\" }`, `{ notify = true }`, \
                     `{ delay = \"2s\" }`, `{ settle = \"500ms\" }`";
const STATUS: &str = "a status or a range of such, from 100 to 599: \"200-399\"";

/// Sets `ready` and `settle` of the service.
pub(crate) fn read(field: &Field<'_, '_>, service: &mut Service, found: &mut Found) {
    if service.kind == Kind::Oneshot {
        let message = "`ready` has no meaning for a oneshot";
        found.fault(
            field.key_span.clone(),
            message,
            "none: it is ready when it exits with success",
        );
    }
    match field.value.get_ref() {
        DeValue::Table(table) => one(table, field, true, service, found),
        DeValue::Array(elements) => {
            for element in elements {
                let entry = field.element(element);
                match element.get_ref() {
                    DeValue::Table(table) => {
                        one(table, &entry, elements.len() == 1, service, found);
                    }
                    _ => entry.wrong_type(READY, found),
                }
            }
        }
        _ => field.wrong_type(READY, found),
    }
}

/// One table. `alone`: there is no other.
fn one(
    table: &DeTable<'_>,
    entry: &Field<'_, '_>,
    alone: bool,
    service: &mut Service,
    found: &mut Found,
) {
    let mut fields = Fields::of(table, " of `ready`");
    let kinds = ["tcp", "http", "exec", "log", "notify", "delay", "settle"];
    let kinds: Vec<Field<'_, '_>> = kinds.into_iter().filter_map(|key| fields.get(key)).collect();
    let refused = not_built(&mut fields, table, found);
    match kinds.as_slice() {
        [] if refused => modifiers(&mut fields, &mut Test::new(Probe::Log(String::new())), found),
        [] => {
            found.absent(entry.key_span.clone(), "`ready` names no test", READY);
            modifiers(&mut fields, &mut Test::new(Probe::Log(String::new())), found);
        }
        [settle] if settle.key == "settle" => {
            let read = value::duration(settle, found);
            service.settle = read.unwrap_or(service.settle);
            lonely_settle(settle, table.len() == 1, alone, found);
            modifiers(&mut fields, &mut Test::new(Probe::Log(String::new())), found);
        }
        [kind] => {
            let probe = probe(kind, found);
            let known = probe.unwrap_or_else(|| Probe::Log(String::new()));
            let mut test = Test::new(known);
            http_only(kind, &mut fields, &mut test, found);
            modifiers(&mut fields, &mut test, found);
            service.ready.push(test);
        }
        [first, second, ..] => {
            let message =
                format!("two tests in one table: {} and {}", quoted(first.key), quoted(second.key));
            let expected =
                "a list, in which all must pass: `ready = [{ tcp = 1 }, { log = \"x\" }]`";
            found.fault(second.key_span.clone(), message, expected);
            modifiers(&mut fields, &mut Test::new(Probe::Log(String::new())), found);
        }
    }
    // Asked for here too, so that they are known beside every kind; `http_only` has judged them.
    let _ = (fields.get("status"), fields.get("body"));
    fields.finish(found);
}

/// `settle` is what holds where there is no test, so nothing can stand beside it.
fn lonely_settle(settle: &Field<'_, '_>, bare: bool, alone: bool, found: &mut Found) {
    if !alone {
        let message = "`settle` beside a test: it is for a service that has none";
        found.fault(settle.key_span.clone(), message, "`delay`, which is a test, or no `settle`");
    } else if !bare {
        let message = "`settle` takes nothing beside it";
        found.fault(settle.key_span.clone(), message, "`ready = { settle = \"500ms\" }`");
    }
}

/// Notes the kinds that are not built; whether there was one.
fn not_built(fields: &mut Fields<'_, '_>, table: &DeTable<'_>, found: &mut Found) -> bool {
    let instead = [
        ("unix", "another test, such as `exec = \"test -S path\"`"),
        ("file", "another test, such as `exec = \"test -e path\"`"),
    ];
    for (key, instead) in instead {
        fields.refuse(key, instead, found);
    }
    instead.iter().any(|(key, _)| table.contains_key(*key))
}

fn probe(kind: &Field<'_, '_>, found: &mut Found) -> Option<Probe> {
    if names_hearth(kind) {
        let message = format!(
            "`${{...}}` in {} is not built yet in this version of hearth",
            quoted(kind.key)
        );
        found.fault(kind.span(), message, "the value written out");
        return None;
    }
    match kind.key {
        "tcp" => tcp(kind, found),
        "http" => {
            http(kind, found).map(|url| Probe::Http { url, status: Probe::STATUS, body: None })
        }
        "exec" => value::command(kind, found).map(Probe::Exec),
        "log" => value::pattern(kind, found).map(Probe::Log),
        "notify" => notify(kind, found),
        _ => value::duration(kind, found).map(Probe::Delay),
    }
}

/// Whether it holds a `${...}` that hearth is to replace one day. In a command only hearth's own
/// names count: `${HOME}` there is the shell's. In a pattern it may be anything.
fn names_hearth(kind: &Field<'_, '_>) -> bool {
    let own = |text: &str| text.contains("${port}") || text.contains("${services.");
    match (kind.key, kind.value.get_ref()) {
        ("tcp" | "http", DeValue::String(text)) => text.contains("${"),
        ("exec", DeValue::String(text)) => own(text),
        ("exec", DeValue::Array(words)) => {
            words.iter().any(|word| word.get_ref().as_str().is_some_and(own))
        }
        _ => false,
    }
}

fn notify(kind: &Field<'_, '_>, found: &mut Found) -> Option<Probe> {
    if let DeValue::Boolean(true) = kind.value.get_ref() {
        return Some(Probe::Notify);
    }
    kind.wrong_type("`true`, for a service that says itself when it is ready (sd_notify)", found);
    None
}

fn tcp(kind: &Field<'_, '_>, found: &mut Found) -> Option<Probe> {
    let (host, port) = match kind.value.get_ref() {
        DeValue::Integer(number) => {
            let number = value::integer(number).unwrap_or(i128::MAX);
            ("localhost".to_owned(), found.check(kind.span(), address::port(number))?)
        }
        DeValue::String(text) => found.check(kind.span(), address::host_port(text))?,
        _ => {
            kind.wrong_type("a port (`5432`) or \"host:port\"", found);
            return None;
        }
    };
    Some(Probe::Tcp { host, port })
}

fn http(kind: &Field<'_, '_>, found: &mut Found) -> Option<Http> {
    let text = value::string(kind, "a URL in quotes: \"http://localhost:8080/\"", found)?;
    found.check(kind.span(), address::http(text))
}

/// `status` and `body`, which only an answer has.
fn http_only(
    kind: &Field<'_, '_>,
    fields: &mut Fields<'_, '_>,
    test: &mut Test,
    found: &mut Found,
) {
    let (status_field, body_field) = (fields.get("status"), fields.get("body"));
    if kind.key != "http" {
        for field in [status_field, body_field].into_iter().flatten() {
            let message = format!("{} has no meaning for {}", quoted(field.key), quoted(kind.key));
            found.fault(field.key_span.clone(), message, "it stands beside `http` alone");
        }
        return;
    }
    let range = status_field.and_then(|field| status_range(&field, found));
    let pattern = body_field.and_then(|field| value::pattern(&field, found));
    if let Probe::Http { status, body, .. } = &mut test.probe {
        *status = range.unwrap_or(*status);
        *body = pattern;
    }
}

fn status_range(field: &Field<'_, '_>, found: &mut Found) -> Option<(u16, u16)> {
    let text = match field.value.get_ref() {
        DeValue::Integer(number) => number.to_string(),
        _ => value::string(field, STATUS, found)?.to_owned(),
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|status| digits && (100..=599).contains(status))
    };
    let range = match (status(first), status(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(Invalid::new(format!("bad status {}", quoted(&text)), STATUS)),
    };
    found.check(field.span(), range)
}

/// What every kind of test takes.
fn modifiers(fields: &mut Fields<'_, '_>, test: &mut Test, found: &mut Found) {
    if let Some(field) = fields.get("every") {
        test.every = value::positive(&field, found).unwrap_or(test.every);
    }
    if let Some(field) = fields.get("then_every") {
        test.then_every = value::positive(&field, found).unwrap_or(test.then_every);
    }
    if let Some(field) = fields.get("timeout") {
        test.timeout = value::positive(&field, found).unwrap_or(test.timeout);
    }
    if let Some(field) = fields.get("grace") {
        test.grace = value::duration(&field, found).unwrap_or(test.grace);
    }
    if let Some(field) = fields.get("failures") {
        test.failures = value::count(&field, found).unwrap_or(test.failures);
    }
    if let Some(field) = fields.get("ok") {
        test.ok = value::string(&field, "a message in quotes", found).map(str::to_owned);
    }
    if let Some(field) = fields.get("failing") {
        test.failing = value::string(&field, "a message in quotes", found).map(str::to_owned);
    }
}
