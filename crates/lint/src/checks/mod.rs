//! The checks, the most serious first.

mod boot;
mod layout;
mod leftovers;
mod state;
mod units;
mod users;

use crate::Check;
use crate::Severity::{Error, Warning};

/// All checks, in the order in which their findings are told.
pub static CHECKS: &[Check] = &[
    Check {
        name: "kernel",
        severity: Error,
        reason: "An image that machines boot has one kernel in /usr/lib/modules/VERSION with its initramfs, \
                 systemd-boot, and /usr/lib/os-release.",
        remedy: "FROM an image that boots, such as the one that images/debian makes",
        find: boot::kernel,
    },
    Check {
        name: "bootc-kargs",
        severity: Error,
        reason: "Kernel arguments are read from /usr/lib/bootc/kargs.d/*.toml, and a file that cannot be read keeps the \
                 image from being deployed.",
        remedy: "RUN echo 'kargs = [\"NAME=VALUE\"]' > /usr/lib/bootc/kargs.d/50-NAME.toml   (besides: match-architectures)",
        find: boot::kernel_arguments,
    },
    Check {
        name: "init",
        severity: Error,
        reason: "The kernel starts /sbin/init: without it, the machine stops there.",
        remedy: "RUN apt-get install -y systemd-sysv   (or: dnf install -y systemd)",
        find: boot::init,
    },
    Check {
        name: "api-base-directories",
        severity: Error,
        reason: "The directories that file systems are mounted on at boot must be there: the root cannot be written to.",
        remedy: "RUN mkdir -p /dev /proc /sys /run /tmp /var",
        find: layout::api_directories,
    },
    Check {
        name: "baseimage-root",
        severity: Error,
        reason: "/sysroot is where the physical root file system is mounted.",
        remedy: "RUN mkdir -p /sysroot",
        find: layout::sysroot,
    },
    Check {
        name: "var-run",
        severity: Error,
        reason: "/var/run must be a link to /run: programs that use either name have to meet.",
        remedy: "RUN rm -rf /var/run && ln -s ../run /var/run",
        find: layout::var_run,
    },
    Check {
        name: "etc-usretc",
        severity: Error,
        reason: "An image has /etc or /usr/etc, not both: nobody could say which of them a machine's changes are to.",
        remedy: "RUN cp -a /usr/etc/. /etc && rm -rf /usr/etc",
        find: layout::usr_etc,
    },
    Check {
        name: "utf8",
        severity: Warning,
        reason: "Names that are no UTF-8 cannot be deployed by bootc's ostree backend.",
        remedy: "RUN rm or mv what has such a name",
        find: layout::utf8,
    },
    Check {
        name: "baseimage-composefs",
        severity: Warning,
        reason: "An image for bootc's ostree backend says in /usr/lib/ostree/prepare-root.conf that composefs is enabled.",
        remedy: "RUN printf '[composefs]\\nenabled = yes\\n' > /usr/lib/ostree/prepare-root.conf",
        find: layout::ostree_composefs,
    },
    Check {
        name: "home-directories",
        severity: Warning,
        reason: "The root cannot be written to: what users change belongs into /var.",
        remedy: "RUN mv /home /var/home && ln -s var/home /home   (/root likewise, as /var/roothome)",
        find: layout::homes,
    },
    Check {
        name: "bootc-label",
        severity: Warning,
        reason: "The label says to tools that the image is one to boot.",
        remedy: "LABEL containers.bootc=1",
        find: boot::label,
    },
    Check {
        name: "machine-id",
        severity: Warning,
        reason: "A machine ID in the image is the same on every machine that boots it; an empty file lets each make its own.",
        remedy: "RUN : > /etc/machine-id",
        find: leftovers::machine_id,
    },
    Check {
        name: "ssh-host-keys",
        severity: Warning,
        reason: "Host keys in the image are the same on every machine, and whoever has the image has them.",
        remedy: "RUN rm -f /etc/ssh/ssh_host_*",
        find: leftovers::host_keys,
    },
    Check {
        name: "empty-passwords",
        severity: Warning,
        reason: "An account with an empty password lets everybody in.",
        remedy: "RUN passwd --lock NAME",
        find: users::empty_passwords,
    },
    Check {
        name: "broken-units",
        severity: Warning,
        reason: "Units are enabled that are not there: systemd leaves them out, and what they did does not happen.",
        remedy: "RUN systemctl disable NAME, or install what has the unit",
        find: units::broken,
    },
    Check {
        name: "buildah-injected",
        severity: Warning,
        reason: "An empty /etc/hostname or /etc/resolv.conf was left behind by a container engine, and a machine would keep it.",
        remedy: "build with osmith, which leaves none, or: RUN rm -f /etc/hostname",
        find: leftovers::injected,
    },
    Check {
        name: "nonempty-boot",
        severity: Warning,
        reason: "The kernel of an image is in /usr/lib/modules; what is in /boot is hidden on a machine.",
        remedy: "RUN rm -rf /boot/*",
        find: boot::boot_directory,
    },
    Check {
        name: "nonempty-run-tmp",
        severity: Warning,
        reason: "/run and /tmp are in memory on a machine: what the image has there is never seen.",
        remedy: "RUN --mount=type=tmpfs,target=/run --mount=type=tmpfs,target=/tmp ...   (or: RUN rm -rf /run/* /tmp/*)",
        find: leftovers::run_and_tmp,
    },
    Check {
        name: "var-log",
        severity: Warning,
        reason: "Logs of the build are in the image: they make it differ each time, and tell of the machine that built it.",
        remedy: "RUN rm -rf /var/log/*   (in the same RUN that wrote them)",
        find: leftovers::logs,
    },
    Check {
        name: "package-caches",
        severity: Warning,
        reason: "What package managers download to install is of no use on a machine and makes the image larger.",
        remedy: "RUN --mount=type=cache,target=/var/cache/apt --mount=type=cache,target=/var/lib/apt/lists apt-get ...",
        find: leftovers::caches,
    },
    Check {
        name: "var-tmpfiles",
        severity: Warning,
        reason: "/var belongs to the machine: what the image has there comes with the first installation, never with an update. \
                 What tmpfiles.d makes is there after each.",
        remedy: "COPY a file for /usr/lib/tmpfiles.d with a line such as: d /var/lib/NAME 0755 root root -",
        find: state::var,
    },
    Check {
        name: "sysusers",
        severity: Warning,
        reason: "Where a machine has changed /etc/passwd, accounts that an update adds there do not appear; those of sysusers.d do.",
        remedy: "COPY a file for /usr/lib/sysusers.d with a line such as: u NAME - \"what it is for\"",
        find: users::sysusers,
    },
];
