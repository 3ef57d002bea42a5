//! What this process was given by whoever began it, before Rust's runtime changed it.
//!
//! Kept true here: a command that takes this process's place finds SIGPIPE as it would without us.
//! The runtime has it ignored before `main`, and nothing tells afterwards how it was: `yes | head`
//! would end with an error instead of silently, or a command whose shell ignores it would die of it.

use std::sync::atomic::{AtomicBool, Ordering};

static IGNORED: AtomicBool = AtomicBool::new(false);

/// Executed by the loader before `main`.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    // SAFETY: the structure is plain data, whole when zeroed; sigaction(2) only reads.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0 {
            IGNORED.store(action.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
        }
    }
}

/// How SIGPIPE was: `SIG_IGN` or `SIG_DFL`; execve(2) leaves nothing else.
pub fn sigpipe() -> libc::sighandler_t {
    // Named here too, so that the linker keeps it together with what is used.
    std::hint::black_box(&LOOK);
    if IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL }
}
