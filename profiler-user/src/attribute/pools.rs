//! Whose threads share a set as equals: a process goes in, whether its program is one of Go's comes out. Any of Go's
//! threads may look at the runtime's only set at any time, while another waits on it (netpoll() in runtime/proc.go): the
//! time between two looks of one of them means nothing. That several threads wait on a set the kernel's side sees, too,
//! but not of a thread that has waited since before the hooks.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use lru::LruCache;

use super::service::runtime;

/// Processes remembered at the most; the one not asked for longest is forgotten first.
const MOST: NonZeroUsize = NonZeroUsize::new(8_192).unwrap();

/// What is known of processes.
#[derive(Debug)]
pub struct Pools {
    proc_root: PathBuf,
    known: LruCache<u32, bool>,
}

impl Pools {
    /// Programs are read through the `/proc` at `proc_root`.
    pub fn new(proc_root: PathBuf) -> Self {
        Self { proc_root, known: LruCache::new(MOST) }
    }

    /// Whether the threads of this process share a set. Its program is read when it is first asked for; one that has
    /// ended by then has none.
    pub fn has(&mut self, pid: u32) -> bool {
        *self.known.get_or_insert(pid, || {
            let exe = self.proc_root.join(pid.to_string()).join("exe");
            runtime::of_file(&exe) == Some(runtime::GO)
        })
    }

    /// The same, of a process that is not asked for alone: only `unread` programs are read, as many as are left of it. A
    /// process whose program would be one too many has a set like Go's until then.
    pub fn may_have(&mut self, pid: u32, unread: &mut usize) -> bool {
        if !self.known.contains(&pid) {
            if *unread == 0 {
                return true;
            }
            *unread -= 1;
        }
        self.has(pid)
    }

    /// This number is a new process's from now on, or its process another program's. Not to be called at an end: what
    /// the process did before may still be on its way.
    pub fn renew(&mut self, pid: u32) {
        self.known.pop(&pid);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use object::write::{Object, StandardSegment};
    use object::{Architecture, BinaryFormat, Endianness, SectionKind};

    use super::*;

    #[test]
    fn a_program_of_go_until_its_number_is_anothers() {
        let root = tempfile::tempdir().unwrap();
        let mut file = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let segment = file.segment_name(StandardSegment::Data).to_vec();
        file.add_section(segment, b".go.buildinfo".to_vec(), SectionKind::Data);
        let program = root.path().join("program");
        fs::write(&program, file.write().unwrap()).unwrap();
        let dir = root.path().join("7");
        fs::create_dir(&dir).unwrap();
        symlink(&program, dir.join("exe")).unwrap();
        let mut pools = Pools::new(root.path().into());
        let mut unread = 1;
        assert!(!pools.may_have(9, &mut unread));
        assert!(pools.may_have(10, &mut unread), "not read yet");
        assert!(!pools.may_have(9, &mut unread), "read before");
        assert!(pools.has(7));
        assert!(!pools.has(8));
        fs::remove_file(dir.join("exe")).unwrap();
        assert!(pools.has(7), "it has ended, and what it did is still to come");
        symlink(std::env::current_exe().unwrap(), dir.join("exe")).unwrap();
        pools.renew(7);
        assert!(!pools.has(7));
    }
}
