//! `ready`: a table with one test, or a list of such.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::service::Draft;
use super::{Field, Fields, Found, value};
use crate::invalid::{Invalid, quoted};
use crate::project::Kind;
use crate::ready::{Later, LaterKind, Probe, Test};
use crate::{address, replace, resolve};

const READY: &str = "a test, or a list of such: `{ tcp = 5432 }`, `{ unix = \"path\" }`, \
                     `{ http = \"http://...\" }`, `{ exec = \"cmd\" }`, `{ log = \"regex\" }`, \
                     `{ file = \"path\" }`, `{ notify = true }`, `{ delay = \"2s\" }`, \
                     `{ settle = \"500ms\" }`";
const OF_CHECK: &str = "a test that needs no process: `tcp`, `unix`, `http`, `exec`, `file` or \
                        `delay`";
const STATUS: &str = "a status or a range of such, from 100 to 599: \"200-399\"";

/// The keys that name a test; a table has one of them.
pub(crate) const TESTS: [&str; 9] =
    ["tcp", "unix", "http", "exec", "log", "file", "notify", "delay", "settle"];

/// Sets `ready` and `settle` of the service.
pub(crate) fn read(field: &Field<'_, '_>, draft: &mut Draft, root: &Path, found: &mut Found) {
    match draft.service.kind {
        Kind::Oneshot => {
            let message = "`ready` has no meaning for a oneshot";
            let expected = "none: it is ready when it exits with success";
            found.fault(field.key_span.clone(), message, expected);
        }
        Kind::Service | Kind::Check => {}
    }
    match field.value.get_ref() {
        DeValue::Table(table) => one(table, field, true, draft, root, found),
        DeValue::Array(elements) => {
            if elements.is_empty() && draft.service.kind == Kind::Check {
                found.absent(field.span(), "`ready` names no test", READY);
            }
            for element in elements {
                let entry = field.element(element);
                match element.get_ref() {
                    DeValue::Table(table) => {
                        one(table, &entry, elements.len() == 1, draft, root, found);
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
    draft: &mut Draft,
    root: &Path,
    found: &mut Found,
) {
    let mut fields = Fields::of(table, " of `ready`");
    let kinds: Vec<Field<'_, '_>> = TESTS.into_iter().filter_map(|key| fields.get(key)).collect();
    let mut test = Test::new(Probe::Log(String::new()));
    match kinds.as_slice() {
        [] => found.absent(entry.key_span.clone(), "`ready` names no test", READY),
        [kind]
            if draft.service.kind == Kind::Check
                && matches!(kind.key, "log" | "notify" | "settle") =>
        {
            let message = format!("{} has no meaning for a check", quoted(kind.key));
            found.fault(kind.key_span.clone(), message, OF_CHECK);
        }
        [settle] if settle.key == "settle" => {
            let read = value::duration(settle, found);
            draft.service.settle = read.unwrap_or(draft.service.settle);
            lonely_settle(settle, table.len() == 1, alone, found);
        }
        [kind] => {
            test.probe = probe(kind, draft, root, found).unwrap_or(test.probe);
            http_only(kind, &mut fields, &mut test, found);
        }
        [first, second, ..] => {
            let message =
                format!("two tests in one table: {} and {}", quoted(first.key), quoted(second.key));
            let expected =
                "a list, in which all must pass: `ready = [{ tcp = 1 }, { log = \"x\" }]`";
            found.fault(second.key_span.clone(), message, expected);
        }
    }
    modifiers(&mut fields, &mut test, found);
    if matches!(kinds.as_slice(), [kind] if kind.key != "settle") {
        draft.service.ready.push(test);
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

fn probe(kind: &Field<'_, '_>, draft: &mut Draft, root: &Path, found: &mut Found) -> Option<Probe> {
    match kind.key {
        "tcp" => match kind.value.get_ref() {
            DeValue::Integer(number) => {
                let number = value::integer(number).unwrap_or(i128::MAX);
                let port = found.check(kind.span(), address::port(number))?;
                Some(Probe::Tcp { host: "localhost".to_owned(), port })
            }
            DeValue::String(_) => of_text(LaterKind::Tcp, kind, draft, PathBuf::new(), found),
            _ => {
                kind.wrong_type("a port (`5432`) or \"host:port\"", found);
                None
            }
        },
        "http" => of_text(LaterKind::Http, kind, draft, PathBuf::new(), found),
        "unix" => of_text(LaterKind::Unix, kind, draft, root.to_owned(), found),
        "file" => of_text(LaterKind::File, kind, draft, root.to_owned(), found),
        "exec" => {
            let run = value::command(kind, found)?;
            draft.command(&run, kind.span(), found);
            Some(Probe::Exec(run))
        }
        "log" => value::pattern(kind, found).map(Probe::Log),
        "notify" => notify(kind, found),
        _ => value::duration(kind, found).map(Probe::Delay),
    }
}

/// A test whose text may have `${...}` in it: without, it is read now, so that its faults are.
fn of_text(
    kind: LaterKind,
    field: &Field<'_, '_>,
    draft: &mut Draft,
    base: PathBuf,
    found: &mut Found,
) -> Option<Probe> {
    let expected = match kind {
        LaterKind::Tcp => "\"host:port\"",
        LaterKind::Http => "a URL in quotes: \"http://localhost:8080/\"",
        LaterKind::Unix | LaterKind::File => "a path in quotes, relative to the file",
    };
    let text = value::string(field, expected, found)?.to_owned();
    let later = Later { kind, text, base, status: Probe::STATUS, body: None };
    if later.text.contains("${") {
        draft.text(&later.text, replace::Kind::Value, field.span(), found);
        // What can be told without the values is told now.
        if kind == LaterKind::Http && later.text.starts_with("https://") {
            found.check(field.span(), address::http(&later.text));
        }
        return Some(Probe::Later(later));
    }
    found.check(field.span(), resolve::of_text(&later, &later.text))
}

fn notify(kind: &Field<'_, '_>, found: &mut Found) -> Option<Probe> {
    if let DeValue::Boolean(true) = kind.value.get_ref() {
        return Some(Probe::Notify);
    }
    kind.wrong_type("`true`, for a service that says itself when it is ready (sd_notify)", found);
    None
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
    if let Probe::Http { status, body, .. } | Probe::Later(Later { status, body, .. }) =
        &mut test.probe
    {
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
