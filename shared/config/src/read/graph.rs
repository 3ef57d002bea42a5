//! What only the whole file can tell: whether the names in `needs` exist, and whether following
//! them ever ends.

use std::collections::HashMap;

use super::Found;
use super::service::Draft;
use crate::invalid::{did_you_mean, quoted};

/// Notes unknown names, services that need themselves, and cycles.
pub(crate) fn check(drafts: &[Draft], found: &mut Found) {
    let places: HashMap<&str, usize> =
        drafts.iter().enumerate().map(|(n, draft)| (draft.service.name.as_str(), n)).collect();
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
        let message = format!("a cycle in `needs`: {} -> {}", names.join(" -> "), names[0]);
        found.fault(span, message, "services that wait for each other would never start");
    }
}

fn unknown(name: &str, span: std::ops::Range<usize>, drafts: &[Draft], found: &mut Found) {
    let names = || drafts.iter().map(|draft| draft.service.name.as_str());
    let message = format!("unknown service {}{}", quoted(name), did_you_mean(name, names()));
    let known: Vec<&str> = names().take(20).collect();
    let more = if drafts.len() > known.len() { ", ..." } else { "" };
    found.absent(span, message, format!("one of {}{more}", known.join(", ")));
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
