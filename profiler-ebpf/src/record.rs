//! What leaves the kernel: one [`Record`] for a finished exchange, followed by the first bytes of its request, and
//! small records for names and processes. User space reads these very structs from the ring buffer.

/// Bytes kept of the beginning of a reply (MySQL: OK, ERR and PREPARE replies fit).
pub const REPLY_HEAD: usize = 64;
/// Bytes kept of the end of a reply, as a ring: byte `i` of the reply is at `i % REPLY_TAIL`.
pub const REPLY_TAIL: usize = 64;
/// Longest path of a Unix socket (`sun_path` in include/uapi/linux/un.h).
pub const UNIX_PATH: usize = 108;
/// Bytes kept of a new program's arguments.
pub const EXEC_ARGS: usize = 256;
/// Longest path of a new program's file: of a longer one nothing is kept.
pub const EXEC_FILE: usize = 256;
/// Longest name in a directory, with the NUL behind it (`NAME_MAX` in include/uapi/linux/limits.h).
pub const FILE_NAME: usize = 256;

/// Bytes kept of a name server's answer: what fits into a message without extensions (RFC 1035, 4.2.1).
pub const NAME_ANSWER: usize = 512;

/// First word of every record in the ring.
pub mod kind {
    pub const EXCHANGE: u32 = 1;
    pub const UNIX_NAME: u32 = 2;
    pub const FORK: u32 = 3;
    pub const EXEC: u32 = 4;
    pub const EXIT: u32 = 5;
    /// [`crate::turn::Turn`].
    pub const STALL: u32 = 6;
    /// [`crate::life::Event`].
    pub const CONNECTION: u32 = 7;
    /// [`super::Answer`].
    pub const ANSWER: u32 = 8;
}

/// Protocol of a connection.
pub mod proto {
    pub const UNKNOWN: u8 = 0;
    pub const HTTP: u8 = 1;
    pub const MYSQL: u8 = 2;
    /// Not looked at; looked at again now and then, unless the connection is opaque for good.
    pub const IGNORED: u8 = 3;
}

/// Which end of the exchange the socket is.
pub mod role {
    pub const UNKNOWN: u8 = 0;
    pub const SERVER: u8 = 1;
    pub const CLIENT: u8 = 2;
}

/// [`Record::flags`].
pub mod flag {
    /// Long-lived by nature: counted, never timed.
    pub const STREAM: u16 = 1;
    /// The reply was seen before the request's write was (two threads, one socket): the start is unknown.
    pub const RACED: u16 = 2;
    /// The protocol was guessed from the request alone; no reply confirmed it.
    pub const TENTATIVE: u16 = 4;
    /// More of the head came than is kept.
    pub const TRUNCATED: u16 = 8;
    /// Already sent to user space (streams are sent at their head).
    pub const EMITTED: u16 = 16;
    /// A reply whose request was never seen.
    pub const ORPHAN: u16 = 32;
    /// Part of the head was not readable.
    pub const UNREADABLE: u16 = 64;
}

/// [`Record::error`]: an errno, or this when the connection ended without one.
pub const ERROR_CLOSED: u8 = 255;

/// [`Request::command`] of a MySQL connection's handshake (no command of the protocol has this number).
pub const COMMAND_HANDSHAKE: u8 = 0xf0;

/// The request's part of an exchange. Up to `--head-bytes` of the request follow it in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// First byte in the kernel, ns; 0 where no hook told.
    pub t_arrive: u64,
    /// First read or write, ns; 0 when it was not seen in time ([`flag::RACED`]).
    pub t_start: u64,
    /// Last read or write, ns.
    pub t_end: u64,
    /// All bytes on the wire.
    pub bytes: u64,
    pub pid: u32,
    pub tid: u32,
    /// Valid bytes of the head that follows.
    pub head_len: u32,
    /// MySQL: the command; HTTP: [`crate::http::method`].
    pub command: u8,
    pub truncated: u8,
    pub unreadable: u8,
    pub pad: u8,
}

/// A finished exchange.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// [`kind::EXCHANGE`].
    pub kind: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// With [`Record::born`] the connection's identity.
    pub sk: u64,
    pub born: u64,
    /// First and last byte of the response, ns; 0 when there was none.
    pub t_first: u64,
    pub t_last: u64,
    pub response_bytes: u64,
    /// Local and remote address; for Unix sockets the first 8 bytes are the inode of each end.
    pub laddr: [u8; 16],
    pub raddr: [u8; 16],
    /// MySQL: the capabilities that the client asked for.
    pub caps: u32,
    pub family: u16,
    pub lport: u16,
    pub rport: u16,
    /// HTTP status, 0 when none came.
    pub status: u16,
    pub flags: u16,
    pub proto: u8,
    pub role: u8,
    /// 0, an errno, or [`ERROR_CLOSED`].
    pub error: u8,
    pub reply_head_len: u8,
    pub pad: [u8; 6],
    pub reply_head: [u8; REPLY_HEAD],
    pub reply_tail: [u8; REPLY_TAIL],
    /// Last: the head's bytes follow.
    pub request: Request,
}

