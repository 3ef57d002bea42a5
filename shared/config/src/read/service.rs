//! One `[services.NAME]` or `[checks.NAME]`, key by key, in the order of the contract.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::env_files::{self, Files};
use super::{Field, Fields, Found, policy, readiness, value};
use crate::invalid::quoted;
use crate::project::{Kind, Lost, Need, Port, Run, Service};
use crate::replace::{self, Part};
use crate::{address, fingerprint, name, place};

const NEEDS: &str = "a list of services: `needs = [\"db\", { service = \"cache\" }]`";
const ENV_VALUE: &str = "a string, an integer, or false, which unsets it";
const PORT: &str = "a port from 1 to 65535, or \"auto\" for one that is free";

/// A service that has not been checked against the others.
pub(crate) struct Draft {
    pub(crate) service: Service,
    pub(crate) name_span: Range<usize>,
    /// Where each of `service.needs` stands.
    pub(crate) need_spans: Vec<Range<usize>>,
    pub(crate) port_span: Option<Range<usize>>,
    /// The ports that its texts name, and where.
    pub(crate) port_refs: Vec<(PortRef, Range<usize>)>,
}

/// A port that a text names.
pub(crate) enum PortRef {
    /// `${port}`
    Own,
    /// `${services.NAME.port}`
    Of(String),
}

/// What stands around a service.
pub(crate) struct Around<'r> {
    pub(crate) root: &'r Path,
    pub(crate) files: Files,
}

impl Draft {
    fn new(field: &Field<'_, '_>, kind: Kind, root: &Path, found: &mut Found) -> Self {
        let name_span = field.key_span.clone();
        found.check(name_span.clone(), name::check(field.key));
        let run = match kind {
            Kind::Service | Kind::Oneshot => Some(Run::List(Vec::new())),
            Kind::Check => None,
        };
        Self {
            service: Service::new(field.key, run, kind, place::plain(root)),
            name_span,
            need_spans: Vec::new(),
            port_span: None,
            port_refs: Vec::new(),
        }
    }

    /// Checks the `${...}` of a text, and keeps which ports it names.
    pub(super) fn text(
        &mut self,
        text: &str,
        kind: replace::Kind,
        span: Range<usize>,
        found: &mut Found,
    ) {
        for part in found.check(span.clone(), replace::parts(text, kind)).into_iter().flatten() {
            let port = match part {
                Part::Port => PortRef::Own,
                Part::PortOf(name) => PortRef::Of(name.to_owned()),
                Part::Text(_) | Part::Variable { .. } => continue,
            };
            self.port_refs.push((port, span.clone()));
        }
    }

    /// The same for a command.
    pub(super) fn command(&mut self, run: &Run, span: Range<usize>, found: &mut Found) {
        let kind = replace::Kind::Command { port: self.port_span.is_some() };
        match run {
            Run::Shell(line) => self.text(line, kind, span, found),
            Run::List(words) => {
                for word in words {
                    self.text(word, kind, span.clone(), found);
                }
            }
        }
    }

    /// The service, with what follows from the rest of it. `fixed`: the ports that the file names.
    pub(crate) fn finish(self, line: usize, fixed: &BTreeMap<String, u16>) -> Service {
        let mut service = self.service;
        service.line = line;
        let own = match service.port {
            Some(Port::Fixed(port)) => Some(port),
            Some(Port::Auto) | None => None,
        };
        let tested = service.ready.iter().filter_map(|test| test.probe.local_port());
        for port in own.into_iter().chain(tested) {
            if !service.ports.contains(&port) {
                service.ports.push(port);
            }
        }
        // It is given the port of another: a new one there is something new to it, too.
        let refs = self.port_refs.iter().filter_map(|(port, _)| match port {
            PortRef::Of(name) => fixed.get_key_value(name),
            PortRef::Own => None,
        });
        service.fingerprint = fingerprint::of(&service, &refs.collect());
        service
    }
}

/// One of `[services]`.
pub(crate) fn service(field: &Field<'_, '_>, around: &mut Around<'_>, found: &mut Found) -> Draft {
    let mut draft = Draft::new(field, Kind::Service, around.root, found);
    if let Some(table) = value::table(field, found) {
        let mut fields = Fields::of(table, " of a service");
        command(&mut fields, &mut draft, around.root, found);
        surroundings(&mut fields, &mut draft, around, found);
        if let Some(field) = fields.get("ready") {
            readiness::read(&field, &mut draft, around.root, found);
        }
        policy::read(&mut fields, &mut draft.service, found);
        fields.finish(found);
    }
    draft
}

/// One of `[checks]`: tests, without anything that runs.
pub(crate) fn check(field: &Field<'_, '_>, around: &Around<'_>, found: &mut Found) -> Draft {
    let mut draft = Draft::new(field, Kind::Check, around.root, found);
    if let Some(table) = value::table(field, found) {
        let mut fields = Fields::of(table, " of a check");
        match fields.get("ready") {
            Some(field) => readiness::read(&field, &mut draft, around.root, found),
            None => {
                let message = format!("{} has no `ready`", quoted(field.key));
                let expected = "a test, such as `ready = { tcp = 5432 }`";
                found.absent(draft.name_span.clone(), message, expected);
            }
        }
        anyone(&mut fields, &mut draft, found);
        if let Some(field) = fields.get("start_timeout") {
            draft.service.start_timeout = value::positive(&field, found);
        }
        fields.finish(found);
    }
    draft
}

