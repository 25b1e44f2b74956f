//! A peer goes by the name that a process has looked up, by the system's resolver and a name server of its own; where
//! nobody has, it goes by its address. hostprof itself asks nobody.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use hostprof_tests::{
    Netns, Process, Recording,
    install::{app, program},
    process::{PATIENCE, temp_dir},
};

const HOST: &str = "10.77.0.9";
const PORT: &str = "8080";
const NAME: &str = "db.shop.internal";

/// The script as a service of its own, in the namespace and with these settings of the resolver.
fn script(netns: &Netns, dir: &Path, called: &str, arguments: &[&str]) -> Result<Command> {
    let script = dir.join(format!("{called}.py"));
    symlink(app("names.py"), &script).context("failed to link a script")?;
    let resolver = dir.join("resolv.conf");
    fs::write(&resolver, "nameserver 127.0.0.1\n").context("failed to write the resolver's settings")?;
    // A mount that nobody else sees.
    let run = r#"mount --bind "$1" /etc/resolv.conf && shift && exec "$@""#;
    let mut command = Command::new(program("unshare")?);
    command.args(["--mount", "sh", "-c", run, "sh"]).arg(&resolver);
    command.args(["python3", "-B"]).arg(&script).args(arguments);
    netns.holds(&mut command)?;
    Ok(command)
}

#[test]
fn a_peer_has_the_name_that_it_was_looked_up_by() -> Result<()> {
    let dir = temp_dir()?;
    let places = [Netns::make(&[&format!("{HOST}/24")])?, Netns::make(&[&format!("{HOST}/24")])?];
    let mut servers = Vec::new();
    for (netns, called) in places.iter().zip(["names_one", "names_two"]) {
        let mut command = script(netns, dir.path(), called, &["serve", "mysql-1.internal", HOST, PORT])?;
        let mut server = Process::start(called, &mut command, dir.path())?;
        server.wait_until("it was listening", |process| process.stdout().contains("listening"))?;
        servers.push(server);
    }
    let recording = Recording::start(&[])?;
    let ask = |netns: &Netns, called: &str, host: &str| -> Result<u32> {
        let mut command = script(netns, dir.path(), called, &["ask", host, PORT])?;
        Ok(Process::run(called, &mut command, PATIENCE)?.0)
    };
    let by_name = ask(&places[0], "by_name", NAME)?;
    // The same address, where nobody has looked it up.
    let by_number = ask(&places[1], "by_number", HOST)?;
    let report = recording.finish()?;
    for (pid, name) in [(by_name, Some(NAME)), (by_number, None)] {
        let rows = report.rows("connections").of(&[pid]).role("client");
        let row = rows.with("peer", format!("{HOST}:{PORT}")).only()?;
        ensure!(row["peer_name"].as_str() == name, "not {name:?}: {row:#}");
        ensure!(row["established"] == 1 && row["closed"] == 1, "{row:#}");
    }
    servers.into_iter().try_for_each(Process::stop)
}
