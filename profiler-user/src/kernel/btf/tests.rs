//! Against another reader on the running kernel, on types made by hand, and on damaged ones.

use btfparse::{Offset, Readable, TypeInformation};
use proptest::prelude::*;

use super::record::{CONST, INT, RESTRICT, TYPE_TAG, VOLATILE};
use super::*;

/// BTF made by hand.
#[derive(Default)]
struct Maker {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Maker {
    fn string(&mut self, text: &str) -> u32 {
        if self.strings.is_empty() {
            self.strings.push(0);
        }
        if text.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(text.bytes());
        self.strings.push(0);
        at
    }

    /// A record and the words after it.
    fn add(mut self, name: &str, kind: u32, count: u32, size: u32, words: &[u32]) -> Self {
        let name = self.string(name);
        for word in [name, kind << 24 | count, size].iter().chain(words) {
            self.types.extend(word.to_ne_bytes());
        }
        self
    }

    fn structure(mut self, name: &str, kind: u32, flag: bool, members: &[(&str, u32, u32)]) -> Self {
        let mut words = Vec::new();
        for (name, kind, offset) in members {
            words.extend([self.string(name), *kind, *offset]);
        }
        let flag = u32::from(flag) << 7;
        self.add(name, kind | flag, members.len() as u32, 64, &words)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// One of everything: 1 int, 2 short bit field type, 3 inner, 4 anonymous union, 5 typedef, 6 const, 7 outer, 8 flagged,
/// 9 proto, 10 pointer, 11 btf_trace_x, 12 func, then the kinds that are only stepped over.
fn sample() -> Maker {
    Maker::default()
        .add("int", INT, 0, 4, &[32])
        .add("old_bits", INT, 0, 4, &[3])
        .structure("inner", STRUCT, false, &[("a", 1, 0), ("b", 1, 32)])
        .structure("", UNION, false, &[("x", 1, 0), ("y", 3, 0)])
        .add("inner_t", TYPEDEF, 0, 3, &[])
        .add("", CONST, 0, 5, &[])
        .structure("outer", STRUCT, false, &[("first", 1, 0), ("", 4, 64), ("in", 6, 128), ("old", 2, 195)])
        .structure(
            "flagged",
            STRUCT,
            true,
            &[("byte", 1, 8 << 24 | 16), ("odd", 1, 3 << 24 | 25), ("plain", 1, 64)],
        )
        .add("", FUNC_PROTO, 3, 0, &[0, 10, 0, 1, 0, 1])
        .add("", PTR, 0, 9, &[])
        .add("btf_trace_x", TYPEDEF, 0, 10, &[])
        .add("do_it", FUNC, 1, 9, &[])
        .add("", 3, 0, 0, &[1, 1, 8])
        .add("e", 6, 2, 4, &[0, 1, 0, 2])
        .add("fwd", 7, 0, 0, &[])
        .add("", VOLATILE, 0, 1, &[])
        .add("", RESTRICT, 0, 10, &[])
        .add("var", 14, 0, 1, &[1])
        .add(".data", 15, 1, 4, &[18, 0, 4])
        .add("float", 16, 0, 4, &[])
        .add("tag", 17, 0, 7, &[u32::MAX])
        .add("tag", TYPE_TAG, 0, 1, &[])
        .add("e64", 19, 2, 8, &[0, 1, 0, 0, 2, 0])
        .structure("last", STRUCT, false, &[("z", 1, 0)])
}

#[test]
fn members_are_found() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    for (name, member, want) in [
        ("inner", "b", 4),
        ("outer", "first", 0),
        ("outer", "x", 8),
        ("outer", "y.b", 12),
        ("outer", "in.b", 20),
        ("outer", "in", 16),
        ("flagged", "byte", 2),
        ("flagged", "plain", 8),
        ("last", "z", 0),
    ] {
        assert_eq!(btf.offset(name, member).unwrap(), want, "{name}.{member}");
    }
    assert_eq!(btf.size_of("outer").unwrap(), 64);
    assert!(btf.has_struct("last") && !btf.has_struct("int") && !btf.has_struct("inner_t"));
}

#[test]
fn bitfields_are_told() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    let odd = Member { offset: 3, bits: Some(Bits { first: 1, count: 3 }) };
    assert_eq!(btf.member("flagged", "odd").unwrap(), odd);
    let old = Member { offset: 24, bits: Some(Bits { first: 3, count: 3 }) };
    assert_eq!(btf.member("outer", "old").unwrap(), old);
    assert!(matches!(btf.offset("flagged", "odd"), Err(BtfError::Bitfield { count: 3, .. })));
}

#[test]
fn functions_and_tracepoints() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(btf.tracepoint_args("x").unwrap(), 2);
    assert_eq!(btf.function_args("do_it").unwrap(), 3);
    assert!(matches!(btf.tracepoint_args("y"), Err(BtfError::Unknown { kind: "tracepoint", .. })));
    assert!(matches!(btf.function_args("inner"), Err(BtfError::Unknown { kind: "function", .. })));
}

