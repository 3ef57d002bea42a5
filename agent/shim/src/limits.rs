//! Resource limits by name (`setrlimit(2)`).

use std::collections::BTreeMap;

use crate::frames::Limit;

/// A limit, ready to be set between fork and exec.
pub struct SetLimit {
    /// Its name in the spec.
    pub name: &'static str,
    /// Its number; the C library's type for it differs.
    pub resource: libc::c_int,
    /// What to set.
    pub value: libc::rlimit,
}

const COMMON: [(&str, libc::c_int); 9] = [
    ("as", libc::RLIMIT_AS as libc::c_int),
    ("core", libc::RLIMIT_CORE as libc::c_int),
    ("cpu", libc::RLIMIT_CPU as libc::c_int),
    ("data", libc::RLIMIT_DATA as libc::c_int),
    ("fsize", libc::RLIMIT_FSIZE as libc::c_int),
    ("memlock", libc::RLIMIT_MEMLOCK as libc::c_int),
    ("nofile", libc::RLIMIT_NOFILE as libc::c_int),
    ("nproc", libc::RLIMIT_NPROC as libc::c_int),
    ("stack", libc::RLIMIT_STACK as libc::c_int),
];

#[cfg(target_os = "linux")]
const MORE: [(&str, libc::c_int); 7] = [
    ("locks", libc::RLIMIT_LOCKS as libc::c_int),
    ("msgqueue", libc::RLIMIT_MSGQUEUE as libc::c_int),
    ("nice", libc::RLIMIT_NICE as libc::c_int),
    ("rss", libc::RLIMIT_RSS as libc::c_int),
    ("rtprio", libc::RLIMIT_RTPRIO as libc::c_int),
    ("rttime", libc::RLIMIT_RTTIME as libc::c_int),
    ("sigpending", libc::RLIMIT_SIGPENDING as libc::c_int),
];
#[cfg(not(target_os = "linux"))]
const MORE: [(&str, libc::c_int); 1] = [("rss", libc::RLIMIT_RSS as libc::c_int)];

/// The limits of a spec in numbers. Errors: a name that this platform does not have.
pub fn known(limits: &BTreeMap<String, Limit>) -> Result<Vec<SetLimit>, String> {
    limits
        .iter()
        .map(|(name, limit)| {
            let mut all = COMMON.iter().chain(&MORE);
            let (name, resource) = all
                .find(|(known, _)| known == name)
                .ok_or_else(|| format!("there is no limit `{name}` on this platform"))?;
            let number = |value: Option<u64>| match value {
                Some(value) => value as libc::rlim_t,
                None => libc::RLIM_INFINITY,
            };
            let value = libc::rlimit { rlim_cur: number(limit.soft), rlim_max: number(limit.hard) };
            Ok(SetLimit { name, resource: *resource, value })
        })
        .collect()
}

/// A limit's value for people.
pub fn shown(value: libc::rlim_t) -> String {
    if value == libc::RLIM_INFINITY { "unlimited".into() } else { value.to_string() }
}

/// The hard limit that holds for the shim itself.
pub fn hard(resource: libc::c_int) -> libc::rlim_t {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is a valid place; for an unknown resource it stays as it is.
    unsafe { libc::getrlimit(resource as _, &mut now) };
    now.rlim_max
}
