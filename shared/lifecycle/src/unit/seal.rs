//! By what a unit's file tells whether somebody has edited it.
//!
//! Kept true here: whoever writes a unit and whoever reads it reckon alike. The sum is one against
//! accidents, not against people, who may write these files anyway.

/// Begins the line that carries the sum.
pub(super) const SUM: &str = "Checksum=";

/// The sum of a file's text, the line that carries it left out: FNV-1a, 64 bits, in hexadecimal.
pub(super) fn checksum(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with(SUM));
    let sum = lines
        .flat_map(|line| line.bytes().chain([b'\n']))
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    format!("{sum:016x}")
}

/// Whether it is not what was written: another sum, or none.
pub(super) fn is_edited(text: &str) -> bool {
    let said = text.lines().find_map(|line| line.trim().strip_prefix(SUM));
    said.map(str::trim) != Some(checksum(text).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_edit_is_seen_but_that_of_nothing() {
        let bare = "[Service]\nExecStart=/bin/x\n[X-Pair]\nChecksum=\n";
        let whole = bare.replace(SUM, &format!("{SUM}{}", checksum(bare)));
        assert!(!is_edited(&whole));
        assert!(is_edited(&whole.replace("/bin/x", "/bin/y")));
        assert!(is_edited(&format!("{whole}Nice=5\n")));
        assert!(is_edited(bare), "without a sum nobody knows");
    }
}
