//! What RUN steps are given: network, names, rights; and for which machine they run.

use std::fs;
use std::net::IpAddr;

use osmith_build::{NameService, RunSettings};
use osmith_image::Platform;
use osmith_report::Class;
use osmith_sys::sandbox::capabilities;

use super::options;
use crate::args::{BuildArgs, BuildNetwork};
use crate::commands::container::options::Capabilities;
use crate::failure::CommandFailure;

/// The annotation that says when an image was made.
const CREATED: &str = "org.opencontainers.image.created";

/// What `--platform` says, or `--os`, `--arch` and `--variant` together; of these, what is not said is as here. None if
/// nothing is said.
pub(super) fn platforms(args: &BuildArgs) -> Result<Vec<Platform>, CommandFailure> {
    if args.os.is_none() && args.arch.is_none() && args.variant.is_none() {
        let mut platforms: Vec<Platform> = Vec::new();
        for platform in &args.platform {
            if !platforms.contains(platform) {
                platforms.push(platform.clone());
            }
        }
        return Ok(platforms);
    }
    let host = Platform::host();
    let mut words = vec![
        args.os.clone().unwrap_or(host.os),
        args.arch.clone().unwrap_or(host.architecture),
    ];
    words.extend(args.variant.clone());
    let platform: Platform = words.join("/").parse().map_err(|error| {
        CommandFailure::new(Class::Usage, "--os, --arch and --variant make no platform").because(error)
    })?;
    Ok(vec![platform])
}

/// Several platforms make several images: what is for one does not fit them.
pub(super) fn require_room(args: &BuildArgs, platforms: &[Platform]) -> Result<(), CommandFailure> {
    let refused = |message: &str, hint: &str| Err(CommandFailure::new(Class::Usage, message).hint(hint));
    if platforms.len() < 2 || args.check {
        return Ok(());
    }
    if !args.tag.is_empty() {
        return refused(
            "--tag names one image, and several platforms make several",
            "--manifest NAME, in its place, names the index of all",
        );
    }
    if args.manifest.is_none() {
        return refused(
            "several platforms make several images, which need a name together",
            "name the index of all: --manifest NAME",
        );
    }
    if args.iidfile.is_some() || args.output.is_some() {
        return refused(
            "--iidfile and --output are for one image, and several platforms make several",
            "build one platform after the other, each with --manifest NAME",
        );
    }
    Ok(())
}

pub(super) fn unset_annotations(args: &BuildArgs) -> Vec<String> {
    let created = (!args.created_annotation).then(|| CREATED.to_owned());
    args.unsetannotation.iter().cloned().chain(created).collect()
}

pub(super) fn run_settings(args: &BuildArgs) -> Result<RunSettings, CommandFailure> {
    let all = |masks: &[Capabilities]| masks.iter().fold(0, |all, mask| all | mask.0);
    Ok(RunSettings {
        network: args.network == BuildNetwork::Host,
        capabilities: capabilities(all(&args.cap_add), all(&args.cap_drop)),
        proxies: match args.http_proxy {
            true => options::proxies(),
            false => Vec::new(),
        },
        volumes: options::volumes(&args.volume)?,
    })
}

pub(super) fn name_service(args: &BuildArgs) -> Result<NameService, CommandFailure> {
    let of_machine = |path| fs::read(path).unwrap_or_default();
    let hosts = match args.no_hosts {
        true => None,
        false => Some(options::hosts(of_machine("/etc/hosts"), &args.add_host)?),
    };
    let has_options = !(args.dns.is_empty() && args.dns_search.is_empty() && args.dns_option.is_empty());
    if has_options && args.network == BuildNetwork::None {
        let message =
            "without a network no name server is asked: --dns, --dns-search and --dns-option say nothing";
        return Err(CommandFailure::new(Class::Usage, message).hint("leave them out, or --network none"));
    }
    Ok(NameService {
        resolv_conf: resolv_conf(args, &of_machine("/etc/resolv.conf"))?,
        hosts,
    })
}

/// This machine's `/etc/resolv.conf`, in which the lines of each kind give way to those of the options.
fn resolv_conf(args: &BuildArgs, of_machine: &[u8]) -> Result<Option<Vec<u8>>, CommandFailure> {
    if args.dns.iter().any(|server| server == "none") {
        return match args.dns.len() + args.dns_search.len() + args.dns_option.len() {
            1 => Ok(None),
            _ => Err(
                CommandFailure::new(Class::Usage, "--dns none says that there is nothing to say")
                    .hint("leave --dns none out, or the other options of names"),
            ),
        };
    }
    if let Some(wrong) = args.dns.iter().find(|server| server.parse::<IpAddr>().is_err()) {
        let failure = CommandFailure::new(Class::Usage, format!("--dns '{wrong}' is no address"));
        return Err(failure.hint("expected an address, such as 192.0.2.1, or none"));
    }
    Ok(Some(with_lines(
        of_machine,
        &args.dns,
        &args.dns_search,
        &args.dns_option,
    )))
}

fn with_lines(of_machine: &[u8], servers: &[String], domains: &[String], options: &[String]) -> Vec<u8> {
    if servers.is_empty() && domains.is_empty() && options.is_empty() {
        return of_machine.to_vec();
    }
    let gives_way = |line: &str| match line.split_whitespace().next() {
        Some("nameserver") => !servers.is_empty(),
        Some("search" | "domain") => !domains.is_empty(),
        Some("options") => !options.is_empty(),
        _ => false,
    };
    let text = String::from_utf8_lossy(of_machine);
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !gives_way(line))
        .map(str::to_owned)
        .collect();
    if !domains.is_empty() {
        lines.push(format!("search {}", domains.join(" ")));
    }
    lines.extend(servers.iter().map(|server| format!("nameserver {server}")));
    if !options.is_empty() {
        lines.push(format!("options {}", options.join(" ")));
    }
    let ended = lines.into_iter().map(|line| line + "\n");
    ended.collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_give_way_to_those_of_their_kind() {
        let of_machine = b"# here\nnameserver 192.0.2.1\nsearch a.example\noptions ndots:2\n";
        let text = |servers: &[&str], domains: &[&str], options: &[&str]| {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let bytes = with_lines(of_machine, &owned(servers), &owned(domains), &owned(options));
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(text(&[], &[], &[]).as_bytes(), of_machine);
        assert_eq!(
            text(&["192.0.2.7", "192.0.2.8"], &[], &[]),
            "# here\nsearch a.example\noptions ndots:2\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n"
        );
        assert_eq!(
            text(&[], &["b.example", "c.example"], &["timeout:1"]),
            "# here\nnameserver 192.0.2.1\nsearch b.example c.example\noptions timeout:1\n"
        );
    }
}
