//! `osmith kargs`: the kernel arguments of a machine.

use osmith_machine::deploy::{self, KargsChange};
use osmith_machine::kernel_arguments::join;
use osmith_report::Observer;

use super::{Done, open, recorded};
use crate::args::KargsArgs;
use crate::commands::images::print;
use crate::failure::CommandResult;

pub(crate) fn kargs(args: &KargsArgs, observer: &dyn Observer) -> CommandResult {
    let machine = open("kargs", observer)?;
    let is_query = args.append.is_empty() && args.delete.is_empty() && args.replace.is_empty();
    if is_query {
        return print(&format!("{}\n", join(&deploy::kargs(&machine)?)));
    }
    let change = KargsChange {
        append: args.append.clone(),
        delete: args.delete.clone(),
        replace: args.replace.clone(),
        tries: None,
    };
    let arguments = recorded(&machine, "kargs", || {
        let arguments = join(&deploy::change_kargs(&machine, &change)?);
        Ok(Done {
            to: Some(machine.logged(&machine.booted())),
            message: Some(arguments.clone()),
            value: arguments,
        })
    })?;
    print(&format!("{arguments}\n"))
}
