//! The files that `env_file` names: each read once, however many services name it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use super::{Field, Found, value};
use crate::fault::Fault;
use crate::invalid::quoted;
use crate::{env_file, load, place};

const EXPECTED: &str = "a file or a list of files in the `.env` format, relative to this one: \
                        `env_file = \".env\"`";

/// Most faults of one file that are told: what has more is no env file.
const MOST: usize = 20;

/// What was read so far, in the order in which it was asked for. `None`: it can't be read, which has
/// been told.
#[derive(Default)]
pub(crate) struct Files {
    read: Vec<(PathBuf, Option<String>)>,
    places: HashMap<PathBuf, usize>,
}

impl Files {
    pub(crate) fn into_paths(self) -> impl Iterator<Item = PathBuf> {
        self.read.into_iter().map(|(path, _)| path)
    }

    /// The place of a file in `read`.
    fn index(&mut self, path: PathBuf, entry: &Field<'_, '_>, found: &mut Found) -> usize {
        if let Some(known) = self.places.get(&path) {
            return *known;
        }
        let text = match load::read(&path) {
            Ok(bytes) => match load::text(bytes, &path) {
                Ok(text) => Some(text),
                Err(fault) => {
                    found.elsewhere(fault.without_values());
                    None
                }
            },
            Err(error) => {
                let why = match error.kind() {
                    std::io::ErrorKind::NotFound => "it is missing".to_owned(),
                    _ => error.to_string(),
                };
                let name = quoted(entry.value.get_ref().as_str().unwrap_or_default());
                let message = format!("{} {name} can't be read: {why}", quoted(entry.key));
                found.fault(entry.span(), message, EXPECTED);
                None
            }
        };
        self.places.insert(path.clone(), self.read.len());
        self.read.push((path, text));
        self.read.len() - 1
    }
}

/// The files of one service, and what they say together.
pub(crate) fn read(
    field: &Field<'_, '_>,
    root: &Path,
    files: &mut Files,
    found: &mut Found,
) -> (Vec<PathBuf>, BTreeMap<String, String>) {
    let (mut paths, mut env) = (Vec::new(), BTreeMap::new());
    for entry in value::one_or_list(field) {
        let Some(text) = value::string(&entry, EXPECTED, found) else { continue };
        let Some(path) = found.check(entry.span(), place::path(root, text)) else { continue };
        let index = files.index(path.clone(), &entry, found);
        if let Some(text) = &files.read[index].1 {
            say(text, &path, &mut env, found);
        }
        paths.push(path);
    }
    (paths, env)
}

fn say(text: &str, path: &Path, env: &mut BTreeMap<String, String>, found: &mut Found) {
    if let Some(at) = text.find('\0') {
        let expected = Some("a text without NUL".to_owned());
        let fault = Fault::new(text, path, at..at + 1, "the file holds a NUL", expected);
        found.elsewhere(fault.without_values());
        return;
    }
    for malformed in env_file::read(text, env).err().into_iter().flatten().take(MOST) {
        let expected = Some(malformed.expected.to_owned());
        let fault = Fault::new(text, path, malformed.span, malformed.message, expected);
        found.elsewhere(fault.without_values());
    }
}
