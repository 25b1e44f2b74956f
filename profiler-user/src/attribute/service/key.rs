//! By what processes are found to be of one service: a process goes in, its [`Keys`] come out.
//!
//! The same program is `/usr/bin/mariadb` by its file and `mysql` by its arguments, and the file is not always known. So
//! a process is named in both ways, and its service is found by either.

use super::super::process::Process;
use super::identity::{Identity, identify};

/// What the processes of one service share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) name: String,
    /// The script and the ports as the process has them.
    pub(super) detail: String,
    pub(super) container: Option<String>,
    /// Where the program is; without it any place will do.
    pub(super) path: Option<String>,
}

/// What a process can be found by.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) identity: Identity,
    /// With a path, by which instances are told apart: the file's first, then as it was called. None when
    /// neither is known.
    pub(super) exact: Vec<Key>,
    /// The same without the path.
    pub(super) alike: Vec<Key>,
}

impl Keys {
    pub(super) fn of(process: &Process) -> Self {
        let exe = process.exe.as_deref();
        let identity = identify(process, exe);
        let mut keys = Self { exact: Vec::new(), alike: Vec::new(), identity: identity.clone() };
        keys.add(&identity, process, exe);
        // How a program was called says nothing when that is a link to whatever calls.
        if let Some(called) = process.cmdline.first().filter(|called| !is_link(called)) {
            keys.add(&identify(process, None), process, absolute(called));
        }
        keys
    }

    fn add(&mut self, identity: &Identity, process: &Process, path: Option<&str>) {
        let alike = Key {
            name: identity.name.clone(),
            detail: identity.detail.clone(),
            container: process.container.clone(),
            path: None,
        };
        if path.is_some() && !process.gone {
            self.exact.push(Key { path: path.map(Into::into), ..alike.clone() });
        }
        self.alike.push(alike);
    }
}

fn absolute(path: &str) -> Option<&str> {
    Some(path).filter(|path| path.starts_with('/') && !is_link(path))
}

/// `/proc/self/exe` and its like.
fn is_link(path: &str) -> bool {
    path.starts_with("/proc/")
}
