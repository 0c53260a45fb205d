//! The configuration file of a disk: read, and what it names read too.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use osmith_config::{Configuration, Format, MAX_BYTES};
use osmith_report::{Class, Failure};

use crate::failure::CommandFailure;

const STANDARD_INPUT: &str = "-";

/// Reads a configuration: TOML or JSON by the name of the file, JSON from standard input.
pub(crate) fn read(path: &Path) -> Result<Configuration, Box<dyn Failure>> {
    let (name, format) = match path.to_str() {
        Some(STANDARD_INPUT) => ("standard input".to_owned(), Format::Json),
        _ => (path.display().to_string(), format_of(path)?),
    };
    let bytes = bytes(path).map_err(|error| {
        let class = match error.kind() {
            io::ErrorKind::NotFound => Class::NotFound,
            _ => Class::Environment,
        };
        CommandFailure::new(class, format!("cannot read the configuration '{name}'")).because(error)
    })?;
    let mut configuration =
        Configuration::parse(&bytes, format).map_err(|error| error.in_file(name.clone()))?;
    configuration.file = Some(name);
    configuration.read_local_files(|path| fs::read(path))?;
    Ok(configuration)
}

fn format_of(path: &Path) -> Result<Format, CommandFailure> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Ok(Format::Toml),
        Some("json") => Ok(Format::Json),
        _ => {
            let text = format!(
                "the configuration '{}' is neither a .toml nor a .json file",
                path.display()
            );
            Err(CommandFailure::new(Class::Usage, text)
                .hint("name it by what it is; '-' reads JSON from standard input"))
        }
    }
}

/// One byte too much tells that there is too much.
fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_BYTES as u64 + 1;
    if path.to_str() == Some(STANDARD_INPUT) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
