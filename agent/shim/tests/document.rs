//! `FRAMES.md` against the code: each example is read and written again as it stands, and each type
//! of frame has one.

use std::collections::BTreeSet;
use std::fmt::Debug;

use hearth_shim::frames::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

const DOCUMENT: &str = include_str!("../FRAMES.md");

/// The lines of the blocks of one side.
fn examples(side: &str) -> Vec<&'static str> {
    let fence = format!("```json {side}\n");
    let blocks = DOCUMENT.split(&fence).skip(1).map(|block| block.split("```").next().unwrap());
    blocks.flat_map(str::lines).collect()
}

/// The types of the frames, each read and written.
fn types<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    side: &str,
    unknown: &T,
) -> BTreeSet<String> {
    let read = |line: &&str| {
        let mut decoder = Decoder::new();
        decoder.push(&u32::try_from(line.len()).unwrap().to_le_bytes());
        decoder.push(line.as_bytes());
        let frame = decoder.next::<T>().unwrap().expect(line);
        assert_ne!(frame, *unknown, "{line}");
        assert_eq!(String::from_utf8_lossy(&encode(&frame)[4..]), **line);
        serde_json::from_str::<serde_json::Value>(line).unwrap()["type"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    examples(side).iter().map(read).collect()
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn every_frame_of_an_agent_is_described_as_it_is() {
    let all =
        "start hello stop signal kill mark_ready probe cancel_probe acknowledge bye hold give_back";
    assert_eq!(types("agent", &ToShim::Unknown), words(all));
    // A new one fails to compile here until it is in the list, and then until it is described.
    match ToShim::Stop {
        ToShim::Start(_) | ToShim::Hello { .. } | ToShim::Stop | ToShim::Signal { .. } => {}
        ToShim::Kill | ToShim::MarkReady { .. } | ToShim::Probe { .. } => {}
        ToShim::CancelProbe { .. } | ToShim::Acknowledge | ToShim::Bye => {}
        ToShim::Hold { .. } | ToShim::GiveBack | ToShim::Unknown => {}
    }
}

#[test]
fn every_frame_of_a_shim_is_described_as_it_is() {
    let all = "refused state started start_failed exited emptied probed notified held";
    assert_eq!(types("shim", &FromShim::Unknown), words(all));
    match FromShim::Emptied {
        FromShim::Refused { .. } | FromShim::State(_) | FromShim::Started { .. } => {}
        FromShim::StartFailed { .. } | FromShim::Exited { .. } | FromShim::Emptied => {}
        FromShim::Probed { .. } | FromShim::Notified { .. } | FromShim::Held { .. } => {}
        FromShim::Unknown => {}
    }
}

#[test]
fn every_field_of_the_start_is_in_its_table() {
    let start = examples("agent")[0];
    let start: serde_json::Value = serde_json::from_str(start).unwrap();
    for field in start.as_object().unwrap().keys().filter(|field| *field != "type") {
        let row = DOCUMENT.lines().any(|line| {
            line.starts_with("| `")
                && line.split('|').nth(1).unwrap().contains(&format!("`{field}`"))
        });
        assert!(row, "`{field}` is not in the table");
    }
}
