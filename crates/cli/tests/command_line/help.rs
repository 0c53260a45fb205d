//! The text of every `--help`.

use super::program::osmith;

const COMMANDS: &[&str] = &[
    "",
    "build",
    "import",
    "images",
    "inspect",
    "digest",
    "lint",
    "cache",
    "cache list",
    "cache remove",
    "tag",
    "rmi",
    "prune",
    "fsck",
    "save",
    "load",
    "push",
    "pull",
    "copy",
    "login",
    "logout",
    "run",
    "exec",
    "ps",
    "logs",
    "stop",
    "rm",
    "disk",
    "install",
    "install to-disk",
    "install to-filesystem",
    "install kickstart",
    "iso",
    "iso embed-kickstart",
    "kickstart",
    "kickstart check",
    "kickstart explain",
    "vm",
    "vm run",
    "vm define",
    "status",
    "etc",
    "etc diff",
    "drift",
    "upgrade",
    "switch",
    "rollback",
    "pin",
    "unpin",
    "kargs",
    "usr-overlay",
    "health",
    "log",
    "completions",
    "man",
];

fn help(command: &str) -> String {
    let mut program = osmith();
    program.args(command.split_whitespace()).arg("--help");
    let output = program.output().unwrap();
    assert!(output.status.success(), "{command}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_of_every_command() {
    for command in COMMANDS {
        let name = format!("osmith {command}").trim_end().replace(' ', "_");
        insta::assert_snapshot!(name, help(command));
    }
}

#[test]
fn no_command_is_forgotten() {
    let overview = help("");
    let listed = overview
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty());
    for command in listed.filter_map(|line| line.split_whitespace().next()) {
        assert!(command == "help" || COMMANDS.contains(&command), "{command}");
    }
}