#[test]
fn what_is_not_there_is_an_error_that_says_so() {
    let btf = Btf::parse(sample().bytes()).unwrap();
    assert_eq!(btf.offset("nope", "a").unwrap_err().to_string(), "this kernel knows no struct nope");
    assert_eq!(
        btf.offset("outer", "nope").unwrap_err().to_string(),
        "struct outer of this kernel has no member nope"
    );
    for path in ["first.x", "", ".", "in.", "in.a.b"] {
        assert!(matches!(btf.offset("outer", path), Err(BtfError::NoMember { .. })), "{path}");
    }
}

#[test]
fn the_second_struct_of_a_name_is_looked_at_too() {
    let twice = sample().structure("last", STRUCT, false, &[("z", 1, 0), ("only_here", 1, 96)]);
    assert_eq!(Btf::parse(twice.bytes()).unwrap().offset("last", "only_here").unwrap(), 12);
}

#[test]
fn circles_end() {
    let typedefs = Maker::default().add("a", TYPEDEF, 0, 2, &[]).add("b", TYPEDEF, 0, 1, &[]);
    let typedefs = typedefs.structure("s", STRUCT, false, &[("", 1, 0)]);
    assert!(matches!(Btf::parse(typedefs.bytes()).unwrap().offset("s", "x"), Err(BtfError::Invalid { .. })));
    let members = [("", 1, 0); 100];
    let circle = Maker::default().structure("s", STRUCT, false, &members);
    assert!(matches!(Btf::parse(circle.bytes()).unwrap().offset("s", "x"), Err(BtfError::Invalid { .. })));
}

#[test]
fn cut_anywhere_is_an_error() {
    let whole = sample().bytes();
    for end in 0..whole.len() {
        assert!(Btf::parse(whole[..end].to_vec()).is_err(), "{end}");
    }
}

#[test]
fn no_such_file_says_what_is_missing() {
    let error = Btf::from_file(Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
}

struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let start = offset as usize;
        let bytes = self.0.get(start..start + buffer.len());
        let eof = || btfparse::Error::new(btfparse::ErrorKind::EOF, "end");
        buffer.copy_from_slice(bytes.ok_or_else(eof)?);
        Ok(())
    }
}

/// The members that the probes read.
const MEMBERS: &[(&str, &[&str])] = &[
    (
        "sock_common",
        &[
            "skc_family",
            "skc_dport",
            "skc_num",
            "skc_daddr",
            "skc_rcv_saddr",
            "skc_v6_daddr",
            "skc_v6_rcv_saddr",
            "skc_net",
        ],
    ),
    ("sock", &["sk_protocol", "sk_socket", "__sk_common.skc_dport", "__sk_common.skc_net.net"]),
    ("socket", &["sk", "file"]),
    ("file", &["private_data"]),
    ("files_struct", &["fdt"]),
    ("fdtable", &["fd", "max_fds"]),
    ("task_struct", &["files", "tgid", "pid", "group_leader", "start_boottime", "real_parent"]),
    ("pt_regs", &["orig_ax", "di", "si", "dx"]),
    ("unix_sock", &["addr", "peer"]),
    ("unix_address", &["len", "name"]),
    ("inode", &["i_ino"]),
    ("ns_common", &["inum"]),
    ("net", &["ns", "ns.inum"]),
];

#[test]
fn agrees_with_btfparse_on_the_running_kernel() {
    let Ok(bytes) = std::fs::read(KERNEL_BTF) else {
        eprintln!("skipped: no {KERNEL_BTF}");
        return;
    };
    let ours = Btf::parse(bytes.clone()).unwrap();
    let theirs = TypeInformation::new(&Bytes(bytes)).unwrap();
    for (name, members) in MEMBERS {
        let id = theirs.id_of(name).unwrap();
        assert_eq!(ours.size_of(name).unwrap() as usize, theirs.size_of(id).unwrap(), "{name}");
        for member in *members {
            // pt_regs of other machines has other members.
            let Ok((_, offset)) = theirs.offset_of(id, member) else {
                assert!(ours.offset(name, member).is_err(), "{name}.{member}");
                continue;
            };
            assert_eq!(Offset::ByteOffset(ours.offset(name, member).unwrap()), offset, "{name}.{member}");
        }
    }
    // TRACE_EVENT(sched_switch): bool preempt, prev, next, unsigned int prev_state (since Linux 5.18).
    assert!(matches!(ours.tracepoint_args("sched_switch"), Ok(3 | 4)));
    assert!(ours.tracepoint_args("no_such_tracepoint").is_err());
    assert_eq!(ours.function_args("tcp_sendmsg").unwrap(), 3);
    let waiting = ours.member("task_struct", "in_execve").unwrap();
    assert_eq!(waiting.bits.unwrap().count, 1);
}

proptest! {
    #[test]
    fn damaged_types_never_panic(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = sample().bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(btf) = Btf::parse(bytes) {
            for name in ["outer", "flagged", "last", "inner"] {
                for member in ["first", "x", "y.b", "in.b", "odd", "old", "z"] {
                    let _ = btf.offset(name, member);
                }
                let _ = btf.size_of(name);
            }
            let _ = (btf.tracepoint_args("x"), btf.function_args("do_it"));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut with_magic = MAGIC.to_ne_bytes().to_vec();
        with_magic.extend(&bytes);
        let _ = (Btf::parse(bytes), Btf::parse(with_magic));
    }
}
