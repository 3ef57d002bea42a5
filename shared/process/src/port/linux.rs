//! `/proc/net/tcp` and `tcp6` (proc_net(5)), and `/proc/PID/fd`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::Listener;
use crate::table;

/// `TCP_LISTEN` of `<netinet/tcp.h>`.
const LISTENS: &str = "0A";

pub(super) fn ephemeral() -> Option<RangeInclusive<u16>> {
    // For both protocols.
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    Some(numbers.next()?.ok()?..=numbers.next()?.ok()?)
}

pub(super) fn listener(port: u16) -> Option<Listener> {
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().find_map(|path| {
        let table = std::fs::read_to_string(path).ok()?;
        table.lines().skip(1).find_map(|line| parse(line, port))
    })
}

/// The socket of a line, if it listens on this port.
fn parse(line: &str, port: u16) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, number) = fields.next()?.split_once(':')?;
    if u16::from_str_radix(number, 16).ok()? != port || fields.nth(1)? != LISTENS {
        return None;
    }
    let everywhere = |ip: Ipv4Addr| ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST;
    let in_the_way = match ip(address)? {
        IpAddr::V4(ip) => everywhere(ip),
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some_and(everywhere);
            mapped || ip.is_unspecified() || ip.is_loopback()
        }
    };
    let uid = fields.nth(3)?.parse().ok();
    let socket = fields.nth(1)?.parse().ok();
    in_the_way.then_some(Listener { uid, socket })
}

/// Words of 32 bits, each as a number of this machine.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

pub(super) fn holder(socket: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{socket}]");
    let mut found = None;
    let _ = table::each_pid(|pid| {
        if found.is_none() && holds(pid, &wanted) {
            found = Some(pid);
        }
    });
    let pid = found?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, name.trim_end().escape_debug().to_string()))
}

/// What may not be looked at holds nothing.
fn holds(pid: u32, wanted: &str) -> bool {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut links = fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    links.any(|link| link.as_os_str() == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                       1000        0 4711 1 0000000000000000 100 0 0 10 0";

    #[test]
    fn only_what_listens_and_is_in_the_way_counts() {
        let found = parse(ANY, 8080).unwrap();
        assert_eq!((found.uid, found.socket), (Some(1000), Some(4711)));
        assert!(parse(ANY, 8081).is_none());
        assert!(parse(&ANY.replace(" 0A ", " 06 "), 8080).is_none(), "TIME_WAIT");
        let at = |address: [u8; 4]| {
            let hex = format!("{:08X}", u32::from_ne_bytes(address));
            parse(&ANY.replacen("00000000", &hex, 1), 8080).is_some()
        };
        assert!(at([127, 0, 0, 1]) && !at([127, 0, 0, 53]) && !at([192, 168, 0, 1]));
        let v6 = |ip: &str| {
            let octets = ip.parse::<Ipv6Addr>().unwrap().octets();
            let hex = octets.chunks_exact(4).map(|four| {
                format!("{:08X}", u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
            });
            parse(&ANY.replacen("00000000", &hex.collect::<String>(), 1), 8080).is_some()
        };
        assert!(v6("::") && v6("::1") && v6("::ffff:127.0.0.1") && !v6("fe80::1"));
    }

    #[test]
    fn the_kernel_tells_its_range() {
        let range = ephemeral().unwrap();
        assert!(range.start() < range.end(), "{range:?}");
    }
}
