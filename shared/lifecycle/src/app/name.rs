//! What may be a name, a version, a prefix, a label: told by the compiler where they are constants.

/// Longest name of an app, in bytes: it is a part of the path of a socket.
const LONGEST_NAME: usize = 32;

pub(super) const fn check_name(name: &str) -> Result<(), &'static str> {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Err("the name of an app is empty");
    }
    if bytes.len() > LONGEST_NAME {
        return Err("the name of an app has at most 32 bytes: it is a part of a socket's path");
    }
    if !bytes[0].is_ascii_lowercase() {
        return Err("the name of an app begins with a letter a-z");
    }
    let mut at = 1;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_') {
            return Err("the name of an app has letters a-z, digits, - and _ alone");
        }
        at += 1;
    }
    Ok(())
}

pub(super) const fn check_version(version: &str) -> Result<(), &'static str> {
    let bytes = version.as_bytes();
    if bytes.is_empty() || bytes.len() > 64 {
        return Err("the version of an app has 1 to 64 bytes");
    }
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_graphic() {
            return Err("the version of an app is printed in a line: ASCII, without spaces");
        }
        at += 1;
    }
    Ok(())
}

pub(super) const fn is_variable(prefix: &str) -> bool {
    let bytes = prefix.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let inner = byte.is_ascii_digit() || byte == b'_';
        if !(byte.is_ascii_uppercase() || (at > 0 && inner)) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

pub(super) const fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let inner = byte.is_ascii_digit() || byte == b'.' || byte == b'-' || byte == b'_';
        if !(byte.is_ascii_alphabetic() || (at > 0 && inner)) {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}
