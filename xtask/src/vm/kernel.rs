//! A kernel to boot: what of Debian's packages it takes, kept under `target/kernels`.
//!
//! In comes a line of kernels, out comes a [`Kernel`] on disk. What is there is not looked for anew: remove its folder
//! for a newer one. Nothing is installed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    module,
    series::{IMAGE, SUITES, Series},
};
use crate::{archive::Archive, command, folder};

/// What a guest needs to see the host's files. Those that are built in are no files and not looked for.
const MODULES: [&str; 3] = ["virtio_pci", "virtiofs", "overlay"];

/// A kernel's files: `vmlinuz`, `release`, and `modules/`, whose names sort in the order of loading.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// As `uname -r` says it.
    pub(super) release: String,
    pub(super) modules: Vec<PathBuf>,
}

impl Kernel {
    /// Fetches the kernels that are missing and returns all of them, in this order.
    pub(super) fn prepare(wanted: &[Series]) -> Result<Vec<Self>> {
        let root = command::root().join("target/kernels");
        let folder = |series: &Series| root.join(series.to_string());
        if wanted.iter().any(|series| !folder(series).exists()) {
            let _lock = folder::lock(&root)?;
            let missing: Vec<_> = wanted.iter().filter(|series| !folder(series).exists()).collect();
            fetch(&missing, &root)?;
        }
        wanted.iter().map(|series| Self::load(&folder(series))).collect()
    }

    fn load(folder: &Path) -> Result<Self> {
        let release = folder.join("release");
        let release =
            fs::read_to_string(&release).with_context(|| format!("failed to read {}", release.display()))?;
        let mut modules: Vec<_> = files(&folder.join("modules"))?;
        modules.sort();
        Ok(Self { image: folder.join("vmlinuz"), release: release.trim().to_owned(), modules })
    }
}

/// Fetches these lines of kernels into folders of `root`.
fn fetch(missing: &[&Series], root: &Path) -> Result<()> {
    folder::make(&root.join("apt"), |work| {
        eprintln!("kernels: fetching Debian's lists of packages (40 MB)");
        let archive = Archive::open(work, &SUITES)?;
        let names = command::output(archive.cache().args(["pkgnames", "linux-"]))?;
        for series in missing {
            folder::make(&root.join(series.to_string()), |folder| {
                let packages = download(&archive, **series, &names, folder)?;
                unpack(&packages, folder)
            })?;
        }
        Ok(())
    })?;
    // The lists are 80 MB, and another time they are old.
    fs::remove_dir_all(root.join("apt")).context("failed to remove apt's lists")
}

/// Downloads the newest release that the servers have.
fn download(archive: &Archive, series: Series, names: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let offers = series.offers(names);
    ensure!(
        !offers.is_empty(),
        "no suite of Debian's has a package {IMAGE}{series}.*: {}",
        SUITES.join(", ")
    );
    let mut failure = None;
    for packages in &offers {
        eprintln!("kernels: downloading {}", packages.join(" "));
        match command::output(archive.get().arg("download").args(packages).current_dir(folder)) {
            Ok(_) => return files(folder),
            // The lists name some that have gone from the servers.
            Err(error) => failure = Some(error),
        }
    }
    let error = failure.context("nothing was offered")?;
    Err(error).with_context(|| format!("none of {} packages with Linux {series} can be had", offers.len()))
}

/// Leaves of the packages in `folder` what [`Kernel`] says.
fn unpack(packages: &[PathBuf], folder: &Path) -> Result<()> {
    let tree = folder.join("tree");
    for package in packages {
        command::output(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&tree))?;
        fs::remove_file(package).with_context(|| format!("failed to remove {}", package.display()))?;
    }
    let mut found = Found::default();
    found.search(&tree)?;
    let image = found.image.context("the packages hold no vmlinuz")?;
    let release = found.release.context("the packages hold no modules")?;
    fs::rename(&image, folder.join("vmlinuz"))
        .with_context(|| format!("failed to move {}", image.display()))?;
    fs::write(folder.join("release"), release).context("failed to write the release")?;

    let modules = folder.join("modules");
    fs::create_dir(&modules).with_context(|| format!("failed to create {}", modules.display()))?;
    let loaded =
        module::closure(&MODULES, |name| found.modules.get(name).map(|path| read(path)).transpose())?;
    for (at, (name, bytes)) in loaded.iter().enumerate() {
        let path = modules.join(format!("{at:02}-{name}.ko"));
        fs::write(&path, bytes).with_context(|| format!("failed to write {}", path.display()))?;
    }
    fs::remove_dir_all(&tree).with_context(|| format!("failed to remove {}", tree.display()))
}

/// What is in a tree of packages.
#[derive(Debug, Default)]
struct Found {
    image: Option<PathBuf>,
    release: Option<String>,
    /// Paths by the names that the kernel knows them by.
    modules: BTreeMap<String, PathBuf>,
}

impl Found {
    fn search(&mut self, folder: &Path) -> Result<()> {
        for path in files(folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_symlink() {
                continue;
            } else if path.is_dir() {
                if folder.ends_with("lib/modules") {
                    self.release = Some(name.clone().into_owned());
                }
                self.search(&path)?;
            } else if name.starts_with("vmlinuz") {
                self.image = Some(path);
            } else if let Some((module, _compressed)) = name.split_once(".ko") {
                self.modules.insert(module::name(module), path);
            }
        }
        Ok(())
    }
}

/// A module's bytes, unpacked.
fn read(path: &Path) -> Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => fs::read(path).with_context(|| format!("failed to read {}", path.display())),
        Some("xz") => {
            let mut xz = Command::new("xz");
            let unpacked = xz.args(["--decompress", "--stdout"]).arg(path).output();
            let unpacked = unpacked.with_context(|| format!("failed to run {xz:?}"))?;
            ensure!(unpacked.status.success(), "{xz:?} failed: {}", unpacked.status);
            Ok(unpacked.stdout)
        }
        _ => bail!("{} is compressed in a way not known here", path.display()),
    }
}

/// Everything that is directly in a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>();
    paths.with_context(|| format!("failed to list {}", folder.display()))
}
