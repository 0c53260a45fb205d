//! The Containerfile language: text to typed instructions with places, every finding collected.
//!
//! Source: Containerfile(5), and where builders go beyond it, what `podman build` or BuildKit accept. Reading is
//! pure: no file, no variable's value, no image is looked at. All 18 instructions and their flags are read; whether
//! a build can do them is for the plan to say.
//!
//! ```text
//! bytes ─ Source ─ lines (continuations, heredoc bodies) ─ words ─ parse ─ Instruction
//!                                                            └ expand (checked here, values come with the plan)
//! ```

mod command;
mod diagnostic;
mod expand;
mod flags;
mod heredoc;
mod instruction;
mod lines;
mod parse;
mod pattern;
mod source;
mod words;

pub use diagnostic::{Diagnostic, Severity};
pub use instruction::{
    Arguments, Assignment, Command, Flag, Heredoc, Instruction, Keyword, Source as CopySource, Text,
};
pub use parse::{Containerfile, Parsed, parse};
pub use source::{Position, Source, Span};

pub(crate) use diagnostic::nearest;
pub(crate) use expand::{Lookup, Quoting, expand};
pub(crate) use parse::parse_instruction;
