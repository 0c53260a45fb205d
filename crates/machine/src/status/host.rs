//! The state of a machine as data: bootc's `BootcHost`, API version `org.containers.bootc/v1`.
//!
//! Source: the JSON that `bootc status --format json` prints and the schema it publishes. Fields stand in the order of
//! their JSON names, so that the JSON is canonical: sorted keys, no white space. A field without a value is `null`,
//! except `signature`, `otherDeployments` and `failedDeployments`, which are left out.

use serde::{Deserialize, Serialize};

use crate::failures::FailedDeployment;
use crate::origin::{ImageSource, SignaturePolicy};

/// The state of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    api_version: String,
    kind: String,
    metadata: Metadata,
    /// What the machine shall be.
    pub spec: HostSpec,
    /// What the machine is.
    pub status: HostStatus,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Metadata {
    name: String,
}

/// What a machine shall be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSpec {
    /// Which deployment starts next.
    pub boot_order: BootOrder,
    /// The image the machine follows.
    pub image: Option<ImageReference>,
}

/// Which deployment starts next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BootOrder {
    /// The staged one, or the one that is running.
    Default,
    /// The one to go back to.
    Rollback,
}

/// What a machine is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The deployment that is running; none on a machine that no image was installed on.
    pub booted: Option<DeploymentStatus>,
    /// Deployments that were given up, because they did not become healthy: osmith's own, left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_deployments: Vec<FailedDeployment>,
    /// Deployments that are neither running, staged, nor the one to go back to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_deployments: Vec<DeploymentStatus>,
    read_only: bool,
    /// The deployment to go back to.
    pub rollback: Option<DeploymentStatus>,
    /// Whether the next start goes back.
    pub rollback_queued: bool,
    /// The deployment that starts next, once the machine was shut down.
    pub staged: Option<DeploymentStatus>,
    /// Always `bootcHost` on a machine that an image was installed on.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// A writable layer over `/usr`.
    pub usr_overlay: Option<UsrOverlay>,
}

/// An image and how it is fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageReference {
    /// Its name.
    pub image: String,
    /// How signatures are checked, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<ImageSignature>,
    /// `registry`, `oci`...
    pub transport: String,
}

/// How signatures are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImageSignature {
    /// By the keys of an ostree remote.
    OstreeRemote(String),
    /// As the container policy says.
    ContainerPolicy,
    /// Not at all.
    Insecure,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentStatus {
    /// The update that was seen and not fetched.
    pub cached_update: Option<ImageStatus>,
    /// What is special about this kind of deployment.
    pub composefs: Option<ComposefsStatus>,
    /// Whether shutting down does not make a staged deployment the next one.
    pub download_only: bool,
    /// The image, as far as it is known.
    pub image: Option<ImageStatus>,
    incompatible: bool,
    ostree: Option<()>,
    /// Whether clean-ups leave the deployment alone.
    pub pinned: bool,
    soft_reboot_capable: bool,
    store: Option<()>,
}

/// The image of a deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// Its processor, in Go's words.
    pub architecture: String,
    /// What it is and how it is fetched.
    pub image: ImageReference,
    /// The digest of its manifest.
    pub image_digest: String,
    /// When it was made, RFC 3339.
    pub timestamp: Option<String>,
    /// The annotation `org.opencontainers.image.version` of its manifest, or the label of that name.
    pub version: Option<String>,
}

/// A deployment of the composefs backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComposefsStatus {
    /// SHA-256 of kernel and initramfs in one.
    pub boot_digest: Option<String>,
    /// How the kernel starts.
    pub boot_type: BootTypeStatus,
    /// What starts the kernel.
    pub bootloader: Bootloader,
    /// Whether the machine starts without fs-verity.
    pub missing_verity_allowed: bool,
    /// The identity of the deployment.
    pub verity: String,
}

/// How the kernel starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootTypeStatus {
    /// By a boot entry.
    Bls,
    /// As a unified kernel image.
    Uki,
}

/// What starts the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bootloader {
    /// GRUB.
    Grub,
    /// GRUB for confidential machines.
    GrubCc,
    /// systemd-boot.
    Systemd,
}

/// A layer over `/usr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsrOverlay {
    /// Whether it can be written to.
    pub access_mode: AccessMode,
    /// Whether it survives a restart.
    pub persistence: Persistence,
}

/// Whether a layer can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccessMode {
    /// It cannot.
    ReadOnly,
    /// It can.
    ReadWrite,
}

/// Whether a layer survives a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Persistence {
    /// It does not.
    Transient,
    /// It does.
    Persistent,
}

impl Host {
    /// A machine of which nothing is known.
    pub(super) fn new() -> Self {
        Host {
            api_version: "org.containers.bootc/v1".to_owned(),
            kind: "BootcHost".to_owned(),
            metadata: Metadata {
                name: "host".to_owned(),
            },
            spec: HostSpec {
                boot_order: BootOrder::Default,
                image: None,
            },
            status: HostStatus {
                booted: None,
                failed_deployments: Vec::new(),
                other_deployments: Vec::new(),
                read_only: false,
                rollback: None,
                rollback_queued: false,
                staged: None,
                kind: None,
                usr_overlay: None,
            },
        }
    }

    /// The canonical JSON, without a final newline.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

impl DeploymentStatus {
    /// A deployment with a known identity.
    pub(super) fn new(composefs: ComposefsStatus, image: Option<ImageStatus>, pinned: bool) -> Self {
        DeploymentStatus {
            cached_update: None,
            composefs: Some(composefs),
            download_only: false,
            image,
            incompatible: false,
            ostree: None,
            pinned,
            soft_reboot_capable: false,
            store: None,
        }
    }
}

impl From<&ImageSource> for ImageReference {
    fn from(source: &ImageSource) -> Self {
        ImageReference {
            image: source.image.clone(),
            signature: match &source.signature {
                SignaturePolicy::Unspecified => None,
                SignaturePolicy::Insecure => Some(ImageSignature::Insecure),
                SignaturePolicy::ContainerPolicy => Some(ImageSignature::ContainerPolicy),
                SignaturePolicy::OstreeRemote(remote) => Some(ImageSignature::OstreeRemote(remote.clone())),
            },
            transport: source.transport.clone(),
        }
    }
}
