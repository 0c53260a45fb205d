//! Options of `osmith build` that have a grammar of their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{env, fs};

use osmith_build::ExtraContext;
use osmith_build::run::{Mount, Source};
use osmith_report::Class;

use crate::failure::CommandFailure;

/// A secret may be a key or a certificate, not a disk.
const SECRET_MAX_BYTES: u64 = 1 << 20;
/// What begins the name of an image in `--build-context`.
const IMAGE_SCHEMES: [&str; 3] = ["docker-image://", "container-image://", "docker://"];

/// `NAME=VALUE`, or `NAME` with the value the environment has; a name without any value is not set, as in podman.
pub(super) fn build_args(
    given: &[String],
    files: &[PathBuf],
) -> Result<BTreeMap<String, String>, CommandFailure> {
    let mut args = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, error))?;
        let lines = text.lines().map(str::trim);
        args.extend(
            lines
                .filter(|line| !line.is_empty() && !line.starts_with('#'))
                .filter_map(pair),
        );
    }
    args.extend(given.iter().filter_map(|text| pair(text)));
    Ok(args)
}

/// `NAME=VALUE`, or `NAME` with the value the environment has.
pub(super) fn pair(text: &str) -> Option<(String, String)> {
    match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => env::var(text).ok().map(|value| (text.to_owned(), value)),
    }
}

fn unreadable(path: &Path, error: std::io::Error) -> CommandFailure {
    let class = match error.kind() {
        std::io::ErrorKind::NotFound => Class::NotFound,
        _ => Class::Environment,
    };
    CommandFailure::new(class, format!("cannot read '{}'", path.display())).because(error)
}

fn usage(message: String, hint: &str) -> CommandFailure {
    CommandFailure::new(Class::Usage, message).hint(hint)
}

/// `NAME=VALUE` of `--label` and `--annotation`; without a value it is empty.
pub(super) fn pairs(option: &str, given: &[String]) -> Result<BTreeMap<String, String>, CommandFailure> {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match name.is_empty() {
            true => Err(usage(
                format!("{option} '{text}' has no name"),
                "expected NAME=VALUE",
            )),
            false => Ok((name.to_owned(), value.to_owned())),
        }
    };
    given.iter().map(pair).collect()
}

/// `--build-context NAME=PLACE`.
pub(super) fn contexts(given: &[String]) -> Result<BTreeMap<String, ExtraContext>, CommandFailure> {
    given.iter().map(|text| context(text)).collect()
}

fn context(text: &str) -> Result<(String, ExtraContext), CommandFailure> {
    const HINT: &str = "expected NAME=DIRECTORY or NAME=docker-image://IMAGE";
    let Some((name, place)) = text
        .split_once('=')
        .filter(|(name, place)| !name.is_empty() && !place.is_empty())
    else {
        return Err(usage(format!("--build-context '{text}' is no NAME=PLACE"), HINT));
    };
    let image = IMAGE_SCHEMES.iter().find_map(|scheme| place.strip_prefix(scheme));
    if let Some(image) = image {
        return Ok((name.to_owned(), ExtraContext::Image(image.to_owned())));
    }
    if place.contains("://") {
        let message = format!("the build context '{name}' is '{place}', which cannot be read from here");
        return Err(usage(message, HINT));
    }
    match fs::metadata(place) {
        Ok(found) if found.is_dir() => Ok((name.to_owned(), ExtraContext::Directory(PathBuf::from(place)))),
        Ok(_) => Err(usage(
            format!("the build context '{name}', '{place}', is no directory"),
            HINT,
        )),
        Err(error) => {
            let message = format!("cannot open the build context '{name}' at '{place}'");
            Err(CommandFailure::new(Class::NotFound, message)
                .because(error)
                .hint(HINT))
        }
    }
}

