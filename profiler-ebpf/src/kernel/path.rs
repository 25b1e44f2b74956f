//! Where a program's file is: the address of a `struct mm_struct` goes in, the names on the way from the file up to the
//! root come out. The same walk as the kernel's own for `/proc/PID/exe` (`prepend_path` in fs/d_path.c), which no raw
//! tracepoint may call.

use aya_ebpf::helpers::generated as h;
use profiler_ebpf::record::{EXEC_ARGS, EXEC_FILE, FILE_NAME, Process};

use super::config::CFG;
use super::memory::{at_most, kernel};

/// Names and mount points between a file and the root: of a deeper one nothing is kept.
const STEPS: u32 = 40;

/// Puts the names behind the arguments in `p.text`. Where the walk does not come to the root (a file in memory, a long
/// path) there are none.
#[inline(always)]
pub(crate) fn of_program(mm: u64, p: &mut Process) {
    p.file_len = 0;
    if CFG.mm_exe_file() == 0 || !walk(mm, p) {
        p.file_len = 0;
    }
}

#[inline(always)]
fn walk(mm: u64, p: &mut Process) -> bool {
    let word = |address: u64, offset: u32| kernel::<u64>(address + offset as u64).unwrap_or(0);
    let file = word(mm, CFG.mm_exe_file());
    let mut mnt = word(file, CFG.file_path_mnt());
    let mut dentry = word(file, CFG.file_path_dentry());
    let mut i = 0;
    while i < STEPS {
        i += 1;
        if dentry == 0 || mnt == 0 {
            return false;
        }
        if dentry == word(mnt, CFG.vfsmount_root()) {
            let mount = mnt.wrapping_sub(CFG.mount_mnt() as u64);
            let parent = word(mount, CFG.mount_parent());
            if parent == mount {
                return true;
            }
            dentry = word(mount, CFG.mount_point());
            mnt = parent + CFG.mount_mnt() as u64;
            continue;
        }
        let above = word(dentry, CFG.dentry_parent());
        if above == dentry {
            return false;
        }
        let at = at_most((p.args_len + p.file_len) as u64, (EXEC_ARGS + EXEC_FILE) as u64) as usize;
        // SAFETY: from `at` on the text has at least FILE_NAME bytes; faults are caught by the helper.
        let copied = unsafe {
            let to = p.text.as_mut_ptr().add(at);
            let name = word(dentry, CFG.dentry_name());
            h::bpf_probe_read_kernel_str(to.cast(), FILE_NAME as u32, name as *const _)
        };
        if copied <= 1 || p.file_len as i64 + copied > EXEC_FILE as i64 {
            return false;
        }
        p.file_len += copied as u32;
        dentry = above;
    }
    false
}
