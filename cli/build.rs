//! Links the executable so that as little as possible happens before `main`, on Linux with glibc. A
//! verb is short, and a shim is started for every life of every service.
//!
//! At a fixed address: position-independent, it has some ten thousand pointers to fix before `main`,
//! which dirties 47 pages in every process: 190 KB for each shim, and a third of a warm verb's page
//! faults. Fixed, they are fixed at link time and stay clean pages of the file. What is given up is the
//! random place of hearth's own image; libraries, heap and stacks keep theirs.
//!
//! Without libgcc_s, which only panics use: what they need of it is linked in. The loader finds, maps
//! and relocates one library less, and its constructor, which asks the processor for its features one
//! by one, does not run: in a virtual machine each question goes to the hypervisor. A trivial program
//! takes 890 instead of 1,040 microseconds there.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
        if let Some(archive) = unwinder() {
            link_instead_of_libgcc_s(&archive);
        }
    }
}

/// The archive with what panics need, where the compiler that links for this machine has one.
fn unwinder() -> Option<PathBuf> {
    if std::env::var_os("HOST") != std::env::var_os("TARGET") {
        return None;
    }
    let asked = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    // Where it has none it gives the bare name back.
    (path.is_absolute() && path.is_file()).then_some(path)
}

/// std asks for the library by name: it finds a linker script of that name first.
fn link_instead_of_libgcc_s(archive: &Path) {
    let Some(out) = std::env::var_os("OUT_DIR").map(PathBuf::from) else { return };
    let script = format!("INPUT(\"{}\")\n", archive.display());
    if std::fs::write(out.join("libgcc_s.so"), script).is_ok() {
        println!("cargo::rustc-link-search=native={}", out.display());
    }
}
