//! The kernel half: programs on socket, connection and process hooks, each a shim around the pure half.
//!
//! Loaded by profiler-user, which reads the kernel's layouts from BTF, writes them into `kernel/config.rs`, chooses
//! which programs to attach, and reads the ring in `kernel/maps.rs`.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod kernel;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
