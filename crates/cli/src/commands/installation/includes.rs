//! What a Kickstart file includes.

use std::collections::HashMap;

use osmith_installer::boot_options::KickstartSource;
use osmith_installer::fetch::{Fetched, Fetcher};
use osmith_kickstart::{Included, Includes};

use crate::failure::with_causes;

/// Files and addresses, as the system that installs reaches them.
pub(super) struct FetchedIncludes<'a> {
    fetcher: &'a Fetcher<'a>,
    /// Where files came from, by their names.
    sources: HashMap<String, KickstartSource>,
}

impl<'a> FetchedIncludes<'a> {
    /// For a file that was fetched.
    pub(super) fn of(fetcher: &'a Fetcher<'a>, main: &Fetched) -> Self {
        FetchedIncludes {
            fetcher,
            sources: HashMap::from([(main.name.clone(), main.source.clone())]),
        }
    }
}

impl Includes for FetchedIncludes<'_> {
    fn read(&mut self, path: &str, including: &str) -> Result<Included, String> {
        let here = || KickstartSource::File {
            path: including.to_owned(),
        };
        let from = self.sources.get(including).cloned().unwrap_or_else(here);
        let fetched = self
            .fetcher
            .include(path, &from)
            .map_err(|error| with_causes(&error))?;
        self.sources.insert(fetched.name.clone(), fetched.source);
        Ok(Included {
            name: fetched.name,
            text: fetched.text,
        })
    }
}
