//! The image that the stories' machines run, in versions, and the registry that they follow it in.

/// What the machines follow. The name leads nowhere until a machine is told where the registry is.
pub const IMAGE: &str = "registry.story/os:latest";
/// Where a machine in QEMU finds this computer.
pub const GATEWAY: &str = "10.0.2.2";

/// What is in a version of the image besides the base.
pub fn containerfile(version: &str, more: &str) -> String {
    format!(
        "FROM localhost/debian-bootc:13\n\
         LABEL org.opencontainers.image.version={version}\n\
         RUN echo {version} > /usr/share/story && echo {version} > /etc/story-image && \
             echo {version} > /etc/story-shadowed && systemctl disable bootc-fetch-apply-updates.timer && \
             printf '[Timer]\\nOnBootSec=\\nOnBootSec=40min\\n' | \
             install -D /dev/stdin /usr/lib/systemd/system/osmith-boot-deadline.timer.d/slow.conf\n\
         {more}\n"
    )
}

/// How a machine reaches what listens on a port of this computer: `127.0.0.1:PORT` becomes `10.0.2.2:PORT`.
pub fn seen_by_machines(address: &str) -> String {
    let port = address.rsplit(':').next().unwrap_or_default();
    format!("{GATEWAY}:{port}")
}

/// A shell command that tells a machine where on this computer the registry is: `127.0.0.1:PORT`.
pub fn registry_configuration(address: &str) -> String {
    format!(
        "mkdir -p /etc/containers/registries.conf.d && \
         printf '[[registry]]\\nprefix = \"registry.story\"\\nlocation = \"{}\"\\ninsecure = true\\n' \
             > /etc/containers/registries.conf.d/story.conf",
        seen_by_machines(address)
    )
}