/// `--secret id=ID,src=FILE` and `--secret id=ID,env=VARIABLE`: name and value. Without either, the variable of that
/// name, else the file.
pub(super) fn secrets(given: &[String]) -> Result<BTreeMap<String, Vec<u8>>, CommandFailure> {
    given.iter().map(|text| secret(text)).collect()
}

fn secret(text: &str) -> Result<(String, Vec<u8>), CommandFailure> {
    const HINT: &str = "expected id=ID,src=FILE or id=ID,env=VARIABLE";
    let (mut id, mut source, mut variable) = (None, None, None);
    for word in text.split(',') {
        match word.split_once('=') {
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("src" | "source", value)) => source = Some(PathBuf::from(value)),
            Some(("env", value)) => variable = Some(value.to_owned()),
            Some(("type", "file" | "env")) => {}
            _ => {
                return Err(usage(
                    format!("--secret '{text}': '{word}' is not understood"),
                    HINT,
                ));
            }
        }
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return Err(usage(format!("--secret '{text}' has no id"), HINT));
    };
    let value = match (source, variable) {
        (Some(_), Some(_)) => return Err(usage(format!("--secret '{text}' has two sources"), HINT)),
        (Some(file), None) => secret_file(&file)?,
        (None, Some(name)) => match env::var_os(&name) {
            Some(value) => value.into_encoded_bytes(),
            None => {
                return Err(usage(
                    format!("--secret '{text}': the variable '{name}' is not set"),
                    HINT,
                ));
            }
        },
        (None, None) => match env::var_os(&id) {
            Some(value) => value.into_encoded_bytes(),
            None => secret_file(Path::new(&id))?,
        },
    };
    Ok((id, value))
}

fn secret_file(path: &Path) -> Result<Vec<u8>, CommandFailure> {
    let size_bytes = fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
    if size_bytes > SECRET_MAX_BYTES {
        let message = format!("the secret '{}' is longer than 1 MiB", path.display());
        return Err(CommandFailure::new(Class::Input, message).hint("show large files with --build-context"));
    }
    fs::read(path).map_err(|error| unreadable(path, error))
}

/// `--ssh ID[=SOCKET]`.
pub(super) fn agents(given: &[String]) -> Result<BTreeMap<String, PathBuf>, CommandFailure> {
    given.iter().map(|text| agent(text)).collect()
}

fn agent(text: &str) -> Result<(String, PathBuf), CommandFailure> {
    use std::os::unix::fs::FileTypeExt as _;
    let (id, place) = match text.split_once('=') {
        Some((id, place)) => (id, Some(PathBuf::from(place))),
        None => (text, env::var_os("SSH_AUTH_SOCK").map(PathBuf::from)),
    };
    let id = if id.is_empty() { "default" } else { id };
    let Some(socket) = place else {
        let message = format!("--ssh {text}: no agent is running (SSH_AUTH_SOCK is not set)");
        return Err(usage(message, "start one: eval $(ssh-agent) && ssh-add"));
    };
    let found = fs::metadata(&socket).map_err(|error| unreadable(&socket, error))?;
    if !found.file_type().is_socket() {
        let message = format!("--ssh {text}: '{}' is no socket of an agent", socket.display());
        let hint = format!(
            "give the key to an agent: eval $(ssh-agent) && ssh-add {}",
            socket.display()
        );
        return Err(CommandFailure::new(Class::Usage, message).hint(&hint));
    }
    Ok((id.to_owned(), socket))
}

/// The proxies of this machine, as the environment names them.
pub(super) fn proxies() -> Vec<(String, String)> {
    const NAMES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"];
    let both = NAMES
        .iter()
        .flat_map(|name| [(*name).to_owned(), name.to_ascii_uppercase()]);
    both.filter_map(|name| env::var(&name).ok().map(|value| (name, value)))
        .collect()
}

