//! Property lists in XML, as far as it is needed to know what one carries (plist(5)).
//!
//! What is written here is read by launchd; what is read here may have been edited by a person. One in
//! the binary form, or with an element that is not closed, is not understood, and said to be so.

/// A value; numbers, dates and data are of no interest here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<Value>),
    Dict(Vec<(String, Value)>),
    Other,
}

impl Value {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Dict(entries) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            Value::Text(_) | Value::List(_) | Value::Other => None,
        }
    }

    /// Its text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Dict(_) | Value::Other => None,
        }
    }

    /// The first of a list.
    pub(super) fn first(&self) -> Option<&Value> {
        match self {
            Value::List(values) => values.first(),
            Value::Text(_) | Value::Dict(_) | Value::Other => None,
        }
    }
}

/// What stands in the `plist` element. Errors: in words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    if text.starts_with("bplist") {
        return Err("it is in the binary form: `plutil -convert xml1` makes it readable".into());
    }
    let mut reader = Reader { rest: text };
    match reader.element()? {
        Some(("plist", _)) => {}
        Some(_) | None => return Err("it is no property list".into()),
    }
    reader.value()?.ok_or_else(|| "it is empty".into())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// The next opening tag, and whether it closes itself; `None` at a closing one, which is taken.
    fn element(&mut self) -> Result<Option<(&'a str, bool)>, String> {
        loop {
            self.rest = self.rest.trim_start();
            let ends = |what: &str| match what {
                _ if what.starts_with("<!--") => "-->",
                _ if what.starts_with("<?") => "?>",
                _ => ">",
            };
            let end = ends(self.rest);
            if !self.rest.starts_with('<') {
                let shown: String = self.rest.chars().take(20).collect();
                return Err(format!("an element was expected, and there is `{shown}`"));
            }
            let Some((tag, rest)) = self.rest.split_once(end) else {
                return Err("an element is not closed".into());
            };
            self.rest = rest;
            if tag.starts_with("<!") || tag.starts_with("<?") {
                continue;
            }
            if tag.starts_with("</") {
                return Ok(None);
            }
            let closed = tag.ends_with('/');
            let name = tag[1..].trim_end_matches('/');
            return Ok(Some((name.split_whitespace().next().unwrap_or_default(), closed)));
        }
    }

    /// The next value; `None`: what it would be in has been closed.
    fn value(&mut self) -> Result<Option<Value>, String> {
        let Some((name, closed)) = self.element()? else { return Ok(None) };
        Ok(Some(match (name, closed) {
            ("dict", false) => self.dict()?,
            ("dict", true) => Value::Dict(Vec::new()),
            ("array", false) => {
                let mut values = Vec::new();
                while let Some(value) = self.value()? {
                    values.push(value);
                }
                Value::List(values)
            }
            ("array", true) => Value::List(Vec::new()),
            ("string", false) => Value::Text(self.content(name)?),
            ("string", true) => Value::Text(String::new()),
            (_, true) => Value::Other,
            (_, false) => self.content(name).map(|_| Value::Other)?,
        }))
    }

    fn dict(&mut self) -> Result<Value, String> {
        let mut entries = Vec::new();
        while let Some((name, closed)) = self.element()? {
            if name != "key" {
                return Err(format!("a key was expected, and there is <{name}>"));
            }
            let key = if closed { String::new() } else { self.content("key")? };
            let value = self.value()?.ok_or_else(|| format!("{key} has no value"))?;
            entries.push((key, value));
        }
        Ok(Value::Dict(entries))
    }

    /// The text up to the closing tag of `name`.
    fn content(&mut self, name: &str) -> Result<String, String> {
        let end = format!("</{name}>");
        let Some((text, rest)) = self.rest.split_once(&end) else {
            return Err(format!("<{name}> is not closed"));
        };
        self.rest = rest;
        unescaped(text)
    }
}

fn unescaped(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('&') {
        out.push_str(before);
        let Some((name, behind)) = behind.split_once(';') else {
            return Err("an entity is not closed".into());
        };
        let number = |digits: &str, base| u32::from_str_radix(digits, base).ok();
        let code = match (name.strip_prefix("#x"), name.strip_prefix('#')) {
            (Some(digits), _) => number(digits, 16),
            (None, Some(digits)) => number(digits, 10),
            (None, None) => None,
        };
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => code.and_then(char::from_u32).ok_or_else(|| format!("&{name}; is unknown"))?,
        });
        rest = behind;
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_keys() {
        let text = "<?xml version=\"1.0\"?>\n<!DOCTYPE plist PUBLIC \"x\" \"y\">\n<!-- <dict> -->\n<plist version=\"1.0\"><dict>\
            <key>A</key><array><string>a &amp; &#x3c;b&#62; é</string><true/></array>\
            <key>B</key><dict/><!-- between --><key>C</key><integer>5</integer>\
            <key>D</key><string/></dict></plist>";
        let value = parse(text).unwrap();
        let first = value.get("A").and_then(Value::first).and_then(Value::text);
        assert_eq!(first, Some("a & <b> é"));
        assert_eq!(value.get("B"), Some(&Value::Dict(Vec::new())));
        assert_eq!(value.get("C"), Some(&Value::Other));
        assert_eq!(value.get("D").and_then(Value::text), Some(""));
        assert_eq!(value.get("E"), None);
    }

    #[test]
    fn what_is_none_is_said_to_be_so() {
        for (text, why) in [
            ("", "an element was expected"),
            ("bplist00", "binary form"),
            ("<html/>", "no property list"),
            ("<plist></plist>", "empty"),
            ("<plist><dict><key>A</key></dict></plist>", "A has no value"),
            ("<plist><dict><string>A</string></dict></plist>", "a key was expected"),
            ("<plist><dict><key>A", "<key> is not closed"),
            ("<plist><dict", "not closed"),
            ("<plist><string>&none;</string></plist>", "&none; is unknown"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
