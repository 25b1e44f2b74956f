//! The archive that a kernel unpacks into its first root: cpio's "newc" form, uncompressed
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

/// An archive that grows by files and folders, all of them root's.
#[derive(Debug, Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;

impl Cpio {
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, &[]);
    }

    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE, content);
    }

    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let (inode, links) = (self.entries, 1);
        let [user, group, time, device, special, checksum] = [0; 6];
        let (size, name) = (content.len() as u32, path.len() as u32 + 1);
        self.bytes.extend_from_slice(b"070701");
        for field in
            [inode, mode, user, group, links, time, size, device, device, special, special, name, checksum]
        {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(bytes: &[u8], field: usize) -> usize {
        let digits = std::str::from_utf8(&bytes[6 + 8 * field..][..8]).unwrap();
        usize::from_str_radix(digits, 16).unwrap()
    }

    /// Path, mode and content of each entry, read as the kernel's init/initramfs.c reads them.
    fn entries(mut bytes: &[u8]) -> Vec<(String, usize, Vec<u8>)> {
        let mut entries = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(&bytes[..6], b"070701");
            let (mode, size, name) = (number(bytes, 1), number(bytes, 6), number(bytes, 11));
            let content = (110 + name).next_multiple_of(4);
            let path = &bytes[110..110 + name - 1];
            assert_eq!(bytes[110 + name - 1], 0);
            entries.push((
                String::from_utf8(path.to_vec()).unwrap(),
                mode,
                bytes[content..content + size].to_vec(),
            ));
            bytes = &bytes[(content + size).next_multiple_of(4)..];
        }
        entries
    }

    #[test]
    fn files_of_any_length_come_out_as_they_went_in() {
        let mut cpio = Cpio::default();
        cpio.folder("lib");
        cpio.program("init", b"#!/bin/sh\n");
        for length in 0..9 {
            cpio.file(&"x".repeat(length + 1), &vec![7; length]);
        }
        let read = entries(&cpio.finish());
        assert_eq!(read[0], ("lib".to_owned(), 0o040_755, Vec::new()));
        assert_eq!(read[1], ("init".to_owned(), 0o100_755, b"#!/bin/sh\n".to_vec()));
        for length in 0..9 {
            assert_eq!(read[2 + length], ("x".repeat(length + 1), 0o100_644, vec![7; length]));
        }
        assert_eq!(read[11].0, "TRAILER!!!");
        assert_eq!(read.len(), 12);
    }
}
