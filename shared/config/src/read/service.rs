//! One `[services.NAME]`, key by key, in the order of the contract.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Field, Fields, Found, readiness, value};
use crate::fault::LineCount;
use crate::invalid::quoted;
use crate::project::{Backoff, GiveUp, Kind, Log, Lost, Need, Restart, Run, Scope, Service, Stop};
use crate::{fingerprint, name, signal};

const NEEDS: &str = "a list of services: `needs = [\"db\", { service = \"cache\" }]`";
const ENV_VALUE: &str = "a string, an integer, or false, which unsets it";

/// A service whose `needs` have not been checked against the others.
pub(crate) struct Draft {
    pub(crate) service: Service,
    pub(crate) name_span: Range<usize>,
    /// Where each of `service.needs` stands.
    pub(crate) need_spans: Vec<Range<usize>>,
}

impl Draft {
    /// The service, with what follows from the rest of it.
    pub(crate) fn finish(self) -> Service {
        let mut service = self.service;
        for port in service.ready.iter().filter_map(|test| test.probe.local_port()) {
            if !service.ports.contains(&port) {
                service.ports.push(port);
            }
        }
        service.fingerprint = fingerprint::of(&service);
        service
    }
}

/// All services of the table, in the order of the file.
pub(crate) fn all(text: &str, table: &DeTable<'_>, root: &Path, found: &mut Found) -> Vec<Draft> {
    let mut fields: Vec<Field<'_, '_>> = table
        .iter()
        .map(|(name, value)| Field { key: name.get_ref(), key_span: name.span(), value })
        .collect();
    fields.sort_by_key(|field| field.key_span.start);
    let mut lines = LineCount::of(text);
    let mut drafts = Vec::new();
    for field in fields {
        let mut draft = one(&field, root, found);
        draft.service.line = lines.line_of(field.key_span.start);
        drafts.push(draft);
    }
    drafts
}

fn one(field: &Field<'_, '_>, root: &Path, found: &mut Found) -> Draft {
    let name_span = field.key_span.clone();
    found.check(name_span.clone(), name::check(field.key));
    let mut draft = Draft {
        service: Service::new(
            field.key,
            Some(Run::List(Vec::new())),
            Kind::Service,
            root.to_owned(),
        ),
        name_span,
        need_spans: Vec::new(),
    };
    if let Some(table) = value::table(field, found) {
        let mut fields = Fields::of(table, " of a service");
        command(&mut fields, &mut draft, root, found);
        policy(&mut fields, &mut draft.service, found);
        not_built(&mut fields, found);
        fields.finish(found);
    }
    draft
}

/// What is executed, where, as what, and after whom.
fn command(fields: &mut Fields<'_, '_>, draft: &mut Draft, root: &Path, found: &mut Found) {
    let name = draft.service.name.clone();
    let run = fields.get("run");
    if run.is_none() {
        let expected = "`run = [\"cargo\", \"run\"]` or `run = \"cargo run\"`";
        found.absent(draft.name_span.clone(), format!("{} has no `run`", quoted(&name)), expected);
    }
    let run = run.and_then(|field| value::command(&field, found));
    let kinds = [("service", Kind::Service), ("oneshot", Kind::Oneshot)];
    let kind = fields.get("kind").and_then(|field| value::one_of(&field, &kinds, found));
    let run = run.unwrap_or_else(|| Run::List(Vec::new()));
    draft.service = Service::new(&name, Some(run), kind.unwrap_or(Kind::Service), root.to_owned());
    let service = &mut draft.service;
    if let Some(enabled) = fields.get("enabled") {
        service.enabled = value::boolean(&enabled, found).unwrap_or(true);
    }
    if let Some(field) = fields.get("display") {
        service.display = display(&field, found);
    }
    if let Some(field) = fields.get("needs") {
        needs(&field, draft, found);
    }
    let service = &mut draft.service;
    // Without `dir` it is the project's own, which is known to exist.
    service.dir = match fields.get("dir") {
        Some(field) => directory(&field, root, found).unwrap_or_default(),
        None => plain(root),
    };
    if let Some(field) = fields.get("env") {
        service.env = environment(&field, found);
    }
    if let Some(field) = fields.get("user") {
        let user = value::string(&field, "the name of a user in quotes", found);
        service.user = user.filter(|user| !user.is_empty()).map(str::to_owned);
    }
}

