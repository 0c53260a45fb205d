//! Accounts, settings, scripts, and how the installation ends.

use super::Password;
use crate::problem::Position;

/// `rootpw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootpw {
    /// Its place.
    pub position: Position,
    /// The password.
    pub password: Option<Password>,
    /// `--lock`: no password fits.
    pub lock: bool,
    /// `--allow-ssh`: root may log in through SSH with the password.
    pub allow_ssh: bool,
}

/// `user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its place.
    pub position: Position,
    /// `--name`.
    pub name: String,
    /// `--password`; without one no password fits.
    pub password: Option<Password>,
    /// `--lock`: no password fits.
    pub lock: bool,
    /// `--uid`.
    pub uid: Option<u32>,
    /// `--gid`.
    pub gid: Option<u32>,
    /// `--groups`.
    pub groups: Vec<GroupOfUser>,
    /// `--homedir`.
    pub home: Option<String>,
    /// `--shell`.
    pub shell: Option<String>,
    /// `--gecos`.
    pub gecos: Option<String>,
}

/// A group that a user is in: `wheel`, or with a number `admins(5000)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOfUser {
    /// Its name.
    pub name: String,
    /// The number it gets if it is made.
    pub gid: Option<u32>,
}

/// `group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its place.
    pub position: Position,
    /// `--name`.
    pub name: String,
    /// `--gid`.
    pub gid: Option<u32>,
}

/// `sshkey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    /// Its place.
    pub position: Position,
    /// `--username`.
    pub user: String,
    /// A line for `authorized_keys`.
    pub key: String,
}

/// `lang`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lang {
    /// Its place.
    pub position: Position,
    /// The system's language, such as `en_US.UTF-8`.
    pub lang: String,
    /// `--addsupport`: nothing can be installed for it.
    pub addsupport: Vec<String>,
}

/// `keyboard`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyboard {
    /// Its place.
    pub position: Position,
    /// The word without an option: a console keymap, as a rule.
    pub layout: Option<String>,
    /// `--vckeymap`: the console's keymap.
    pub vc_keymap: Option<String>,
    /// `--xlayouts`.
    pub x_layouts: Vec<String>,
    /// `--switch`: how to change between the X layouts.
    pub switch: Vec<String>,
}

impl Keyboard {
    /// The keymap of the console, as far as the file says one.
    pub fn console_keymap(&self) -> Option<&str> {
        self.vc_keymap.as_deref().or(self.layout.as_deref())
    }
}

/// `timezone`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timezone {
    /// Its place.
    pub position: Position,
    /// A name of the time zone database.
    pub zone: Option<String>,
    /// `--utc`: the hardware clock has UTC.
    pub utc: bool,
    /// `--ntpservers` of RHEL 9.
    pub ntp_servers: Vec<String>,
    /// `--nontp` of RHEL 9.
    pub no_ntp: bool,
}

/// `timesource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timesource {
    /// Its place.
    pub position: Position,
    /// Whom to ask.
    pub server: TimeServer,
    /// `--nts`: in an authenticated way.
    pub nts: bool,
}

/// Whom to ask for the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeServer {
    /// A machine.
    Server(String),
    /// The machines that a name stands for.
    Pool(String),
    /// Nobody: the service is switched off.
    Disabled,
}

/// `services`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Services {
    /// Its place.
    pub position: Position,
    /// `--enabled`: units that start with the machine.
    pub enabled: Vec<String>,
    /// `--disabled`: units that do not.
    pub disabled: Vec<String>,
}

/// `selinux`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selinux {
    /// Its place.
    pub position: Position,
    /// The mode; `None` if the line names none.
    pub mode: Option<SelinuxMode>,
}

/// What SELinux does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelinuxMode {
    /// Forbids.
    Enforcing,
    /// Notes.
    Permissive,
    /// Nothing.
    Disabled,
}

/// `firewall`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Its place.
    pub position: Position,
    /// Whether it is switched on.
    pub enabled: bool,
    /// `--use-system-defaults`: nothing is changed.
    pub use_system_defaults: bool,
    /// `--port`.
    pub ports: Vec<FirewallPort>,
    /// `--service`, and `--ssh` and its like.
    pub services: Vec<String>,
    /// `--remove-service`.
    pub removed_services: Vec<String>,
    /// `--trust`: interfaces through which everything comes in.
    pub trusted: Vec<String>,
}

/// A port of the default zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirewallPort {
    /// A number, a range such as `8000-8080`, or the name of a service.
    pub port: String,
    /// `tcp` unless the file says otherwise.
    pub protocol: String,
}

/// `logging`: the installer's log goes to another machine too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// Its place.
    pub position: Position,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<u16>,
}

/// `reboot`, `poweroff`, `shutdown` or `halt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndAction {
    /// Its place.
    pub position: Position,
    /// What happens.
    pub end: End,
    /// `--eject`: the medium is put out before.
    pub eject: bool,
    /// `--kexec`: the new kernel is started without the firmware.
    pub kexec: bool,
}

/// How an installation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The machine restarts.
    Reboot,
    /// The machine is switched off.
    Poweroff,
    /// The machine stands still.
    Halt,
}

/// `text`, `cmdline` or `graphical`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Display {
    /// Its place.
    pub position: Position,
    /// Which of them.
    pub mode: DisplayMode,
    /// `--non-interactive`.
    pub non_interactive: bool,
}

/// How an installer shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisplayMode {
    /// `text`.
    Text,
    /// `cmdline`.
    Cmdline,
    /// `graphical`.
    Graphical,
}

/// A script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The place of the section's first line.
    pub position: Position,
    /// When it runs.
    pub section: Section,
    /// `--interpreter`.
    pub interpreter: String,
    /// `--erroronfail`: the installation stops if the script fails.
    pub error_on_fail: bool,
    /// `--log`.
    pub log: Option<String>,
    /// Whether it runs in the new system: `%post` without `--nochroot`.
    pub chroot: bool,
    /// What is between the first line and `%end`; with a line end unless it is empty.
    pub body: String,
}

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Section {
    /// `%pre`: before the real parse.
    Pre,
    /// `%pre-install`: the target is mounted, the image not yet written.
    PreInstall,
    /// `%post`: after all configuration.
    Post,
    /// `%onerror`: after a fatal error.
    OnError,
    /// `%traceback`: the same, under the older name.
    Traceback,
}

/// `%certificate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The place of the section's first line.
    pub position: Position,
    /// `--filename`.
    pub filename: String,
    /// `--dir`.
    pub directory: Option<String>,
    /// `--type`: `anchor` is known.
    pub kind: Option<String>,
    /// What is between the first line and `%end`.
    pub body: String,
}

/// `%packages`: of no use in image mode, where an image's Containerfile has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packages {
    /// The place of the section's first line.
    pub position: Position,
    /// Its lines without comments and blanks at the ends; empty ones are left out.
    pub entries: Vec<String>,
}
