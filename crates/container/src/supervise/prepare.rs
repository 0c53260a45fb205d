//! From a container's record to its running command.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use osmith_image::store::Store;
use osmith_sys::OsError;
use osmith_sys::sandbox::{Init, Mount, Network, Root, Running, Sandbox, Started, Streams, WindowSize};

use super::{Alive, Surroundings};
use crate::cgroup::Cgroup;
use crate::life::Container;
use crate::network::{NAME_SERVER, Pasta};
use crate::root::{Additions, ImageTree, RootError, SharedRoot, Target, overlay_attributes, set_metadata};
use crate::specification::{NetworkMode, Specification, name_of};
use crate::streams::{Ends, no_streams, pipes};
use crate::users::User;
use crate::{ContainerError, systemd, volumes};

/// Files of this computer's that a container gets as its own.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const HOSTNAME: &str = "/etc/hostname";
const CONTAINER_MARK: &str = "/run/.containerenv";

/// Everything that can be found out before something is started.
pub(super) struct Prepared<'c> {
    container: &'c Container,
    image: ImageTree<'c>,
    mounts: Vec<Mount>,
    streams: Streams,
    hostname: String,
}

impl<'c> Prepared<'c> {
    pub(super) fn new(
        container: &'c Container,
        store: &'c Store,
        surroundings: &Surroundings,
        window: WindowSize,
    ) -> Result<Self, ContainerError> {
        let specification = &container.record().specification;
        let image = ImageTree::new(store, specification.image.digest);
        let hostname = match specification.hostname.as_str() {
            "" => container.short_id(),
            name => name.to_owned(),
        };
        let mut mounts = own_mounts(specification, surroundings, &hostname);
        mounts.extend(volumes::mounts(&image, &specification.volumes)?);
        Ok(Prepared {
            container,
            image,
            mounts,
            streams: match (
                specification.terminal || specification.systemd,
                specification.input,
            ) {
                (true, _) => Streams::Terminal(window),
                (false, true) => Streams::All,
                (false, false) => Streams::Output,
            },
            hostname,
        })
    }

    fn specification(&self) -> &Specification {
        &self.container.record().specification
    }

    /// Starts the command. What is mounted stays with it.
    pub(super) fn start(
        &self,
        surroundings: &Surroundings,
    ) -> Result<(Alive, Started, Ends), ContainerError> {
        let cgroup = self.cgroup(surroundings)?;
        let additions = Additions {
            targets: self.mounts.iter().map(Target::of).collect::<Result<_, _>>()?,
            files: [RESOLV_CONF, HOSTS, HOSTNAME].map(Path::new).into(),
            directory: Path::new(&self.specification().cwd),
        };
        let (root, started) = SharedRoot::with(&self.image, &additions, |root| {
            let user = root.accounts().user(&self.specification().user)?;
            let sandbox = self.sandbox(root, &user, cgroup.as_ref())?;
            match self.start_sandbox(&sandbox, surroundings) {
                // Another kind of root may do.
                Err(ContainerError::Root(error)) => Err(error),
                answer => Ok(answer),
            }
        })?;
        let (running, network, started, ends) = started?;
        let alive = Alive {
            running,
            _network: network,
            _cgroup: cgroup,
            _root: root,
        };
        Ok((alive, started, ends))
    }

    fn start_sandbox(
        &self,
        sandbox: &Sandbox,
        surroundings: &Surroundings,
    ) -> Result<(Running, Option<Pasta>, Started, Ends), ContainerError> {
        let has_terminal = matches!(self.streams, Streams::Terminal(_));
        let (streams, ends) = match has_terminal {
            true => (no_streams(), None),
            false => pipes(self.streams == Streams::All).map(|(streams, ends)| (streams, Some(ends)))?,
        };
        let mut running = sandbox.start(streams)?;
        let mut network = None;
        if sandbox.network == Network::Private {
            let namespace = running.network_namespace()?;
            let ports = &self.specification().ports;
            network = Some(Pasta::connect(&surroundings.pasta, namespace, ports)?);
            running.proceed()?;
        }
        let mut started = running.started()?;
        let ends = match (ends, started.terminal.take()) {
            (Some(ends), _) => ends,
            (None, Some(terminal)) => Ends::of_terminal(terminal)?,
            (None, None) => return Err(missing_terminal().into()),
        };
        Ok((running, network, started, ends))
    }

    fn sandbox(&self, root: &SharedRoot, user: &User, cgroup: Option<&Cgroup>) -> Result<Sandbox, RootError> {
        let specification = self.specification();
        let text = |text: &String| OsString::from(text);
        Ok(Sandbox {
            root: self.root(root)?,
            scratch: renewed(self.container.path(), "scratch")?,
            argv: specification.argv.iter().map(text).collect(),
            env: environment(&specification.env, user, &self.hostname),
            cwd: PathBuf::from(&specification.cwd),
            user: sandbox_user(user),
            hostname: self.hostname.clone(),
            network: match specification.network {
                NetworkMode::Host => Network::Host,
                NetworkMode::None => Network::None,
                NetworkMode::Pasta => Network::Private,
            },
            capabilities: specification.capabilities,
            mounts: self.mounts.clone(),
            init: Init::Command,
            streams: self.streams,
            cgroup: cgroup.map(|cgroup| cgroup.path().to_owned()),
        })
    }

