//! Tells the compiler where the kernel half lies; it never builds it (`cargo xtask build` does).
//!
//! In comes the object at `target/ebpf/hostprof-ebpf`, or wherever `HOSTPROF_EBPF_OBJECT` says; out goes the same
//! variable for `env!`. If there is no object, the variable names an empty file and the cfg `hostprof_ebpf_missing`
//! is set: `cargo check`, `clippy` and `doc` work on a fresh clone, and src/kernel/object.rs refuses to become a binary.
//! `HOSTPROF_NO_EBPF=1` lifts the refusal, for machines that only run unit tests.

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

const OBJECT: &str = "HOSTPROF_EBPF_OBJECT";
const WITHOUT: &str = "HOSTPROF_NO_EBPF";

fn main() -> Result<(), Box<dyn Error>> {
    for variable in [OBJECT, WITHOUT] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rustc-check-cfg=cfg(hostprof_ebpf_missing)");
    let object = match env::var_os(OBJECT) {
        Some(path) => PathBuf::from(path),
        None => {
            // When it runs: a copied target folder has the script as another tree compiled it.
            let root = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo did not set CARGO_MANIFEST_DIR")?;
            Path::new(&root).join("../target/ebpf/hostprof-ebpf")
        }
    };
    println!("cargo::rerun-if-changed={}", object.display());
    let without = env::var_os(WITHOUT).is_some_and(|value| value == "1");
    if object.is_file() && !without {
        println!("cargo::rustc-env={OBJECT}={}", object.canonicalize()?.display());
        return Ok(());
    }
    let empty = Path::new(&env::var_os("OUT_DIR").ok_or("cargo did not set OUT_DIR")?).join("no-object");
    fs::write(&empty, [])?;
    println!("cargo::rustc-env={OBJECT}={}", empty.display());
    if !without {
        println!("cargo::rustc-cfg=hostprof_ebpf_missing");
    }
    Ok(())
}
