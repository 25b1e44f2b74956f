//! Reads of kernel and user memory, and bounds that the verifier believes.

use aya_ebpf::helpers::generated as h;

/// Copies a value out of kernel memory.
#[inline(always)]
pub(crate) fn kernel<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value` or fails; faults are caught by it.
    unsafe {
        (h::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) == 0)
            .then(|| value.assume_init())
    }
}

/// Copies a value out of the current process's memory.
#[inline(always)]
pub(crate) fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes all of `value` or fails; faults are caught by it.
    unsafe {
        (h::bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) == 0)
            .then(|| value.assume_init())
    }
}

/// `value`, at most `limit`, as an instruction that the compiler can neither move nor forget: verifiers up to 6.1 lose
/// the bounds of a number that was spilled to the stack as 32 bits.
#[inline(always)]
pub(crate) fn at_most(value: u64, limit: u64) -> u64 {
    let mut bounded = value;
    // SAFETY: two register instructions.
    unsafe {
        core::arch::asm!(
            "if {v} <= {l} goto +1",
            "{v} = {l}",
            v = inout(reg) bounded,
            l = in(reg) limit,
        );
    }
    bounded
}

#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: no arguments, no effects.
    unsafe { h::bpf_ktime_get_ns() }
}
