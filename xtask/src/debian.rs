//! The private toolchain: Debian's Rust compiler for browsers (`rustc-web`) and a bpf-linker for its LLVM.
//!
//! Nothing comes in but apt and cargo; out comes a [`Pair`] under `target/toolchain/`. Debian's packages carry
//! a compiler and the sources of the same release, which a rustup without downloads of components lacks. They
//! conflict with other Rust packages, so they are unpacked, never installed; only LLVM is installed.
//!
//! Each half is made in a `.partial` folder and renamed when complete: an interrupted run starts that half anew,
//! a finished one is never touched again. Remove `target/toolchain/` to fetch newer packages.

mod apt;

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command, folder,
    toolchain::{OLDEST_RUST, is_new_enough},
};

/// The packages that all carry the version of the compiler. The runtime library, whose name holds the
/// version, is added by [`Release::packages`].
const PACKAGES: [&str; 4] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src", "rust-web-clippy"];

const BPF_LINKER: &str = "0.13.0";

/// A compiler and the linker that understands its bitcode.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) rustc: PathBuf,
    pub(crate) linker: PathBuf,
}

/// Returns the private toolchain, and makes what is missing of it.
pub(crate) fn prepare() -> Result<Pair> {
    let folder = command::root().join("target/toolchain");
    let compiler = folder.join("rust");
    let linker = folder.join("bpf-linker");
    if !(compiler.exists() && linker.exists()) {
        // Two builds at once must not unpack into the same folder.
        let _lock = folder::lock(&folder)?;
        if !compiler.exists() {
            folder::make(&compiler, unpack_compiler)?;
        }
        if !linker.exists() {
            folder::make(&linker, |partial| install_linker(&compiler, partial))?;
        }
    }
    Ok(Pair { rustc: compiler.join("bin/rustc"), linker: linker.join("bin/bpf-linker") })
}

/// One version of the compiler that apt offers whole.
#[derive(Debug, PartialEq, Eq)]
struct Release(String);

impl Release {
    /// The newest version that every package has, out of the answer of `apt-cache madison`.
    fn newest(madison: &str) -> Option<Self> {
        let offers: Vec<(&str, &str)> = madison
            .lines()
            .filter_map(|line| {
                let mut columns = line.split('|').map(str::trim);
                Some((columns.next()?, columns.next()?))
            })
            .collect();
        let complete = |version: &str| PACKAGES.iter().all(|package| offers.contains(&(package, version)));
        // apt lists the versions of one package with the newest first.
        let newest = offers.iter().find(|(package, version)| *package == PACKAGES[0] && complete(version));
        newest.filter(|(_, version)| is_new_enough(version)).map(|(_, version)| Self((*version).to_owned()))
    }

    /// Asks apt, and refreshes its lists when they do not know a release that is new enough.
    fn offered() -> Result<Self> {
        let ask = || command::output(Command::new("apt-cache").arg("madison").args(PACKAGES));
        if let Some(release) = Self::newest(&ask()?) {
            return Ok(release);
        }
        apt::refresh()?;
        Self::newest(&ask()?).with_context(|| {
            format!("apt offers no version {OLDEST_RUST} or newer that {} share", PACKAGES.join(", "))
        })
    }

    /// `package=version` of everything to unpack.
    fn packages(&self) -> Vec<String> {
        let Self(version) = self;
        let mut numbers = version.split('.');
        let short = format!("{}.{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let library = format!("libstd-rust-web-{short}");
        PACKAGES
            .iter()
            .copied()
            .chain([library.as_str()])
            .map(|package| format!("{package}={version}"))
            .collect()
    }
}

/// Unpacks the compiler, its libraries and the sources of `core` into `folder`.
fn unpack_compiler(folder: &Path) -> Result<()> {
    let archives = folder.join("archives");
    fs::create_dir(&archives).with_context(|| format!("failed to create {}", archives.display()))?;
    if download(&archives, &Release::offered()?).is_err() {
        // The lists may be older than the server's files: refresh them and choose anew.
        apt::refresh()?;
        download(&archives, &Release::offered()?)?;
    }
    let mut llvm = None;
    for entry in fs::read_dir(&archives).with_context(|| format!("failed to list {}", archives.display()))? {
        let archive = entry.with_context(|| format!("failed to list {}", archives.display()))?.path();
        let depends = command::output(Command::new("dpkg-deb").arg("-f").arg(&archive).arg("Depends"))?;
        llvm = llvm.or(llvm_major(&depends));
        let wanted =
            if archive.to_string_lossy().contains("rust-web-src_") { "./usr/src/*/library" } else { "*" };
        unpack(&archive, wanted, folder)?;
    }
    fs::remove_dir_all(&archives).with_context(|| format!("failed to remove {}", archives.display()))?;
    place_sources(folder)?;
    let llvm = llvm.context("Debian's compiler does not say which LLVM it needs")?;
    fs::write(folder.join("llvm"), llvm.to_string()).context("failed to note the compiler's LLVM")?;
    for tool in ["rustc", "rustdoc", "clippy-driver"] {
        write_wrapper(folder, tool)?;
    }
    Ok(())
}

fn download(archives: &Path, release: &Release) -> Result<()> {
    eprintln!("ebpf toolchain: downloading Debian's Rust {} (140 MB)", release.0);
    command::run(
        Command::new("apt-get")
            // Root's download would otherwise warn that its sandbox user cannot write here.
            .args(["-qq", "-o", "APT::Sandbox::User=root", "download"])
            .args(release.packages())
            .current_dir(archives),
    )
}

/// Unpacks the members of a Debian archive that match `wanted`.
fn unpack(archive: &Path, wanted: &str, folder: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb");
    reader.arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped());
    let mut child = reader.spawn().with_context(|| format!("failed to run {reader:?}"))?;
    let stream = child.stdout.take().context("dpkg-deb has no standard output")?;
    let mut tar = Command::new("tar");
    tar.args(["-x", "--no-same-owner", "--wildcards", "--no-wildcards-match-slash", "-C"])
        .arg(folder)
        .arg(wanted);
    let unpacked = command::run(tar.stdin(stream));
    let status = child.wait().with_context(|| format!("failed to wait for {reader:?}"))?;
    unpacked?;
    ensure!(status.success(), "{reader:?} failed: {status}");
    Ok(())
}

