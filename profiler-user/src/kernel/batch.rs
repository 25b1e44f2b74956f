//! Reading a whole map at once (BPF_MAP_LOOKUP_BATCH, Linux 5.6), for maps whose value size is chosen at run time.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::maps::Map;

use super::bpf::{Command, bpf, fdinfo};

/// Entries asked for in one call.
const CHUNK: usize = 256;
/// And at the most: a bucket holds a handful.
const MOST: usize = 8_192;

/// `union bpf_attr`, the part for batches.
#[repr(C)]
#[derive(Default)]
struct BatchAttr {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Room for one call's answer, kept between calls.
#[derive(Debug, Default)]
pub struct Buffer {
    keys: Vec<u64>,
    values: Vec<u8>,
}

/// The descriptor of a map of any kind that we use.
pub fn map_fd(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::HashMap(d)
        | Map::Array(d)
        | Map::PerCpuArray(d)
        | Map::RingBuf(d)
        | Map::ProgramArray(d)
        | Map::PerCpuHashMap(d)
        | Map::LruHashMap(d) => Some(d.fd().as_fd()),
        _ => None,
    }
}

/// Calls `see` with every value of a hash map with keys of 8 bytes. Values shorter than `least` are an error.
pub fn for_each(
    fd: BorrowedFd<'_>,
    buffer: &mut Buffer,
    least: usize,
    mut see: impl FnMut(&[u8]),
) -> io::Result<()> {
    let value_size = fdinfo(fd, "value_size:").unwrap_or(0) as usize;
    if value_size < least {
        return Err(io::Error::other(format!("values of {value_size} bytes, {least} expected")));
    }
    // Values are 8-byte aligned in the answer (`round_up(map->value_size, 8)` does not apply to plain hashes).
    let mut chunk = CHUNK;
    let mut from = 0u64;
    let mut to = 0u64;
    let mut first = true;
    loop {
        buffer.keys.resize(chunk, 0);
        buffer.values.resize(chunk * value_size, 0);
        let mut attr = BatchAttr {
            in_batch: if first { 0 } else { &raw mut from as u64 },
            out_batch: &raw mut to as u64,
            keys: buffer.keys.as_mut_ptr() as u64,
            values: buffer.values.as_mut_ptr() as u64,
            count: chunk as u32,
            map_fd: fd.as_raw_fd() as u32,
            ..BatchAttr::default()
        };
        // SAFETY: the pointers are to buffers of `chunk` entries, alive during the call.
        let error = unsafe { bpf(Command::MapLookupBatch, &mut attr) }.err();
        let done = match error {
            None => false,
            Some(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
            // A bucket with more entries than there is room for: the same again with more.
            Some(e) if e.raw_os_error() == Some(libc::ENOSPC) && chunk < MOST => {
                chunk *= 2;
                continue;
            }
            Some(e) => return Err(e),
        };
        for value in buffer.values.chunks_exact(value_size).take(attr.count as usize) {
            see(value);
        }
        if done {
            return Ok(());
        }
        from = to;
        first = false;
    }
}

/// Bytes of kernel memory that a map holds.
pub fn memlock(fd: BorrowedFd<'_>) -> u64 {
    fdinfo(fd, "memlock:").unwrap_or(0)
}
