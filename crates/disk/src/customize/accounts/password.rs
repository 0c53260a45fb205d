//! Passwords as `/etc/shadow` has them.

use osmith_config::Password;
use sha_crypt::password_hash::PasswordHasher;
use sha_crypt::{Params, ShaCrypt};

use crate::identity::Identity;

/// No password has this hash.
pub(super) const LOCKED: &str = "!";

/// Bytes of which the longest salt is made.
const SALT_BYTES: usize = 12;

/// The hash of a password; `None` if it cannot be hashed. The salt is that of the account, so that the same disk comes
/// out again.
pub(super) fn hash(password: &Password, name: &str, identity: &Identity) -> Option<String> {
    let plain = match password {
        Password::Hashed(hash) => return Some(hash.clone()),
        Password::Plain(plain) => plain,
    };
    let salt = identity.bytes(&format!("password of {name}"));
    let salt = salt.get(..SALT_BYTES)?;
    let hasher = ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, Params::RECOMMENDED);
    let hash = hasher.hash_password_with_salt(plain.as_bytes(), salt).ok()?;
    Some(hash.to_string())
}