/// The name of a Unix socket connection, sent once per connection.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UnixName {
    pub kind: u32,
    pub len: u32,
    pub sk: u64,
    pub born: u64,
    pub path: [u8; UNIX_PATH],
    pub pad: u32,
}

/// A process was forked, has changed its program, or is gone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pub kind: u32,
    pub pid: u32,
    pub parent: u32,
    pub args_len: u32,
    /// ns on the monotonic clock.
    pub time: u64,
    pub comm: [u8; 16],
    pub file_len: u32,
    pub pad: u32,
    /// EXEC: the arguments, NUL after each; then the names in the path of the program's file, the last one first, NUL
    /// after each. The rest is room for the kernel half.
    pub text: [u8; EXEC_ARGS + EXEC_FILE + FILE_NAME],
}

/// What a name server has answered a process: a message of the DNS (RFC 1035).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// [`kind::ANSWER`].
    pub kind: u32,
    /// Inode number of the network namespace.
    pub netns: u32,
    pub len: u32,
    pub pad: u32,
    pub message: [u8; NAME_ANSWER],
}

const _: () = assert!(size_of::<Answer>() == 16 + NAME_ANSWER);
const _: () = assert!(size_of::<Request>() == 48);
const _: () = assert!(size_of::<Record>() == 280 && size_of::<Record>().is_multiple_of(8));
const _: () = assert!(size_of::<UnixName>() == 136);
const _: () = assert!(size_of::<Process>() == 48 + EXEC_ARGS + EXEC_FILE + FILE_NAME);

/// What the kernel half counts. Numbers are never reused.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Exchanges sent to user space.
    Emitted = 0,
    RingFull = 1,
    ConnectionTableFull = 2,
    PipelineTooDeep = 3,
    HeadUnreadable = 4,
    /// Replies without a request, and connections cut before anything could be said.
    HalfSeen = 5,
    NotParsedTls = 6,
    NotParsedHttp2 = 7,
    NotParsedMysqlCompressed = 8,
    NotParsedOther = 9,
    NotParsedIoUring = 10,
    /// Server packets that answer nothing (MySQL's farewell errors).
    Unsolicited = 11,
    /// Socket operations seen.
    Operations = 12,
    Opened = 13,
    Closed = 14,
    /// Message boundaries lost inside one huge operation; found again at the next request.
    FramingLost = 15,
    /// A guess at the protocol that the reply did not bear out.
    Demoted = 16,
    Arrivals = 17,
    /// Names or process records that the ring had no room for.
    NoticeLost = 18,
    /// Operations on connections that found no room in the table.
    Untracked = 19,
    /// Pipelined requests that found no room in the table of waiting ones, though their connection had room.
    WaitingTableFull = 20,
    /// Threads with a wait that found no room in the table of loops.
    LoopTableFull = 21,
    /// Stalls sent to user space.
    Stalls = 22,
    /// Long turns of threads that share their set, which mean nothing.
    SharedTurns = 23,
    /// Switches of loop threads that were not seen: a turn's parts are uncertain.
    SwitchLost = 24,
    /// Begins or ends of waits that were not seen: a turn was not measured, or its end found late.
    WaitLost = 25,
    /// Stalls that the ring had no room for.
    StallLost = 26,
    /// Events of connections' lives that the ring had no room for.
    ConnectionEventLost = 27,
    /// Listening sockets that found no room in their table.
    ListenerTableFull = 28,
}

impl Counter {
    pub const COUNT: usize = 29;
    /// Every counter with its name in reports.
    pub const ALL: [(Counter, &'static str); Self::COUNT] = [
        (Counter::Emitted, "emitted"),
        (Counter::RingFull, "ring_full"),
        (Counter::ConnectionTableFull, "connection_table_full"),
        (Counter::PipelineTooDeep, "pipeline_too_deep"),
        (Counter::HeadUnreadable, "head_unreadable"),
        (Counter::HalfSeen, "half_seen"),
        (Counter::NotParsedTls, "tls"),
        (Counter::NotParsedHttp2, "http2"),
        (Counter::NotParsedMysqlCompressed, "mysql_compressed"),
        (Counter::NotParsedOther, "other_protocol"),
        (Counter::NotParsedIoUring, "io_uring"),
        (Counter::Unsolicited, "unsolicited"),
        (Counter::Operations, "operations"),
        (Counter::Opened, "opened"),
        (Counter::Closed, "closed"),
        (Counter::FramingLost, "framing_lost"),
        (Counter::Demoted, "demoted"),
        (Counter::Arrivals, "arrivals"),
        (Counter::NoticeLost, "notice_lost"),
        (Counter::Untracked, "untracked_operations"),
        (Counter::WaitingTableFull, "waiting_table_full"),
        (Counter::LoopTableFull, "loop_table_full"),
        (Counter::Stalls, "stalls"),
        (Counter::SharedTurns, "shared_turns"),
        (Counter::SwitchLost, "switch_lost"),
        (Counter::WaitLost, "wait_lost"),
        (Counter::StallLost, "stall_lost"),
        (Counter::ConnectionEventLost, "connection_event_lost"),
        (Counter::ListenerTableFull, "listener_table_full"),
    ];
}
