//! Whether a registry accepts a password.

use osmith_report::Observer;

use super::{Client, Credential, RegistryError};

/// Asks a registry whether it accepts a credential. A registry that asks for none accepts any.
pub fn verify_login(
    client: &Client,
    registry: &str,
    credential: &Credential,
    observer: &dyn Observer,
) -> Result<(), RegistryError> {
    client.root(registry, credential, observer).check_login()
}
