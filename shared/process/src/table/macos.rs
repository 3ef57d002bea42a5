//! `libproc`, by `<sys/proc_info.h>`.

use std::io;
use std::mem::{MaybeUninit, size_of};

use super::{Entry, Name};
use crate::StartTime;
use crate::facts::Executable;

/// Also answer for a zombie: the meaning of `arg` for this flavour in XNU's `proc_info.c`.
const ZOMBIES_TOO: u64 = 1;
/// `PROC_ALL_PIDS` of `<sys/proc_info.h>`.
const ALL_PIDS: u32 = 1;

/// The row of `pid`. Errors: ESRCH if it is gone.
pub(crate) fn entry(pid: u32) -> io::Result<Entry> {
    let raw = i32::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    let info = bsdinfo(raw)?;
    Ok(Entry {
        pid,
        parent: info.pbi_ppid,
        pgid: info.pbi_pgid,
        // SAFETY: getsid takes a number and touches no memory of ours.
        sid: u32::try_from(unsafe { libc::getsid(raw) }).unwrap_or(0),
        // NODEV is -1.
        has_terminal: info.e_tdev != u32::MAX && info.e_tdev != 0,
        state: state(&info),
        ended: info.pbi_status == libc::SZOMB,
        start: StartTime::from_raw(
            info.pbi_start_tvsec.wrapping_mul(1_000_000).wrapping_add(info.pbi_start_tvusec),
        ),
        name: name(&info),
    })
}

fn bsdinfo(raw: i32) -> io::Result<libc::proc_bsdinfo> {
    let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
    let size = size_of::<libc::proc_bsdinfo>() as i32;
    // SAFETY: the buffer is as large as `size` says.
    let filled = unsafe {
        libc::proc_pidinfo(raw, libc::PROC_PIDTBSDINFO, ZOMBIES_TOO, info.as_mut_ptr().cast(), size)
    };
    if filled != size {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has filled all of it; it is plain integers.
    Ok(unsafe { info.assume_init() })
}

/// The effective user: `pbi_uid`.
pub(crate) fn uid(pid: u32) -> Option<u32> {
    Some(bsdinfo(i32::try_from(pid).ok()?).ok()?.pbi_uid)
}

/// The numbers of a process: one, for there are no pid namespaces.
pub(crate) fn pids(pid: u32) -> Option<Vec<u32>> {
    entry(pid).ok().map(|entry| vec![entry.pid])
}

/// Where a process works (`PROC_PIDVNODEPATHINFO`).
pub(crate) fn directory(pid: u32) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let raw = i32::try_from(pid).ok()?;
    let mut info = MaybeUninit::<libc::proc_vnodepathinfo>::zeroed();
    let size = size_of::<libc::proc_vnodepathinfo>() as i32;
    // SAFETY: the buffer is as large as `size` says.
    let filled = unsafe {
        libc::proc_pidinfo(raw, libc::PROC_PIDVNODEPATHINFO, 0, info.as_mut_ptr().cast(), size)
    };
    if filled != size {
        return None;
    }
    // SAFETY: the kernel has filled all of it; it is plain integers.
    let info = unsafe { info.assume_init() };
    let path = info.pvi_cdir.vip_path.as_flattened();
    let bytes: Vec<u8> =
        path.iter().map(|byte| *byte as u8).take_while(|byte| *byte != 0).collect();
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(bytes));
    path.is_absolute().then_some(path)
}

/// What a process executes (`proc_pidpath`).
pub(crate) fn executable(pid: u32) -> Option<Executable> {
    use std::os::unix::ffi::OsStringExt;
    let raw = i32::try_from(pid).ok()?;
    let mut buffer = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    // SAFETY: the buffer is as large as is said.
    let length =
        unsafe { libc::proc_pidpath(raw, buffer.as_mut_ptr().cast(), buffer.len() as u32) };
    buffer.truncate(usize::try_from(length).ok().filter(|length| *length > 0)?);
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(buffer));
    let gone = !path.exists();
    Some(Executable { path, gone })
}

/// There are no mount namespaces.
pub(crate) fn is_there_for(_: u32, path: &std::path::Path) -> bool {
    path.exists()
}

/// Not told here.
pub(crate) fn arguments(_: u32) -> Option<Vec<std::ffi::OsString>> {
    None
}

/// Not told here.
pub(crate) fn variable(_: u32, _: &str) -> Option<std::ffi::OsString> {
    None
}

/// Linux's letters for the values of `p_stat` in `<sys/proc.h>`.
fn state(info: &libc::proc_bsdinfo) -> char {
    match info.pbi_status {
        libc::SIDL => 'I',
        libc::SRUN => 'R',
        libc::SSLEEP => 'S',
        libc::SSTOP => 'T',
        libc::SZOMB => 'Z',
        _ => '?',
    }
}

fn name(info: &libc::proc_bsdinfo) -> Name {
    let long = info.pbi_name.map(|byte| byte as u8);
    let short = info.pbi_comm.map(|byte| byte as u8);
    let name: &[u8] = if long[0] == 0 { &short } else { &long };
    let end = name.iter().position(|byte| *byte == 0);
    Name::new(&name[..end.unwrap_or(name.len())])
}

/// Whether `pid` holds an end of one of these pipes open: not told here.
pub(crate) fn holds(_: u32, _: &[u64]) -> bool {
    false
}

/// Calls `each` with every pid of the machine.
pub(crate) fn each_pid(mut each: impl FnMut(u32)) -> io::Result<()> {
    let mut pids: Vec<libc::pid_t> = Vec::new();
    loop {
        // SAFETY: without a buffer the kernel only tells the size it wants.
        let wanted = unsafe { libc::proc_listpids(ALL_PIDS, 0, std::ptr::null_mut(), 0) };
        // Room for those that are forked between the two calls.
        let room = usize::try_from(wanted).unwrap_or(0) / size_of::<libc::pid_t>() + 64;
        pids.resize(room, 0);
        let size = (room * size_of::<libc::pid_t>()) as i32;
        // SAFETY: the buffer is as large as `size` says.
        let filled = unsafe { libc::proc_listpids(ALL_PIDS, 0, pids.as_mut_ptr().cast(), size) };
        if filled <= 0 {
            return Err(io::Error::last_os_error());
        }
        if filled < size {
            pids.truncate(filled as usize / size_of::<libc::pid_t>());
            break;
        }
    }
    for pid in pids {
        if let Ok(pid) = u32::try_from(pid)
            && pid != 0
        {
            each(pid);
        }
    }
    Ok(())
}
