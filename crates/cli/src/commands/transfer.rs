//! `osmith push`, `pull`, `login` and `logout`: images between the store and registries.

use std::io::Read as _;
use std::path::Path;

use osmith_image::compression::Codec;
use osmith_image::registry::{
    Client, Credential, CredentialsError, PullOptions, PushOptions, erase_all_credentials, erase_credential,
    pull as pull_image, push as push_image, push_index, resolve, store_credential, verify_login,
};
use osmith_image::store::{Encoding, Image, Named, Store};
use osmith_image::{Platform, Reference, ReferenceError};
use osmith_report::{Class, Event, Failure, Observer, Outcome, Severity, Step, StepId};

use super::images::{named, parse_name, print};
use crate::args::{LoginArgs, LogoutArgs, PullArgs, PushArgs, PushCompression};
use crate::failure::{CommandFailure, CommandResult};
use crate::{password, registries, size};

const PASSWORD_MAX_BYTES: u64 = 64 << 10;

pub(crate) fn push(args: &PushArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let name = parse_name(&args.image)?;
    let named = named(&name, args.platform.as_ref(), store)?;
    let destination = destination(args, &name, store)?;
    let options = PushOptions {
        encoding: encoding(args)?,
    };
    let client = registries::client(&args.transfer)?;
    let quiet = Quiet {
        observer,
        quiet: args.quiet,
    };
    let title = format!("push {name} to {destination}");
    let pushed = steps(&quiet, &[title], |step, _| {
        let pushed = match &named {
            Named::Image(image) => push_image(&client, image, store, &destination, &options, &quiet, step),
            Named::Index(index) => push_index(&client, index, store, &destination, &options, &quiet, step),
        }?;
        let sent = pushed.sent;
        let summary = format!(
            "{} sent; {} sent, {} there already",
            size::render(sent.sent_bytes),
            blobs(sent.blobs_sent),
            blobs(sent.blobs_present + sent.blobs_mounted)
        );
        Ok((pushed, summary))
    })?;
    for pushed in &pushed {
        if let Some(file) = &args.digestfile {
            write_digest(file, &pushed.digest.to_string())?;
        }
        if !args.quiet {
            print(&format!("{}\n", pushed.name.with_digest(pushed.digest)))?;
        }
    }
    Ok(())
}

pub(crate) fn pull(args: &PullArgs, store: &Store, observer: &dyn Observer) -> CommandResult {
    let names = args
        .images
        .iter()
        .map(|text| parse_remote(text))
        .collect::<Result<Vec<_>, _>>()?;
    let client = registries::client(&args.transfer)?;
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let quiet = Quiet {
        observer,
        quiet: args.quiet,
    };
    let pulled = pull_each(&client, &names, &platform, store, &quiet)?;
    pulled
        .iter()
        .try_for_each(|image| print(&format!("{}\n", image.id())))
}

