//! Rules of commands that are not carried out: a file that breaks them is wrong all the same.

use crate::arguments::Arguments;
use crate::reading::Reading;

/// Reports an error unless the condition holds.
fn require(condition: bool, at: &Arguments<'_>, message: &str, reading: &mut Reading) {
    if !condition {
        reading.error(at, "", message, "");
    }
}

/// How many of some options have a value.
fn count(at: &Arguments<'_>, options: &[&str]) -> usize {
    options
        .iter()
        .filter(|option| at.filled(option).is_some())
        .count()
}

pub(crate) fn ostreesetup(at: &Arguments<'_>, reading: &mut Reading) {
    let url = at.text("--url").unwrap_or_default();
    let is_known = ["file:", "http:", "https:"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    require(is_known, at, "--url is a file:, http: or https: URL", reading);
}

pub(crate) fn repo(at: &Arguments<'_>, reading: &mut Reading) {
    let sources = count(at, &["--baseurl", "--mirrorlist", "--metalink"]);
    let message = "repo takes one of --baseurl, --mirrorlist and --metalink";
    require(sources <= 1, at, message, reading);
}

pub(crate) fn url(at: &Arguments<'_>, reading: &mut Reading) {
    let sources = count(at, &["--url", "--mirrorlist", "--metalink"]);
    let message = "url needs one of --url, --mirrorlist and --metalink";
    require(sources == 1, at, message, reading);
}

pub(crate) fn eula(at: &Arguments<'_>, reading: &mut Reading) {
    require(at.has("--agreed"), at, "eula needs --agreed", reading);
}

pub(crate) fn nvdimm(at: &Arguments<'_>, reading: &mut Reading) {
    let action = at.word().unwrap_or_default();
    let namespace = at.filled("--namespace").is_some();
    let devices = !at.list("--blockdevs").is_empty();
    let known = matches!(action, "reconfigure" | "use");
    require(known, at, "nvdimm takes reconfigure or use", reading);
    let message = "--namespace and --blockdevs exclude each other";
    require(!(namespace && devices), at, message, reading);
    match action {
        "reconfigure" => {
            let has_size = at.integer("--sectorsize").is_some_and(|size| size != 0);
            require(namespace, at, "nvdimm reconfigure needs --namespace", reading);
            require(has_size, at, "nvdimm reconfigure needs --sectorsize", reading);
        }
        "use" => {
            let message = "nvdimm use needs --namespace or --blockdevs";
            require(namespace || devices, at, message, reading);
        }
        _ => {}
    }
}

pub(crate) fn zfcp(at: &Arguments<'_>, reading: &mut Reading) {
    let device = at.filled("--devnum").is_some();
    let more = count(at, &["--wwpn", "--fcplun"]);
    let message = "zfcp takes --devnum alone, or with both of --wwpn and --fcplun";
    require(device && more != 1, at, message, reading);
}

pub(crate) fn driverdisk(at: &Arguments<'_>, reading: &mut Reading) {
    let partition = usize::from(at.word().is_some());
    let sources = partition + count(at, &["--source", "--biospart"]);
    let message = "driverdisk takes one of a partition, --source and --biospart";
    require(sources == 1, at, message, reading);
}

pub(crate) fn rescue(at: &Arguments<'_>, reading: &mut Reading) {
    let both = at.has("--nomount") && at.has("--romount");
    require(!both, at, "--nomount and --romount exclude each other", reading);
}

pub(crate) fn snapshot(at: &Arguments<'_>, reading: &mut Reading) {
    let origin: Vec<_> = at.word().unwrap_or_default().split('/').collect();
    let is_volume = origin.len() == 2 && origin.iter().all(|part| !part.is_empty());
    require(
        is_volume,
        at,
        "a snapshot is taken of VOLUME-GROUP/VOLUME",
        reading,
    );
    let name = at.text("--name").unwrap_or_default().to_owned();
    if reading.is_used_again("snapshot", &name) {
        reading.error(at, "--name", format!("there is a snapshot {name} already"), "");
    }
}

pub(crate) fn rhsm(at: &Arguments<'_>, reading: &mut Reading) {
    let is_filled = at.list("--activation-key").iter().all(|key| !key.is_empty());
    require(is_filled, at, "an activation key is not empty", reading);
}

/// `realm join [OPTION…] REALM`.
pub(crate) fn realm(at: &Arguments<'_>, reading: &mut Reading) {
    const VALUES: [&str; 7] = [
        "--client-software",
        "--server-software",
        "--membership-software",
        "--one-time-password",
        "--computer-ou",
        "--no-password",
        "",
    ];
    let mut words = at.words.iter().map(|word| word.text.as_str());
    if words.next() != Some("join") {
        return reading.error(at, "", "realm needs the word join and a realm", "");
    }
    let mut realms = 0;
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if !word.starts_with("--") || realms > 0 {
            realms += 1;
        } else if !VALUES.contains(&name) {
            return reading.error(at, "", format!("unknown option '{name}' of realm"), "");
        } else if name != "--no-password" && value.is_none() {
            words.next();
        }
    }
    require(realms == 1, at, "realm join needs one realm", reading);
}
