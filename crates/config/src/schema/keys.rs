//! The keys, table by table.

use super::{Key, Refusal, Takes};

const fn key(name: &'static str, takes: Takes) -> Key {
    Key {
        name,
        takes,
        is_required: false,
    }
}

const fn required(name: &'static str, takes: Takes) -> Key {
    Key {
        name,
        takes,
        is_required: true,
    }
}

const fn refused(name: &'static str, reason: &'static str, remedy: &'static str) -> Key {
    key(name, Takes::Nothing(Refusal { reason, remedy }))
}

const fn installed(name: &'static str) -> Key {
    refused(
        name,
        "what is installed belongs to the image, not to its disk",
        "install it in the Containerfile, for example with RUN dnf install or RUN apt-get install",
    )
}

const fn only_in_installers(name: &'static str) -> Key {
    refused(
        name,
        "this is for ISO images, which install onto a machine's disk; a disk image has no installer",
        "take it away for disks, or keep it in a configuration of its own",
    )
}

const fn of_the_image(name: &'static str, remedy: &'static str) -> Key {
    refused(name, "this belongs to the image, not to its disk", remedy)
}

/// The numbers that a key takes, whatever table it is in.
///
/// The last number is what the kernel takes for "no user"; 65535 is the same in 16 bits.
pub(crate) const RANGES: &[(&str, i64, i64)] = &[
    ("uid", 0, 4_294_967_294),
    ("gid", 0, 4_294_967_294),
    ("expiredate", 0, 99_999_999),
    ("client_alive_interval", 0, 2_147_483_647),
];

/// The whole file.
pub(crate) const CONFIGURATION: &[Key] = &[
    key("name", Takes::Text),
    key("description", Takes::Text),
    key("version", Takes::Text),
    key("distro", Takes::Text),
    key("architecture", Takes::Text),
    key("customizations", Takes::Table(CUSTOMIZATIONS)),
    installed("packages"),
    installed("modules"),
    installed("enabled_modules"),
    installed("groups"),
    of_the_image(
        "containers",
        "copy them into the image in the Containerfile, or pull them with a systemd unit of the image",
    ),
];

const CUSTOMIZATIONS: &[Key] = &[
    key("user", Takes::Tables(USER)),
    key("group", Takes::Tables(GROUP)),
    key("sshkey", Takes::Tables(SSH_KEY)),
    key("kernel", Takes::Table(KERNEL)),
    key("filesystem", Takes::Tables(FILE_SYSTEM)),
    key("disk", Takes::Table(DISK)),
    key("directories", Takes::Tables(DIRECTORY)),
    key("files", Takes::Tables(FILE)),
    refused(
        "ignition",
        "Ignition starts from GRUB's menu, which says once that this is the first start; the boot entries of osmith do not",
        "configure the machine with the other keys, or with a systemd unit of the image that has ConditionFirstBoot=yes",
    ),
    key("sshd", Takes::Table(SSHD)),
    key("hostname", Takes::Text),
    key("timezone", Takes::Table(TIMEZONE)),
    key("locale", Takes::Table(LOCALE)),
    key("services", Takes::Table(SERVICES)),
    key("firewall", Takes::Table(FIREWALL)),
    key("fips", Takes::Boolean),
    refused(
        "bootloader",
        "osmith writes its own boot menu, which has no console settings",
        "choose the console of the system with kernel.append = \"console=ttyS0\"",
    ),
    of_the_image(
        "cacerts",
        "trust is compiled into bundles by the image's own program: COPY the certificate in the Containerfile and \
         RUN update-ca-certificates or update-ca-trust",
    ),
    of_the_image(
        "repositories",
        "COPY the file into /etc/yum.repos.d in the Containerfile, or write it with files",
    ),
    only_in_installers("installer"),
    only_in_installers("iso"),
    only_in_installers("installation_device"),
    refused(
        "partitioning_mode",
        "this chooses between layouts that osmith does not have: partitions are plain",
        "say what partitions the disk has with disk, or what file systems with filesystem",
    ),
    of_the_image("openscap", "RUN oscap in the Containerfile"),
    refused(
        "fdo",
        "FIDO device onboarding is for installers of another kind of system",
        "enable its client in the Containerfile, and configure it with files",
    ),
    refused(
        "rhsm",
        "a disk is not registered: every machine that starts from it would be the same one",
        "register a machine when it starts, with a systemd unit of the image",
    ),
    of_the_image("rpm", "RUN rpm --import in the Containerfile"),
    of_the_image("dnf", "COPY its configuration in the Containerfile"),
    of_the_image(
        "containers-storage",
        "COPY /etc/containers/storage.conf in the Containerfile",
    ),
    of_the_image(
        "firstboot",
        "COPY a systemd unit with ConditionFirstBoot=yes in the Containerfile",
    ),
];

