//! Sections, by their first words.

use super::{CommandSpec, NINE, OptionSpec, RemovedOption, flag, integer, nothing, text};

const SCRIPT: &[OptionSpec] = &[
    text(&["--interpreter"]),
    flag(&["--erroronfail"]),
    text(&["--log", "--logfile"]),
];

pub(super) const SECTIONS: &[CommandSpec] = &[
    CommandSpec::new(&["%pre"], nothing).options(&[SCRIPT]),
    CommandSpec::new(&["%pre-install"], nothing).options(&[SCRIPT]),
    CommandSpec::new(&["%post"], nothing).options(&[SCRIPT, &[flag(&["--nochroot"])]]),
    CommandSpec::new(&["%onerror"], nothing).options(&[SCRIPT]),
    CommandSpec::new(&["%traceback"], nothing).options(&[SCRIPT]),
    CommandSpec::new(&["%certificate"], nothing).options(&[&[
        text(&["--filename"]).required(),
        text(&["--dir"]),
        text(&["--type"]),
    ]]),
    CommandSpec::new(&["%packages"], nothing)
        .options(&[&[
            flag(&["--excludedocs"]),
            flag(&["--ignoremissing"]),
            flag(&["--default"]),
            flag(&["--multilib"]),
            flag(&["--nocore"]),
            flag(&["--exclude-weakdeps"]),
            flag(&["--excludeWeakdeps"])
                .only(NINE)
                .deprecated_in(NINE, "write --exclude-weakdeps"),
            integer(&["--timeout"]),
            integer(&["--retries"]),
            text(&["--inst-langs"]),
            text(&["--instLangs"])
                .only(NINE)
                .deprecated_in(NINE, "write --inst-langs"),
        ]])
        .removed(&[
            RemovedOption {
                name: "--excludeWeakdeps",
                instead: "write --exclude-weakdeps",
            },
            RemovedOption {
                name: "--instLangs",
                instead: "write --inst-langs",
            },
        ]),
    CommandSpec::new(&["%addon"], nothing)
        .free()
        .ignored("add-ons have no effect in image mode"),
    CommandSpec::new(&["%anaconda"], nothing)
        .free()
        .ignored("settings of Anaconda have no effect here"),
];
