//! The tree of the `toml` crate to the types of `project`. A reader of a value notes a fault and
//! returns nothing, and its caller goes on with the default: the project is thrown away if any
//! fault was noted, so a stand-in never gets out.

mod env_files;
mod fields;
mod graph;
mod groups;
mod policy;
mod readiness;
mod service;
mod value;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;

use toml::de::DeTable;

use crate::fault::Fault;
use crate::invalid::Invalid;
use crate::merge::Places;
use crate::project::{Port, Project};
pub(crate) use fields::{Field, Fields};
pub(crate) use readiness::TESTS;

/// A fault before its place has been worked out.
pub(crate) struct Raw {
    pub(crate) span: Range<usize>,
    pub(crate) message: String,
    pub(crate) expected: Option<String>,
}

/// The faults found so far.
#[derive(Default)]
pub(crate) struct Found {
    faults: Vec<Raw>,
    elsewhere: Vec<Fault>,
    /// Where those stand.
    places: HashSet<(PathBuf, usize, usize)>,
    partial: bool,
}

impl Found {
    /// From here on the text has holes: what seems to be absent may have stood in one.
    pub(crate) fn partial(&mut self) {
        self.partial = true;
    }

    pub(crate) fn fault(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        self.faults.push(Raw { span, message: message.into(), expected: Some(expected.into()) });
    }

    /// Something is not there that should be.
    pub(crate) fn absent(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        if !self.partial {
            self.fault(span, message, expected);
        }
    }

    /// A fault with nothing to say about what was expected.
    pub(crate) fn bare(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(Raw { span, message: message.into(), expected: None });
    }

    /// The value, or its refusal noted.
    pub(crate) fn check<T>(&mut self, span: Range<usize>, read: Result<T, Invalid>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Invalid { message, expected }) => {
                self.fault(span, message, expected);
                None
            }
        }
    }

    /// How many so far.
    pub(crate) fn count(&self) -> usize {
        self.faults.len()
    }

    /// A fault of another file, told once however many services it concerns.
    pub(crate) fn elsewhere(&mut self, fault: Fault) {
        if self.places.insert((fault.file.clone(), fault.line, fault.column)) {
            self.elsewhere.push(fault);
        }
    }

    /// Those of the text itself, and those of other files.
    pub(crate) fn into_faults(self) -> (Vec<Raw>, Vec<Fault>) {
        (self.faults, self.elsewhere)
    }
}

/// Reads a whole file into `project`, whose `root` and `file` are known.
pub(crate) fn project(
    tree: &DeTable<'_>,
    places: &mut Places<'_>,
    project: &mut Project,
    found: &mut Found,
) {
    let mut top = Fields::of(tree, "");
    if let Some(auto) = top.get("auto") {
        project.auto = value::boolean(&auto, found).unwrap_or_default();
    }
    let mut drafts = Vec::new();
    let mut around = service::Around { root: &project.root, files: env_files::Files::default() };
    for (key, is_check) in [("services", false), ("checks", true)] {
        let Some(table) = top.get(key).and_then(|field| value::table(&field, found)) else {
            continue;
        };
        for (name, value) in table {
            let field = Field { key: name.get_ref(), key_span: name.span(), value };
            drafts.push(match is_check {
                false => service::service(&field, &mut around, found),
                true => service::check(&field, &around, found),
            });
        }
    }
    // In the order of the file, and what only a file that is merged over it has, after that.
    drafts.sort_by_key(|draft| draft.name_span.start);
    graph::check(&drafts, found);
    if let Some(table) = top.get("groups").and_then(|field| value::table(&field, found)) {
        project.groups = groups::read(table, &drafts, found);
    }
    top.finish(found);
    project.sources.extend(around.files.into_paths());
    let fixed = drafts.iter().filter_map(|draft| match draft.service.port {
        Some(Port::Fixed(port)) => Some((draft.service.name.clone(), port)),
        Some(Port::Auto) | None => None,
    });
    let fixed: BTreeMap<String, u16> = fixed.collect();
    for draft in drafts {
        let line = places.line_of(draft.name_span.start);
        project.services.push(draft.finish(line, &fixed));
    }
}
