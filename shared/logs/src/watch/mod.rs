//! Being woken by the kernel when a log may have grown: inotify on Linux, kqueue on macOS.
//!
//! Both watch the directory itself where it is there, and the deepest directory above it that is,
//! so that its making and its removal are seen too. Not seen: a directory further above being moved
//! away and another put in its place.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

#[cfg(target_os = "linux")]
pub(crate) use linux::Watch;
#[cfg(target_os = "macos")]
pub(crate) use macos::Watch;
