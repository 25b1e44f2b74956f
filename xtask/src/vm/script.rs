//! The command of a guest as a shell script: in come program, arguments, folder and environment, out come bytes.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

/// What runs in a guest.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// The program and its arguments.
    pub(super) command: Vec<OsString>,
    pub(super) folder: PathBuf,
    pub(super) environment: Vec<(OsString, OsString)>,
}

impl Task {
    /// The command, run where we run and with our environment.
    pub(super) fn here(command: Vec<OsString>) -> std::io::Result<Self> {
        Ok(Self { command, folder: std::env::current_dir()?, environment: std::env::vars_os().collect() })
    }

    /// A script of one command. Not by `export`, which takes fewer names than an environment may have.
    pub(super) fn script(&self) -> Vec<u8> {
        let Self { command, folder, environment } = self;
        let mut script = b"cd ".to_vec();
        quote(folder.as_os_str(), &mut script);
        script.extend_from_slice(b" && exec /usr/bin/env -i");
        for (name, value) in environment {
            script.push(b' ');
            let assignment = [name.as_bytes(), b"=", value.as_bytes()].concat();
            quote(OsStr::from_bytes(&assignment), &mut script);
        }
        for word in command {
            script.push(b' ');
            quote(word, &mut script);
        }
        script.push(b'\n');
        script
    }
}

/// Adds a word that the shell leaves as it is.
fn quote(word: &OsStr, script: &mut Vec<u8>) {
    script.push(b'\'');
    for byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            byte => script.push(*byte),
        }
    }
    script.push(b'\'');
}

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStringExt as _, process::Command};

    use super::*;

    #[test]
    fn a_shell_runs_the_command_with_these_words_in_this_folder_and_environment() {
        let words = ["printf", r"%s\n", "it's", "$HOME `x` \"y\"", "", "two\nlines", "a\\b"];
        let task = |command: &[&str]| Task {
            command: command.iter().map(OsString::from).collect(),
            folder: PathBuf::from("/usr"),
            environment: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("A-B".into(), "not a shell's name".into()),
                ("C".into(), "x'y\nz".into()),
            ],
        };
        let run = |command: &[&str]| {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(OsString::from_vec(task(command).script())).env("LEFT", "out");
            String::from_utf8(shell.output().unwrap().stdout).unwrap()
        };
        assert_eq!(run(&words), format!("{}\n", words[2..].join("\n")));
        assert_eq!(run(&["pwd"]), "/usr\n");
        assert_eq!(run(&["env", "-0"]), "PATH=/usr/bin:/bin\0A-B=not a shell's name\0C=x'y\nz\0");
    }
}
