//! Names of native code, by the crate blazesym: functions by a file's symbols, lines where its debug information, or
//! that of its build id, has them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Sym, Symbolizer};
use object::{Object, ObjectSection};
use rustc_hash::FxHashMap;

use super::inside::{self, Last};
use super::mapping::Mapping;
use super::process::Process;
use crate::stall::Frame;

/// Files kept at the most; then all are forgotten.
const FILES: usize = 64;
/// Debug information that is read: more would take seconds and hundreds of megabytes.
const DEBUG: u64 = 64 << 20;

/// A file whose symbols have been read. It stays open: its path by its descriptor cannot become another file.
struct Known {
    file: File,
    debug: bool,
}

/// Names by file.
pub(super) struct Symbols {
    symbolizer: Symbolizer,
    known: FxHashMap<(u64, u64), Known>,
}

impl Default for Symbols {
    fn default() -> Self {
        let symbolizer = Symbolizer::builder().enable_auto_reload(false).build();
        Self { symbolizer, known: FxHashMap::default() }
    }
}

impl Symbols {
    /// The frames at an address, innermost first: more than one where functions were inlined.
    pub(super) fn frames(&mut self, process: &Process, mapping: &Mapping, address: u64) -> Vec<Frame> {
        let offset = address - mapping.range.start + mapping.offset;
        let found = self.symbol(process, mapping, offset).filter(|frames| !frames.is_empty());
        found.unwrap_or_else(|| {
            let file = mapping.path.rsplit('/').next().unwrap_or_default();
            vec![plain(format!("{file}+{offset:#x}"))]
        })
    }

    fn symbol(&mut self, process: &Process, mapping: &Mapping, offset: u64) -> Option<Vec<Frame>> {
        let file = open(process, mapping)?;
        let data = file.metadata().ok()?;
        if self.known.len() >= FILES {
            *self = Self::default();
        }
        let known = self.known.entry((data.dev(), data.ino()));
        let known = known.or_insert_with(|| Known { debug: debug_size(&file) <= DEBUG, file });
        let path = PathBuf::from(format!("/proc/self/fd/{}", known.file.as_raw_fd()));
        let source = Source::Elf(Elf { debug_syms: known.debug, ..Elf::new(path) });
        let found = self.symbolizer.symbolize_single(&source, Input::FileOffset(offset)).ok()?;
        Some(frames(found.as_sym()?))
    }
}

/// The file of a mapping: the one that is mapped, not one that has its path now.
pub(super) fn open(process: &Process, mapping: &Mapping) -> Option<File> {
    let same = |file: &File| file.metadata().is_ok_and(|data| data.ino() == mapping.file.1);
    let mapped = format!("map_files/{:x}-{:x}", mapping.range.start, mapping.range.end);
    let link = |name: &str| inside::behind(&process.file(name)).ok().filter(same);
    let named = || inside::open(process, &mapping.path, Last::FileOrLink).ok().filter(same);
    link(&mapped).or_else(named).or_else(|| link("exe"))
}

/// Bytes of debug information in a file.
fn debug_size(file: &File) -> u64 {
    // SAFETY: as in `module::module`: a file that shrinks ends only this process.
    let Ok(map) = (unsafe { memmap2::Mmap::map(file) }) else { return 0 };
    let Ok(object) = object::File::parse(&*map) else { return 0 };
    let sections = object.sections().filter(|s| s.name().is_ok_and(|name| name.starts_with(".debug_")));
    sections.filter_map(|section| section.file_range()).map(|(_, size)| size).sum()
}

fn frames(symbol: &Sym<'_>) -> Vec<Frame> {
    let place = |name: &str, code: Option<&blazesym::symbolize::CodeInfo<'_>>| Frame {
        function: name.to_owned(),
        file: code.map(|code| code.to_path().to_string_lossy().into_owned()),
        line: code.and_then(|code| code.line),
    };
    let inlined = symbol.inlined.iter().rev().map(|inlined| place(&inlined.name, inlined.code_info.as_ref()));
    inlined.chain([place(&symbol.name, symbol.code_info.as_deref())]).collect()
}

/// A frame without a place.
pub(super) fn plain(function: String) -> Frame {
    Frame { function, file: None, line: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::reader::mapping::mappings;

    #[test]
    fn the_file_of_a_mapping_by_each_way() {
        let own = Process::of(std::process::id()).unwrap();
        let of_a_library = |mapping: &Mapping| mapping.path.contains(".so") && mapping.file.1 != 0;
        let mut mapping = mappings(&own).unwrap().into_iter().find(of_a_library).unwrap();
        let number = |file: Option<File>| file.map(|file| file.metadata().unwrap().ino());
        assert_eq!(number(open(&own, &mapping)), Some(mapping.file.1));
        // No such mapping any more: by its path.
        mapping.range = 1..2;
        assert_eq!(number(open(&own, &mapping)), Some(mapping.file.1));
        mapping.file.1 += 1;
        assert_eq!(number(open(&own, &mapping)), None, "another file has its path");
    }
}
