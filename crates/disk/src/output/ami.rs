//! What to tell Amazon EC2 of the disk: the parameters of the calls that make a machine image of it.
//!
//! The two objects have the fields of the API, so `aws ec2 import-snapshot --cli-input-json` and `register-image` take them
//! when the bucket and the snapshot, which only the one who uploads knows, are filled in.

use serde_json::json;

use crate::plan::Plan;
use crate::spec::OutputFile;

const ROOT_DEVICE: &str = "/dev/sda1";
/// The names of images are short.
const DIGEST_DIGITS: usize = 12;

/// The description, JSON.
pub(super) fn description(plan: &Plan) -> Vec<u8> {
    let architecture = match plan.architecture.as_str() {
        "amd64" => "x86_64",
        other => other,
    };
    // Preferred means that older instances may start by BIOS.
    let boot_mode = match plan.stored.contents.boot_code {
        Some(_) => "uefi-preferred",
        None => "uefi",
    };
    let digest = plan.manifest_digest.rsplit(':').next().unwrap_or_default();
    let name = format!(
        "{}-{}",
        plan.stored.labels.name,
        digest.get(..DIGEST_DIGITS).unwrap_or(digest)
    );
    let disk = OutputFile::Raw.path();
    let file_name = disk.rsplit('/').next().unwrap_or(disk);
    let whole_gib = plan.size_bytes.div_ceil(1 << 30);
    let description = json!({
        "file": file_name,
        "size-bytes": plan.size_bytes,
        "import-snapshot": {
            "Description": name,
            "DiskContainer": {
                "Description": name,
                "Format": "RAW",
                "UserBucket": { "S3Key": file_name },
            },
        },
        "register-image": {
            "Name": name,
            "Description": format!("{} ({})", plan.title, plan.image),
            "Architecture": architecture,
            "BootMode": boot_mode,
            "EnaSupport": true,
            "VirtualizationType": "hvm",
            "RootDeviceName": ROOT_DEVICE,
            "BlockDeviceMappings": [{
                "DeviceName": ROOT_DEVICE,
                "Ebs": {
                    "VolumeSize": whole_gib,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": true,
                },
            }],
        },
    });
    format!("{description:#}\n").into_bytes()
}