const USER: &[Key] = &[
    required("name", Takes::Text),
    key("description", Takes::Text),
    key("password", Takes::Text),
    key("key", Takes::Text),
    key("home", Takes::Text),
    key("shell", Takes::Text),
    key("groups", Takes::Texts),
    key("uid", Takes::Integer),
    key("gid", Takes::Integer),
    key("expiredate", Takes::Integer),
    key("force_password_reset", Takes::Boolean),
];

const GROUP: &[Key] = &[required("name", Takes::Text), key("gid", Takes::Integer)];

const SSH_KEY: &[Key] = &[required("user", Takes::Text), required("key", Takes::Text)];

const KERNEL: &[Key] = &[
    key("append", Takes::Text),
    of_the_image(
        "name",
        "install the kernel that the machine starts in the Containerfile",
    ),
];

const FILE_SYSTEM: &[Key] = &[
    required("mountpoint", Takes::Text),
    key("minsize", Takes::Size),
    // What minsize is called in files for older tools.
    key("size", Takes::Size),
];

const DISK: &[Key] = &[
    key("type", Takes::Text),
    key("minsize", Takes::Size),
    key("start_offset", Takes::Size),
    key("sector_size", Takes::Size),
    key("partitions", Takes::Tables(PARTITION)),
];

const PARTITION: &[Key] = &[
    key("type", Takes::Text),
    required("minsize", Takes::Size),
    key("part_type", Takes::Text),
    key("part_label", Takes::Text),
    key("part_uuid", Takes::Text),
    key("mountpoint", Takes::Text),
    key("label", Takes::Text),
    key("fs_type", Takes::Text),
    // Of partitions of other types, which are refused as a whole.
    key("name", Takes::Anything),
    key("logical_volumes", Takes::Anything),
    key("subvolumes", Takes::Anything),
];

const DIRECTORY: &[Key] = &[
    required("path", Takes::Text),
    key("user", Takes::Owner),
    key("group", Takes::Owner),
    key("mode", Takes::Text),
    key("ensure_parents", Takes::Boolean),
];

const FILE: &[Key] = &[
    required("path", Takes::Text),
    key("user", Takes::Owner),
    key("group", Takes::Owner),
    key("mode", Takes::Text),
    key("data", Takes::Text),
    key("uri", Takes::Text),
];

const SSHD: &[Key] = &[
    key("password_authentication", Takes::Boolean),
    key("kbd_interactive_authentication", Takes::Boolean),
    key("permit_root_login", Takes::Text),
    key("client_alive_interval", Takes::Integer),
];

const TIMEZONE: &[Key] = &[key("timezone", Takes::Text), key("ntpservers", Takes::Texts)];

const LOCALE: &[Key] = &[key("languages", Takes::Texts), key("keyboard", Takes::Text)];

const SERVICES: &[Key] = &[
    key("enabled", Takes::Texts),
    key("disabled", Takes::Texts),
    key("masked", Takes::Texts),
];

const FIREWALL: &[Key] = &[
    key("ports", Takes::Texts),
    key("services", Takes::Table(FIREWALL_SERVICES)),
    key("zones", Takes::Tables(FIREWALL_ZONE)),
];

const FIREWALL_SERVICES: &[Key] = &[key("enabled", Takes::Texts), key("disabled", Takes::Texts)];

const FIREWALL_ZONE: &[Key] = &[required("name", Takes::Text), required("sources", Takes::Texts)];