/// Moves the sources of `core` to where `-Z build-std` looks for them.
fn place_sources(folder: &Path) -> Result<()> {
    let unpacked = folder.join("usr/src");
    let mut versions =
        fs::read_dir(&unpacked).with_context(|| format!("failed to list {}", unpacked.display()))?;
    let version =
        versions.next().context("rust-web-src holds no sources")?.context("failed to list usr/src")?;
    let home = folder.join("usr/lib/rustlib/src/rust");
    fs::create_dir_all(&home).with_context(|| format!("failed to create {}", home.display()))?;
    fs::rename(version.path().join("library"), home.join("library"))
        .context("rust-web-src has no library folder")
}

/// The `22` of `libllvm22` in a package's dependencies.
fn llvm_major(depends: &str) -> Option<u32> {
    let (_, rest) = depends.split_once("libllvm")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

/// Debian's tools expect their library in the system's folder: a wrapper says where it is.
fn write_wrapper(folder: &Path, tool: &str) -> Result<()> {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("failed to create {}", bin.display()))?;
    let script = format!(
        "#!/bin/sh\n# Runs Debian's {tool} with its own library.\nhome=$(dirname \"$0\")/../usr\n\
         LD_LIBRARY_PATH=$home/lib/{ARCH}-linux-gnu exec \"$home/bin/{tool}\" \"$@\"\n"
    );
    let path = bin.join(tool);
    fs::write(&path, script).with_context(|| format!("failed to write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("failed to make {} executable", path.display()))
}

/// Builds bpf-linker for the LLVM of the compiler.
fn install_linker(compiler: &Path, folder: &Path) -> Result<()> {
    let llvm =
        fs::read_to_string(compiler.join("llvm")).context("the private compiler lost its `llvm` note")?;
    let prefix = format!("/usr/lib/llvm-{llvm}");
    if !Path::new(&prefix).join("lib/libLLVM.so").exists() {
        apt::install(&format!("llvm-{llvm}-dev"))?;
    }
    eprintln!("ebpf toolchain: building bpf-linker {BPF_LINKER} for LLVM {llvm} (about a minute)");
    let scratch = folder.with_extension("build");
    command::run(
        command::cargo()
            .args(["install", "--quiet", "bpf-linker", "--version", BPF_LINKER, "--locked"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
            .arg(folder)
            .arg("--target-dir")
            .arg(&scratch)
            // Another LLVM may be the system's default; this also sets the linker's run path.
            .env("LLVM_PREFIX", &prefix)
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS"),
    )?;
    fs::remove_dir_all(&scratch).with_context(|| format!("failed to remove {}", scratch.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(versions: &[(&str, &str)]) -> String {
        versions.iter().map(|(package, version)| format!(" {package} | {version} | somewhere\n")).collect()
    }

    #[test]
    fn newest_shared_version_wins() {
        let mut offers = vec![("rustc-web", "1.99.0-1")];
        for version in ["1.96.0-2", "1.96.0-1"] {
            offers.extend(PACKAGES.map(|package| (package, version)));
        }
        let release = Release::newest(&offer(&offers)).expect("two versions are complete");
        assert_eq!(release, Release("1.96.0-2".to_owned()), "1.99.0-1 lacks three packages");
        assert!(release.packages().contains(&"libstd-rust-web-1.96=1.96.0-2".to_owned()));
    }

    #[test]
    fn old_or_incomplete_versions_are_refused() {
        let old = PACKAGES.map(|package| (package, "1.85.0-1"));
        assert_eq!(Release::newest(&offer(&old)), None);
        assert_eq!(Release::newest(&offer(&[("rustc-web", "1.96.0-1")])), None);
        assert_eq!(Release::newest(""), None);
    }

    #[test]
    fn llvm_is_read_from_dependencies() {
        assert_eq!(llvm_major("libc6 (>= 2.34), libllvm22 (>= 1:22.1.0), zlib1g"), Some(22));
        assert_eq!(llvm_major("libc6 (>= 2.34)"), None);
    }
}
