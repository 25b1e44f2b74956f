//! A kernel that refuses some of hostprof's eBPF, as an older or a locked one does: a seccomp filter hands every
//! bpf(2) of the program to this process, which lets it through or answers with an error.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{fs::FileExt as _, net::UnixStream, process::CommandExt as _},
    },
    process::Command,
    thread,
};

use anyhow::{Context as _, Result, ensure};

/// enum bpf_cmd, include/uapi/linux/bpf.h.
const PROG_LOAD: u64 = 5;
const RAW_TRACEPOINT_OPEN: u64 = 17;

/// include/uapi/linux/seccomp.h: _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp).
const RECEIVE: u64 = 3 << 30 | 80 << 16 | 0x21 << 8;
const SEND: u64 = 3 << 30 | 24 << 16 | 0x21 << 8 | 1;

/// What is refused, and with which error number.
#[derive(Debug, Clone, Copy)]
pub enum Refused {
    /// To attach to the raw tracepoint of this name. A kernel that has none says ENOENT.
    Tracepoint(&'static str, i32),
    /// To load the program of this name. A verifier that does not take it says EINVAL or EACCES.
    Program(&'static str, i32),
}

/// struct seccomp_notif.
#[repr(C)]
#[derive(Default)]
struct Call {
    id: u64,
    pid: u32,
    flags: u32,
    number: i32,
    architecture: u32,
    instruction: u64,
    arguments: [u64; 6],
}

/// struct seccomp_notif_resp.
#[repr(C)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

/// Makes `command` run under such a kernel.
pub fn refuse(command: &mut Command, refused: &'static [Refused]) -> Result<()> {
    let (ours, theirs) = UnixStream::pair().context("failed to make a pair of sockets")?;
    // SAFETY: only system calls and memory on the stack between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let listener = install()?;
            send(theirs.as_raw_fd(), listener)
        });
    }
    // Detached: it ends with the last process under the filter.
    thread::Builder::new().name("refusal".into()).spawn(move || {
        if let Ok(listener) = receive(&ours) {
            answer_all(&listener, refused);
        }
    })?;
    Ok(())
}

/// Answers until nobody is left to ask.
fn answer_all(listener: &OwnedFd, refused: &[Refused]) {
    loop {
        let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: poll reads and writes the one struct given.
        if unsafe { libc::poll(&raw mut poll, 1, -1) } < 0 || poll.revents & libc::POLLIN == 0 {
            return;
        }
        let mut call = Call::default();
        // SAFETY: the kernel writes 80 bytes, the size of Call.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut call) } != 0 {
            continue;
        }
        let refusal = refused.iter().find_map(|refused| refused.error(&call));
        let answer = match refusal {
            Some(error) => Answer { id: call.id, value: 0, error: -error, flags: 0 },
            // SECCOMP_USER_NOTIF_FLAG_CONTINUE: the kernel does it as if nobody had asked.
            None => Answer { id: call.id, value: 0, error: 0, flags: 1 },
        };
        // SAFETY: the kernel reads 24 bytes, the size of Answer. It fails when the caller has died.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) };
    }
}

impl Refused {
    /// The error for this call, if it is refused.
    fn error(self, call: &Call) -> Option<i32> {
        let [command, attributes, ..] = call.arguments;
        let memory = File::open(format!("/proc/{}/mem", call.pid)).ok()?;
        let text = |at: u64| {
            let mut bytes = [0; 32];
            let count = memory.read_at(&mut bytes, at).ok()?;
            let end = bytes[..count].iter().position(|byte| *byte == 0)?;
            String::from_utf8(bytes[..end].to_vec()).ok()
        };
        match (self, command) {
            // The name's address is the first of the attributes.
            (Self::Tracepoint(name, error), RAW_TRACEPOINT_OPEN) => {
                let mut address = [0; 8];
                memory.read_exact_at(&mut address, attributes).ok()?;
                (text(u64::from_ne_bytes(address))? == name).then_some(error)
            }
            // prog_name is at 48, of at most 15 letters.
            (Self::Program(name, error), PROG_LOAD) => (text(attributes + 48)? == name).then_some(error),
            _ => None,
        }
    }
}

/// Puts the filter on this process and what it executes; returns the end at which calls are answered.
fn install() -> io::Result<RawFd> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let filter = [
        // The number of the call; bpf goes to the listener.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf: 1,
            k: libc::SYS_bpf as u32,
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the filter, which outlives the call.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    if listener < 0 { Err(io::Error::last_os_error()) } else { Ok(listener as RawFd) }
}

/// Room for one descriptor in a control message.
#[repr(C, align(8))]
struct Control([u8; 24]);

fn send(socket: RawFd, fd: RawFd) -> io::Result<()> {
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; 24]);
    // SAFETY: all zeros are a valid msghdr, whose parts outlive the call; the control message fits its room.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), 24);
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(head).cast::<RawFd>().write_unaligned(fd);
        libc::sendmsg(socket, &raw const message, 0)
    };
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn receive(socket: &UnixStream) -> Result<OwnedFd> {
    let mut byte = 0_u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; 24]);
    // SAFETY: as in `send`; the descriptor received is ours alone.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), 24);
        let read = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        ensure!(read == 1, "no descriptor came: {}", io::Error::last_os_error());
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        ensure!(!head.is_null() && (*head).cmsg_type == libc::SCM_RIGHTS, "another message came");
        Ok(OwnedFd::from_raw_fd(libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned()))
    }
}
