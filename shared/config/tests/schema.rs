//! The schema says what the reader does. It is written by hand, for its descriptions; what keeps it
//! from drifting is here: its keys are those that the reader asks for, its defaults are the
//! reader's, it accepts every good file that there is and refuses what it can tell.
//!
//! The validator is fifty lines of the keywords that the schema uses, and panics at any other: the
//! crates for it bring thirty to forty more with them.

use std::collections::BTreeSet;
use std::path::Path;

use hearth_config::{Project, Test, parse, schema, template};
use serde_json::{Value, json};

struct Schema(Value);

impl Schema {
    fn new() -> Self {
        Self(serde_json::from_str(schema()).expect("JSON"))
    }

    fn accepts(&self, text: &str) -> bool {
        let tree: toml::Table = text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"));
        self.holds(&self.0, &serde_json::to_value(tree).expect("JSON"))
    }

    fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"))
    }

    fn holds(&self, schema: &Value, value: &Value) -> bool {
        let keywords = schema.as_object().expect("a schema is an object");
        keywords.iter().all(|(keyword, says)| self.keyword(schema, keyword, says, value))
    }

    fn keyword(&self, schema: &Value, keyword: &str, says: &Value, value: &Value) -> bool {
        let any = |schemas: &Value| {
            let schemas = schemas.as_array().expect("a list");
            schemas.iter().filter(|schema| self.holds(schema, value)).count()
        };
        let object = value.as_object();
        let each_property = |of: &dyn Fn(&str, &Value) -> bool| {
            object.is_none_or(|object| object.iter().all(|(key, value)| of(key, value)))
        };
        let known = |key: &str| schema["properties"].get(key).is_some();
        let matches = |text: &str| {
            regex::Regex::new(says.as_str().expect("a pattern")).expect("a regex").is_match(text)
        };
        match keyword {
            "$schema" | "$id" | "title" | "description" | "default" | "definitions" => true,
            "$ref" => {
                let pointer = says.as_str().expect("a pointer").trim_start_matches('#');
                self.holds(self.at(pointer), value)
            }
            "type" => match says {
                Value::Array(kinds) => kinds.iter().any(|kind| is(kind, value)),
                kind => is(kind, value),
            },
            "const" => says == value,
            "enum" => says.as_array().expect("a list").contains(value),
            "anyOf" => any(says) > 0,
            "oneOf" => any(says) == 1,
            "allOf" => any(says) == says.as_array().expect("a list").len(),
            "not" => !self.holds(says, value),
            "if" => !self.holds(says, value) || self.holds(&schema["then"], value),
            "then" => true,
            "properties" => each_property(&|key, value| {
                says.get(key).is_none_or(|schema| self.holds(schema, value))
            }),
            "additionalProperties" if *says == json!(false) => each_property(&|key, _| known(key)),
            "additionalProperties" => {
                each_property(&|key, value| known(key) || self.holds(says, value))
            }
            "propertyNames" => each_property(&|key, _| self.holds(says, &json!(key))),
            "required" => object.is_none_or(|object| {
                let names = says.as_array().expect("a list");
                names.iter().all(|name| object.contains_key(name.as_str().expect("a name")))
            }),
            "dependencies" => each_property(&|key, _| {
                says.get(key).is_none_or(|names| {
                    let mut names = names.as_array().expect("a list").iter();
                    names.all(|name| value.get(name.as_str().expect("a name")).is_some())
                })
            }),
            "maxProperties" => object.is_none_or(|o| o.len() as u64 <= says.as_u64().unwrap()),
            "items" => value.as_array().is_none_or(|l| l.iter().all(|v| self.holds(says, v))),
            "minItems" => value.as_array().is_none_or(|l| l.len() as u64 >= says.as_u64().unwrap()),
            "uniqueItems" => value.as_array().is_none_or(|list| {
                list.iter().map(Value::to_string).collect::<BTreeSet<_>>().len() == list.len()
            }),
            "minLength" => value.as_str().is_none_or(|t| t.len() as u64 >= says.as_u64().unwrap()),
            "pattern" => value.as_str().is_none_or(matches),
            "minimum" => value.as_i64().is_none_or(|n| n >= says.as_i64().unwrap()),
            "maximum" => value.as_i64().is_none_or(|n| n <= says.as_i64().unwrap()),
            other => panic!("the validator of this test does not know `{other}`"),
        }
    }
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().expect("a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the validator of this test does not know the type `{other}`"),
    }
}

fn read(text: &str) -> Result<Project, hearth_config::Faults> {
    let root = Path::new("/");
    parse(text, &root.join("hearth.toml"), root)
}

/// The keys that the reader of a table names where one is unknown.
fn keys_of(text: &str) -> BTreeSet<String> {
    let faults = read(text).expect_err("unknown").into_vec();
    let unknown = faults.iter().find(|fault| fault.message.starts_with("unknown key `zzz`"));
    let expected = unknown.and_then(|fault| fault.expected.clone()).expect("what is known");
    let keys = expected.strip_prefix("one of ").expect("a list");
    keys.split(", ").map(str::to_owned).collect()
}

#[test]
fn its_keys_are_those_that_the_reader_asks_for() {
    let schema = Schema::new();
    let service = "[services.a]\nrun = 'x'\n";
    let of = |key: &str| format!("/definitions/service/properties/{key}/properties");
    let need = "/definitions/needs/items/anyOf/1/properties".to_owned();
    for (text, pointer) in [
        ("zzz = 1".to_owned(), "/properties".to_owned()),
        (format!("{service}zzz = 1"), "/definitions/service/properties".to_owned()),
        (
            format!("{service}ready.tcp = 1\nready.zzz = 1"),
            "/definitions/test/properties".to_owned(),
        ),
        (format!("{service}backoff.zzz = 1"), of("backoff")),
        (format!("{service}give_up.zzz = 1"), of("give_up")),
        (format!("{service}stop.zzz = 1"), of("stop")),
        (format!("{service}log.zzz = 1"), of("log")),
        (format!("{service}needs = [{{ zzz = 1 }}]"), need),
        ("[checks.a]\nzzz = 1".to_owned(), "/definitions/check/properties".to_owned()),
    ] {
        let said: BTreeSet<String> =
            schema.at(&pointer).as_object().expect("keys").keys().cloned().collect();
        assert_eq!(said, keys_of(&text), "{pointer}");
    }
}

