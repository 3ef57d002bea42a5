//! The tree of the `toml` crate to the types of `project`. A reader of a value notes a fault and
//! returns nothing, and its caller goes on with the default: the project is thrown away if any
//! fault was noted, so a stand-in never gets out.

mod fields;
mod graph;
mod readiness;
mod service;
mod value;

use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use crate::invalid::Invalid;
use crate::project::Service;
pub(crate) use fields::{Field, Fields};

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

    pub(crate) fn into_faults(self) -> Vec<Raw> {
        self.faults
    }
}

/// The services of a whole file, in its order.
pub(crate) fn project(
    text: &str,
    tree: &DeTable<'_>,
    root: &Path,
    found: &mut Found,
) -> Vec<Service> {
    let mut top = Fields::of(tree, "");
    if let Some(auto) = top.get("auto")
        && value::boolean(&auto, found) == Some(true)
    {
        auto.not_built("`auto = false`; run `hearth up` in the directory", found);
    }
    for (key, instead) in [
        ("checks", "no checks; a test can be the `ready` of a service, or the `run` of a oneshot"),
        ("groups", "no groups; name the services: `hearth up api worker`"),
    ] {
        if let Some(field) = top.get(key)
            && value::table(&field, found).is_some_and(|table| !table.is_empty())
        {
            field.not_built(instead, found);
        }
    }
    let services = top.get("services");
    top.finish(found);
    let Some(table) = services.and_then(|field| value::table(&field, found)) else {
        return Vec::new();
    };
    let drafts = service::all(text, table, root, found);
    graph::check(&drafts, found);
    drafts.into_iter().map(service::Draft::finish).collect()
}