/// What is executed, and as what.
fn command(fields: &mut Fields<'_, '_>, draft: &mut Draft, root: &Path, found: &mut Found) {
    let name = draft.service.name.clone();
    let run = fields.get("run");
    if run.is_none() {
        let expected = "`run = [\"cargo\", \"run\"]` or `run = \"cargo run\"`";
        found.absent(draft.name_span.clone(), format!("{} has no `run`", quoted(&name)), expected);
    }
    let run_span = run.as_ref().map_or(0..0, Field::span);
    let run = run.and_then(|field| value::command(&field, found));
    let kinds = [("service", Kind::Service), ("oneshot", Kind::Oneshot)];
    let kind = fields.get("kind").and_then(|field| value::one_of(&field, &kinds, found));
    let run = run.unwrap_or_else(|| Run::List(Vec::new()));
    let kind = kind.unwrap_or(Kind::Service);
    draft.service = Service::new(&name, Some(run.clone()), kind, place::plain(root));
    if let Some(field) = fields.get("port") {
        draft.service.port = port(&field, found);
        draft.port_span = Some(field.span());
    }
    draft.command(&run, run_span, found);
    anyone(fields, draft, found);
}

/// What checks have too.
fn anyone(fields: &mut Fields<'_, '_>, draft: &mut Draft, found: &mut Found) {
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
}

/// Where it runs, with what, and as whom.
fn surroundings(
    fields: &mut Fields<'_, '_>,
    draft: &mut Draft,
    around: &mut Around<'_>,
    found: &mut Found,
) {
    // Without `dir` it is the project's own, which is known to exist.
    if let Some(field) = fields.get("dir") {
        draft.service.dir = directory(&field, around.root, found).unwrap_or_default();
    }
    if let Some(field) = fields.get("env") {
        draft.service.env = environment(&field, draft, found);
    }
    if let Some(field) = fields.get("env_file") {
        let (files, said) = env_files::read(&field, around.root, &mut around.files, found);
        (draft.service.env_files, draft.service.env_file) = (files, said);
    }
    if let Some(field) = fields.get("user") {
        let user = value::string(&field, "the name of a user in quotes", found);
        draft.service.user = user.filter(|user| !user.is_empty()).map(str::to_owned);
    }
}

fn port(field: &Field<'_, '_>, found: &mut Found) -> Option<Port> {
    match field.value.get_ref() {
        DeValue::Integer(number) => {
            let number = value::integer(number).unwrap_or(i128::MAX);
            let port = address::port(number);
            found.check(field.span(), port).map(Port::Fixed)
        }
        DeValue::String(text) if text == "auto" => Some(Port::Auto),
        DeValue::String(text) => {
            found.fault(field.span(), format!("bad port {}", quoted(text)), PORT);
            None
        }
        _ => {
            field.wrong_type(PORT, found);
            None
        }
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
        DeValue::String(name) if name.contains(char::is_control) => {
            let message = format!("`display` holds a control character: {}", quoted(name));
            found.fault(field.span(), message, EXPECTED);
            None
        }
        DeValue::String(name) => Some(name.to_string()),
        _ => {
            field.wrong_type(EXPECTED, found);
            None
        }
    }
}

fn needs(field: &Field<'_, '_>, draft: &mut Draft, found: &mut Found) {
    let mut seen = HashSet::new();
    for element in value::list(field, NEEDS, found).into_iter().flatten() {
        let entry = field.element(element);
        let (service, span, lost) = match element.get_ref() {
            DeValue::String(name) => (name.to_string(), element.span(), Lost::Keep),
            DeValue::Table(table) => match need_table(table, &entry, found) {
                Some(need) => need,
                None => continue,
            },
            _ => {
                entry.wrong_type(NEEDS, found);
                continue;
            }
        };
        if !seen.insert(service.clone()) {
            let message = format!("{} is named twice in `needs`", quoted(&service));
            found.fault(span, message, "each service once");
            continue;
        }
        draft.service.needs.push(Need { service, lost });
        draft.need_spans.push(span);
    }
}

fn need_table(
    table: &DeTable<'_>,
    entry: &Field<'_, '_>,
    found: &mut Found,
) -> Option<(String, Range<usize>, Lost)> {
    let mut fields = Fields::of(table, " of `needs`");
    let service = fields.get("service");
    if service.is_none() {
        found.absent(entry.span(), "an entry of `needs` has no `service`", NEEDS);
    }
    let words = [("keep", Lost::Keep), ("stop", Lost::Stop)];
    let lost = fields.get("lost").and_then(|field| value::one_of(&field, &words, found));
    fields.finish(found);
    let service = service?;
    let name = value::string(&service, NEEDS, found)?.to_owned();
    Some((name, service.span(), lost.unwrap_or(Lost::Keep)))
}

fn directory(field: &Field<'_, '_>, root: &Path, found: &mut Found) -> Option<PathBuf> {
    const EXPECTED: &str = "a directory that exists, relative to the file";
    let text = value::string(field, EXPECTED, found)?;
    let dir = place::plain(&root.join(text));
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

fn environment(
    field: &Field<'_, '_>,
    draft: &mut Draft,
    found: &mut Found,
) -> BTreeMap<String, Option<String>> {
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
        if let Some(text) = &text {
            draft.text(text, replace::Kind::Value, entry.span(), found);
        }
        env.insert(entry.key.to_owned(), text);
    }
    env
}
