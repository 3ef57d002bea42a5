//! Links the executable at a fixed address on Linux with glibc.
//!
//! Position-independent, it has some ten thousand pointers to fix before `main`, which dirties 47
//! pages in every process: 190 KB for each shim, and a third of a warm verb's page faults. Fixed, they
//! are fixed at link time and stay clean pages of the file. What is given up is the random place of
//! hearth's own image; libraries, heap and stacks keep theirs.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
