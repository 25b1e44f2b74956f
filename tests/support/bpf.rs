//! What the kernel holds of a process's eBPF: programs, maps and links by their numbers, which are never used again
//! while a machine runs. The kernel's own word (bpf(2)), not that of hostprof.

use std::{
    collections::{BTreeSet, HashSet},
    fs, io,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Commands of bpf(2): include/uapi/linux/bpf.h, enum bpf_cmd.
const MAP_GET_NEXT_KEY: i32 = 4;
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

/// The head of struct bpf_map_info, up to the name.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    name: [u8; 16],
}

/// A map of a process's.
#[derive(Debug)]
pub struct Table {
    fd: Fd,
    key_size: usize,
    max_entries: usize,
}

impl Table {
    /// The one of this name that a process's programs use.
    pub fn of(pid: u32, name: &str) -> Result<Self> {
        for id in Objects::of(pid)?.maps {
            let fd = open(MAP_GET_FD_BY_ID, id).with_context(|| format!("map {id}"))?;
            let mut info = MapInfo::default();
            inform(&fd, &mut info).with_context(|| format!("no information on map {id}"))?;
            if info.name.split(|byte| *byte == 0).next() == Some(name.as_bytes()) {
                let (key_size, max_entries) = (info.key_size as usize, info.max_entries as usize);
                return Ok(Self { fd, key_size, max_entries });
            }
        }
        bail!("process {pid} has no map {name}")
    }

    /// How many entries it has.
    pub fn entries(&self) -> Result<usize> {
        let mut seen = HashSet::new();
        let (mut key, mut next) = (vec![0; self.key_size], vec![0_u8; self.key_size]);
        let mut first = true;
        // Where entries go meanwhile, the kernel begins again.
        for _ in 0..2 * self.max_entries {
            let after = if first { 0 } else { key.as_ptr() as u64 };
            let attributes = NextKey { map: self.fd.0, pad: 0, key: after, next: next.as_mut_ptr() as u64 };
            // SAFETY: the kernel reads one key and writes one, of the size that it told, into vectors of that size.
            let result = unsafe {
                libc::syscall(libc::SYS_bpf, MAP_GET_NEXT_KEY, &raw const attributes, size_of::<NextKey>())
            };
            if result != 0 {
                let error = io::Error::last_os_error();
                ensure!(error.raw_os_error() == Some(libc::ENOENT), "failed to list a map: {error}");
                return Ok(seen.len());
            }
            first = false;
            key.clone_from(&next);
            seen.insert(next.clone());
        }
        Ok(seen.len())
    }
}

/// Kernel memory of all maps that a process's programs use, bytes.
pub fn map_memory(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for id in Objects::of(pid)?.maps {
        let fd = open(MAP_GET_FD_BY_ID, id).with_context(|| format!("map {id}"))?;
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.0)).context("no fdinfo")?;
        let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:")).context("no memlock")?;
        sum += bytes.trim().parse::<u64>().context("no number")?;
    }
    Ok(sum)
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
    inform(&fd, &mut info).with_context(|| format!("no information on program {program}"))?;
    ids.truncate(info.maps as usize);
    Ok(ids)
}

/// Has the kernel fill in what it says of an object, of which `info` is the head.
fn inform<T>(fd: &Fd, info: &mut T) -> io::Result<()> {
    let attributes = Info { fd: fd.0, length: size_of::<T>() as u32, info: (&raw mut *info) as u64 };
    // SAFETY: the kernel writes at most the length given to `info`, and as many numbers to the place that it names as it
    // says there is room for; both outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<Info>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[repr(C)]
struct NextKey {
    map: i32,
    pad: u32,
    key: u64,
    next: u64,
}

#[repr(C)]
struct Info {
    fd: i32,
    length: u32,
    info: u64,
}

#[derive(Debug)]
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
