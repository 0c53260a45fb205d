//! A Containerfile becomes an image: parser, stages, cache, RUN sandbox, commit.

pub mod containerfile;
pub mod run;
