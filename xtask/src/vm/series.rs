//! A line of kernels, such as 6.1, and which of Debian's packages hold its newest one.
//!
//! In come the names of packages, out come the sets to try, newest first: superseded packages stay in the lists for a
//! while after they have gone from the servers.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// The suites that have, or had, a kernel of these lines.
pub(super) const SUITES: [&str; 10] = [
    "bullseye",
    "bullseye-security",
    "bookworm",
    "bookworm-security",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "trixie-backports",
    "sid",
    "experimental",
];

/// The beginnings of the packages' names: everything in one, or the kernel and its modules apart (from 6.19 on).
pub(super) const IMAGE: &str = "linux-image-";
const BINARY: &str = "linux-binary-";
const MODULES: &str = "linux-modules-";
/// Debian's kernels for virtual machines: the smallest, with all that hostprof needs.
const FLAVOUR: &str = "-cloud-amd64";
const UNSIGNED: &str = "-unsigned";

/// The first two numbers of a kernel's release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series {
    major: u64,
    minor: u64,
}

/// What hostprof is tried on when no kernel is named.
pub(super) const TRIED: [Series; 5] = [
    Series { major: 5, minor: 10 },
    Series { major: 6, minor: 1 },
    Series { major: 6, minor: 12 },
    Series { major: 6, minor: 18 },
    Series { major: 7, minor: 2 },
];

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text
            .split_once('.')
            .and_then(|(major, minor)| Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? }));
        numbers.ok_or_else(|| format!("{text:?} is no line of kernels such as 6.1"))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Padded as a whole where it stands in a table.
        formatter.pad(&format!("{}.{}", self.major, self.minor))
    }
}

impl Series {
    /// The sets of packages out of `names` that hold a kernel of this line; the newest release comes first.
    pub(super) fn offers(self, names: &str) -> Vec<Vec<String>> {
        let names: Vec<&str> = names.lines().collect();
        let has = |name: &str| names.contains(&name);
        let mut releases = BTreeMap::new();
        for name in &names {
            let rest = [IMAGE, BINARY].iter().find_map(|prefix| name.strip_prefix(prefix));
            let release =
                rest.and_then(|rest| rest.strip_suffix(UNSIGNED).unwrap_or(rest).strip_suffix(FLAVOUR));
            let Some(release) = release else { continue };
            let numbers = numbers(release);
            // Without a third number it is a name for others.
            if numbers.len() > 2 && numbers.starts_with(&[self.major, self.minor]) {
                releases.insert(numbers, release);
            }
        }
        let newest_first = releases.into_values().rev();
        newest_first
            .flat_map(|release| {
                let name = |prefix: &str, suffix: &str| format!("{prefix}{release}{FLAVOUR}{suffix}");
                let (binary, modules) = (name(BINARY, ""), name(MODULES, ""));
                if has(&binary) {
                    return vec![vec![binary, modules]];
                }
                let images = [name(IMAGE, UNSIGNED), name(IMAGE, "")];
                images.into_iter().filter(|image| has(image)).map(|image| vec![image]).collect()
            })
            .collect()
    }
}

/// All numbers of a release: 6.12.117+deb12 is [6, 12, 117, 12].
fn numbers(release: &str) -> Vec<u64> {
    let digits = release.split(|letter: char| !letter.is_ascii_digit());
    digits.filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(series: &str, names: &[&str]) -> Vec<String> {
        let series: Series = series.parse().expect("a line of kernels");
        series.offers(&names.join("\n")).into_iter().map(|packages| packages.join(" ")).collect()
    }

    #[test]
    fn newest_release_comes_first_and_unsigned_before_signed() {
        let names = [
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64-dbg",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-0.deb11.60-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.1.0-56-amd64",
        ];
        let expected = [
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-0.deb11.60-cloud-amd64-unsigned",
        ];
        assert_eq!(offers("6.1", &names), expected);
        assert_eq!(offers("6.12", &names), ["linux-image-6.12.117+deb12-cloud-amd64"]);
        assert_eq!(offers("6.2", &names), [""; 0]);
    }

    #[test]
    fn kernel_and_modules_apart_are_taken_together() {
        let names = [
            "linux-image-7.2.13+deb14-cloud-amd64",
            "linux-binary-7.2.13+deb14-cloud-amd64",
            "linux-modules-7.2.13+deb14-cloud-amd64",
            "linux-image-7.2.9+deb13-cloud-amd64",
        ];
        let expected = [
            "linux-binary-7.2.13+deb14-cloud-amd64 linux-modules-7.2.13+deb14-cloud-amd64",
            "linux-image-7.2.9+deb13-cloud-amd64",
        ];
        assert_eq!(offers("7.2", &names), expected);
    }

    #[test]
    fn lines_are_two_numbers() {
        assert_eq!("6.18".parse::<Series>().map(|series| series.to_string()), Ok("6.18".to_owned()));
        for text in ["6", "6.x", "6.1.2", "", "latest"] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }
}
