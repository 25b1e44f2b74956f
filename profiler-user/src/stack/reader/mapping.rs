//! Code that is mapped in a process: `/proc/PID/maps` goes in, the mappings that can be run come out.

use std::fs;
use std::ops::Range;

use super::process::Process;

/// Code of a file in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) range: Range<u64>,
    /// Where in the file it begins.
    pub(super) offset: u64,
    /// The file, by the number of its device and its own; 0 where there is none, as for the vDSO.
    pub(super) file: (String, u64),
    pub(super) path: String,
}

impl Mapping {
    /// Whether it is a file's, or the vDSO. Other code is made by a runtime.
    pub(super) fn is_named(&self) -> bool {
        self.file.1 != 0 || self.path == "[vdso]"
    }
}

/// The mappings with code out of `/proc/PID/maps`.
pub(super) fn mappings(process: &Process) -> Option<Vec<Mapping>> {
    let text = fs::read_to_string(process.file("maps")).ok()?;
    Some(text.lines().filter_map(mapping).collect())
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let range = hex(start)?..hex(end)?;
    let is_code = words.next()?.contains('x');
    let offset = hex(words.next()?)?;
    let (device, inode) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let path = words.next().unwrap_or_default().trim_start().to_owned();
    is_code.then_some(Mapping { range, offset, file: (device, inode), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_what_is_mapped_to_run() {
        let line = "55d0a000-55d0c000 r-xp 00002000 fd:01 1234                     /usr/bin/my app";
        let found = mapping(line).unwrap();
        assert_eq!((found.range, found.offset), (0x55d0_a000..0x55d0_c000, 0x2000));
        assert_eq!((found.file.1, found.path.as_str()), (1234, "/usr/bin/my app"));
        assert_eq!(mapping(&line.replace("r-xp", "r--p")), None);
        let named = |line: &str| mapping(line).is_some_and(|mapping| mapping.is_named());
        assert!(!named("7f00-7f01 r-xp 00000000 00:00 0 "), "made by a runtime");
        assert!(named("7f00-7f01 r-xp 00000000 00:00 0                  [vdso]"));
    }
}
