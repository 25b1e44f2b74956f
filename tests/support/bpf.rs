//! What the kernel holds of a process's eBPF: programs, maps and links by their numbers, which are never used again
//! while a machine runs. The kernel's own word (bpf(2)), not that of hostprof.

use std::{collections::BTreeSet, fs, io};

use anyhow::{Context as _, Result, ensure};

/// Commands of bpf(2): include/uapi/linux/bpf.h, enum bpf_cmd.
const PROG_GET_FD_BY_ID: i32 = 13;
const MAP_GET_FD_BY_ID: i32 = 14;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const LINK_GET_FD_BY_ID: i32 = 30;

/// Numbers of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    pub programs: BTreeSet<u32>,
    pub maps: BTreeSet<u32>,
    pub links: BTreeSet<u32>,
}

/// The head of struct bpf_prog_info, up to the name.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    code_lengths: [u32; 2],
    code: [u64; 2],
    load_time: u64,
    created_by: u32,
    maps: u32,
    map_ids: u64,
    name: [u8; 16],
}

impl Objects {
    /// All that a process holds, and the maps that its programs use.
    pub fn of(pid: u32) -> Result<Self> {
        let mut objects = Self::default();
        let folder = format!("/proc/{pid}/fdinfo");
        for entry in fs::read_dir(&folder).with_context(|| format!("failed to list {folder}"))? {
            // Descriptors come and go.
            let Ok(text) = fs::read_to_string(entry.context("failed to list")?.path()) else { continue };
            for line in text.lines() {
                let mut words = line.split_whitespace();
                let number = |word: Option<&str>| word.and_then(|word| word.parse::<u32>().ok());
                let set = match words.next() {
                    Some("prog_id:") => &mut objects.programs,
                    Some("map_id:") => &mut objects.maps,
                    Some("link_id:") => &mut objects.links,
                    _ => continue,
                };
                set.extend(number(words.next()));
            }
        }
        for program in &objects.programs {
            objects.maps.extend(maps_of(*program)?);
        }
        Ok(objects)
    }

    /// Those that the kernel still has.
    pub fn living(&self) -> Self {
        let living =
            |ids: &BTreeSet<u32>, get| ids.iter().copied().filter(|id| open(get, *id).is_ok()).collect();
        Self {
            programs: living(&self.programs, PROG_GET_FD_BY_ID),
            maps: living(&self.maps, MAP_GET_FD_BY_ID),
            links: living(&self.links, LINK_GET_FD_BY_ID),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.maps.is_empty() && self.links.is_empty()
    }

    /// How many of each kind.
    pub fn counts(&self) -> [usize; 3] {
        [self.programs.len(), self.maps.len(), self.links.len()]
    }

    pub fn extend(&mut self, other: Self) {
        self.programs.extend(other.programs);
        self.maps.extend(other.maps);
        self.links.extend(other.links);
    }
}

fn maps_of(program: u32) -> Result<Vec<u32>> {
    let fd = open(PROG_GET_FD_BY_ID, program).with_context(|| format!("program {program}"))?;
    let mut ids = vec![0_u32; 64];
    let mut info =
        ProgramInfo { maps: ids.len() as u32, map_ids: ids.as_mut_ptr() as u64, ..Default::default() };
    let attributes = Info { fd: fd.0, length: size_of::<ProgramInfo>() as u32, info: (&raw mut info) as u64 };
    // SAFETY: the kernel writes at most the lengths given, to `info` and `ids`, which outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<Info>()) };
    ensure!(result == 0, "no information on program {program}: {}", io::Error::last_os_error());
    ids.truncate(info.maps as usize);
    Ok(ids)
}

#[repr(C)]
struct Info {
    fd: i32,
    length: u32,
    info: u64,
}

struct Fd(i32);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: ours alone.
        unsafe { libc::close(self.0) };
    }
}

fn open(command: i32, id: u32) -> io::Result<Fd> {
    // The number, the next one, flags.
    let attributes = [id, 0, 0];
    // SAFETY: the kernel reads twelve bytes, which outlive the call.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(&attributes)) };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(Fd(fd as i32)) }
}
