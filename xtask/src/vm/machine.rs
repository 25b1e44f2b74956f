//! The machine that a guest runs in: QEMU, by KVM where the host allows it, else by translation.
//!
//! In come paths and descriptors, out comes the command line. Four serial ports: the console, then the command's
//! output, status and complaints.

use std::{ffi::OsString, os::fd::RawFd, path::Path};

pub(super) const QEMU: &str = "qemu-system-x86_64";

/// Which of the kernel's own doors are shut (security/lockdown/lockdown.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Lockdown {
    None,
    Integrity,
    Confidentiality,
}

impl Lockdown {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

/// What a machine is made of.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub(super) image: &'a Path,
    pub(super) initramfs: &'a Path,
    /// The socket of the daemon that serves the host's files.
    pub(super) share: &'a Path,
    pub(super) console: &'a Path,
    /// Ends of pipes, for the command's output, its status and its complaints.
    pub(super) pipes: [RawFd; 3],
    pub(super) lockdown: Lockdown,
    pub(super) cpus: u32,
    /// MiB
    pub(super) memory: u32,
    pub(super) kvm: bool,
}

impl Machine<'_> {
    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let Self { image, initramfs, share, console, pipes, lockdown, cpus, memory, kvm } = self;
        let path = |before: &str, path: &Path| {
            let mut text = OsString::from(before);
            // QEMU's own sign between options, doubled, stands for itself.
            text.push(path.to_string_lossy().replace(',', ",,"));
            text
        };
        let mut arguments: Vec<OsString> = Vec::new();
        for plain in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            arguments.push(plain.into());
        }
        let mut add = |name: &str, value: OsString| arguments.extend([OsString::from(name), value]);
        add("-display", "none".into());
        add("-machine", "q35,memory-backend=memory".into());
        if *kvm {
            // Without nested virtualisation it may be there and not work: then the next one is taken.
            add("-accel", "kvm".into());
        }
        add("-accel", "tcg,thread=multi".into());
        add("-cpu", "max".into());
        add("-smp", cpus.to_string().into());
        add("-m", format!("{memory}M").into());
        // The daemon reads and writes the guest's memory.
        add("-object", format!("memory-backend-memfd,id=memory,size={memory}M,share=on").into());
        add("-chardev", path("socket,id=share,path=", share));
        add("-device", "vhost-user-fs-pci,chardev=share,tag=host".into());
        add("-chardev", path("file,id=console,path=", console));
        add("-serial", "chardev:console".into());
        for (name, pipe) in ["output", "status", "complaints"].iter().zip(pipes) {
            add("-chardev", format!("file,id={name},append=on,path=/proc/self/fd/{pipe}").into());
            add("-serial", format!("chardev:{name}").into());
        }
        add("-kernel", image.into());
        add("-initrd", initramfs.into());
        add("-append", kernel_command_line(*lockdown).into());
        arguments
    }
}

/// A panic or an oops ends the machine at once; the clock is the host's, whose CPUs may be late.
fn kernel_command_line(lockdown: Lockdown) -> String {
    let mut line =
        "console=ttyS0 quiet panic=-1 oops=panic reboot=t mitigations=off tsc=reliable nowatchdog".to_owned();
    if lockdown != Lockdown::None {
        line += " lockdown=";
        line += lockdown.name();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(lockdown: Lockdown, kvm: bool) -> Vec<String> {
        let machine = Machine {
            image: Path::new("/k/vmlinuz"),
            initramfs: Path::new("/t/initramfs"),
            share: Path::new("/t/a,b/share"),
            console: Path::new("/t/console"),
            pipes: [10, 11, 12],
            lockdown,
            cpus: 2,
            memory: 512,
            kvm,
        };
        machine.arguments().into_iter().map(|argument| argument.into_string().unwrap()).collect()
    }

    #[test]
    fn lockdown_is_said_to_the_kernel_where_it_is_wanted() {
        let line = |lockdown| arguments(lockdown, false).pop().unwrap();
        assert!(!line(Lockdown::None).contains("lockdown"));
        assert!(line(Lockdown::Integrity).ends_with(" lockdown=integrity"));
        assert!(line(Lockdown::Confidentiality).ends_with(" lockdown=confidentiality"));
        assert!(line(Lockdown::None).contains("panic=-1"));
    }

    #[test]
    fn translation_is_the_fallback_of_kvm() {
        let accelerators = |kvm| -> Vec<String> {
            let arguments = arguments(Lockdown::None, kvm);
            let pairs = arguments.windows(2).filter(|pair| pair[0] == "-accel");
            pairs.map(|pair| pair[1].clone()).collect()
        };
        assert_eq!(accelerators(true), ["kvm", "tcg,thread=multi"]);
        assert_eq!(accelerators(false), ["tcg,thread=multi"]);
    }

    #[test]
    fn ports_are_in_the_order_of_the_init_and_commas_are_doubled() {
        let arguments = arguments(Lockdown::None, false);
        let ports: Vec<_> =
            arguments.windows(2).filter(|pair| pair[0] == "-serial").map(|pair| &pair[1]).collect();
        assert_eq!(ports, ["chardev:console", "chardev:output", "chardev:status", "chardev:complaints"]);
        assert!(arguments.contains(&"file,id=status,append=on,path=/proc/self/fd/11".to_owned()));
        assert!(arguments.contains(&"socket,id=share,path=/t/a,,b/share".to_owned()));
    }
}
