//! A plain `cargo build` cannot make the kernel half. Without it, it says which command does, and makes no binary.

use std::{env, path::Path, process::Command};

use hostprof_tests::{install::root, process::temp_dir};

#[test]
fn a_build_without_the_kernel_half_names_the_command_that_makes_it() {
    let dir = temp_dir().unwrap();
    // A folder of its own, which is kept: what hostprof needs is compiled once, and the real one stays as it is.
    let target = root().join("target/without-object");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--offline", "--locked", "--package", "profiler-user", "--target-dir"])
        .arg(&target)
        .current_dir(root())
        .env("HOSTPROF_EBPF_OBJECT", dir.path().join("no-object"))
        .env_remove("HOSTPROF_NO_EBPF")
        // As little work as possible.
        .envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0"), ("CARGO_TERM_COLOR", "never")]);
    let ended = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(101), "{said}");
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
    assert!(errors[0].contains("the kernel half is not built: run `cargo xtask build`"), "{said}");
    // The other one is cargo's, which could not compile that.
    assert_eq!(errors.len(), 2, "{said}");
    assert!(!Path::new(&target).join("debug/hostprof").exists(), "a binary without its kernel half");
}
