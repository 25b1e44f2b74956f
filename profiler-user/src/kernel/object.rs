//! The kernel half as an object file: embedded at build time, its map values sized at run time.
//!
//! A connection's entry ends with the head of its request, and how long that may be is the operator's choice
//! (`--head-bytes`). aya can change a map's entries, not its value's size, so the size is changed in the object's own
//! map definition before aya sees it.

use object::{Object, ObjectSection, ObjectSymbol};
use thiserror::Error;

/// Bytes behind each head that the kernel half may touch when it copies in whole chunks.
const SPARE: u32 = 64;

/// Maps whose value is a fixed part followed by a head.
const MAPS_WITH_HEADS: [&str; 4] = ["CONNS", "NEW_CONN", "WAITING", "BLANK_REQUEST"];

/// Where `value_size` is in `struct bpf_map_def` (type, key_size, value_size, ...; libbpf's legacy map definition).
const VALUE_SIZE: usize = 8;

/// The object is not what this binary was built with.
#[derive(Debug, Error)]
pub enum ObjectError {
    #[error("the kernel half cannot be read: {source}; build it again with `cargo xtask build`")]
    Unreadable {
        #[from]
        source: object::Error,
    },
    #[error("the kernel half has no map {map:?}; build it again with `cargo xtask build`")]
    NoMap { map: &'static str },
}

/// The kernel half, as `cargo xtask build` made it; empty only under `HOSTPROF_NO_EBPF=1`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("HOSTPROF_EBPF_OBJECT"));

/// Evaluated when code is generated, not when it is checked: `cargo check` and `doc` need no object, a binary does.
struct Embedded<const MISSING: bool>;

impl<const MISSING: bool> Embedded<MISSING> {
    const PRESENT: () = assert!(!MISSING, "the kernel half is not built: run `cargo xtask build`");
}

/// The embedded object with room for heads of `head_bytes` in its maps' values.
pub fn sized_for(head_bytes: u32) -> Result<Vec<u8>, ObjectError> {
    let () = Embedded::<{ cfg!(hostprof_ebpf_missing) }>::PRESENT;
    resize(OBJECT, head_bytes + SPARE)
}

fn resize(bytes: &[u8], more: u32) -> Result<Vec<u8>, ObjectError> {
    let mut out = bytes.to_vec();
    let file = object::File::parse(bytes)?;
    for map in MAPS_WITH_HEADS {
        let missing = ObjectError::NoMap { map };
        let Some(symbol) = file.symbols().find(|s| s.name() == Ok(map)) else { return Err(missing) };
        let Some(index) = symbol.section_index() else { return Err(missing) };
        let Some((start, _)) = file.section_by_index(index)?.file_range() else { return Err(missing) };
        let at = (start + symbol.address()) as usize + VALUE_SIZE;
        let Some(field) = out.get_mut(at..at + 4) else { return Err(missing) };
        let size = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        field.copy_from_slice(&(size + more).to_le_bytes());
    }
    Ok(out)
}