fn display(field: &Field<'_, '_>, found: &mut Found) -> Option<String> {
    const EXPECTED: &str = "a name in quotes, or false, which leaves it out of health";
    match field.value.get_ref() {
        DeValue::Boolean(false) => None,
        DeValue::String(name) if name.trim().is_empty() => {
            found.fault(field.span(), "`display` is empty", EXPECTED);
            None
        }
        DeValue::String(_) => value::string(field, EXPECTED, found).map(str::to_owned),
        _ => {
            field.wrong_type(EXPECTED, found);
            None
        }
    }
}

fn needs(field: &Field<'_, '_>, draft: &mut Draft, found: &mut Found) {
    for element in value::list(field, NEEDS, found).into_iter().flatten() {
        let entry = field.element(element);
        let (service, span) = match element.get_ref() {
            DeValue::String(name) => (name.to_string(), element.span()),
            DeValue::Table(table) => match need_table(table, &entry, found) {
                Some(need) => need,
                None => continue,
            },
            _ => {
                entry.wrong_type(NEEDS, found);
                continue;
            }
        };
        if draft.service.needs.iter().any(|need| need.service == service) {
            let message = format!("{} is named twice in `needs`", quoted(&service));
            found.fault(span, message, "each service once");
            continue;
        }
        draft.service.needs.push(Need { service, lost: Lost::Keep });
        draft.need_spans.push(span);
    }
}

fn need_table(
    table: &DeTable<'_>,
    entry: &Field<'_, '_>,
    found: &mut Found,
) -> Option<(String, Range<usize>)> {
    let mut fields = Fields::of(table, " of `needs`");
    let service = fields.get("service");
    if service.is_none() {
        found.absent(entry.span(), "an entry of `needs` has no `service`", NEEDS);
    }
    if let Some(lost) = fields.get("lost")
        && value::one_of(&lost, &[("keep", false), ("stop", true)], found) == Some(true)
    {
        let message = "`lost = \"stop\"` is not built yet in this version of hearth";
        found.fault(lost.span(), message, "`lost = \"keep\"`, the default");
    }
    fields.finish(found);
    let service = service?;
    Some((value::string(&service, NEEDS, found)?.to_owned(), service.span()))
}

fn directory(field: &Field<'_, '_>, root: &Path, found: &mut Found) -> Option<PathBuf> {
    const EXPECTED: &str = "a directory that exists, relative to the file";
    let text = value::string(field, EXPECTED, found)?;
    let dir = plain(&root.join(text));
    let problem = match dir.metadata() {
        Ok(what) if what.is_dir() => return Some(dir),
        Ok(_) => "it is no directory".to_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "it is missing".to_owned(),
        Err(error) => error.to_string(),
    };
    let home = if text.starts_with('~') { "; `~` is not expanded" } else { "" };
    let message = format!("bad directory {}: {problem}{home}", quoted(text));
    found.fault(field.span(), message, EXPECTED);
    None
}

/// The path without `.` in it. `..` stays: what is before it may be a link.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn environment(field: &Field<'_, '_>, found: &mut Found) -> BTreeMap<String, Option<String>> {
    let mut env = BTreeMap::new();
    for (name, value) in value::table(field, found).into_iter().flatten() {
        let entry = Field { key: name.get_ref(), key_span: name.span(), value };
        if entry.key.is_empty() || entry.key.contains(['=', '\0']) {
            let message = format!("bad name {} of a variable", quoted(entry.key));
            found.fault(name.span(), message, "a name without `=` and NUL");
            continue;
        }
        let text = match value.get_ref() {
            DeValue::Boolean(false) => None,
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::String(_) => match value::string(&entry, ENV_VALUE, found) {
                Some(text) => Some(text.to_owned()),
                None => continue,
            },
            _ => {
                entry.wrong_type(ENV_VALUE, found);
                continue;
            }
        };
        if text.as_ref().is_some_and(|text| text.contains("${")) {
            let message = "`${...}` in `env` is not built yet in this version of hearth";
            let expected = "the value written out; or set in `run`, which as a string is the \
                            shell's: `run = \"A=${B} exec cmd\"`";
            found.fault(entry.span(), message, expected);
        }
        env.insert(entry.key.to_owned(), text);
    }
    env
}

