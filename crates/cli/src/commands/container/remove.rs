//! `osmith stop` and `osmith rm`.

use std::time::Duration;

use osmith_container::life::Containers;
use osmith_image::store::{Access, Store};
use osmith_report::Observer;

use super::{chosen, containers};
use crate::args::{Global, RmArgs, StopArgs};
use crate::commands::images::print;
use crate::failure::CommandResult;
use crate::{location, namespace};

pub(crate) fn stop(args: &StopArgs, global: &Global) -> CommandResult {
    let timeout = args.time.map(|seconds| Duration::from_secs(seconds.into()));
    for container in chosen(&containers(global)?, &args.which)? {
        container.stop(timeout)?;
        print(&format!("{}\n", container.record().name))?;
    }
    Ok(())
}

pub(crate) fn rm(args: &RmArgs, global: &Global, observer: &dyn Observer) -> CommandResult {
    let doomed = chosen(&containers(global)?, &args.which)?;
    if args.force {
        // A container may belong to other users than the root of this command's user namespace.
        for container in &doomed {
            container.kill()?;
        }
    }
    namespace::enter("remove a container", observer)?;
    let store = Store::open(&location::store(global)?, Access::ReadWrite)?;
    for container in &doomed {
        container.remove(&store)?;
        print(&format!("{}\n", container.record().name))?;
    }
    Ok(Containers::new(store.containers_path()).sweep(&store)?)
}
