//! Where members lie: a struct and a path of names go in, a byte or the bits of a bitfield come out. Anonymous parts,
//! typedefs and qualifiers are seen through; hostile types end in an error.

use super::record::{CONST, INT, RESTRICT, STRUCT, TYPE_TAG, TYPEDEF, UNION, VOLATILE, read};
use super::{Btf, BtfError};

/// Anonymous members within anonymous members, and typedefs of typedefs; real ones are below 10.
const MAX_DEPTH: usize = 32;
/// Members that one question looks at: hostile types could send us in circles.
const MAX_MEMBERS: usize = 1 << 20;

/// Where a member lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// From the start of the outer struct to the byte that holds the member's first bit.
    pub offset: u32,
    /// Of a bitfield.
    pub bits: Option<Bits>,
}

/// A bitfield's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    /// First bit, counted from the member's byte.
    pub first: u8,
    pub count: u8,
}

impl Btf {
    pub(super) fn walk(&self, mut id: u32, path: &str) -> Result<Option<Member>, BtfError> {
        let mut budget = MAX_MEMBERS;
        let mut found = Member { offset: 0, bits: None };
        for part in path.split('.') {
            let Some((bit, bits, next)) = self.find(self.strip(id)?, part, 0, &mut budget)? else {
                return Ok(None);
            };
            let overflow = BtfError::Invalid { what: "an offset beyond all sizes", at: 0 };
            found.offset = found.offset.checked_add(bit / 8).ok_or(overflow)?;
            found.bits = bits.map(|count| Bits { first: (bit % 8) as u8, count });
            id = next;
        }
        Ok(Some(found))
    }

    /// A member of a struct or of its anonymous parts: first bit, bits of a bitfield, type.
    fn find(
        &self,
        id: u32,
        name: &str,
        depth: usize,
        budget: &mut usize,
    ) -> Result<Option<(u32, Option<u8>, u32)>, BtfError> {
        let record = self.record(id)?;
        if !matches!(record.kind(), STRUCT | UNION) || depth > MAX_DEPTH {
            return Ok(None);
        }
        for index in 0..record.count() {
            let exhausted = BtfError::Invalid { what: "a struct without end", at: record.at };
            *budget = budget.checked_sub(1).ok_or(exhausted)?;
            // struct btf_member: name_off, type, offset.
            let at = record.at + 12 + index * 12;
            let (member, kind, offset) =
                (read(&self.bytes, at)?, read(&self.bytes, at + 4)?, read(&self.bytes, at + 8)?);
            // With the flag the offset's upper byte is a bitfield's size, else the integer type has it.
            let (bit, bits) = match record.flag() {
                true => (offset & 0xff_ffff, (offset >> 24) as u8),
                false => (offset, self.old_bits(kind)?),
            };
            if member == 0 {
                let overflow = BtfError::Invalid { what: "an offset beyond all sizes", at };
                if let Some((inner, bits, kind)) = self.find(self.strip(kind)?, name, depth + 1, budget)? {
                    return Ok(Some((bit.checked_add(inner).ok_or(overflow)?, bits, kind)));
                }
            } else if self.string(member) == Some(name.as_bytes()) {
                return Ok(Some((bit, Some(bits).filter(|bits| *bits > 0), kind)));
            }
        }
        Ok(None)
    }

    /// Bits of an integer type that has less of them than its bytes; 0 for all other types.
    fn old_bits(&self, id: u32) -> Result<u8, BtfError> {
        let record = self.record(self.strip(id)?)?;
        if record.kind() != INT {
            return Ok(0);
        }
        let bits = read(&self.bytes, record.at + 12)? & 0xff;
        Ok(if record.size.checked_mul(8) == Some(bits) { 0 } else { bits as u8 })
    }

    /// The type behind typedefs and qualifiers.
    pub(super) fn strip(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..MAX_DEPTH {
            let record = self.record(id)?;
            match record.kind() {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = record.size,
                _ => return Ok(id),
            }
        }
        Err(BtfError::Invalid { what: "a typedef without end", at: id as usize })
    }
}
