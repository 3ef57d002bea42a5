//! `[groups]`: names for several services and checks at once.

use std::collections::{HashMap, HashSet};

use toml::de::DeTable;

use super::service::Draft;
use super::{Field, Found, graph, value};
use crate::invalid::quoted;
use crate::name;
use crate::project::Group;

const MEMBERS: &str = "a list of services and checks: `dev = [\"api\", \"worker\"]`";

/// All groups of the table, in the order of the file.
pub(crate) fn read(table: &DeTable<'_>, drafts: &[Draft], found: &mut Found) -> Vec<Group> {
    let mut fields: Vec<Field<'_, '_>> = table
        .iter()
        .map(|(name, value)| Field { key: name.get_ref(), key_span: name.span(), value })
        .collect();
    fields.sort_by_key(|field| field.key_span.start);
    let nodes: HashMap<&str, &Draft> =
        drafts.iter().map(|draft| (draft.service.name.as_str(), draft)).collect();
    let names: HashSet<&str> = fields.iter().map(|field| field.key).collect();
    for field in &fields {
        found.check(field.key_span.clone(), name::check(field.key));
        if let Some(other) = nodes.get(field.key) {
            let message = format!("{} is {} already", quoted(field.key), graph::noun(other));
            let expected = "a name that no service, check or group has";
            found.fault(field.key_span.clone(), message, expected);
        }
    }
    let mut group = |field: &Field<'_, '_>| {
        let services = members(field, &nodes, &names, drafts, found);
        Group { name: field.key.to_owned(), services }
    };
    fields.iter().map(&mut group).collect()
}

fn members(
    field: &Field<'_, '_>,
    nodes: &HashMap<&str, &Draft>,
    groups: &HashSet<&str>,
    drafts: &[Draft],
    found: &mut Found,
) -> Vec<String> {
    let mut members = Vec::new();
    let mut seen = HashSet::new();
    let Some(list) = value::list(field, MEMBERS, found) else { return members };
    if list.is_empty() {
        found.fault(field.span(), format!("the group {} is empty", quoted(field.key)), MEMBERS);
    }
    for element in list {
        let entry = field.element(element);
        let Some(member) = value::string(&entry, MEMBERS, found) else { continue };
        if !seen.insert(member) {
            let message = format!("{} is named twice in {}", quoted(member), quoted(field.key));
            found.fault(element.span(), message, "each service once");
        } else if nodes.contains_key(member) {
            members.push(member.to_owned());
        } else if groups.contains(member) {
            let message = format!("{} is a group itself", quoted(member));
            found.fault(element.span(), message, "services and checks alone");
        } else {
            graph::unknown(member, element.span(), drafts, found);
        }
    }
    members
}
