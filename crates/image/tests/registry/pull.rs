//! Images that others pushed.

use std::process::Command;

use osmith_image::compression::Codec;
use osmith_image::layout::{LayoutFormat, SaveOptions, save};
use osmith_image::registry::{ConfigurationError, PullOptions, RegistryError, pull, resolve};
use osmith_image::store::Encoding;
use osmith_image::{IntakeOptions, Platform};
use osmith_report::{Class, Failure, Silent};
use osmith_testing::oracle;
use osmith_testing::registry::Registry;

use super::images::{STEP, client, platform, reference, run, sample, store};

/// Puts an image of ours into a registry, with skopeo.
fn pushed_by_skopeo(registry: &Registry, codec: Codec) -> Option<osmith_image::store::Image> {
    let skopeo = oracle::require("skopeo")?;
    let (_directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let work = tempfile::tempdir().unwrap();
    let layout = work.path().join("layout");
    let options = SaveOptions {
        format: LayoutFormat::Directory,
        encoding: Encoding::of(codec),
        name: None,
    };
    save(&image, &store, &layout, &options, &Silent, STEP).unwrap();
    run(Command::new(skopeo).args([
        "--insecure-policy".as_ref(),
        "copy".as_ref(),
        "--dest-tls-verify=false".as_ref(),
        std::ffi::OsStr::new(&format!("oci:{}", layout.display())),
        format!("docker://{}/shop/sample:1", registry.address()).as_ref(),
    ]));
    Some(image)
}

#[test]
fn what_skopeo_pushes_is_pulled() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let Some(registry) = Registry::start() else { return };
        let Some(image) = pushed_by_skopeo(&registry, codec) else {
            return;
        };
        let client = client();
        let name = reference(&format!("{}/shop/sample:1", registry.address()));
        let resolved = resolve(&client, &name, &platform(), &Silent).unwrap();
        assert_eq!(resolved.manifest().config.digest, image.id());
        assert_eq!(resolved.digest, resolved.manifest_digest);

        let (_directory, store) = store();
        let pulled = pull(&client, &resolved, &store, &PullOptions::default(), &Silent, STEP).unwrap();
        assert_eq!(pulled.names, std::slice::from_ref(&name));
        assert_eq!(
            (pulled.image.id(), pulled.image.manifest_digest),
            (image.id(), resolved.manifest_digest)
        );
        assert_eq!(pulled.transferred.layers_fetched, 1);
        assert_eq!(pulled.transferred.written_bytes, 3_070_000);
        assert_eq!(store.image(&name).unwrap(), pulled.image);
        assert_eq!(store.verify(&Silent, STEP).unwrap(), []);

        // Again, by digest: nothing is fetched.
        let pinned = resolve(&client, &resolved.pinned(), &platform(), &Silent).unwrap();
        let again = pull(&client, &pinned, &store, &PullOptions::default(), &Silent, STEP).unwrap();
        assert_eq!(again.image, pulled.image);
        assert_eq!(
            (again.transferred.fetched_bytes, again.transferred.layers_reused),
            (0, 1)
        );
        assert_eq!(again.transferred.present_bytes, 3_070_000);
    }
}

#[test]
fn a_machine_keeps_no_blobs_and_restores_what_is_missing() {
    let Some(registry) = Registry::start() else { return };
    let Some(image) = pushed_by_skopeo(&registry, Codec::Gzip) else {
        return;
    };
    let client = client();
    let name = reference(&format!("{}/shop/sample:1", registry.address()));
    let resolved = resolve(&client, &name, &platform(), &Silent).unwrap();
    let (directory, store) = store();
    let mut options = PullOptions {
        names: Some(vec![reference("localhost/os:current")]),
        intake: IntakeOptions {
            keep_blobs: false,
            ..IntakeOptions::default()
        },
    };
    let pulled = pull(&client, &resolved, &store, &options, &Silent, STEP).unwrap();
    let blob = resolved.manifest().layers[0].digest.hex();
    assert!(!directory.path().join("blobs/sha256").join(blob).exists());

    let tree = pulled.image.tree(&store).unwrap();
    assert_eq!(tree.walk().len(), 8);
    std::fs::remove_dir_all(directory.path().join("objects")).unwrap();
    let reused = pull(&client, &resolved, &store, &options, &Silent, STEP).unwrap();
    assert_eq!(reused.transferred.layers_reused, 1);
    assert!(!store.verify(&Silent, STEP).unwrap().is_empty());
    options.intake.reread = image.config.rootfs.diff_ids.iter().copied().collect();
    let restored = pull(&client, &resolved, &store, &options, &Silent, STEP).unwrap();
    assert_eq!(restored.transferred.written_bytes, 3_070_000);
    assert_eq!(store.verify(&Silent, STEP).unwrap(), []);
}

#[test]
fn what_is_not_there_is_said_so() {
    let Some(registry) = Registry::start() else { return };
    let Some(_) = pushed_by_skopeo(&registry, Codec::Gzip) else {
        return;
    };
    let address = registry.address().to_owned();
    let client = client();
    let error = |name: &str, platform: &Platform| {
        let name = reference(&format!("{address}/{name}"));
        resolve(&client, &name, platform, &Silent).unwrap_err()
    };
    for name in ["shop/sample:2", "shop/other"] {
        let error = error(name, &platform());
        assert!(matches!(error, RegistryError::UnknownImage { .. }), "{error:?}");
        assert_eq!(error.class(), Class::NotFound);
    }
    let error = error("shop/sample:1", &Platform::new("linux", "arm64"));
    assert_eq!(
        error.to_string(),
        "the image is not for linux/arm64, but for linux/amd64"
    );
    drop(registry);
    let name = reference(&format!("{address}/shop/sample:1"));
    let error = resolve(&super::images::client(), &name, &platform(), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Connect { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Network);
    let short = resolve(&client, &reference("sample"), &platform(), &Silent).unwrap_err();
    assert!(matches!(
        short,
        RegistryError::Configuration(ConfigurationError::NoRegistry(_))
    ));
}
