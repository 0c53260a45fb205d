//! Accounts, settings, and how the installation ends.

use super::{CommandSpec, NINE, RemovedOption, flag, integer, list, text};
use crate::commands::{accounts, settings};

const END: &[super::OptionSpec] = &[flag(&["--eject"]), flag(&["--kexec"])];
const DISPLAY: &[super::OptionSpec] = &[flag(&["--non-interactive"])];

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec::new(&["rootpw"], accounts::rootpw)
        .words(0, 1, "a password")
        .options(&[&[
            flag(&["--iscrypted"]),
            flag(&["--plaintext"]),
            flag(&["--lock"]),
            flag(&["--allow-ssh"]),
        ]]),
    CommandSpec::new(&["user"], accounts::user).many().options(&[&[
        text(&["--name"]).required(),
        text(&["--password"]).secret(),
        flag(&["--iscrypted"]),
        flag(&["--plaintext"]),
        flag(&["--lock"]),
        integer(&["--uid"]),
        integer(&["--gid"]),
        list(&["--groups"]),
        text(&["--homedir"]),
        text(&["--shell"]),
        text(&["--gecos"]),
    ]]),
    CommandSpec::new(&["group"], accounts::group)
        .many()
        .options(&[&[text(&["--name"]).required(), integer(&["--gid"])]]),
    CommandSpec::new(&["sshkey"], accounts::sshkey)
        .many()
        .words(1, 1, "a key in quotes")
        .options(&[&[text(&["--username"]).required()]]),
    CommandSpec::new(&["lang"], settings::lang)
        .words(1, 1, "a language")
        .options(&[&[list(&["--addsupport"])]]),
    CommandSpec::new(&["keyboard"], settings::keyboard)
        .words(0, 1, "a layout")
        .options(&[&[text(&["--vckeymap"]), list(&["--xlayouts"]), list(&["--switch"])]]),
    CommandSpec::new(&["timezone"], settings::timezone)
        .words(0, 1, "a time zone")
        .options(&[&[
            flag(&["--utc"]),
            flag(&["--isUtc"]).only(NINE).deprecated_in(NINE, "write --utc"),
            flag(&["--nontp"])
                .only(NINE)
                .deprecated_in(NINE, "write timesource --ntp-disable"),
            list(&["--ntpservers"])
                .only(NINE)
                .deprecated_in(NINE, "write timesource --ntp-server=…"),
        ]])
        .removed(&[
            RemovedOption {
                name: "--isUtc",
                instead: "write --utc",
            },
            RemovedOption {
                name: "--nontp",
                instead: "write timesource --ntp-disable",
            },
            RemovedOption {
                name: "--ntpservers",
                instead: "write timesource --ntp-server=…, a line each",
            },
        ]),
    CommandSpec::new(&["timesource"], settings::timesource)
        .many()
        .options(&[&[
            text(&["--ntp-server"]),
            text(&["--ntp-pool"]),
            flag(&["--ntp-disable"]),
            flag(&["--nts"]),
        ]]),
    CommandSpec::new(&["services"], settings::services)
        .options(&[&[list(&["--enabled"]), list(&["--disabled"])]]),
    CommandSpec::new(&["selinux"], settings::selinux).options(&[&[
        flag(&["--enforcing"]),
        flag(&["--permissive"]),
        flag(&["--disabled"]),
    ]]),
    CommandSpec::new(&["firewall"], settings::firewall).options(&[&[
        flag(&["--enabled", "--enable"]),
        flag(&["--disabled", "--disable"]),
        list(&["--port"]).adding(),
        list(&["--service"]).adding(),
        list(&["--remove-service"]).adding(),
        text(&["--trust"]).adding(),
        flag(&["--ftp"]),
        flag(&["--http"]),
        flag(&["--smtp"]),
        flag(&["--ssh"]),
        flag(&["--use-system-defaults"]),
    ]]),
    CommandSpec::new(&["logging"], settings::logging)
        .options(&[&[
            text(&["--host"]),
            text(&["--port"]),
            text(&["--level"]).only(NINE).deprecated_in(NINE, "leave it out"),
        ]])
        .removed(&[RemovedOption {
            name: "--level",
            instead: "leave it out",
        }]),
    CommandSpec::new(&["reboot"], settings::end).options(&[END]),
    CommandSpec::new(&["poweroff", "shutdown"], settings::end).options(&[END]),
    CommandSpec::new(&["halt"], settings::end).options(&[END]),
    CommandSpec::new(&["text"], settings::display).options(&[DISPLAY]),
    CommandSpec::new(&["graphical"], settings::display).options(&[DISPLAY]),
    CommandSpec::new(&["cmdline"], settings::display).options(&[DISPLAY]),
];
