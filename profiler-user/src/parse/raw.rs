//! Records as they come out of the ring: bytes in, one of the shared structs out, checked for length.

use profiler_ebpf::record::{EXEC_ARGS, Process, Record, UnixName, kind};
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
        args: Vec<String>,
    },
    Exit {
        pid: u32,
    },
    /// A turn of an event loop that took too long.
    Stall(Box<Turn>),
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
                let args = bytes.get(std::mem::offset_of!(Process, args)..)?;
                let len = (word(12)? as usize).min(args.len()).min(EXEC_ARGS);
                Some(Self::Exec { pid: word(4)?, comm: until_nul(comm), args: arguments(&args[..len]) })
            }
            kind::EXIT => Some(Self::Exit { pid: word(4)? }),
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

/// The arguments of a command line, NUL after each; the last may be cut.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
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
        let mut bytes = vec![0u8; std::mem::offset_of!(Process, args)];
        bytes[..4].copy_from_slice(&kind::EXEC.to_ne_bytes());
        bytes[4..8].copy_from_slice(&7u32.to_ne_bytes());
        bytes[12..16].copy_from_slice(&9u32.to_ne_bytes());
        bytes[24..28].copy_from_slice(b"true");
        bytes.extend(b"true\0-x\0\0");
        let Some(Raw::Exec { pid: 7, comm, args }) = Raw::parse(&bytes) else { panic!("no exec") };
        assert_eq!((comm.as_str(), args), ("true", vec!["true".into(), "-x".into(), String::new()]));
    }
}