/// `/etc/hosts` with the lines of `--add-host HOST:IP` before those of this machine.
pub(super) fn hosts(of_machine: Vec<u8>, given: &[String]) -> Result<Vec<u8>, CommandFailure> {
    let mut text = Vec::new();
    for host in given {
        let parts = host
            .split_once(':')
            .map(|(name, address)| (name, address.trim_matches(['[', ']'])));
        match parts {
            Some((name, address)) if !name.is_empty() && address.parse::<IpAddr>().is_ok() => {
                text.extend(format!("{address}\t{name}\n").bytes());
            }
            _ => {
                return Err(usage(
                    format!("--add-host '{host}' is no HOST:IP"),
                    "expected NAME:ADDRESS",
                ));
            }
        }
    }
    text.extend(of_machine);
    Ok(text)
}

/// `--volume HERE:THERE[:OPTIONS]`.
pub(super) fn volumes(given: &[String]) -> Result<Vec<Mount>, CommandFailure> {
    given.iter().map(|text| volume(text)).collect()
}

fn volume(text: &str) -> Result<Mount, CommandFailure> {
    const HINT: &str = "expected /HERE:/THERE or /HERE:/THERE:ro";
    let refused = |message: String| Err(usage(message, HINT));
    let mut parts = text.split(':');
    let (Some(here), Some(there), options, None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return refused(format!("--volume '{text}' is not understood"));
    };
    if !there.starts_with('/') || there.trim_matches('/').is_empty() {
        return refused(format!("--volume '{text}': '{there}' is no path below /"));
    }
    let here = fs::canonicalize(here).map_err(|error| unreadable(Path::new(here), error))?;
    let mut mount = Mount::new(there, Source::Machine(here));
    for option in options
        .unwrap_or_default()
        .split(',')
        .filter(|option| !option.is_empty())
    {
        match option {
            "ro" => mount.read_only = true,
            // Labels and owners of this machine's files are not changed for a build.
            "rw" | "z" | "Z" | "U" | "O" => {}
            _ => return refused(format!("--volume '{text}': '{option}' is not understood")),
        }
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_variables() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "t").unwrap();
        let secret_of = |text: &str| secret(text).map_err(|error| error.to_string());
        let from_file = format!("id=a,src={}", path.display());
        assert_eq!(secret_of(&from_file), Ok(("a".to_owned(), b"t".to_vec())));
        let (id, value) = secret_of("id=b,type=env,env=PATH").unwrap();
        assert!(id == "b" && !value.is_empty());
        for text in [
            "src=x",
            "id=",
            "id=a,src=x,env=y",
            "id=a,what=x",
            "id=a,env=NO_SUCH_VARIABLE_HERE",
            "id=a,src=/no/such",
        ] {
            assert!(secret_of(text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_and_hosts_are_read() {
        let mount = volume("/etc:/there/etc:ro,z").unwrap();
        assert!(mount.read_only && mount.target == Path::new("/there/etc"));
        for text in [
            "/etc",
            "/etc:relative",
            "/etc:/",
            "/no/such:/x",
            "/etc:/x:what",
            "a:b:c:d",
        ] {
            assert!(volume(text).is_err(), "{text}");
        }
        let text = hosts(
            b"127.0.0.1 localhost\n".to_vec(),
            &["a:10.0.0.1".to_owned(), "b:[::1]".to_owned()],
        );
        assert_eq!(text.unwrap(), b"10.0.0.1\ta\n::1\tb\n127.0.0.1 localhost\n");
        assert!(hosts(Vec::new(), &["a:b".to_owned()]).is_err());
    }

    #[test]
    fn contexts_are_directories_or_images() {
        let image = ExtraContext::Image("localhost/base".to_owned());
        let read = |text: &str| context(text).ok().map(|(_, context)| context);
        assert_eq!(read("base=docker-image://localhost/base"), Some(image));
        assert_eq!(read("a=/"), Some(ExtraContext::Directory("/".into())));
        for text in ["a", "=x", "a=", "a=/no/such", "a=/etc/passwd", "a=ftp://x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
