//! The contract's table of rights, row by row: hostprof with one capability less either says its name and ends with
//! 1, or counts the same traffic as ever and says in the report what is missing. Truth: the client's own count.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use anyhow::Result;
use hostprof_tests::{
    HttpClient, HttpServer, Listen, Report, Runtime,
    cli::{Ended, Running, shell},
    hostprof::binary,
    process::temp_dir,
};
use serde_json::Value;

const REQUESTS: u64 = 25;

/// A command that runs hostprof without these capabilities, and without any way to them.
fn without(capabilities: &[&str]) -> Result<Command> {
    let set: Vec<String> = capabilities.iter().map(|name| format!("-{name}")).collect();
    let mut command = Command::new("setpriv");
    command.arg(format!("--bounding-set={}", set.join(","))).arg(format!("--inh-caps={}", set.join(",")));
    command.arg("--").arg(binary()?);
    Ok(command)
}

/// Records known traffic with this command; the report that it prints.
fn record(command: &mut Command, arguments: &[&str]) -> Result<Ended> {
    let server = HttpServer::start(Runtime::Go, Listen::Tcp)?;
    let port = server.address().port()?.to_string();
    command.args(["record", "--format", "json", "--port", &port]).args(arguments);
    let running = Running::attached(command)?;
    let mut client = HttpClient::new(server.address());
    for n in 0..REQUESTS {
        client.get(&format!("/items/{n}"))?;
    }
    let ended = running.end(libc::SIGINT)?;
    server.stop()?;
    Ok(ended)
}

/// Fails unless all of the traffic is there, on both sides.
fn counted(ended: &Ended) -> Report {
    assert!(ended.is_clean() && ended.complaints().is_empty(), "{ended}");
    let report = ended.report().unwrap();
    for role in ["server", "client"] {
        let rows = report.rows("http").role(role).with("status", 200);
        assert_eq!(rows.count(), REQUESTS, "{role}: {:#}", report.json());
    }
    assert!(report.lost().is_empty(), "{:?}", report.lost());
    report
}

