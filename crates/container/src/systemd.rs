//! What systemd as pid 1 expects of a container. Source: systemd's container interface, podman-run(1) `--systemd`.

use std::path::Path;

use osmith_sys::sandbox::{Mount, Source};

/// Programs that are init, by their name, wherever they are.
const NAMES: [&str; 2] = ["systemd", "init"];

/// Whether a command is an init program: then it gets what systemd expects.
pub(crate) fn is_init(program: &str) -> bool {
    let path = Path::new(program);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let places = [
        "",
        "/sbin",
        "/usr/sbin",
        "/bin",
        "/usr/bin",
        "/lib/systemd",
        "/usr/lib/systemd",
        "/usr/local/sbin",
    ];
    let place = path.parent().and_then(Path::to_str).unwrap_or_default();
    NAMES.contains(&name) && places.contains(&place)
}

/// File systems in memory at the places that are a machine's for the time it runs.
pub(crate) fn mounts() -> impl Iterator<Item = Mount> {
    let places = [
        ("/run", 0o755),
        ("/run/lock", 0o1777),
        ("/tmp", 0o1777),
        ("/var/log/journal", 0o755),
    ];
    places.into_iter().map(|(path, mode)| {
        let source = Source::Memory {
            mode,
            size_bytes: None,
            copies_target: false,
        };
        Mount {
            no_suid: true,
            no_devices: true,
            ..Mount::new(path, source)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_programs() {
        for program in ["/sbin/init", "init", "systemd", "/usr/lib/systemd/systemd"] {
            assert!(is_init(program), "{program}");
        }
        for program in ["/srv/init", "/sbin/init.d", "./init", "sh", ""] {
            assert!(!is_init(program), "{program}");
        }
    }
}
