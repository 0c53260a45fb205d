//! `bootc` and `ostreecontainer`: the image. A name or transport that makes no sense is an error, where upstream checks
//! nothing and fails when the disk is written already.

use crate::arguments::Arguments;
use crate::model::{Bootc, ImageReference, ImageSource, Ostreecontainer, Transport};
use crate::reading::Reading;

/// What a target without a transport looks like in messages.
const EXAMPLE: &str = "registry.example.com/os/web:1";

pub(crate) fn bootc(at: &Arguments<'_>, reading: &mut Reading) {
    let source = source(at, reading);
    let target = target(at, reading);
    let Some(source) = source else { return };
    if target.is_none() && source.transport != Transport::Registry {
        reading.warning(
            at,
            "--source-imgref",
            "the machine will not know where its updates come from",
            "add --target-imgref=NAME",
        );
    }
    reading.kickstart.image = Some(ImageSource::Bootc(Bootc {
        position: at.position(),
        source,
        target,
        stateroot: stateroot(at, reading),
    }));
}

pub(crate) fn ostreecontainer(at: &Arguments<'_>, reading: &mut Reading) {
    let transport = match at.text("--transport") {
        None => Some(Transport::Registry),
        Some(text) => transport(text),
    };
    let Some(transport) = transport else {
        let text = at.text("--transport").unwrap_or_default();
        let message = format!("unknown transport '{text}'");
        return reading.error(at, "--transport", message, known_transports());
    };
    if at.has("--remote") {
        reading.warning(
            at,
            "--remote",
            "--remote is ignored: there is no OSTree remote",
            "",
        );
    }
    let name = at.text("--url").unwrap_or_default();
    let name = match transport {
        Transport::Registry => name.strip_prefix("docker://").unwrap_or(name),
        _ => name,
    };
    if let Some(wrong) = wrong_name(transport, name) {
        return reading.error(at, "--url", wrong, remedy_of_name(transport));
    }
    reading.kickstart.image = Some(ImageSource::Ostreecontainer(Ostreecontainer {
        position: at.position(),
        source: ImageReference {
            transport,
            name: name.to_owned(),
        },
        stateroot: stateroot(at, reading),
        remote: at.filled("--remote"),
        no_signature_verification: at.has("--no-signature-verification"),
    }));
}

fn stateroot(at: &Arguments<'_>, reading: &mut Reading) -> String {
    let Some(name) = at.text("--stateroot") else {
        return "default".to_owned();
    };
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_letter) {
        let message = format!("'{name}' is no name for a directory of deployments");
        reading.unsupported(at, "--stateroot", message, "letters, digits, '-', '_' and '.'");
    }
    name.to_owned()
}

fn source(at: &Arguments<'_>, reading: &mut Reading) -> Option<ImageReference> {
    let text = at.text("--source-imgref")?;
    let (transport, name) = match split_transport(text) {
        Ok(split) => split,
        Err(unknown) => {
            let message = format!("unknown transport '{unknown}'");
            reading.error(at, "--source-imgref", message, known_transports());
            return None;
        }
    };
    if let Some(wrong) = wrong_name(transport, name) {
        reading.error(at, "--source-imgref", wrong, remedy_of_name(transport));
        return None;
    }
    Some(ImageReference {
        transport,
        name: name.to_owned(),
    })
}

fn target(at: &Arguments<'_>, reading: &mut Reading) -> Option<String> {
    let text = at.text("--target-imgref")?;
    let bare = text
        .strip_prefix("registry:")
        .or_else(|| text.strip_prefix("docker://"))
        .unwrap_or(text);
    let bare = bare.strip_prefix("docker://").unwrap_or(bare);
    match split_transport(bare) {
        Ok((Transport::Registry, name)) if wrong_name(Transport::Registry, name).is_none() => {
            Some(name.to_owned())
        }
        Ok((Transport::Registry, name)) => {
            let wrong = wrong_name(Transport::Registry, name).unwrap_or_default();
            reading.error(at, "--target-imgref", wrong, remedy_of_name(Transport::Registry));
            None
        }
        _ => {
            let message = format!("updates come from a registry, not from '{bare}'");
            reading.error(
                at,
                "--target-imgref",
                message,
                remedy_of_name(Transport::Registry),
            );
            None
        }
    }
}