    fn root(&self, root: &SharedRoot) -> Result<Root, RootError> {
        let (lower, attributes) = (root.lower(self.image.store()), overlay_attributes());
        if self.specification().read_only {
            return Ok(Root::ReadOnly { lower, attributes });
        }
        let path = self.container.path();
        let upper = renewed(path, "upper")?;
        set_metadata(&upper, &root.directory_inode())?;
        Ok(Root::Overlay {
            lower,
            upper,
            work: renewed(path, "work")?,
            attributes,
        })
    }

    fn cgroup(&self, surroundings: &Surroundings) -> Result<Option<Cgroup>, ContainerError> {
        if !self.specification().systemd {
            return Ok(None);
        }
        let parent = surroundings.cgroups.as_deref().ok_or_else(|| {
            ContainerError::Cgroup(OsError::new(
                "find",
                "a cgroup2 file system",
                rustix::io::Errno::NOENT,
            ))
        })?;
        Cgroup::create(parent, &self.container.id()).map(Some)
    }
}

fn missing_terminal() -> OsError {
    OsError::new("open", "the terminal of the command", rustix::io::Errno::NXIO)
}

/// An empty directory of that name: overlayfs takes no upper directory a second time.
fn renewed(parent: &Path, name: &str) -> Result<PathBuf, OsError> {
    let path = parent.join(name);
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(OsError::from_io("remove", path.display(), &error));
        }
        _ => {}
    }
    fs::create_dir(&path).map_err(|error| OsError::from_io("create", path.display(), &error))?;
    Ok(path)
}

/// What every container has, and what systemd expects.
fn own_mounts(specification: &Specification, surroundings: &Surroundings, hostname: &str) -> Vec<Mount> {
    let mut mounts = Vec::new();
    if specification.systemd {
        mounts.extend(systemd::mounts());
    }
    let resolv_conf = match specification.network {
        NetworkMode::Host => surroundings.resolv_conf.clone(),
        NetworkMode::None => Vec::new(),
        NetworkMode::Pasta => passed_on(&surroundings.resolv_conf),
    };
    let hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n");
    mounts.extend([
        Mount::file(RESOLV_CONF, 0o644, resolv_conf),
        Mount::file(HOSTS, 0o644, hosts),
        Mount::file(HOSTNAME, 0o644, format!("{hostname}\n")),
        Mount::file(CONTAINER_MARK, 0o644, ""),
    ]);
    mounts
}

/// The configuration of names, with the name server that pasta passes on in the place of this computer's.
fn passed_on(resolv_conf: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(resolv_conf);
    let others = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("nameserver"));
    let mut lines: Vec<String> = others.map(|line| format!("{line}\n")).collect();
    lines.push(format!("nameserver {NAME_SERVER}\n"));
    lines.concat().into_bytes()
}

pub(crate) fn sandbox_user(user: &User) -> osmith_sys::sandbox::User {
    osmith_sys::sandbox::User {
        uid: user.owner.uid,
        gid: user.owner.gid,
        groups: user.groups.clone(),
    }
}

/// The variables, with the home directory and the host name where nobody has set them.
pub(crate) fn environment(env: &[String], user: &User, hostname: &str) -> Vec<(OsString, OsString)> {
    let mut pairs: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in [("HOME", user.home.as_str()), ("HOSTNAME", hostname)] {
        if !env.iter().any(|variable| name_of(variable) == name) {
            pairs.push((name.into(), value.into()));
        }
    }
    let pair = |variable: &String| match variable.split_once('=') {
        Some((name, value)) => (name.into(), value.into()),
        None => (variable.into(), OsString::new()),
    };
    pairs.extend(env.iter().map(pair));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_where_pasta_listens() {
        let here = b"search example.org\nnameserver 127.0.0.53\nnameserver 10.0.0.1\noptions edns0\n";
        let there = String::from_utf8(passed_on(here)).unwrap();
        assert_eq!(
            there,
            "search example.org\noptions edns0\nnameserver 169.254.1.1\n"
        );
    }

    #[test]
    fn home_and_host_name_are_there_unless_set() {
        let user = User {
            home: "/root".into(),
            ..User::default()
        };
        let env = environment(&["HOME=/x".into(), "A=b=c".into()], &user, "host");
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        assert_eq!(
            env,
            [pair("HOSTNAME", "host"), pair("HOME", "/x"), pair("A", "b=c")]
        );
    }
}
