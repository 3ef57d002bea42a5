//! Names that several crates must derive alike.

/// Id of a service's shim: the name of its socket and record under `shims/`.
///
/// Derived and not drawn, so that two shims of one service collide on one record, which only one
/// of them can lock: that is what makes a second copy impossible.
///
/// FNV-1a (64 bits) over the project's path, a NUL and the name, as 16 hexadecimal digits.
pub fn shim_id(project: &str, service: &str) -> String {
    format!("{:016x}", fnv1a64(&[project.as_bytes(), b"\0", service.as_bytes()]))
}

fn fnv1a64(parts: &[&[u8]]) -> u64 {
    parts.iter().flat_map(|part| part.iter()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_id_never_changes_from_version_to_version() {
        assert_eq!(super::shim_id("/src/app", "api"), "770533810d45c450");
    }
}