/// Fetches an image for a command that goes on with it.
pub(super) fn fetch_one(
    client: &Client,
    name: &Reference,
    platform: &Platform,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Image, Box<dyn Failure>> {
    let pulled = pull_each(client, std::slice::from_ref(name), platform, store, observer)?;
    let only = pulled.into_iter().next();
    only.ok_or_else(|| CommandFailure::new(Class::Internal, "a step without an image").into())
}

fn pull_each(
    client: &Client,
    names: &[Reference],
    platform: &Platform,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Vec<Image>, Box<dyn Failure>> {
    let titles: Vec<_> = names.iter().map(|name| format!("pull {name}")).collect();
    steps(observer, &titles, |step, index| {
        let name = names
            .get(index)
            .ok_or_else(|| CommandFailure::new(Class::Internal, "a step without a name"))?;
        let resolved = resolve(client, name, platform, observer)?;
        let pulled = pull_image(client, &resolved, store, &PullOptions::default(), observer, step)?;
        let transferred = pulled.transferred;
        let summary = format!(
            "{} fetched; {} written, {} there already",
            size::render(transferred.fetched_bytes),
            size::render(transferred.written_bytes),
            size::render(transferred.present_bytes)
        );
        Ok((pulled.image, summary))
    })
}

pub(crate) fn login(args: &LoginArgs, observer: &dyn Observer) -> CommandResult {
    let settings = registries::settings(&args.registry)?;
    if args.get_login {
        return match settings.credentials.find(&args.name)? {
            Some(Credential::Password { username, .. }) => print(&format!("{username}\n")),
            Some(Credential::IdentityToken(_)) => print("<token>\n"),
            None => Err(not_logged_in(&args.name).into()),
        };
    }
    let credential = Credential::Password {
        username: match &args.username {
            Some(username) => username.clone(),
            None => password::ask_openly("Username: ")?,
        },
        password: match (&args.password, args.password_stdin) {
            (Some(password), _) => password.clone(),
            (None, true) => password_from_input()?,
            (None, false) => password::ask("Password: ")?,
        },
    };
    let file = registries::login_file(args.registry.authfile.as_deref())?;
    let host = args.name.split('/').next().unwrap_or_default();
    verify_login(&Client::new(settings), host, &credential, observer)?;
    store_credential(&file, &args.name, &credential)?;
    print("Login Succeeded!\n")
}

pub(crate) fn logout(args: &LogoutArgs) -> CommandResult {
    let file = registries::login_file(args.authfile.as_deref())?;
    let Some(name) = &args.name else {
        erase_all_credentials(&file)?;
        return print("Removed login credentials for all registries\n");
    };
    match erase_credential(&file, name) {
        Err(CredentialsError::NotLoggedIn(_)) => Err(not_logged_in(name).into()),
        erased => {
            erased?;
            print(&format!("Removed login credentials for {name}\n"))
        }
    }
}

fn not_logged_in(name: &str) -> CommandFailure {
    let error = CredentialsError::NotLoggedIn(name.to_owned());
    CommandFailure::new(error.class(), error.to_string()).hint(format!("log in: osmith login {name}"))
}

/// Where an image goes: its own name, if that has a registry, unless another one is given.
fn destination(args: &PushArgs, name: &Reference, store: &Store) -> Result<Reference, Box<dyn Failure>> {
    let destination = match &args.destination {
        Some(text) => parse_remote(text)?,
        None => store.resolve(name)?.unwrap_or_else(|| name.clone()),
    };
    match destination.domain() {
        Some(domain) if domain != "localhost" => Ok(destination),
        _ => {
            let text = format!("'{destination}' does not say to which registry the image goes");
            let path = destination.path();
            let hint = format!("name it: osmith push {} registry.example.org/{path}", args.image);
            Err(CommandFailure::new(Class::Usage, text).hint(hint).into())
        }
    }
}

/// A name in a registry, also as skopeo writes it.
fn parse_remote(text: &str) -> Result<Reference, ReferenceError> {
    parse_name(text.strip_prefix("docker://").unwrap_or(text))
}

fn encoding(args: &PushArgs) -> Result<Encoding, CommandFailure> {
    let codec = match args.compression_format {
        PushCompression::Zstd => Codec::Zstd,
        PushCompression::Gzip => Codec::Gzip,
    };
    let level = args.compression_level.unwrap_or_else(|| codec.default_level());
    if codec.levels().contains(&level) {
        return Ok(Encoding { codec, level });
    }
    let (first, last) = codec.levels().into_inner();
    let text = format!("{codec} has no compression level {level}");
    Err(CommandFailure::new(Class::Usage, text).hint(format!("choose one from {first} to {last}")))
}

fn password_from_input() -> Result<String, CommandFailure> {
    let mut text = String::new();
    std::io::stdin()
        .take(PASSWORD_MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| {
            CommandFailure::new(Class::Input, "cannot read the password from standard input").because(error)
        })?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

pub(super) fn write_digest(path: &Path, digest: &str) -> Result<(), CommandFailure> {
    std::fs::write(path, digest).map_err(|error| {
        CommandFailure::new(Class::Environment, format!("cannot write '{}'", path.display())).because(error)
    })
}

fn blobs(count: u64) -> String {
    match count {
        1 => "1 blob".to_owned(),
        count => format!("{count} blobs"),
    }
}

/// Runs steps one after the other; each gives its result, and what came of it for a person.
fn steps<T>(
    observer: &dyn Observer,
    titles: &[String],
    mut work: impl FnMut(StepId, usize) -> Result<(T, String), Box<dyn Failure>>,
) -> Result<Vec<T>, Box<dyn Failure>> {
    let numbered = (0..).map(StepId).zip(titles);
    let steps = numbered.clone().map(|(id, title)| Step {
        id,
        title: title.clone(),
    });
    observer.observe(Event::Plan {
        steps: steps.collect(),
    });
    let mut results = Vec::new();
    for (index, (step, _)) in numbered.enumerate() {
        observer.observe(Event::Started { step });
        let result = work(step, index);
        let (outcome, summary) = match &result {
            Ok((_, summary)) => (Outcome::Done, summary.clone()),
            Err(_) => (Outcome::Failed, String::new()),
        };
        observer.observe(Event::Finished {
            step,
            outcome,
            summary,
        });
        results.push(result?.0);
    }
    Ok(results)
}

/// An observer that tells only of what may be wrong, if it is `quiet`.
pub(super) struct Quiet<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) quiet: bool,
}

impl Observer for Quiet<'_> {
    fn observe(&self, event: Event) {
        let warns = matches!(
            event,
            Event::Message {
                severity: Severity::Warning,
                ..
            }
        );
        if !self.quiet || warns {
            self.observer.observe(event);
        }
    }

    fn interrupted(&self) -> bool {
        self.observer.interrupted()
    }
}
