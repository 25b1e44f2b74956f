//! The kernel's lockdown: whether it lets eBPF read its memory.

/// Where the kernel tells it, as `none [integrity] confidentiality` (security/lockdown/lockdown.c).
const FILE: &str = "/sys/kernel/security/lockdown";

/// What a locked kernel needs for hostprof to run.
pub const ADVICE: &str = "boot with lockdown=integrity, or without";

/// How far the kernel is locked down; `none` where it does not say.
pub fn mode() -> String {
    parse(&std::fs::read_to_string(FILE).unwrap_or_default()).to_owned()
}

/// True for the mode in which no program may read the kernel's memory (`LOCKDOWN_BPF_READ_KERNEL`).
pub fn forbids(mode: &str) -> bool {
    mode == "confidentiality"
}

fn parse(text: &str) -> &str {
    text.split(['[', ']']).nth(1).unwrap_or("none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_in_brackets() {
        for (text, mode, forbidden) in [
            ("[none] integrity confidentiality\n", "none", false),
            ("none [integrity] confidentiality\n", "integrity", false),
            ("none integrity [confidentiality]\n", "confidentiality", true),
            ("", "none", false),
            ("none\n", "none", false),
        ] {
            assert_eq!((parse(text), forbids(parse(text))), (mode, forbidden), "{text}");
        }
    }
}
