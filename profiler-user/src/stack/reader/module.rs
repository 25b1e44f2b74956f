//! The unwind information of a mapped file, or of the vDSO: the file's sections go in, a module for the unwinder comes
//! out.

use std::ops::{Deref, Range};
use std::sync::Arc;

use framehop::{ExplicitModuleSectionInfo, Module};
use memmap2::Mmap;
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags};

use super::mapping::Mapping;
use super::memory;
use super::process::Process;

/// A part of a file.
pub(super) struct Section {
    of: Arc<Bytes>,
    part: Range<usize>,
}

enum Bytes {
    Mapped(Mmap),
    Copied(Vec<u8>),
}

impl Deref for Section {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.of.get(self.part.clone()).unwrap_or_default()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Copied(bytes) => bytes,
        }
    }
}

fn is_code(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0)
}

pub(super) fn module(process: &Process, mapping: &Mapping) -> Option<Module<Section>> {
    let bytes = Arc::new(if mapping.file.1 == 0 {
        let mut copied = vec![0; usize::try_from(mapping.range.end - mapping.range.start).ok()?.min(1 << 20)];
        let got = memory::read_into(process.pid, mapping.range.start, &mut copied);
        copied.truncate(got);
        Bytes::Copied(copied)
    } else {
        let file = super::symbols::open(process, mapping)?;
        // SAFETY: nobody writes through the mapping. That the file may shrink meanwhile, which ends this process, is
        // one of the reasons why it is a process of its own.
        Bytes::Mapped(unsafe { Mmap::map(&file) }.ok()?)
    });
    let object = object::File::parse(&**bytes).ok()?;
    let segment = object.segments().find(|segment| {
        let (offset, size) = segment.file_range();
        // The last page of the segment before it may be the first one of this.
        is_code(segment.flags()) && (offset & !0xfff..offset + size).contains(&mapping.offset)
    })?;
    // Where the file's address 0 is in the process.
    let stated = mapping.offset.wrapping_sub(segment.file_range().0).wrapping_add(segment.address());
    let bias = mapping.range.start.wrapping_sub(stated);
    let part = |name: &str| {
        let section = object.section_by_name(name)?;
        let (offset, size) = section.file_range()?;
        let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
        let range = section.address()..section.address().checked_add(section.size())?;
        let data = Section { of: Arc::clone(&bytes), part: offset..offset.checked_add(size)? };
        Some((range, data))
    };
    let (eh_frame_svma, eh_frame) = part(".eh_frame").unzip();
    let (eh_frame_hdr_svma, eh_frame_hdr) = part(".eh_frame_hdr").unzip();
    let sections = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: part(".text").map(|(range, _)| range),
        text: None,
        stubs_svma: None,
        stub_helper_svma: None,
        got_svma: part(".got").map(|(range, _)| range),
        unwind_info: None,
        eh_frame_svma,
        eh_frame,
        eh_frame_hdr_svma,
        eh_frame_hdr,
        debug_frame: None,
        text_segment_svma: None,
        text_segment: None,
    };
    Some(Module::new(mapping.path.clone(), mapping.range.clone(), bias, sections))
}
