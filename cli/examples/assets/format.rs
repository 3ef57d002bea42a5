//! hearth.toml(5), made of the JSON Schema by which editors check the file.

use std::io;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use serde_json::Value;

use crate::page;

/// The kinds of tables, by the schema's names: the heading, and what stands before their keys.
const TABLES: &[(&str, &str, &str)] = &[
    ("service", "SERVICES", "[services.NAME]"),
    ("check", "CHECKS", "[checks.NAME]"),
    ("test", "TESTS", "ready = { ... }"),
];

/// What is named in the tables, and has no keys of its own.
const NAMED: &[&str] = &["name", "duration", "size", "command"];

/// The page. Errors: the schema is not what this reads.
pub fn page() -> io::Result<String> {
    let schema: Value = serde_json::from_str(hearth_config::schema())?;
    let source = page::source();
    let mut roff = Roff::default();
    roff.control("TH", ["hearth.toml", "5", "", &source, "hearth"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("hearth.toml - the services of a project")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(described(&schema, &schema))]);
    roff.control("PP", []);
    roff.text([
        roman("A duration is a text with its unit. Faults are told all at once, with their lines, by "),
        bold("hearth config check"),
        roman("; "),
        bold("hearth config show"),
        roman(" shows both files merged, with every default spelt out."),
    ]);
    keys(&mut roff, &schema, &schema);
    for (name, heading, stands_in) in TABLES {
        let table = &schema["definitions"][name];
        roff.control("SH", [*heading]);
        roff.text([bold(*stands_in), roman(format!(": {}", described(&schema, table)))]);
        keys(&mut roff, &schema, table);
    }
    roff.control("SH", ["VALUES"]);
    for name in NAMED {
        roff.control("TP", []);
        roff.text([italic(*name)]);
        roff.text([roman(described(&schema, &schema["definitions"][name]))]);
    }
    roff.control("SH", ["EXAMPLE"]);
    roff.text([roman("What "), bold("hearth init"), roman(" writes:")]);
    roff.control("PP", []);
    roff.control("nf", []);
    for line in hearth_config::template().lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.control("BR", ["hearth", "(1),"]);
    roff.control("BR", ["hearth-config", "(1),"]);
    roff.control("BR", ["hearth-init", "(1)"]);
    Ok(roff.to_roff())
}

/// A paragraph a key: its name, what it may be, its meaning, its default.
fn keys(roff: &mut Roff, schema: &Value, table: &Value) {
    for (key, value) in table["properties"].as_object().into_iter().flatten() {
        roff.control("TP", []);
        roff.text([bold(key.as_str()), roman(" = "), italic(form(schema, value))]);
        let mut text: Vec<Inline> = vec![roman(described(schema, value))];
        if let Some(default) = default(schema, value) {
            text.extend([roman(" Default: "), bold(default), roman(".")]);
        }
        roff.text(text);
    }
}

/// What may stand there, in a word or a few.
fn form(schema: &Value, value: &Value) -> String {
    let either = |all: &Value| {
        let forms = all.as_array().into_iter().flatten().map(|one| form(schema, one));
        forms.collect::<Vec<_>>().join(" | ")
    };
    if let Some(name) = named(value) {
        return match name {
            "port" | "enabled" | "display" | "needs" | "start_timeout" => {
                form(schema, &schema["definitions"][name])
            }
            "check_test" => "test".to_owned(),
            name => name.to_owned(),
        };
    }
    for of_several in ["anyOf", "allOf"] {
        if !value[of_several].is_null() {
            return either(&value[of_several]);
        }
    }
    if let Some(choices) = value["enum"].as_array() {
        return choices.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if !value["const"].is_null() {
        return value["const"].to_string();
    }
    match &value["type"] {
        Value::Array(types) => {
            let types = types.iter().filter_map(Value::as_str);
            types.collect::<Vec<_>>().join(" | ")
        }
        of if of == "array" => format!("[{}, ...]", form(schema, &value["items"])),
        of if of == "object" => table_form(schema, value),
        of => of.as_str().unwrap_or("any").to_owned(),
    }
}

fn table_form(schema: &Value, value: &Value) -> String {
    match value["properties"].as_object() {
        Some(keys) => {
            let keys = keys.iter().map(|(key, of)| format!("{key} = {}", form(schema, of)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        None => format!("{{ NAME = {} }}", form(schema, &value["additionalProperties"])),
    }
}

/// The definition that a value refers to, itself or as all that it is.
fn named(value: &Value) -> Option<&str> {
    value["$ref"].as_str()?.strip_prefix("#/definitions/")
}

fn described<'s>(schema: &'s Value, value: &'s Value) -> &'s str {
    let own = value["description"].as_str();
    let behind = || named(value).map(|name| described(schema, &schema["definitions"][name]));
    own.or_else(behind).unwrap_or_default()
}

/// As it is written in the file.
fn default(schema: &Value, value: &Value) -> Option<String> {
    match named(value) {
        Some(name) => default(schema, &schema["definitions"][name]),
        None => value.get("default").map(toml),
    }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Object(keys) if keys.is_empty() => "{}".to_owned(),
        Value::Object(keys) => {
            let keys = keys.iter().map(|(key, of)| format!("{key} = {}", toml(of)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