/// The transport of a reference and what follows it; a bare one is a registry's. The error is the transport there is not.
fn split_transport(text: &str) -> Result<(Transport, &str), &str> {
    if let Some(name) = text.strip_prefix("docker://") {
        return Ok((Transport::Registry, name));
    }
    let Some((before, name)) = text.split_once(':') else {
        return Ok((Transport::Registry, text));
    };
    match transport(before) {
        Some(Transport::Registry) => Ok((
            Transport::Registry,
            name.strip_prefix("docker://").unwrap_or(name),
        )),
        Some(transport) => Ok((transport, name)),
        // The colon of a port or a tag: what follows is a number, or there is a slash before.
        None if before.contains('/') || is_port(name) || is_tag(name) && !before.starts_with("ostree-") => {
            Ok((Transport::Registry, text))
        }
        None => Err(before),
    }
}

fn is_port(text: &str) -> bool {
    let digits = text.split('/').next().unwrap_or_default();
    text.contains('/') && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn transport(text: &str) -> Option<Transport> {
    Some(match text {
        "registry" | "docker" => Transport::Registry,
        "oci" => Transport::Oci,
        "oci-archive" => Transport::OciArchive,
        "docker-archive" => Transport::DockerArchive,
        "dir" => Transport::Directory,
        "containers-storage" => Transport::ContainersStorage,
        _ => return None,
    })
}

fn known_transports() -> &'static str {
    "known are registry, docker, oci, oci-archive, docker-archive, dir and containers-storage"
}

fn remedy_of_name(transport: Transport) -> String {
    match transport {
        Transport::Registry => format!("write a name such as {EXAMPLE}"),
        _ => format!("write {transport}: and a path"),
    }
}

/// Why a name of an image makes no sense.
fn wrong_name(transport: Transport, name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("the image has no name".to_owned());
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some(format!("the name '{name}' has blanks in it"));
    }
    match transport {
        Transport::Registry if !is_registry_name(name) => Some(format!("'{name}' is no name of an image")),
        _ => None,
    }
}

/// Whether a text is `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
fn is_registry_name(text: &str) -> bool {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (rest, Some(digest)),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return false;
    }
    let (before, last) = rest.rsplit_once('/').map_or((None, rest), |(a, b)| (Some(a), b));
    let (last, tag) = match last.split_once(':') {
        None => (last, None),
        Some((last, tag)) => (last, Some(tag)),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return false;
    }
    let mut parts: Vec<&str> = before
        .map(|before| before.split('/').collect())
        .unwrap_or_default();
    parts.push(last);
    // The first part is a host if it looks like one.
    if parts.len() > 1 && parts.first().is_some_and(|first| is_host(first)) {
        parts.remove(0);
    }
    parts.iter().all(|part| is_path_part(part))
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_number = |port: &str| port.parse::<u16>().is_ok();
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok() && port.is_none_or(is_number);
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_number)
}

fn is_path_part(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_inner = |c: char| is_letter(c) || matches!(c, '-' | '_' | '.');
    text.starts_with(is_letter) && text.ends_with(is_letter) && text.chars().all(is_inner)
}

fn is_tag(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= 128
        && text.starts_with(is_letter)
        && text.chars().all(|c| is_letter(c) || matches!(c, '-' | '.'))
}

fn is_digest(text: &str) -> bool {
    let is_hex = |length: usize, hex: &str| {
        hex.len() == length
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match text.split_once(':') {
        Some(("sha256", hex)) => is_hex(64, hex),
        Some(("sha512", hex)) => is_hex(128, hex),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_registries() {
        for name in [
            "web",
            "web:1",
            "reg.example.com/web:1",
            "localhost:5000/a/b__c:latest",
            "[::1]:5000/a",
            "quay.io/centos-bootc/centos-bootc:stream10",
        ] {
            assert!(is_registry_name(name), "{name}");
        }
        let digest = format!("reg/a@sha256:{}", "a".repeat(64));
        assert!(is_registry_name(&digest));
        for name in [
            "",
            "/a",
            "a/",
            "A",
            "a:",
            "a b",
            "a@sha256:1",
            "a//b",
            "reg:port/a",
            "a:b:c",
        ] {
            assert!(!is_registry_name(name), "{name}");
        }
    }

    #[test]
    fn transports_are_told_from_ports_and_tags() {
        for (text, expected) in [
            ("registry:a/b", Ok((Transport::Registry, "a/b"))),
            ("registry:docker://a/b", Ok((Transport::Registry, "a/b"))),
            ("docker://a/b", Ok((Transport::Registry, "a/b"))),
            ("localhost:5000/a", Ok((Transport::Registry, "localhost:5000/a"))),
            ("web:1", Ok((Transport::Registry, "web:1"))),
            ("oci:/a:b", Ok((Transport::Oci, "/a:b"))),
            ("ftp://a/b", Err("ftp")),
            (
                "ostree-unverified-registry:a/b",
                Err("ostree-unverified-registry"),
            ),
        ] {
            assert_eq!(split_transport(text), expected, "{text}");
        }
    }
}
