//! The program `osmith-initrd`: mounts the root of the deployment that the kernel arguments name. It runs once, in
//! the initramfs, and says what is wrong on the console.

#![allow(clippy::print_stderr)]

use std::path::Path;
use std::process::ExitCode;

use osmith_machine::root_setup;
use osmith_report::Failure;

fn main() -> ExitCode {
    match root_setup::mount_root(Path::new("/")) {
        Ok(deployment) => {
            eprintln!("osmith: the root is deployment {}", deployment.digest);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn complain(failure: &dyn Failure) {
    eprintln!("osmith: {failure}");
    let mut cause = failure.source();
    while let Some(error) = cause {
        eprintln!("osmith:   because: {error}");
        cause = error.source();
    }
    for hint in failure.hints() {
        eprintln!("osmith:   hint: {hint}");
    }
}
