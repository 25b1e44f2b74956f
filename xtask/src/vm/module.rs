//! Kernel modules: which of them, in which order.
//!
//! In come names and a way to read a module, out come the modules with all that they need, each after those. Packages
//! have no `modules.dep`, which is made on installation, so what a module needs is read from itself.

use std::collections::HashSet;

use anyhow::Result;

/// The name that the kernel knows a module by: in file names both letters occur.
pub(super) fn name(file: &str) -> String {
    file.replace('-', "_")
}

/// The modules of these names and those that they need. What `read` has no file for is part of the kernel itself.
pub(super) fn closure(
    wanted: &[&str],
    mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut seen = HashSet::new();
    let mut loaded = Vec::new();
    for name in wanted {
        add(name, &mut read, &mut seen, &mut loaded)?;
    }
    Ok(loaded)
}

fn add(
    name: &str,
    read: &mut impl FnMut(&str) -> Result<Option<Vec<u8>>>,
    seen: &mut HashSet<String>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let Some(bytes) = read(name)? else { return Ok(()) };
    for needed in depends(&bytes) {
        add(&needed, read, seen, loaded)?;
    }
    loaded.push((name.to_owned(), bytes));
    Ok(())
}

/// The modules that one needs, out of its section `.modinfo` (scripts/mod/modpost.c, `add_depends`).
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|needed| !needed.is_empty()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(depends: &str) -> Vec<u8> {
        format!("ELF\0license=GPL\0depends={depends}\0name=x\0").into_bytes()
    }

    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let read = |name: &str| {
            Ok(match name {
                "virtio_pci" => Some(module("virtio,virtio_ring")),
                "virtio_ring" => Some(module("virtio")),
                "virtio" => Some(module("")),
                "virtiofs" => Some(module("fuse,virtio,virtio-ring")),
                "fuse" => Some(module("")),
                _ => None,
            })
        };
        let loaded = closure(&["virtio_pci", "virtiofs", "overlay"], read).expect("every module can be read");
        let names: Vec<_> = loaded.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio_pci", "fuse", "virtiofs"]);
    }

    #[test]
    fn modules_that_need_each_other_end() {
        let loaded = closure(&["a"], |name| Ok(Some(module(if name == "a" { "b" } else { "a" }))));
        assert_eq!(loaded.expect("every module can be read").len(), 2);
    }

    #[test]
    fn a_file_without_a_list_needs_nothing() {
        assert_eq!(depends(b"ELF\0license=GPL\0"), [""; 0]);
    }
}
