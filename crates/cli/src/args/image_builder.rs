//! The command line of bootc-image-builder, as far as this program has that name.
//!
//! Source: the options of its releases of 2026. Options that only tell it how to do its work are taken and have no effect.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::{DiskType, ProgressMode};

/// Make disk images of bootable container images
#[derive(Debug, Parser)]
#[command(name = "bootc-image-builder", disable_version_flag = true)]
#[command(after_help = "\
This is osmith, which takes the options of bootc-image-builder under its name: it needs no root, no
container and no virtual machine. The image is one of osmith's store (osmith pull, osmith build).
Output below DIR has the paths of bootc-image-builder; what exists is replaced.

Examples:
  bootc-image-builder --type qcow2 --type ami --output output registry.example.org/os/web:1
  bootc-image-builder build --type vmdk --config config.toml localhost/webserver
  bootc-image-builder manifest --type raw localhost/webserver")]
pub(crate) struct ImageBuilder {
    /// What to do, build unless it is said; and the image
    #[arg(value_name = "[build|manifest|version] IMAGE", num_args = 0..=2)]
    pub(crate) words: Vec<String>,
    /// The format; repeatable, all are written in one pass
    #[arg(long = "type", value_name = "TYPE", default_value = "qcow2", value_delimiter = ',', value_parser = disk_type)]
    pub(crate) types: Vec<DiskType>,
    /// The root file system: ext4
    #[arg(long, value_name = "KIND")]
    pub(crate) rootfs: Option<String>,
    /// The processor that the image must be for
    #[arg(long, value_name = "ARCH")]
    pub(crate) target_arch: Option<String>,
    /// The directory for the output
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// The configuration: a .toml or .json file, or - for JSON on standard input
    /// [default: /config.toml or /config.json, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Give all in the output directory to this owner
    #[arg(long, value_name = "UID[:GID]", value_parser = owner)]
    pub(crate) chown: Option<Owner>,
    /// How progress is shown on standard error
    #[arg(long, value_enum, value_name = "MODE", default_value_t = BuilderProgress::Auto)]
    pub(crate) progress: BuilderProgress,
    /// What identifiers are derived from: another seed, another disk
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Leave out console=tty0 and the serial console
    #[arg(long, alias = "bootc-no-default-kernel-args")]
    pub(crate) no_default_kernel_args: bool,
    /// Show every step
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Show the version
    #[arg(long)]
    pub(crate) version: bool,
    #[arg(long, hide = true)]
    pub(crate) aws_region: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) aws_bucket: Option<String>,
    #[arg(long, hide = true)]
    pub(crate) aws_ami_name: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) local: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) tls_verify: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) use_librepo: Option<bool>,
    #[arg(long, hide = true)]
    pub(crate) in_vm: bool,
    #[arg(long, hide = true)]
    pub(crate) store: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) rpmmd: Option<PathBuf>,
    #[arg(long, hide = true)]
    pub(crate) log_level: Option<String>,
    #[arg(long, hide = true, alias = "bootc-build-ref")]
    pub(crate) build_container: Option<String>,
    #[arg(long, hide = true, alias = "bootc-installer-payload-ref")]
    pub(crate) installer_payload_ref: Option<String>,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BuilderProgress {
    /// A display on a terminal, plain lines elsewhere
    Auto,
    /// One line an event
    Verbose,
    /// A display that updates in place
    Term,
    /// One line an event
    Debug,
    /// One JSON object a line
    Json,
}

impl BuilderProgress {
    pub(crate) fn mode(self) -> ProgressMode {
        match self {
            BuilderProgress::Auto => ProgressMode::Auto,
            BuilderProgress::Verbose | BuilderProgress::Debug => ProgressMode::Plain,
            BuilderProgress::Term => ProgressMode::Term,
            BuilderProgress::Json => ProgressMode::Json,
        }
    }
}

/// Who gets the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    /// The caller's own if there is none.
    pub(crate) gid: Option<u32>,
}

fn owner(text: &str) -> Result<Owner, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number != u32::MAX);
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (number(uid), number(gid).map(Some)),
        None => (number(text), Some(None)),
    };
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok(Owner { uid, gid }),
        _ => Err("UID or UID:GID is expected, in numbers".to_owned()),
    }
}

/// A format that is a disk; the others are named for what they are.
fn disk_type(text: &str) -> Result<DiskType, String> {
    match text {
        "anaconda-iso" | "iso" | "bootc-installer" | "bootc-generic-iso" => Err(
            "an installer of osmith works otherwise: 'osmith disk --type iso' makes one, for Kickstart files"
                .to_owned(),
        ),
        "pxe-tar-xz" => Err("'osmith disk --type pxe' makes a kernel and an initramfs".to_owned()),
        "oci" => Err("write qcow2, which Oracle's cloud imports".to_owned()),
        _ => DiskType::from_str(text, false).map_err(|_| {
            let names = DiskType::value_variants()
                .iter()
                .filter(|kind| !matches!(kind, DiskType::Iso | DiskType::Pxe))
                .filter_map(DiskType::to_possible_value);
            let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
            format!("there is no such type; there are {}", names.join(", "))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers() {
        assert_eq!(owner("0"), Ok(Owner { uid: 0, gid: None }));
        assert_eq!(
            owner("1000:100"),
            Ok(Owner {
                uid: 1000,
                gid: Some(100)
            })
        );
        for wrong in ["", "me", "1:", ":1", "-1", "4294967295", "1:2:3"] {
            assert!(owner(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_have_upstream_s_names() {
        for name in ["qcow2", "raw", "ami", "vmdk", "vhd", "gce", "ova", "vsphere-ova"] {
            assert!(disk_type(name).is_ok(), "{name}");
        }
        assert!(disk_type("iso").unwrap_err().contains("osmith disk --type iso"));
        assert!(disk_type("vdi").unwrap_err().contains("qcow2"));
    }
}
