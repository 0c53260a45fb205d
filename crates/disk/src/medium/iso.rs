//! For discs and USB sticks: one file that is an ISO 9660 volume, a GPT disk and an EROFS file system.

use osmith_formats::erofs::CLUSTER_DEFAULT_BYTES;
use osmith_formats::medium::{self, Options};

use super::new_outputs::NewOutputs;
use super::{Job, WrittenMedium, packed};
use crate::error::WriteError;

pub(super) const OUTPUTS: [&str; 1] = ["bootiso/install.iso"];
const FOLDER: &str = "bootiso";
/// What other installers look for, and people see.
const LABEL: &str = "OSMITH";

pub(super) fn write(job: &Job<'_>) -> Result<Vec<WrittenMedium>, WriteError> {
    let contents = &job.plan.contents;
    let options = Options {
        label: LABEL.to_owned(),
        time: contents.time,
        uuid: contents.uuid,
        disk_guid: contents.disk_guid,
        partition_guid: contents.partition_guid,
        volume_id: contents.volume_id,
        cluster_bytes: CLUSTER_DEFAULT_BYTES,
    };
    let packing = medium::pack(&contents.esp, &contents.root, &options)?;
    let folder = job.path(FOLDER);
    std::fs::create_dir_all(&folder).map_err(|error| WriteError::output("create", &folder, error))?;
    let clusters = packed::compress(job, packing.clusters(), options.cluster_bytes, &folder)?;
    let layout = packing.plan(&clusters.lengths())?;
    let files = NewOutputs::create(job, &OUTPUTS)?;
    let target = files.target(0)?;
    target.set_len(layout.size_bytes())?;
    clusters.write(layout.pieces(), target, 0)?;
    files.commit(job.destination.overwrite)
}
