//! What is asked of a process before its memory is read: whether it is still the same program, what kind of program,
//! and how its threads are numbered inside.

use std::fs;
use std::io::Read;

/// A process as it is now.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) identity: Identity,
}

/// Tells a program apart from the one that had this number before, and from what it becomes by execve: when the process
/// began, and where the kernel put its code and its stack (proc_pid_stat(5), fields 22, 26 and 28; the addresses are 0
/// for whoever may not read its memory).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    begun: u64,
    code: u64,
    stack: u64,
}

/// What kind of program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Python,
    Native,
    /// For another kind of processor, or not to be read.
    Foreign,
}

/// `e_ident` (include/uapi/linux/elf.h): the magic number, then the class.
const ELF_64: [u8; 5] = [0x7f, b'E', b'L', b'F', 2];

impl Process {
    /// None where it is gone or may not be read.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, identity: Identity::parse(&stat)? })
    }

    pub(super) fn kind(&self) -> Kind {
        if !self.is_64_bit() {
            return Kind::Foreign;
        }
        let exe = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let name = exe.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("python")
            || fs::read_to_string(self.file("maps")).is_ok_and(|maps| has_python(&maps))
        {
            Kind::Python
        } else {
            Kind::Native
        }
    }

    fn is_64_bit(&self) -> bool {
        let mut magic = [0; ELF_64.len()];
        let file = fs::File::open(self.file("exe"));
        file.and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == ELF_64
    }

    pub(super) fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid)
    }

    /// The user to whom the files belong that it makes.
    pub(super) fn user(&self) -> Option<u32> {
        user(&fs::read_to_string(self.file("status")).ok()?)
    }

    /// The number that a thread has in its own pid namespace.
    pub(super) fn inner(&self, tid: u32) -> Option<u32> {
        let status = fs::read_to_string(self.file(&format!("task/{tid}/status"))).ok()?;
        inner(&status)
    }

    /// The thread that has this number in its own pid namespace.
    pub(super) fn outer(&self, number: u32) -> Option<u32> {
        if self.inner(number) == Some(number) {
            return Some(number);
        }
        let tasks = fs::read_dir(self.file("task")).ok()?;
        let mut tids = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
        tids.find(|tid| self.inner(*tid) == Some(number))
    }
}

impl Identity {
    fn parse(stat: &str) -> Option<Self> {
        // The name, in brackets, may have brackets and blanks itself.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self { begun: field(22)?, code: field(26)?, stack: field(28)? })
    }
}

/// Whether the mapped files are those of a Python, as the program itself or as a library in it.
fn has_python(maps: &str) -> bool {
    let files = maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| path);
    files
        .filter_map(|path| path.rsplit('/').next())
        .any(|name| name.starts_with("libpython") || name.contains(".cpython-") || is_python(name))
}

/// `python`, `python3`, `python3.11`.
fn is_python(name: &str) -> bool {
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    name.strip_prefix("python").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
}

/// The last of the numbers, which begin with the one that the reader of `/proc` sees (`NSpid:`, proc_pid_status(5)).
fn inner(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// The last of the four: real, effective, saved and of the file system (`Uid:`, proc_pid_status(5)).
fn user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_program() {
        let stat = |name: &str, code: u64| {
            let before = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18";
            format!("7 ({name}) {before} 99 20 21 22 {code} 24 77 26")
        };
        let one = Identity::parse(&stat("a) b (", 5)).unwrap();
        assert_eq!(one, Identity { begun: 99, code: 5, stack: 77 });
        assert_ne!(Identity::parse(&stat("x", 6)).unwrap(), one, "execve");
        assert_eq!(Identity::parse("7 (x) S 1"), None);
        let own = Process::of(std::process::id()).unwrap();
        assert_eq!(own.identity, Process::of(std::process::id()).unwrap().identity);
        assert_eq!(own.kind(), Kind::Native);
        assert_eq!(own.inner(own.pid), own.outer(own.pid).and_then(|tid| own.inner(tid)));
    }

    #[test]
    fn a_python_by_its_files() {
        let maps = |path: &str| format!("7f0000000000-7f0000001000 r-xp 00000000 08:01 5   {path}\n");
        for path in [
            "/usr/bin/python3.11",
            "/opt/x/libpython3.12.so.1.0",
            "/usr/lib/python3/dist-packages/x.cpython-311-x86_64-linux-gnu.so",
            "/usr/bin/python3 (deleted)",
        ] {
            assert!(has_python(&maps(path)), "{path}");
        }
        for path in ["/usr/bin/node", "/srv/python-shop/server", "/usr/lib/libc.so.6", "/usr/bin/pythonesque"]
        {
            assert!(!has_python(&maps(path)), "{path}");
        }
    }

    #[test]
    fn whose_files_it_makes() {
        assert_eq!(user("Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\n"), Some(4));
        assert_eq!(user("Name:\tx\n"), None);
    }

    #[test]
    fn the_number_inside() {
        assert_eq!(inner("Name:\tx\nNSpid:\t4711\t17\t1\n"), Some(1));
        assert_eq!(inner("Name:\tx\nNSpid:\t4711\n"), Some(4711));
        assert_eq!(inner("Name:\tx\n"), None);
    }
}