fn limits(report: &Report) -> Vec<&str> {
    let limits = report.json()["capture"]["limits"].as_array();
    limits.into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn with_all_rights_nothing_is_missing() {
    let report = counted(&record(&mut Command::new(binary().unwrap()), &[]).unwrap());
    assert_eq!(limits(&report), Vec::<&str>::new());
    assert!(report.json()["capture"]["probe_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn without_bpf_or_perfmon_it_ends_with_1_and_the_name() {
    for (dropped, named, not_named) in [
        (&["bpf", "sys_admin"][..], &["CAP_BPF"][..], &["CAP_PERFMON"][..]),
        (&["perfmon", "sys_admin"], &["CAP_PERFMON"], &["CAP_BPF"]),
        (&["bpf", "perfmon", "sys_admin"], &["CAP_BPF", "CAP_PERFMON"], &[]),
    ] {
        for verb in [&["record", "-d", "600s"][..], &["trace"], &["record", "--", "true"], &["demo"]] {
            let mut command = without(dropped).unwrap();
            let ended = Running::start(command.args(verb)).unwrap().wait().unwrap();
            assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{verb:?}: {ended}");
            let line = ended.complaint().unwrap();
            assert!(named.iter().all(|name| line.contains(name)), "{dropped:?}: {line}");
            assert!(!not_named.iter().any(|name| line.contains(name)), "{dropped:?}: {line}");
        }
        let mut command = without(dropped).unwrap();
        let ended = Running::start(command.args(["doctor", "--format", "json"])).unwrap().wait().unwrap();
        assert_eq!(ended.code(), Some(1), "{ended}");
        let found: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(found["can_record"], false);
        for check in found["checks"].as_array().unwrap() {
            let id = check["id"].as_str().unwrap();
            if named.contains(&id) {
                assert_eq!(check["ok"], false, "{check}");
            }
        }
    }
}

#[test]
fn cap_sys_admin_stands_for_bpf_and_perfmon() {
    let report = counted(&record(&mut without(&["bpf", "perfmon"]).unwrap(), &[]).unwrap());
    assert_eq!(limits(&report), Vec::<&str>::new());
}

#[test]
fn without_one_of_the_others_it_runs_and_says_what_is_missing() {
    for (dropped, named) in [
        (&["sys_ptrace"][..], "CAP_SYS_PTRACE"),
        // The right to write to any file stands for the right to read it.
        (&["dac_read_search", "dac_override"], "CAP_DAC_READ_SEARCH"),
        (&["sys_admin"], "CAP_SYS_ADMIN"),
    ] {
        let report = counted(&record(&mut without(dropped).unwrap(), &[]).unwrap());
        let said = limits(&report);
        assert!(said.len() == 1 && said[0].contains(named), "{dropped:?}: {said:?}");
        let knows = report.json()["capture"]["probe_seconds"].is_number();
        assert_eq!(knows, named != "CAP_SYS_ADMIN", "{:#}", report.json()["capture"]);

        let mut command = without(dropped).unwrap();
        let text = Running::start(command.args(["record", "-d", "100ms"])).unwrap().wait().unwrap();
        assert!(text.stdout.contains("Limits of this run") && text.stdout.contains(named), "{text}");
        let mut command = without(dropped).unwrap();
        let doctor = Running::start(command.arg("doctor")).unwrap().wait().unwrap();
        assert!(doctor.code() == Some(0) && doctor.stdout.contains(&format!("no   {named}")), "{doctor}");
    }
}

#[test]
fn without_cap_sys_resource_it_runs() {
    // This kernel does not count maps against the limit; the sums for those that do are unit tests (kernel/memlock.rs).
    let mut command = Command::new("prlimit");
    command.arg("--memlock=65536:65536").arg("--").args(
        std::iter::once("setpriv".into())
            .chain(without(&["sys_resource"]).unwrap().get_args().map(std::ffi::OsStr::to_owned)),
    );
    let report = counted(&record(&mut command, &[]).unwrap());
    assert_eq!(limits(&report), Vec::<&str>::new());
}

#[test]
fn a_user_with_bpf_and_perfmon_alone_records() {
    let dir = temp_dir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("hostprof");
    fs::copy(binary().unwrap(), &copy).unwrap();
    let only = "-all,+bpf,+perfmon";
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args(["--bounding-set", "--inh-caps", "--ambient-caps"].map(|set| format!("{set}={only}")));
    command.arg("--").arg(&copy);
    let report = counted(&record(&mut command, &[]).unwrap());
    let said = limits(&report);
    for name in ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"] {
        assert!(said.iter().any(|limit| limit.contains(name)), "no {name} in {said:?}");
    }
    // Root's executables are not this user's to see: the service goes by its command line.
    let services = report.json()["services"].as_array().unwrap();
    assert!(
        services.iter().all(|service| service["exe"].is_null() && service["name"] != "unknown"),
        "{services:#?}"
    );

    let mut plain = Command::new("setpriv");
    plain.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy).arg("record");
    let ended = Running::start(&mut plain).unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(ended.complaint().unwrap().contains("CAP_BPF"), "{ended}");
}

/// A shell in a mount namespace of its own, where tracefs is not mounted.
fn without_tracefs(script: &str) -> Result<Command> {
    let shell =
        shell(&format!("umount -R /sys/kernel/debug 2>/dev/null; umount -R /sys/kernel/tracing; {script}"))?;
    let mut command = Command::new("unshare");
    command.env("HOSTPROF", binary()?).arg("--mount").arg(shell.get_program()).args(shell.get_args());
    Ok(command)
}

#[test]
fn without_tracefs_the_raw_tracepoints_are_enough() {
    let mut command = without_tracefs("exec \"$HOSTPROF\" \"$@\"").unwrap();
    command.arg("hostprof");
    let report = counted(&record(&mut command, &[]).unwrap());
    assert_eq!(report.json()["capture"]["hooks"]["socket"], "sock-tracepoints");

    let script = "exec \"$HOSTPROF\" record -d 600s --socket-hooks syscall-exit";
    let ended = Running::start(&mut without_tracefs(script).unwrap()).unwrap().wait().unwrap();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{ended}");
    assert!(ended.complaint().unwrap().contains("mount -t tracefs"), "{ended}");

    let doctor = without_tracefs("exec \"$HOSTPROF\" doctor").unwrap();
    let ended = Running::start(&mut { doctor }).unwrap().wait().unwrap();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(ended.stdout.contains("no   tracefs") && ended.stdout.contains("mount -t tracefs"), "{ended}");
}
