//! The command line without much traffic: exit statuses, settings files and where a report goes, judged by what a
//! shell sees. 0 is done, 1 is not done and says why on one line, 2 is a wrong command line.

use std::{fs, os::unix::fs::symlink};

use hostprof_tests::{
    Report,
    cli::{self, Running, read},
    process::temp_dir,
};

#[test]
fn wrong_usage_ends_with_2_and_nothing_on_stdout() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["record", "--nonsense"],
        &["record", "-d", "soon"],
        &["record", "-d", "0s"],
        &["record", "-d", "-3s"],
        &["record", "--port", "99999"],
        &["record", "--pid", "me"],
        &["record", "--protocol", "smtp"],
        &["record", "--format", "pdf"],
        &["record", "--head-bytes", "1"],
        &["record", "--ring-size", "1"],
        &["record", "--max-connections", "0"],
        &["record", "--slower-than", "fast"],
        &["record", "--route", "no-slash"],
        &["record", "--socket-hooks", "magic"],
        &["record", "--all"],
        &["record", "-d", "1s", "--", "true"],
        &["trace", "--format", "prom"],
        &["doctor", "--pid", "1"],
        &["demo", "-d", "10m"],
    ] {
        let ended = cli::run(arguments).unwrap();
        assert_eq!(ended.code(), Some(2), "{arguments:?}: {ended}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended}");
        assert!(ended.is_clean(), "{ended}");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for arguments in [&["--help"][..], &["--version"], &["help", "record"], &["trace", "--help"]] {
        let ended = cli::run(arguments).unwrap();
        assert_eq!(ended.code(), Some(0), "{ended}");
        assert!(ended.stderr.is_empty() && !ended.stdout.is_empty(), "{ended}");
    }
    let help = cli::run(&["record", "--help"]).unwrap().stdout;
    for flag in [
        "--output",
        "--format",
        "--pid",
        "--comm",
        "--port",
        "--cgroup",
        "--container",
        "--protocol",
        "--slower-than",
        "--errors",
        "--config",
        "--route",
        "--max-connections",
        "--ring-size",
        "--head-bytes",
        "--log-kernel",
        "--all",
    ] {
        assert!(help.contains(flag), "no {flag} in {help}");
    }
}

#[test]
fn a_settings_file_that_cannot_be_used_ends_with_1_and_its_name() {
    let dir = temp_dir().unwrap();
    for (text, why) in [
        ("port = [80", "port"),
        ("colour = \"always\"", "colour"),
        ("slower-than = \"soon\"", "soon"),
        ("port = [99999]", "port"),
        ("head-bytes = 3", "head-bytes"),
        ("max-connections = 0", "max-connections"),
        ("ring-size = \"9G\"", "9G"),
        ("route = [\"no-slash\"]", "no-slash"),
    ] {
        let file = cli::settings(&dir, text).unwrap();
        for verb in ["record", "trace"] {
            let ended = cli::run(&[verb, "--config", &file]).unwrap();
            assert_eq!(ended.code(), Some(1), "{text}: {ended}");
            let line = ended.complaint().unwrap();
            assert!(line.contains(&file) && line.contains(why), "{text}: {line}");
        }
    }
    for missing in ["/nonexistent/hostprof.toml", "/"] {
        let ended = cli::run(&["record", "--config", missing]).unwrap();
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(ended.complaint().unwrap().contains(missing), "{ended}");
    }
}

#[test]
fn every_output_gets_the_format_of_its_ending() {
    let dir = temp_dir().unwrap();
    let path = |name: &str| dir.path().join(name);
    // Written through a link, and over an older one.
    fs::write(path("real.txt"), "old").unwrap();
    symlink("real.txt", path("link.txt")).unwrap();
    let mut command = cli::command(["record", "-d", "200ms", "--format", "json"]).unwrap();
    for name in ["report.json", "link.txt", "report.prom", "report.unknown", "report"] {
        command.arg("-o").arg(path(name));
    }
    let ended = Running::start(&mut command).unwrap().wait().unwrap();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(0), ""), "{ended}");
    for name in ["report.json", "report.unknown", "report"] {
        Report::parse(&read(&path(name)).unwrap()).unwrap();
    }
    assert!(read(&path("real.txt")).unwrap().starts_with("hostprof "), "the text went elsewhere");
    assert!(fs::symlink_metadata(path("link.txt")).unwrap().is_symlink());
    assert!(read(&path("report.prom")).unwrap().ends_with("# EOF\n"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "something was left beside the reports");
}

