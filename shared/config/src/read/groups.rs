//! `[groups]`: names for several services and checks at once.

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
    for field in &fields {
        found.check(field.key_span.clone(), name::check(field.key));
        if let Some(other) = drafts.iter().find(|draft| draft.service.name == field.key) {
            let message = format!("{} is {} already", quoted(field.key), graph::noun(other));
            let expected = "a name that no service, check or group has";
            found.fault(field.key_span.clone(), message, expected);
        }
    }
    let is_group = |name: &str| fields.iter().any(|field| field.key == name);
    fields.iter().map(|field| group(field, &is_group, drafts, found)).collect()
}

fn group(
    field: &Field<'_, '_>,
    is_group: &dyn Fn(&str) -> bool,
    drafts: &[Draft],
    found: &mut Found,
) -> Group {
    let mut group = Group { name: field.key.to_owned(), services: Vec::new() };
    let Some(list) = value::list(field, MEMBERS, found) else { return group };
    if list.is_empty() {
        found.fault(field.span(), format!("the group {} is empty", quoted(field.key)), MEMBERS);
    }
    for element in list {
        let entry = field.element(element);
        let Some(member) = value::string(&entry, MEMBERS, found) else { continue };
        let known = drafts.iter().any(|draft| draft.service.name == member);
        if group.services.iter().any(|other| other == member) {
            let message = format!("{} is named twice in {}", quoted(member), quoted(field.key));
            found.fault(element.span(), message, "each service once");
        } else if known {
            group.services.push(member.to_owned());
        } else if is_group(member) {
            let message = format!("{} is a group itself", quoted(member));
            found.fault(element.span(), message, "services and checks alone");
        } else {
            graph::unknown(member, element.span(), drafts, found);
        }
    }
    group
}
