//! The image, disks, and what is on them.

use super::{CommandSpec, Kind, OptionSpec, TEN, any_case, choice, flag, integer, list, text};
use crate::commands::{image, layout, lvm, storage};

/// Encryption: the same options wherever a request can be encrypted.
const CRYPT: &[OptionSpec] = &[
    flag(&["--encrypted"]),
    text(&["--passphrase"]).secret(),
    text(&["--luks-version"]),
    text(&["--cipher"]),
    text(&["--pbkdf"]),
    integer(&["--pbkdf-memory"]),
    integer(&["--pbkdf-time"]),
    integer(&["--pbkdf-iterations"]),
    text(&["--escrowcert"]),
    flag(&["--backuppassphrase"]),
];

/// What all requests with a file system have.
const FILE_SYSTEM: &[OptionSpec] = &[
    text(&["--label"]),
    text(&["--fsoptions"]),
    text(&["--mkfsoptions"]),
    text(&["--fsprofile"]),
    flag(&["--noformat"]),
];

/// What requests with a size of their own have.
const SIZE: &[OptionSpec] = &[
    integer(&["--size"]),
    flag(&["--grow"]),
    integer(&["--maxsize"]),
    flag(&["--recommended"]),
    flag(&["--hibernation"]),
    flag(&["--resize"]),
];

/// The levels of an array.
const LEVELS: &[&str] = &[
    "0", "1", "4", "5", "6", "10", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10",
];

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new(&["bootc"], image::bootc).only(TEN).options(&[&[
        text(&["--source-imgref"]).required(),
        text(&["--target-imgref"]),
        text(&["--stateroot"]),
    ]]),
    CommandSpec::new(&["ostreecontainer"], image::ostreecontainer).options(&[&[
        text(&["--url"]).required(),
        text(&["--transport"]),
        text(&["--stateroot"]),
        text(&["--remote"]),
        flag(&["--no-signature-verification"]),
    ]]),
    CommandSpec::new(&["zerombr"], storage::zerombr),
    CommandSpec::new(&["clearpart"], storage::clearpart).options(&[&[
        flag(&["--all"]),
        flag(&["--linux"]),
        flag(&["--none"]),
        list(&["--list"]),
        list(&["--drives"]),
        flag(&["--initlabel"]),
        text(&["--disklabel"]),
        flag(&["--cdl"]),
    ]]),
    CommandSpec::new(&["ignoredisk"], storage::ignoredisk)
        .options(&[&[list(&["--drives"]), list(&["--only-use"])]]),
    CommandSpec::new(&["autopart"], storage::autopart).options(&[
        &[
            any_case(&["--type"], &["plain", "partition", "lvm", "thinp", "btrfs"]),
            flag(&["--nolvm"]),
            text(&["--fstype"]),
            flag(&["--nohome"]),
            flag(&["--noswap"]),
            flag(&["--noboot"]),
            flag(&["--hibernation"]).only(TEN),
        ],
        CRYPT,
    ]),
    CommandSpec::new(&["reqpart"], storage::reqpart).options(&[&[flag(&["--add-boot"])]]),
    CommandSpec::new(&["part", "partition"], layout::part)
        .many()
        .words(1, 1, "a mount point")
        .options(&[
            SIZE,
            FILE_SYSTEM,
            CRYPT,
            &[
                text(&["--fstype", "--type"]),
                text(&["--ondisk", "--ondrive"]),
                text(&["--onpart", "--usepart"]),
                text(&["--onbiosdisk"]),
                flag(&["--asprimary"]),
            ],
        ]),
    CommandSpec::new(&["volgroup"], lvm::volgroup)
        .many()
        .words(1, usize::MAX, "a name and physical volumes")
        .taking_unknown()
        .options(&[&[
            integer(&["--pesize"]),
            integer(&["--reserved-space"]),
            integer(&["--reserved-percent"]),
            flag(&["--useexisting"]),
            flag(&["--noformat"]),
        ]]),
    CommandSpec::new(&["logvol"], lvm::logvol)
        .many()
        .words(1, 1, "a mount point")
        .options(&[
            SIZE,
            FILE_SYSTEM,
            CRYPT,
            &[
                text(&["--vgname"]).required(),
                text(&["--name"]).required(),
                integer(&["--percent"]),
                text(&["--fstype"]),
                flag(&["--useexisting"]),
                flag(&["--thinpool"]),
                flag(&["--thin"]),
                text(&["--poolname"]),
                integer(&["--chunksize"]),
                integer(&["--metadatasize"]),
                text(&["--profile"]),
                integer(&["--cachesize"]),
                text(&["--cachemode"]),
                list(&["--cachepvs"]),
            ],
        ]),
    CommandSpec::new(&["raid"], lvm::raid)
        .many()
        .words(1, usize::MAX, "a mount point and members")
        .options(&[
            FILE_SYSTEM,
            CRYPT,
            &[
                text(&["--device"]).required(),
                any_case(&["--level"], LEVELS),
                integer(&["--spares"]),
                integer(&["--chunksize"]),
                text(&["--fstype"]),
                flag(&["--useexisting"]),
            ],
        ]),
    CommandSpec::new(&["mount"], layout::mount)
        .many()
        .words(2, 2, "a device and a mount point")
        .options(&[&[
            OptionSpec::new(&["--reformat"], Kind::OptionalText),
            text(&["--mkfsoptions"]),
            text(&["--mountoptions"]),
        ]]),
    CommandSpec::new(&["bootloader"], storage::bootloader).options(&[&[
        text(&["--append"]),
        text(&["--boot-drive"]),
        list(&["--driveorder"]),
        choice(&["--location"], &["mbr", "partition", "none", "boot"]),
        flag(&["--leavebootorder"]),
        flag(&["--disabled"]),
        integer(&["--timeout"]),
        text(&["--password"]).secret(),
        flag(&["--iscrypted"]),
        text(&["--default"]),
        text(&["--md5pass"]).secret(),
        flag(&["--extlinux"]),
        flag(&["--nombr"]),
        flag(&["--sdboot"]).only(TEN),
    ]]),
];
