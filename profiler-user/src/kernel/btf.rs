//! The kernel's own description of its types: bytes of BTF go in, offsets of members and numbers of arguments come out.
//!
//! The probes read kernel structures, whose layout differs from kernel to kernel; a compiled-in layout would read
//! garbage (law 7). Crates for BTF build every type as objects (60 MB and more); this reader keeps the bytes and where
//! each record begins, and answers from there. Format: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of the
//! kernel. The bytes are treated as hostile: whatever they are, the answer is a value or an error.

mod member;
mod record;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use member::{Bits, Member};
use record::{FUNC, FUNC_PROTO, PTR, Record, STRUCT, TYPEDEF, UNION, hash, read, tail};

/// Where the kernel shows its BTF (CONFIG_DEBUG_INFO_BTF, kernel/bpf/sysfs_btf.c).
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// BTF_MAGIC.
const MAGIC: u16 = 0xeb9f;
/// Types of a kernel.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    /// Where each type's record begins in `bytes`; type 0 (void) has none.
    records: Vec<u32>,
    /// The section of strings, as a range of `bytes`.
    strings: std::ops::Range<usize>,
    /// Structs, unions, functions and `btf_trace_*` by the hash of their name, sorted.
    names: Vec<(u32, u32)>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum BtfError {
    #[error(
        "cannot read {}: {source}; the kernel must be built with CONFIG_DEBUG_INFO_BTF (Linux 5.4 and newer)",
        path.display()
    )]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the kernel's BTF is not valid: {what} at byte {at}")]
    Invalid { what: &'static str, at: usize },
    #[error("this kernel knows no {kind} {name}")]
    Unknown { kind: &'static str, name: String },
    #[error("struct {name} of this kernel has no member {member}")]
    NoMember { name: String, member: String },
    #[error("{member} of struct {name} is a bitfield of {count} bits and has no byte of its own")]
    Bitfield { name: String, member: String, count: u8 },
}

impl Btf {
    /// The running kernel's.
    pub fn from_kernel() -> Result<Self, BtfError> {
        Self::from_file(Path::new(KERNEL_BTF))
    }

    /// Raw BTF of a file.
    pub fn from_file(path: &Path) -> Result<Self, BtfError> {
        let bytes =
            std::fs::read(path).map_err(|source| BtfError::Unreadable { path: path.into(), source })?;
        Self::parse(bytes)
    }

    /// Checks the frame of every record, one pass.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        // struct btf_header: magic u16, version u8, flags u8, hdr_len, type_off, type_len, str_off, str_len.
        let magic = bytes.get(..2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
        if magic != Some(MAGIC) {
            return Err(BtfError::Invalid { what: "no BTF of this machine's byte order", at: 0 });
        }
        let header = read(&bytes, 4)? as usize;
        let section = |offset: usize, length: usize| {
            let start = header + read(&bytes, offset)? as usize;
            let end = start + read(&bytes, length)? as usize;
            let whole = bytes.get(start..end).is_some();
            whole
                .then_some(start..end)
                .ok_or(BtfError::Invalid { what: "a section beyond the end", at: offset })
        };
        let types = section(8, 12)?;
        let strings = section(16, 20)?;
        // Records take 12 bytes and more; the kernel's 126,000 types take 25 on average.
        let mut records = Vec::with_capacity(types.len() / 25);
        records.push(0);
        let mut at = types.start;
        while at < types.end {
            let info = read(&bytes, at + 4)?;
            let size = 12 + tail(info).ok_or(BtfError::Invalid { what: "an unknown kind of type", at })?;
            if at + size > types.end {
                return Err(BtfError::Invalid { what: "a type beyond the end", at });
            }
            records.push(u32::try_from(at).map_err(|_| BtfError::Invalid { what: "too many types", at })?);
            at += size;
        }
        let mut btf = Self { bytes, records, strings, names: Vec::new() };
        btf.index();
        Ok(btf)
    }

    /// Bytes from the start of a struct to a member, which may be of an anonymous part (`skc_dport` of `sock_common`) or
    /// nested (`__sk_common.skc_dport` of `sock`). Pointers are not followed.
    ///
    /// A bitfield of whole bytes has an offset (`sk_protocol` of `sock` before Linux 5.6), other ones are an error.
    pub fn offset(&self, name: &str, member: &str) -> Result<u32, BtfError> {
        match self.member(name, member)? {
            Member { offset, bits: None } => Ok(offset),
            Member { offset, bits: Some(bits) } if bits.first == 0 && bits.count.is_multiple_of(8) => {
                Ok(offset)
            }
            Member { bits: Some(bits), .. } => {
                Err(BtfError::Bitfield { name: name.into(), member: member.into(), count: bits.count })
            }
        }
    }

    /// As [`Btf::offset`], bitfields included.
    pub fn member(&self, name: &str, path: &str) -> Result<Member, BtfError> {
        let mut known = false;
        // Static structs of different files may share a name: the first that has the member is taken.
        for id in self.named(name, &[STRUCT, UNION]) {
            known = true;
            if let Some(member) = self.walk(id, path)? {
                return Ok(member);
            }
        }
        Err(match known {
            true => BtfError::NoMember { name: name.into(), member: path.into() },
            false => BtfError::Unknown { kind: "struct", name: name.into() },
        })
    }

    /// Whether there is a struct or union of that name.
    pub fn has_struct(&self, name: &str) -> bool {
        self.named(name, &[STRUCT, UNION]).next().is_some()
    }

    /// Bytes of a struct or union.
    pub fn size_of(&self, name: &str) -> Result<u32, BtfError> {
        let id = self.named(name, &[STRUCT, UNION]).next();
        let id = id.ok_or_else(|| BtfError::Unknown { kind: "struct", name: name.into() })?;
        Ok(self.record(id)?.size)
    }

    /// Number of arguments that a raw tracepoint hands to its probes.
    ///
    /// `btf_trace_NAME` is the type of the tracepoint's probes: a pointer to a function whose first argument is the
    /// kernel's own `void *__data` (__DEFINE_TRACE and __BPF_DECLARE_TRACE, include/trace/bpf_probe.h).
    pub fn tracepoint_args(&self, tracepoint: &str) -> Result<u32, BtfError> {
        let unknown = || BtfError::Unknown { kind: "tracepoint", name: tracepoint.into() };
        let id = self.named(&format!("btf_trace_{tracepoint}"), &[TYPEDEF]).next().ok_or_else(unknown)?;
        let pointer = self.record(self.strip(id)?)?;
        if pointer.kind() != PTR {
            return Err(unknown());
        }
        let proto = self.record(self.strip(pointer.size)?)?;
        if proto.kind() != FUNC_PROTO { Err(unknown()) } else { Ok((proto.count() as u32).saturating_sub(1)) }
    }

    /// Number of arguments of a kernel function, for fentry and fexit.
    pub fn function_args(&self, function: &str) -> Result<u32, BtfError> {
        let unknown = || BtfError::Unknown { kind: "function", name: function.into() };
        let id = self.named(function, &[FUNC]).next().ok_or_else(unknown)?;
        let proto = self.record(self.record(id)?.size)?;
        if proto.kind() == FUNC_PROTO { Ok(proto.count() as u32) } else { Err(unknown()) }
    }

    fn index(&mut self) {
        let mut names = Vec::new();
        for id in 1..self.records.len() as u32 {
            let Ok(record) = self.record(id) else { continue };
            if !matches!(record.kind(), STRUCT | UNION | FUNC | TYPEDEF) {
                continue;
            }
            let Some(name) = self.string(record.name).filter(|name| !name.is_empty()) else { continue };
            if record.kind() != TYPEDEF || name.starts_with(b"btf_trace_") {
                names.push((hash(name), id));
            }
        }
        names.sort_unstable();
        names.shrink_to_fit();
        self.names = names;
    }

    /// The types of a name and one of these kinds, in the order of their numbers.
    fn named(&self, name: &str, kinds: &'static [u32]) -> impl Iterator<Item = u32> {
        let hash = hash(name.as_bytes());
        let first = self.names.partition_point(|entry| entry.0 < hash);
        self.names[first..].iter().take_while(move |entry| entry.0 == hash).map(|entry| entry.1).filter(
            move |id| {
                self.record(*id).is_ok_and(|record| {
                    kinds.contains(&record.kind()) && self.string(record.name) == Some(name.as_bytes())
                })
            },
        )
    }

    fn record(&self, id: u32) -> Result<Record, BtfError> {
        if id == 0 {
            return Ok(Record { at: 0, name: 0, info: 0, size: 0 });
        }
        let unknown = BtfError::Invalid { what: "a type that does not exist", at: id as usize };
        let at = *self.records.get(id as usize).ok_or(unknown)? as usize;
        Ok(Record {
            at,
            name: read(&self.bytes, at)?,
            info: read(&self.bytes, at + 4)?,
            size: read(&self.bytes, at + 8)?,
        })
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.bytes[self.strings.clone()].get(offset as usize..)?;
        rest.split(|b| *b == 0).next()
    }
}
