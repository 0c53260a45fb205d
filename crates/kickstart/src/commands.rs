//! From the arguments of a command to the model, one module an area. What the grammar's table cannot say is checked here:
//! options that need or exclude each other are errors, as in the language; values that make no sense are unsupported.

pub(crate) mod accounts;
pub(crate) mod image;
pub(crate) mod layout;
pub(crate) mod lvm;
pub(crate) mod network;
pub(crate) mod other;
pub(crate) mod section;
pub(crate) mod settings;
pub(crate) mod storage;

use crate::arguments::Arguments;
use crate::reading::Reading;

/// A number that must not be negative; nonsense is noted.
fn natural(at: &Arguments<'_>, option: &str, reading: &mut Reading) -> Option<u64> {
    at_least(at, option, 0, reading)
}

/// A number that must be positive; nonsense is noted.
fn positive(at: &Arguments<'_>, option: &str, reading: &mut Reading) -> Option<u64> {
    at_least(at, option, 1, reading)
}

fn at_least(at: &Arguments<'_>, option: &str, least: i64, reading: &mut Reading) -> Option<u64> {
    let number = at.integer(option)?;
    if number < least || number == i64::MAX {
        let message = format!("{option}: {number} makes no sense here");
        let remedy = format!("at least {least}, and not more than there can be");
        reading.unsupported(at, option, message, remedy);
        return None;
    }
    u64::try_from(number).ok()
}

/// A user's or group's number; nonsense is noted.
fn id(at: &Arguments<'_>, option: &str, reading: &mut Reading) -> Option<u32> {
    let number = at.integer(option)?;
    // The last number stands for none.
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Some(id),
        _ => {
            let message = format!("{option}: {number} is no number of an account or a group");
            reading.unsupported(at, option, message, "at most 4294967294");
            None
        }
    }
}