/// Readiness, restarts and the end.
fn policy(fields: &mut Fields<'_, '_>, service: &mut Service, found: &mut Found) {
    if let Some(field) = fields.get("ready") {
        readiness::read(&field, service, found);
    }
    if let Some(field) = fields.get("start_timeout") {
        service.start_timeout = value::positive(&field, found);
    }
    let restarts = [
        ("always", Restart::Always),
        ("on-failure", Restart::OnFailure),
        ("never", Restart::Never),
    ];
    if let Some(field) = fields.get("restart") {
        let restart = value::one_of(&field, &restarts, found);
        service.restart = restart.unwrap_or(service.restart);
    }
    if let Some(field) = fields.get("backoff") {
        backoff(&field, &mut service.backoff, found);
    }
    if let Some(field) = fields.get("give_up") {
        give_up(&field, &mut service.give_up, found);
    }
    if let Some(field) = fields.get("stop") {
        stop(&field, &mut service.stop, found);
    }
    if let Some(field) = fields.get("log") {
        log(&field, &mut service.log, found);
    }
}

fn backoff(field: &Field<'_, '_>, backoff: &mut Backoff, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `backoff`");
    let mut set = |key, to: &mut _, found: &mut Found| {
        *to = fields.get(key).and_then(|field| value::duration(&field, found)).unwrap_or(*to);
    };
    set("min", &mut backoff.min, found);
    set("max", &mut backoff.max, found);
    set("reset_after", &mut backoff.reset_after, found);
    fields.finish(found);
    if backoff.min > backoff.max {
        let format = crate::duration::format;
        let (min, max) = (format(backoff.min), format(backoff.max));
        let message = format!("`min` of `backoff` is {min}, more than `max`, {max}");
        found.fault(field.key_span.clone(), message, "`min` at most `max` (default: 30s)");
    }
}

fn give_up(field: &Field<'_, '_>, give_up: &mut GiveUp, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `give_up`");
    if let Some(field) = fields.get("failures") {
        give_up.failures = value::limit(&field, found).unwrap_or(give_up.failures);
    }
    if let Some(field) = fields.get("within") {
        give_up.within = value::positive(&field, found).unwrap_or(give_up.within);
    }
    fields.finish(found);
}

fn stop(field: &Field<'_, '_>, stop: &mut Stop, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `stop`");
    if let Some(field) = fields.get("signal")
        && let Some(name) = value::string(&field, "the name of a signal: \"SIGTERM\"", found)
        && let Some(signal) = found.check(field.span(), signal::parse(name))
    {
        stop.signal = signal;
    }
    if let Some(field) = fields.get("timeout") {
        stop.timeout = value::duration(&field, found).unwrap_or(stop.timeout);
    }
    let scopes = [("leader", Scope::Leader), ("group", Scope::Group), ("tree", Scope::Tree)];
    if let Some(field) = fields.get("to") {
        stop.to = value::one_of(&field, &scopes, found).unwrap_or(stop.to);
    }
    fields.finish(found);
}

fn log(field: &Field<'_, '_>, log: &mut Log, found: &mut Found) {
    let Some(table) = value::table(field, found) else { return };
    let mut fields = Fields::of(table, " of `log`");
    if let Some(field) = fields.get("max_size") {
        let size = value::size(&field, found).unwrap_or(log.max_size);
        if size < Log::MIN_SIZE {
            found.fault(field.span(), "`max_size` is too small", "a size from `1KB`");
        }
        log.max_size = size;
    }
    if let Some(field) = fields.get("keep") {
        log.keep = value::count(&field, found).unwrap_or(log.keep);
    }
    fields.finish(found);
}

/// Keys of the contract that this version can't do; accepted where they ask for the default.
fn not_built(fields: &mut Fields<'_, '_>, found: &mut Found) {
    let port = "no `port`; set it in `env` (`env = { PORT = \"8080\" }`) and test it with \
                `ready = { tcp = 8080 }`";
    fields.refuse("port", port, found);
    if let Some(field) = fields.get("env_file")
        && value::list(&field, "a list of files", found).is_some_and(|list| !list.is_empty())
    {
        field.not_built("no `env_file`; write the variables into `env`", found);
    }
    if let Some(field) = fields.get("linger")
        && value::duration(&field, found).is_some_and(|linger| linger != Service::LINGER)
    {
        field.not_built("no `linger`, or its default of `10s`", found);
    }
}