#[test]
fn its_defaults_are_those_of_the_reader() {
    let schema = Schema::new();
    let toml = |value: &Value| {
        let value: toml::Value = serde_json::from_value(value.clone()).expect("TOML");
        value.to_string()
    };
    let first = |text: String| read(&text).expect(&text).services[0].clone();
    let mut seen = 0;
    let properties = schema.at("/definitions/service/properties").as_object().expect("keys");
    for (key, property) in properties {
        let referred = property["$ref"].as_str().map(|pointer| schema.at(&pointer[1..]));
        let Some(default) = referred.unwrap_or(property).get("default") else { continue };
        let bare = "[services.a]\nrun = ['x']\n".to_owned();
        let said = format!("{bare}{key} = {}\n", toml(default));
        assert_eq!(first(said.clone()), first(bare), "{said}");
        seen += 1;
    }
    for (key, property) in schema.at("/definitions/test/properties").as_object().expect("keys") {
        let Some(default) = property.get("default") else { continue };
        let bare = "[services.a]\nrun = ['x']\nready.http = 'http://x/'\n".to_owned();
        let said = format!("{bare}ready.{key} = {}\n", toml(default));
        assert_eq!(first(said.clone()), first(bare), "{said}");
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn it_accepts_what_is_good() {
    let schema = Schema::new();
    let mut good = vec![String::new(), template().to_owned()];
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in examples.read_dir().expect("the examples") {
        let file = entry.expect("an example").path().join("hearth.toml");
        // Some are pairs built on the library, and no projects.
        if file.exists() {
            good.push(std::fs::read_to_string(file).expect("an example's file"));
        }
    }
    assert!(good.len() > 4, "no examples");
    // Everything that the writer can write.
    let built = Project::at("/")
        .auto()
        .oneshot("o", "x")
        .service("s", ["x"])
        .port_auto()
        .ready(Test::http("http://localhost:${port}/").status(200, 204).body("x").ok("y"))
        .ready(Test::tcp_at("${HOST}:80").failing("z"))
        .ready(Test::notify())
        .ready(Test::log("x"))
        .display(None)
        .env("A", "1")
        .unset("B")
        .check("c", Test::exec(["x"]))
        .needs(hearth_config::Need::stop("s"))
        .group("g", ["c"])
        .build()
        .expect("good");
    good.push(built.to_toml());
    good.push("[services.a]\nport = 1\nenv = { A = 1 }\nenv_file = '.env'\n".to_owned());
    // The reader takes a port in quotes, too.
    let quoted = "[services.a]\nrun = 'x'\nready = { tcp = '5432' }\n";
    assert!(read(quoted).is_ok());
    good.push(quoted.to_owned());
    for text in good {
        assert!(schema.accepts(&text), "{text}");
    }
}

#[test]
fn it_refuses_what_the_reader_refuses() {
    let schema = Schema::new();
    let service = |rest: &str| format!("[services.a]\nrun = 'x'\n{rest}\n");
    let check = |rest: &str| format!("[checks.a]\n{rest}\n");
    let bad = [
        "service = 1".to_owned(),
        "auto = 'yes'".to_owned(),
        "[services.A]\nrun = 'x'".to_owned(),
        "[services.a]\nrun = []".to_owned(),
        "[services.a]\nrun = ' '".to_owned(),
        "[groups]\ng = []".to_owned(),
        "[groups]\ng = 'a'".to_owned(),
        service("restrat = 'never'"),
        service("restart = 'sometimes'"),
        service("kind = 'check'"),
        service("kind = 'oneshot'\nready = { tcp = 1 }"),
        service("port = 0"),
        service("port = 65536"),
        service("port = 'any'"),
        service("needs = 'b'"),
        service("needs = [{ lost = 'stop' }]"),
        service("needs = [{ service = 'b', lost = 'x' }]"),
        service("env = { A = true }"),
        service("env = { 'A=B' = '' }"),
        service("env_file = 1"),
        service("start_timeout = 5"),
        service("start_timeout = '5'"),
        service("start_timeout = '5 s'"),
        service("linger = '1s1m'"),
        service("log = { max_size = '10mb' }"),
        service("log = { keep = 0 }"),
        service("stop = { to = 'all' }"),
        service("display = true"),
        service("ready = {}"),
        service("ready = { every = '1s' }"),
        service("ready = { tcp = 1, log = 'x' }"),
        service("ready = { tcp = 'localhost' }"),
        service("ready = { tcp = 1, status = 200 }"),
        service("ready = { http = 'localhost:80' }"),
        service("ready = { http = 'http://x/', status = '2xx' }"),
        service("ready = { settle = '1s', every = '1s' }"),
        service("ready = { notify = false }"),
        service("ready = [{ tcp = 1, failures = 0 }]"),
        check("ready = []"),
        check("ready = { log = 'x' }"),
        check("ready = [{ settle = '1s' }]"),
        check("ready = { tcp = 1 }\nrun = 'x'"),
    ];
    for text in bad {
        assert!(!schema.accepts(&text), "accepted:\n{text}");
        assert!(read(&text).is_err(), "the reader accepts:\n{text}");
    }
}