#[test]
fn an_output_that_cannot_be_is_refused_before_anything_is_recorded() {
    for (file, why) in
        [("/nonexistent/report.json", "/nonexistent"), ("/proc", "directory"), ("/tmp/report.html", "HTML")]
    {
        let ended = cli::run(&["record", "-d", "600s", "-o", file]).unwrap();
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(ended.stdout.is_empty() && ended.complaint().unwrap().contains(why), "{ended}");
        assert!(!ended.stderr.contains("recording"), "{ended}");
    }
}

#[test]
fn a_report_that_no_file_takes_goes_to_stdout() {
    let dir = temp_dir().unwrap();
    // A device that is always full, a small file system that is, and one that may only be read.
    let script = r#"
        set -e
        mkdir "$1/full" "$1/only-read"
        mount -t tmpfs -o size=8k none "$1/full"
        mount -t tmpfs -o ro none "$1/only-read"
        head -c 8192 /dev/zero > "$1/full/taken" || true
        shift
        exec "$HOSTPROF" record -d 200ms --format json "$@""#;
    let place = |name: &str| dir.path().join(name).display().to_string();
    let full = place("full/report.json");
    let only_read = place("only-read/report.json");
    for (files, why) in [
        (vec!["/dev/full"], "full"),
        (vec![full.as_str()], "full"),
        (vec![only_read.as_str()], "read-only"),
        (vec!["/dev/full", &only_read], "full"),
    ] {
        let shell = cli::shell(script).unwrap();
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "bash", "-c", script, "test"]).arg(dir.path());
        for (name, value) in shell.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        for file in &files {
            command.args(["-o", file]);
        }
        let ended = Running::start(&mut command).unwrap().wait().unwrap();
        assert_eq!(ended.code(), Some(1), "{files:?}: {ended}");
        Report::parse(&ended.stdout).unwrap();
        let complaints = ended.complaints();
        for file in &files {
            assert!(complaints.iter().any(|line| line.contains(file)), "{file}: {ended}");
        }
        assert!(complaints.iter().any(|line| line.contains(why)), "{why}: {ended}");
        assert!(ended.is_clean(), "{ended}");
        fs::remove_dir(dir.path().join("full")).unwrap();
        fs::remove_dir(dir.path().join("only-read")).unwrap();
    }
}

#[test]
fn one_file_that_fails_does_not_cost_the_others() {
    let dir = temp_dir().unwrap();
    let good = dir.path().join("report.json");
    let arguments = ["record", "-d", "200ms", "-o", "/dev/full", "-o", good.to_str().unwrap()];
    let ended = cli::run(&arguments).unwrap();
    assert_eq!((ended.code(), ended.stdout.as_str()), (Some(1), ""), "{ended}");
    assert!(ended.complaint().unwrap().contains("/dev/full"), "{ended}");
    Report::parse(&read(&good).unwrap()).unwrap();
}

#[test]
fn the_settings_file_and_the_command_line_go_together() {
    let dir = temp_dir().unwrap();
    // Every key of the contract's flags, as far as they are settings.
    let text = "pid = [1]\ncomm = [\"a\"]\nport = [1]\ncgroup = [\"b\"]\ncontainer = [\"c\"]\n\
        protocol = [\"http\", \"mysql\"]\nslower-than = \"1ms\"\nerrors = true\nroute = [\"/a/{id}\"]\n\
        max-connections = 1024\nring-size = \"1M\"\nhead-bytes = 256\nsocket-hooks = \"raw-exit\"\nlog-kernel = false\n";
    let file = cli::settings(&dir, text).unwrap();
    let record = |more: &[&str]| {
        let mut arguments = vec!["record", "-d", "200ms", "--format", "json", "--config", &file];
        arguments.extend(more);
        cli::run(&arguments).unwrap().report().unwrap()
    };
    let hooks = |report: &Report| report.json()["capture"]["hooks"]["socket"].as_str().unwrap().to_owned();
    assert_eq!(hooks(&record(&[])), "raw-exit");
    assert_eq!(hooks(&record(&["--socket-hooks", "sock-tracepoints"])), "sock-tracepoints");
}
