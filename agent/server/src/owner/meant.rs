//! What a request is about: its names, and what the file says of them.
//!
//! Kept true here: no names mean all that are enabled, and a name that is neither a service nor a
//! group is refused, never passed over.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use hearth_config::Project;
use hearth_core::ServiceId;

use crate::convert;
use crate::refuse::{self, Refusal};

/// Names, groups taken apart. Errors: one that is neither a service nor a group.
pub(super) fn meant(
    project: &str,
    file: &Project,
    names: &[String],
) -> Result<Vec<Arc<str>>, Refusal> {
    match file.expand(names) {
        Ok(names) => Ok(names.into_iter().map(Arc::from).collect()),
        Err(name) => {
            let services = file.services.iter().map(|service| service.name.as_str());
            let groups = file.groups.iter().map(|group| group.name.as_str());
            let known: Vec<&str> = services.chain(groups).collect();
            let path = file.file.display().to_string();
            let place = if project.is_empty() { refuse::place(Some(project)) } else { &path };
            Err(refuse::no_such_service(name, place, &known))
        }
    }
}

/// Every service of the file, as decisions go by it.
pub(super) fn definitions(file: &Project) -> BTreeMap<Arc<str>, hearth_core::Definition> {
    let numbered = file.services.iter().zip(0u32..);
    let definition = |(service, order): (&hearth_config::Service, u32)| {
        (Arc::from(service.name.as_str()), convert::definition(service, order))
    };
    numbered.map(definition).collect()
}

/// The services that are meant.
pub(super) fn chosen(
    project: &Arc<str>,
    file: &Project,
    targets: &[Arc<str>],
) -> BTreeSet<ServiceId> {
    let named: HashSet<&str> = targets.iter().map(|target| &**target).collect();
    let mine = |service: &&hearth_config::Service| match named.is_empty() {
        true => service.enabled,
        false => named.contains(service.name.as_str()),
    };
    let services = file.services.iter().filter(mine);
    services.map(|service| ServiceId::new(Arc::clone(project), service.name.as_str())).collect()
}

/// The services that are meant, and all that they need.
pub(super) fn reach(
    project: &Arc<str>,
    file: &Project,
    targets: &[Arc<str>],
) -> BTreeSet<ServiceId> {
    let (known, mut reached) = (file.by_name(), BTreeSet::new());
    let mut todo: Vec<ServiceId> = chosen(project, file, targets).into_iter().collect();
    while let Some(id) = todo.pop() {
        let needs = known.get(&*id.name).map_or(&[][..], |service| &service.needs);
        let needed =
            needs.iter().map(|need| ServiceId::new(Arc::clone(project), need.service.as_str()));
        todo.extend(needed.filter(|need| !reached.contains(need)));
        reached.insert(id);
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_about_its_targets_and_what_they_need() {
        let dir = tempfile::tempdir().unwrap();
        let text = "[services.a]\nrun = 'x'\n[services.b]\nrun = 'x'\nneeds = ['a']\n\
                    [services.c]\nrun = 'x'\nenabled = false\nneeds = ['b']\n[services.d]\nrun = 'x'\n";
        std::fs::write(dir.path().join("hearth.toml"), text).unwrap();
        let file = hearth_config::load(dir.path()).unwrap();
        let project: Arc<str> = "/p".into();
        let names = |targets: &[&str]| {
            let targets: Vec<Arc<str>> = targets.iter().map(|name| Arc::from(*name)).collect();
            let reached = reach(&project, &file, &targets);
            reached.into_iter().map(|id| id.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[]), "a b d");
        assert_eq!(names(&["c"]), "a b c");
        assert_eq!(names(&["d"]), "d");
    }
}
