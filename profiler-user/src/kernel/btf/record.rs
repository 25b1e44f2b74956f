//! Records of BTF: what kinds there are and how long each is. Format: include/uapi/linux/btf.h of the kernel.

use super::BtfError;

// enum BTF_KIND_* in include/uapi/linux/btf.h.
pub(super) const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
pub(super) const STRUCT: u32 = 4;
pub(super) const UNION: u32 = 5;
pub(super) const TYPEDEF: u32 = 8;
pub(super) const VOLATILE: u32 = 9;
pub(super) const CONST: u32 = 10;
pub(super) const RESTRICT: u32 = 11;
pub(super) const FUNC: u32 = 12;
pub(super) const FUNC_PROTO: u32 = 13;
pub(super) const TYPE_TAG: u32 = 18;

/// struct btf_type: name_off, info, and size or type. `info` is the number of members (bits 0-15), the kind (24-28) and a
/// flag (31).
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) at: usize,
    pub(super) name: u32,
    pub(super) info: u32,
    /// A size in bytes or another type's number, by kind.
    pub(super) size: u32,
}

impl Record {
    pub(super) fn kind(self) -> u32 {
        self.info >> 24 & 0x1f
    }

    pub(super) fn count(self) -> usize {
        (self.info & 0xffff) as usize
    }

    pub(super) fn flag(self) -> bool {
        self.info >> 31 == 1
    }
}

/// Bytes of a record after struct btf_type; `None` for a kind that we do not know and so cannot step over.
pub(super) fn tail(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match info >> 24 & 0x1f {
        // INT, VAR, DECL_TAG.
        1 | 14 | 17 => 4,
        // ARRAY: struct btf_array.
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64.
        4 | 5 | 15 | 19 => 12 * count,
        // ENUM, FUNC_PROTO.
        6 | 13 => 8 * count,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
        2 | 7..=12 | 16 | 18 => 0,
        _ => return None,
    })
}

pub(super) fn read(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        Some(word) => Ok(u32::from_ne_bytes(*word)),
        None => Err(BtfError::Invalid { what: "the end", at }),
    }
}

/// FNV-1a, 32 bits: only has to spread names.
pub(super) fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
