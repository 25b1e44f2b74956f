//! The running kernel's release: what of it cannot be asked for in another way.

/// The release's name, as `uname -r` prints it; empty where it is not told.
pub fn name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Whether it runs programs of raw tracepoints with preemption on: Linux 7.0 and newer (`__DECLARE_TRACE` in
/// include/linux/tracepoint.h).
pub fn preempts() -> bool {
    version(&name()).is_some_and(|version| version >= (7, 0))
}

/// Its first two numbers.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_first_two_numbers() {
        for (release, expected) in [
            ("5.10.0-43-cloud-amd64", Some((5, 10))),
            ("6.18.44-fc-v595", Some((6, 18))),
            ("7.2-rc1", Some((7, 2))),
            ("unknown", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
