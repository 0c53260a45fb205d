//! Commands that osmith accepts without carrying them out, or refuses.

use super::{
    BOTH, CommandSpec, NINE, OptionSpec, RemovedOption, TEN, any_case, boolean, choice, flag, integer, list,
    nothing, text,
};
use crate::commands::other;

/// Why sources of packages do nothing.
const PACKAGE_SOURCE: &str = "a source of packages has no effect: the image is the only source";
/// Why settings of Anaconda itself do nothing.
const NO_EFFECT: &str = "it has no effect in image mode";
/// Why disks behind a network or a channel are refused.
const NO_DISK: &str = "osmith cannot attach this disk";
const ATTACH: &str = "attach it in %pre, or install to a disk that is there";
const NOT_SUPPORTED: &str = "osmith cannot do this";
const IN_THE_IMAGE: &str = "do it in the image's Containerfile, or in %post";
const USE_BOOTC: &str = "write bootc --source-imgref=…";

const SECURE_SOURCE: &[OptionSpec] = &[
    text(&["--proxy"]),
    flag(&["--noverifyssl"]),
    text(&["--mirrorlist"]),
    text(&["--metalink"]),
    text(&["--sslcacert"]),
    text(&["--sslclientcert"]),
    text(&["--sslclientkey"]),
];

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new(&["liveimg"], nothing)
        .refused("osmith installs no live image", USE_BOOTC)
        .options(&[&[
            text(&["--url"]).required(),
            text(&["--proxy"]),
            flag(&["--noverifyssl"]),
            text(&["--checksum"]),
        ]]),
    CommandSpec::new(&["ostreesetup"], other::ostreesetup)
        .refused("osmith installs from no OSTree repository", USE_BOOTC)
        .options(&[&[
            text(&["--osname"]).required(),
            text(&["--remote"]),
            text(&["--url"]).required(),
            text(&["--ref"]).required(),
            flag(&["--nogpg"]),
        ]]),
    CommandSpec::new(&["repo"], other::repo)
        .many()
        .ignored(PACKAGE_SOURCE)
        .options(&[
            SECURE_SOURCE,
            &[
                text(&["--name"]).required(),
                text(&["--baseurl"]),
                integer(&["--cost"]),
                list(&["--excludepkgs"]),
                list(&["--includepkgs"]),
                flag(&["--install"]),
                boolean(&["--ignoregroups"])
                    .only(NINE)
                    .deprecated_in(NINE, "leave it out"),
            ],
        ])
        .removed(&[RemovedOption {
            name: "--ignoregroups",
            instead: "leave it out",
        }]),
    CommandSpec::new(&["url"], other::url)
        .ignored(PACKAGE_SOURCE)
        .options(&[SECURE_SOURCE, &[text(&["--url"])]]),
    CommandSpec::new(&["nfs"], nothing)
        .ignored(PACKAGE_SOURCE)
        .options(&[&[
            text(&["--server"]).required(),
            text(&["--dir"]).required(),
            text(&["--opts"]),
        ]]),
    CommandSpec::new(&["cdrom"], nothing).ignored(PACKAGE_SOURCE),
    CommandSpec::new(&["harddrive"], nothing)
        .ignored(PACKAGE_SOURCE)
        .options(&[&[text(&["--dir"]).required(), text(&["--partition"]).required()]]),
    CommandSpec::new(&["hmc"], nothing).ignored(PACKAGE_SOURCE),
    CommandSpec::new(&["method"], nothing)
        .free()
        .removed_in(TEN)
        .ignored(PACKAGE_SOURCE),
    CommandSpec::new(&["module"], nothing)
        .many()
        .free_in(TEN)
        .ignored("a source of packages has no effect: the image's Containerfile chooses streams")
        .options(&[&[
            text(&["--name"]).required(),
            text(&["--stream"]),
            flag(&["--disable"]),
        ]]),
    CommandSpec::new(&["vnc"], nothing)
        .free_in(TEN)
        .ignored(NO_EFFECT)
        .options(&[&[
            text(&["--password"]).secret(),
            text(&["--host"]),
            text(&["--port"]),
        ]]),
    CommandSpec::new(&["rdp"], nothing)
        .only(TEN)
        .ignored(NO_EFFECT)
        .options(&[&[text(&["--username"]), text(&["--password"]).secret()]]),
    CommandSpec::new(&["xconfig"], nothing)
        .ignored(NO_EFFECT)
        .options(&[&[text(&["--defaultdesktop"]), flag(&["--startxonboot"])]]),
    CommandSpec::new(&["skipx"], nothing).ignored(NO_EFFECT),
    CommandSpec::new(&["firstboot"], nothing)
        .ignored(NO_EFFECT)
        .options(&[&[
            flag(&["--disabled", "--disable"]),
            flag(&["--enabled", "--enable"]),
            flag(&["--reconfig"]),
        ]]),
    CommandSpec::new(&["eula"], other::eula)
        .ignored(NO_EFFECT)
        .options(&[&[flag(&["--agreed", "--agree", "--accepted", "--accept"])]]),
    CommandSpec::new(&["mediacheck"], nothing).ignored(NO_EFFECT),
    CommandSpec::new(&["updates"], nothing)
        .ignored(NO_EFFECT)
        .words(1, 1, "a URL"),
    CommandSpec::new(&["sshpw"], nothing)
        .many()
        .ignored(NO_EFFECT)
        .words(1, usize::MAX, "a password")
        .options(&[&[
            text(&["--username"]).required(),
            flag(&["--iscrypted"]),
            flag(&["--plaintext"]),
            flag(&["--lock"]),
            flag(&["--sshkey"]),
        ]]),
    CommandSpec::new(&["autostep"], nothing)
        .free()
        .removed_in(TEN)
        .ignored(NO_EFFECT),
    CommandSpec::new(&["auth", "authconfig"], nothing)
        .free()
        .removed_in(TEN)
        .refused(NOT_SUPPORTED, "use authselect in the image's Containerfile"),
    CommandSpec::new(&["btrfs"], nothing)
        .many()
        .free()
        .removed_in(TEN)
        .refused(
            "the Btrfs file system is not supported",
            "use part with --fstype=xfs or ext4",
        ),
    CommandSpec::new(&["device"], nothing)
        .free()
        .removed_in(BOTH)
        .ignored(NO_EFFECT),
    CommandSpec::new(&["deviceprobe"], nothing)
        .free()
        .removed_in(BOTH)
        .ignored(NO_EFFECT),
    CommandSpec::new(&["dmraid"], nothing)
        .free()
        .removed_in(BOTH)
        .ignored(NO_EFFECT),
    CommandSpec::new(&["install"], nothing)
        .free()
        .removed_in(BOTH)
        .ignored("installing is all that a Kickstart file is for: leave the line out"),
    CommandSpec::new(&["multipath"], nothing)
        .free()
        .removed_in(BOTH)
        .ignored(NO_EFFECT),
    CommandSpec::new(&["nvdimm"], other::nvdimm)
        .many()
        .removed_in(TEN)
        .refused(NO_DISK, ATTACH)
        .words(1, 1, "reconfigure or use")
        .options(&[&[
            text(&["--namespace"]),
            list(&["--blockdevs"]),
            choice(&["--mode"], &["sector"]),
            integer(&["--sectorsize"]),
        ]]),
    CommandSpec::new(&["iscsi"], nothing)
        .many()
        .refused(NO_DISK, ATTACH)
        .options(&[&[
            text(&["--target"]),
            text(&["--ipaddr"]).required(),
            integer(&["--port"]),
            text(&["--user"]),
            text(&["--password"]).secret(),
            text(&["--reverse-user"]),
            text(&["--reverse-password"]).secret(),
            text(&["--iface"]),
        ]]),
    CommandSpec::new(&["iscsiname"], nothing)
        .refused(NO_DISK, ATTACH)
        .words(1, 1, "a name"),
    CommandSpec::new(&["fcoe"], nothing)
        .many()
        .refused(NO_DISK, ATTACH)
        .options(&[&[
            text(&["--nic"]).required(),
            flag(&["--dcb"]),
            flag(&["--autovlan"]),
        ]]),
    CommandSpec::new(&["zfcp"], other::zfcp)
        .many()
        .refused(NO_DISK, ATTACH)
        .options(&[&[
            text(&["--devnum"]).required(),
            text(&["--wwpn"]),
            text(&["--fcplun"]),
        ]]),
    CommandSpec::new(&["driverdisk"], other::driverdisk)
        .many()
        .refused(
            NO_DISK,
            "put the driver into the image from which the installer is made",
        )
        .words(0, 1, "a partition")
        .options(&[&[text(&["--source"]), text(&["--biospart"])]]),
    CommandSpec::new(&["rescue"], other::rescue)
        .refused(NOT_SUPPORTED, "start the installer with a shell instead")
        .options(&[&[flag(&["--nomount"]), flag(&["--romount"])]]),
    CommandSpec::new(&["snapshot"], other::snapshot)
        .many()
        .refused(NOT_SUPPORTED, "take the snapshot in %post")
        .words(1, 1, "volume-group/volume")
        .options(&[&[
            text(&["--name"]).required(),
            any_case(&["--when"], &["pre-install", "post-install"]).required(),
        ]]),
    CommandSpec::new(&["zipl"], nothing)
        .refused(
            NOT_SUPPORTED,
            "leave the line out: machines of this kind are not installed",
        )
        .options(&[&[
            flag(&["--secure-boot"]),
            flag(&["--force-secure-boot"]),
            flag(&["--no-secure-boot"]),
        ]]),
    CommandSpec::new(&["authselect"], nothing)
        .free()
        .refused(NOT_SUPPORTED, IN_THE_IMAGE),
    CommandSpec::new(&["realm"], other::realm)
        .free()
        .refused(NOT_SUPPORTED, IN_THE_IMAGE),
    CommandSpec::new(&["rhsm"], other::rhsm)
        .refused(NOT_SUPPORTED, IN_THE_IMAGE)
        .options(&[&[
            text(&["--organization"]).required(),
            text(&["--activation-key"]).required().adding().secret(),
            flag(&["--connect-to-insights"]),
            text(&["--proxy"]),
            text(&["--server-hostname"]),
            text(&["--rhsm-baseurl"]),
            text(&["--flatpak-registry-url"]).only(TEN),
        ]]),
    CommandSpec::new(&["syspurpose"], nothing)
        .refused(NOT_SUPPORTED, IN_THE_IMAGE)
        .options(&[&[
            text(&["--role"]),
            text(&["--sla"]),
            text(&["--usage"]),
            text(&["--addon"]).adding(),
        ]]),
];
