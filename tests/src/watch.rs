//! How services are, as it changes: for what no verb waits for.
//!
//! Invariant: whoever watches has subscribed before he looks, so what was so then and what has come
//! since is seen, and seen in order; nothing is asked again and again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Project;
use crate::http::{Reply, request};

/// Services that are watched, each with its state and what is said of it.
#[derive(Debug)]
pub struct Watch {
    told: Reply,
    known: BTreeMap<String, (String, String)>,
}

impl Project {
    /// From now on, by the agent that there is, or by a new one.
    #[track_caller]
    pub fn watch(&self, services: &[&str]) -> Watch {
        let named: String = services.iter().map(|name| format!("&service={name}")).collect();
        let dir = self.dir().display();
        let path = format!("/v1/wait?project={dir}&words=true&stay=true{named}");
        let told = request(&self.socket(), "GET", &path, &[], "");
        assert_eq!(told.status, 200, "{path}");
        let mut watch = Watch { told, known: BTreeMap::new() };
        watch.hear();
        watch
    }
}

impl Watch {
    /// Waits until a service's state and what is said of it are what `is_it` wants; gives the words.
    #[track_caller]
    pub fn until(&mut self, service: &str, is_it: impl Fn(&str, &str) -> bool) -> String {
        loop {
            let (state, said) = self.known.get(service).expect("it is watched");
            if is_it(state, said) {
                return said.clone();
            }
            self.hear();
        }
    }

    /// Waits for a state.
    #[track_caller]
    pub fn until_state(&mut self, service: &str, state: &str) -> String {
        self.until(service, |is, _| is == state)
    }

    /// Waits until this is said of it.
    #[track_caller]
    pub fn until_said(&mut self, service: &str, words: &str) -> String {
        self.until(service, |_, said| said.contains(words))
    }

    /// One more line.
    #[track_caller]
    fn hear(&mut self) {
        let line = self.told.line();
        let line = line.unwrap_or_else(|| panic!("nobody tells any more: {:?}", self.known));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match line["type"].as_str() {
            Some("snapshot") => {
                for row in line["services"].as_array().expect("rows") {
                    let how = (text(&row["state"]), text(&row["health"]["message"]));
                    self.known.insert(text(&row["name"]), how);
                }
            }
            Some("transition") => {
                let how = (text(&line["to"]), text(&line["message"]));
                self.known.insert(text(&line["service"]), how);
            }
            Some("message") => {
                let known = self.known.get_mut(&text(&line["service"]));
                known.expect("it is watched").1 = text(&line["message"]);
            }
            Some("outcome") => {}
            _ => panic!("no line of a stream: {line}"),
        }
    }
}
