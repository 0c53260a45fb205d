//! Sections and their bodies.

use crate::arguments::Arguments;
use crate::line::lines;
use crate::model::{Certificate, Packages, Script, Section};
use crate::reading::Reading;

/// What a script runs in unless it says otherwise.
const SHELL: &str = "/bin/sh";

pub(crate) fn read(at: &Arguments<'_>, body: &str, reading: &mut Reading) {
    match at.command.text.as_str() {
        "%pre" => script(at, Section::Pre, body, reading),
        "%pre-install" => script(at, Section::PreInstall, body, reading),
        "%post" => script(at, Section::Post, body, reading),
        "%onerror" => script(at, Section::OnError, body, reading),
        "%traceback" => {
            let message = "%traceback is deprecated";
            reading.warning(at, "", message, "write %onerror");
            script(at, Section::Traceback, body, reading);
        }
        "%certificate" => certificate(at, body, reading),
        "%packages" => packages(at, body, reading),
        "%addon" => addon(at, reading),
        _ => {}
    }
}

fn script(at: &Arguments<'_>, section: Section, body: &str, reading: &mut Reading) {
    if body.trim().is_empty() {
        return;
    }
    let interpreter = at.text("--interpreter").unwrap_or(SHELL).to_owned();
    if !interpreter.starts_with('/') {
        let message = format!("the interpreter '{interpreter}' is no absolute path");
        reading.unsupported(at, "--interpreter", message, "write its whole path");
    }
    if at.has("--log") && at.filled("--log").is_none() {
        reading.unsupported(at, "--log", "the log has no name", "write --log=PATH");
    }
    reading.kickstart.scripts.push(Script {
        position: at.position(),
        section,
        interpreter,
        error_on_fail: at.has("--erroronfail"),
        log: at.filled("--log"),
        chroot: section == Section::Post && !at.has("--nochroot"),
        body: body.to_owned(),
    });
}

fn certificate(at: &Arguments<'_>, body: &str, reading: &mut Reading) {
    let filename = at.text("--filename").unwrap_or_default().to_owned();
    let (directory, kind) = (at.filled("--dir"), at.filled("--type"));
    if directory.is_none() && kind.is_none() {
        let message = "%certificate needs --dir or --type";
        return reading.error(at, "", message, "write --type=anchor for the CA of a registry");
    }
    if body.trim().is_empty() {
        let message = "%certificate is empty";
        return reading.error(at, "", message, "put the PEM text between it and %end");
    }
    if filename.is_empty() || filename.contains('/') || matches!(filename.as_str(), "." | "..") {
        let message = format!("'{filename}' is no name of a file");
        reading.unsupported(at, "--filename", message, "write a name without '/'");
    }
    if let Some(kind) = kind.as_deref().filter(|kind| *kind != "anchor") {
        let message = format!("unknown type '{kind}' of a certificate");
        reading.unsupported(at, "--type", message, "write --type=anchor");
    }
    if directory.as_deref().is_some_and(|path| !path.starts_with('/')) {
        let message = "--dir is no absolute path";
        reading.unsupported(at, "--dir", message, "write its whole path");
    }
    if !body.contains("-----BEGIN ") {
        let message = "this is no certificate in PEM";
        reading.unsupported(at, "", message, "it begins with -----BEGIN CERTIFICATE-----");
    }
    reading.kickstart.certificates.push(Certificate {
        position: at.position(),
        filename,
        directory,
        kind,
        body: body.to_owned(),
    });
}

fn packages(at: &Arguments<'_>, body: &str, reading: &mut Reading) {
    if at.has("--default") && at.has("--nocore") {
        let message = "--default and --nocore exclude each other";
        reading.error(at, "--nocore", message, "keep one of them");
    }
    let entries: Vec<String> = lines(body)
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    for group in entries.iter().filter(|entry| entry.starts_with('@')) {
        let has = |option: &str| group.split_whitespace().any(|word| word == option);
        if has("--nodefaults") && has("--optional") {
            let message = format!("'{group}': --nodefaults and --optional exclude each other");
            reading.error(at, "", message, "keep one of them");
        }
    }
    reading.saw_packages(at.line, !entries.is_empty());
    reading.kickstart.packages.push(Packages {
        position: at.position(),
        entries,
    });
}

fn addon(at: &Arguments<'_>, reading: &mut Reading) {
    let has = |text: &str| at.words.iter().any(|word| word.text == text);
    if at.word() == Some("com_redhat_kdump") && has("--enable") {
        let message = "osmith does not set kdump up";
        let remedy = "enable kdump.service in the image, and write bootloader --append=crashkernel=…";
        reading.unsupported(at, "", message, remedy);
    }
}
