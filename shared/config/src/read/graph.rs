//! What only the whole file can tell: whether the names in `needs` and in `${services...}` exist,
//! whether following the needs ever ends, and whether two want the same name or port.

use std::collections::HashMap;

use super::Found;
use super::service::{Draft, PortRef};
use crate::invalid::{did_you_mean, quoted};
use crate::name::is_name;
use crate::project::{Kind, Port, Service};

/// Notes unknown names, services that need themselves, cycles, and what two can't share.
pub(crate) fn check(drafts: &[Draft], found: &mut Found) {
    let places: HashMap<&str, usize> =
        drafts.iter().enumerate().map(|(n, draft)| (draft.service.name.as_str(), n)).collect();
    needs(drafts, &places, found);
    same_name(drafts, found);
    same_port(drafts, found);
    for draft in drafts {
        for (port, span) in &draft.port_refs {
            let name = match port {
                PortRef::Own => &draft.service.name,
                PortRef::Of(name) => name,
            };
            match places.get(name.as_str()) {
                Some(other) => no_port(port, &drafts[*other].service, span.clone(), found),
                None => unknown(name, span.clone(), drafts, found),
            }
        }
    }
}

/// What a draft is, with its article.
pub(super) fn noun(draft: &Draft) -> &'static str {
    match draft.service.kind {
        Kind::Service | Kind::Oneshot => "a service",
        Kind::Check => "a check",
    }
}

/// A table has each name once, but `services` and `checks` are two.
fn same_name(drafts: &[Draft], found: &mut Found) {
    let mut first: HashMap<&str, &Draft> = HashMap::new();
    for draft in drafts {
        let name = draft.service.name.as_str();
        if let Some(other) = first.insert(name, draft) {
            let message = format!("{} is {} already", quoted(name), noun(other));
            let expected = "a name that no service, check or group has";
            found.fault(draft.name_span.clone(), message, expected);
        }
    }
}

fn same_port(drafts: &[Draft], found: &mut Found) {
    let mut first: HashMap<u16, &str> = HashMap::new();
    for draft in drafts {
        let (Some(Port::Fixed(port)), Some(span)) = (draft.service.port, &draft.port_span) else {
            continue;
        };
        let name = draft.service.name.as_str();
        if let Some(other) = first.insert(port, name) {
            let (other, name) = (quoted(other), quoted(name));
            let message = format!("{other} and {name} are both on port {port}");
            found.fault(span.clone(), message, "a port of its own, or \"auto\"");
        }
    }
}

/// `${port}` or `${services.NAME.port}` of a service that has none.
fn no_port(port: &PortRef, of: &Service, span: std::ops::Range<usize>, found: &mut Found) {
    if of.port.is_some() {
        return;
    }
    let (name, text) = match port {
        PortRef::Own => (&of.name, "${port}".to_owned()),
        PortRef::Of(name) => (name, format!("${{services.{name}.port}}")),
    };
    let message = format!("{} but {} has no `port`", quoted(&text), quoted(name));
    let expected = match of.kind {
        Kind::Service | Kind::Oneshot => format!("`port = 8080` or `port = \"auto\"` of {name}"),
        Kind::Check => "the port of a service: `${services.NAME.port}`".to_owned(),
    };
    found.absent(span, message, expected);
}

fn needs(drafts: &[Draft], places: &HashMap<&str, usize>, found: &mut Found) {
    let mut edges: Vec<Vec<Edge>> = Vec::new();
    for (n, draft) in drafts.iter().enumerate() {
        let mut own = Vec::new();
        for (need, span) in draft.service.needs.iter().zip(&draft.need_spans) {
            match places.get(need.service.as_str()) {
                None => unknown(&need.service, span.clone(), drafts, found),
                Some(to) if *to == n => {
                    let message = format!("{} needs itself", quoted(&need.service));
                    found.fault(span.clone(), message, "another service");
                }
                Some(to) => own.push(Edge { to: *to, span: span.clone() }),
            }
        }
        edges.push(own);
    }
    for Cycle { nodes, span } in cycles(&edges) {
        let names: Vec<&str> = nodes.iter().map(|n| drafts[*n].service.name.as_str()).collect();
        let message = format!("a cycle in `needs`: {} -> {}", in_short(&names), names[0]);
        found.fault(span, message, "services that wait for each other would never start");
    }
}

/// A cycle of ten thousand is no sentence: its beginning and its end, between which the rest is
/// counted.
fn in_short(names: &[&str]) -> String {
    const ENDS: usize = 10;
    match names.len().checked_sub(2 * ENDS) {
        None | Some(0) => names.join(" -> "),
        Some(more) => {
            let (first, last) = (&names[..ENDS], &names[names.len() - ENDS..]);
            format!("{} -> ... {more} more ... -> {}", first.join(" -> "), last.join(" -> "))
        }
    }
}

pub(super) fn unknown(
    name: &str,
    span: std::ops::Range<usize>,
    drafts: &[Draft],
    found: &mut Found,
) {
    let names = || drafts.iter().map(|draft| draft.service.name.as_str());
    // A guess looks at every name: a file with ten thousand faults has to be answered too.
    const GUESSES: usize = 20;
    let guess = if found.count() < GUESSES { did_you_mean(name, names()) } else { String::new() };
    let message = format!("unknown service {}{guess}", quoted(name));
    // A bad name is told elsewhere, and must not steer a terminal from here.
    let mut good = names().filter(|name| is_name(name));
    let known: Vec<&str> = good.by_ref().take(20).collect();
    let more = if good.next().is_some() { ", ..." } else { "" };
    let expected = match known.as_slice() {
        [] => "a service of this file; it has none".to_owned(),
        known => format!("one of {}{more}", known.join(", ")),
    };
    found.absent(span, message, expected);
}

struct Edge {
    to: usize,
    span: std::ops::Range<usize>,
}

struct Cycle {
    nodes: Vec<usize>,
    /// Of the need that closes it.
    span: std::ops::Range<usize>,
}

/// Depth first, in the order of the file, with a path of its own instead of the stack, which a
/// long chain would overflow. Each need that leads back into the path closes one cycle.
fn cycles(edges: &[Vec<Edge>]) -> Vec<Cycle> {
    let mut found = Vec::new();
    let mut seen = vec![false; edges.len()];
    // Where a node stands in `path`.
    let mut at: Vec<Option<usize>> = vec![None; edges.len()];
    for start in 0..edges.len() {
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut enter = (!seen[start]).then_some(start);
        loop {
            if let Some(node) = enter.take() {
                seen[node] = true;
                at[node] = Some(path.len());
                path.push((node, 0));
            }
            let Some((node, next)) = path.last_mut() else { break };
            let Some(edge) = edges[*node].get(*next) else {
                at[*node] = None;
                path.pop();
                continue;
            };
            *next += 1;
            match at[edge.to] {
                Some(from) => found.push(Cycle {
                    nodes: path[from..].iter().map(|(node, _)| *node).collect(),
                    span: edge.span.clone(),
                }),
                None => enter = (!seen[edge.to]).then_some(edge.to),
            }
        }
    }
    found
}
