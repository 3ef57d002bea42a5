//! Server-sent events, put together from their lines (the HTML standard, 9.2.6).

/// One event, its data as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// What it is.
    pub name: String,
    /// Its own id; `None`: it has none.
    pub id: Option<String>,
    /// What it says.
    pub data: String,
}

/// The event that is coming in.
#[derive(Debug, Default)]
pub struct Decoder(Raw);

impl Decoder {
    /// Takes a line without its end; an event, where that was its last.
    pub fn line(&mut self, line: &[u8]) -> Option<Raw> {
        let line = String::from_utf8_lossy(line);
        let line = line.strip_suffix('\r').unwrap_or(&line);
        if line.is_empty() {
            let raw = std::mem::take(&mut self.0);
            // One that says nothing is none.
            return (!raw.data.is_empty()).then_some(raw);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.0.name),
            "id" => self.0.id = Some(value.to_owned()),
            "data" => {
                if !self.0.data.is_empty() {
                    self.0.data.push('\n');
                }
                self.0.data.push_str(value);
            }
            // A comment, `retry`, and whatever else there may be one day.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<Raw> {
        let mut decoder = Decoder::default();
        text.split_terminator('\n').filter_map(|line| decoder.line(line.as_bytes())).collect()
    }

    #[test]
    fn an_event_ends_with_an_empty_line_and_one_that_is_cut_short_is_none() {
        let raw = |name: &str, id: Option<&str>, data: &str| Raw {
            name: name.into(),
            id: id.map(str::to_owned),
            data: data.into(),
        };
        let text = "retry: 500\nid: a:1\nevent: end\ndata: {}\n\n: comment\n\ndata:1\r\ndata: 2\r\n\r\nid: x\nevent: cut\ndata: 3\n";
        assert_eq!(events(text), [raw("end", Some("a:1"), "{}"), raw("", None, "1\n2")]);
        assert_eq!(events("retry: 500\n\nevent: x\n\n"), []);
    }
}
