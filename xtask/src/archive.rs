//! Debian's archive beyond the release of this machine: an apt with its own state.
//!
//! In come the names of suites and a folder; out come packages. It knows only those suites and believes that nothing is
//! installed, so it verifies signatures and hashes as ever and leaves the machine's own packages alone. The addresses
//! of the archives are those that the machine's own apt is set up with.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{apt::apt_get, command::output};

/// Signs every suite of Debian's. Part of every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// An apt of our own in a folder.
#[derive(Debug)]
pub(crate) struct Archive {
    work: PathBuf,
}

impl Archive {
    /// Sets it up in the folder `work` and fetches the lists. A suite that the servers have no more is left out.
    pub(crate) fn open(work: &Path, suites: &[&str]) -> Result<Self> {
        let archive = Self { work: work.to_owned() };
        for dir in [work.join("state/lists/partial"), archive.packages().join("partial")] {
            fs::create_dir_all(&dir).with_context(|| format!("failed to create {}", dir.display()))?;
        }
        let sources = sources(&addresses()?, suites);
        for (name, text) in [("sources.list", sources.as_str()), ("state/status", "")] {
            let path = work.join(name);
            fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        }
        let updated = output(archive.set_up(apt_get()).arg("update"));
        // With several suites the packages decide: what is missing is missed by name.
        if suites.len() == 1 {
            updated?;
        } else if let Err(error) = updated {
            eprintln!("apt: some suites have no lists: {error:#}");
        }
        Ok(archive)
    }

    /// Where `apt-get install --download-only` leaves packages.
    pub(crate) fn packages(&self) -> PathBuf {
        self.work.join("cache/archives")
    }

    /// `apt-get` of this archive.
    pub(crate) fn get(&self) -> Command {
        self.set_up(apt_get())
    }

    /// `apt-cache` of this archive.
    pub(crate) fn cache(&self) -> Command {
        self.set_up(Command::new("apt-cache"))
    }

    fn set_up(&self, mut command: Command) -> Command {
        for (option, path) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State", "state"),
            ("Dir::State::status", "state/status"),
            ("Dir::Cache", "cache"),
        ] {
            command.arg("-o").arg(format!("{option}={}", self.work.join(path).display()));
        }
        // apt's own download user may not reach into target/.
        for option in
            ["Dir::Etc::sourceparts=/dev/null", "APT::Sandbox::User=root", "Acquire::Languages=none"]
        {
            command.args(["-o", option]);
        }
        command
    }
}

/// Where the machine's own apt gets packages and security updates from.
#[derive(Debug, PartialEq, Eq)]
struct Addresses {
    main: String,
    /// Has suites of its own. Not every machine uses it.
    security: Option<String>,
}

fn addresses() -> Result<Addresses> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(LABEL)", "Origin: Debian", "Component: main"]);
    Addresses::parse(&output(&mut targets)?)
        .with_context(|| format!("{targets:?} names no Debian archive: run apt-get update"))
}

impl Addresses {
    /// Out of lines of address and label.
    fn parse(targets: &str) -> Option<Self> {
        let find = |label: &str| {
            let mut lines = targets.lines().filter_map(|line| line.split_once(' '));
            lines.find(|(_, found)| *found == label).map(|(uri, _)| uri.to_owned())
        };
        Some(Self { main: find("Debian")?, security: find("Debian-Security") })
    }
}

/// apt's list of sources. Suites of security updates are in an archive of their own.
fn sources(addresses: &Addresses, suites: &[&str]) -> String {
    let lines = suites.iter().filter_map(|suite| {
        let uri = match suite.ends_with("-security") {
            true => addresses.security.as_ref()?,
            false => &addresses.main,
        };
        Some(format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_apart_by_their_labels() {
        let targets = "http://one.example/b/ Debian Backports\nhttp://two.example/s/ Debian-Security\n\
                       http://three.example/d/ Debian\nhttp://four.example/d/ Debian\n";
        let addresses = Addresses::parse(targets).expect("there is a main archive");
        assert_eq!(addresses.main, "http://three.example/d/");
        assert_eq!(addresses.security.as_deref(), Some("http://two.example/s/"));
        assert_eq!(Addresses::parse("http://two.example/s/ Debian-Security\n"), None);
    }

    #[test]
    fn security_suites_come_from_their_own_archive_or_not_at_all() {
        let mut addresses = Addresses { main: "M".to_owned(), security: Some("S".to_owned()) };
        let suites = ["sid", "bookworm-security"];
        let words = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
        };
        assert_eq!(words(&sources(&addresses, &suites)), ["M sid main", "S bookworm-security main"]);
        addresses.security = None;
        assert_eq!(words(&sources(&addresses, &suites)), ["M sid main"]);
    }
}
