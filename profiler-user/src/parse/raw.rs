//! Records as they come out of the ring: bytes in, one of the shared structs out, checked for length.

use profiler_ebpf::life::Event;
use profiler_ebpf::record::{Answer, EXEC_ARGS, Process, Record, UnixName, kind};
use profiler_ebpf::turn::Turn;

/// One record of the ring.
#[derive(Debug)]
pub enum Raw<'a> {
    /// A finished exchange and the kept beginning of its request.
    Exchange {
        record: Box<Record>,
        head: &'a [u8],
    },
    /// The path of a Unix socket's connection.
    Name {
        sk: u64,
        born: u64,
        path: &'a [u8],
    },
    Fork {
        parent: u32,
        child: u32,
    },
    Exec {
        pid: u32,
        comm: String,
        /// The program's file, by its path in its own file system; none where that is not known.
        file: Option<String>,
        args: Vec<String>,
    },
    Exit {
        pid: u32,
    },
    /// A turn of an event loop that took too long.
    Stall(Box<Turn>),
    /// What a name server has answered a process of this network namespace.
    Answer {
        netns: u32,
        message: &'a [u8],
    },
    /// A connection has opened, failed to, or ended.
    Connection(Box<Event>),
}

impl<'a> Raw<'a> {
    /// None for what this version does not know or what is too short: never seen, as both halves are built together.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        match word(0)? {
            kind::EXCHANGE => {
                let record = Box::new(read::<Record>(bytes)?);
                let head = bytes.get(size_of::<Record>()..)?;
                let len = (record.request.head_len as usize).min(head.len());
                Some(Self::Exchange { record, head: &head[..len] })
            }
            kind::UNIX_NAME => {
                let at = std::mem::offset_of!(UnixName, path);
                let path = bytes.get(at..at + word(4)? as usize)?;
                Some(Self::Name { sk: long(8)?, born: long(16)?, path })
            }
            kind::FORK => Some(Self::Fork { child: word(4)?, parent: word(8)? }),
            kind::EXEC => {
                let comm = bytes.get(std::mem::offset_of!(Process, comm)..)?.get(..16)?;
                let text = bytes.get(std::mem::offset_of!(Process, text)..)?;
                let (args, rest) = text.split_at_checked(word(12)? as usize)?;
                let file = rest.get(..word(std::mem::offset_of!(Process, file_len))? as usize)?;
                Some(Self::Exec {
                    pid: word(4)?,
                    comm: until_nul(comm),
                    file: file_path(file),
                    args: arguments(args),
                })
            }
            kind::EXIT => Some(Self::Exit { pid: word(4)? }),
            kind::ANSWER => {
                let message = bytes.get(std::mem::offset_of!(Answer, message)..)?;
                Some(Self::Answer { netns: word(4)?, message: message.get(..word(8)? as usize)? })
            }
            kind::CONNECTION => Some(Self::Connection(Box::new(read::<Event>(bytes)?))),
            kind::STALL => Some(Self::Stall(Box::new(read::<Turn>(bytes)?))),
            _ => None,
        }
    }
}

fn read<T: Copy>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the length is checked; the shared records are plain numbers, valid for any bytes.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

fn until_nul(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The arguments of a command line, NUL after each. One that was cut is left out: half of a port is another port.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let whole = match bytes.iter().rposition(|b| *b == 0) {
        Some(end) if bytes.len() >= EXEC_ARGS => &bytes[..end],
        None if bytes.len() >= EXEC_ARGS => return Vec::new(),
        _ => bytes.strip_suffix(b"\0").unwrap_or(bytes),
    };
    whole.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

/// A path from its names, the last one first, NUL after each.
fn file_path(names: &[u8]) -> Option<String> {
    let names = names.strip_suffix(b"\0")?;
    let names = names.rsplit(|b| *b == 0).map(String::from_utf8_lossy);
    Some(names.fold(String::new(), |path, name| path + "/" + &name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_unknown_records_are_no_records() {
        for len in 0..size_of::<Record>() {
            let mut bytes = vec![0u8; len];
            if len >= 4 {
                bytes[..4].copy_from_slice(&kind::EXCHANGE.to_ne_bytes());
            }
            assert!(Raw::parse(&bytes).is_none());
        }
        assert!(Raw::parse(&[9; 400]).is_none());
    }

    #[test]
    fn an_exec_has_its_arguments() {
        let (comm, file, args) = exec(b"true\0-x\0\0", b"");
        assert_eq!((comm.as_str(), file), ("true", None));
        assert_eq!(args, ["true", "-x", ""]);
    }

    #[test]
    fn an_exec_has_its_programs_file() {
        let (_, file, args) = exec(b"python3\0", b"python3.11\0bin\0usr\0");
        assert_eq!((file.as_deref(), args), (Some("/usr/bin/python3.11"), vec!["python3".into()]));
    }

    #[test]
    fn an_argument_that_was_cut_is_left_out() {
        let line = |first: usize, rest: &str| format!("{}\0{rest}", "x".repeat(first)).into_bytes();
        let whole = line(EXEC_ARGS - 6, "8080\0");
        assert_eq!(whole.len(), EXEC_ARGS);
        assert_eq!(exec(&whole, b"").2, ["x".repeat(EXEC_ARGS - 6).as_str(), "8080"]);
        let cut = line(EXEC_ARGS - 5, "8080");
        assert_eq!(cut.len(), EXEC_ARGS);
        assert_eq!(exec(&cut, b"").2, ["x".repeat(EXEC_ARGS - 5)]);
        assert_eq!(exec(&[b'x'; EXEC_ARGS], b"").2, Vec::<String>::new());
    }

    #[test]
    fn an_exec_that_says_more_than_it_has_is_no_record() {
        let mut bytes = exec_bytes(b"true\0", b"true\0bin\0");
        bytes.pop();
        assert!(Raw::parse(&bytes).is_none());
    }

    fn exec(args: &[u8], file: &[u8]) -> (String, Option<String>, Vec<String>) {
        let bytes = exec_bytes(args, file);
        let Some(Raw::Exec { pid: 7, comm, file, args }) = Raw::parse(&bytes) else { panic!("no exec") };
        (comm, file, args)
    }

    fn exec_bytes(args: &[u8], file: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0u8; std::mem::offset_of!(Process, text)];
        let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        put(0, kind::EXEC);
        put(4, 7);
        put(12, args.len() as u32);
        put(std::mem::offset_of!(Process, file_len), file.len() as u32);
        bytes[24..28].copy_from_slice(b"true");
        [&bytes, args, file].concat()
    }
}
