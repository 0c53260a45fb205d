//! Images that others fetch.

use std::process::Command;

use osmith_image::compression::Codec;
use osmith_image::layout::{LoadOptions, load};
use osmith_image::registry::{Client, Endpoint, PullOptions, PushOptions, Sent, pull, push, resolve};
use osmith_image::store::{Encoding, Image, Store};
use osmith_image::{Descriptor, IntakeOptions, media_type};
use osmith_report::Silent;
use osmith_testing::oracle;
use osmith_testing::registry::Registry;

use super::images::{STEP, client, platform, reference, run, sample, store};

pub(crate) fn push_options(codec: Codec) -> PushOptions {
    PushOptions {
        encoding: Encoding::of(codec),
    }
}

fn pushed(client: &Client, image: &Image, store: &Store, name: &str, codec: Codec) -> Sent {
    push(
        client,
        image,
        store,
        &reference(name),
        &push_options(codec),
        &Silent,
        STEP,
    )
    .unwrap()
    .sent
}

#[test]
fn skopeo_copies_what_is_pushed() {
    let Some(skopeo) = oracle::require("skopeo") else {
        return;
    };
    for codec in [Codec::Gzip, Codec::Zstd] {
        let Some(registry) = Registry::start() else { return };
        let (_directory, store) = store();
        let image = sample(&store, "localhost/sample:1", 1);
        let name = format!("{}/shop/sample:1", registry.address());
        let sent = pushed(&client(), &image, &store, &name, codec);
        assert_eq!(
            (sent.blobs_sent, sent.blobs_present, sent.blobs_mounted),
            (2, 0, 0)
        );

        let work = tempfile::tempdir().unwrap();
        let layout = work.path().join("layout");
        run(Command::new(&skopeo)
            .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
            .arg(format!("docker://{name}"))
            .arg(format!("oci:{}", layout.display())));
        let (_other_directory, other) = super::images::store();
        let options = LoadOptions {
            select: None,
            platform: platform(),
            names: None,
            intake: IntakeOptions::default(),
        };
        let loaded = load(&layout, &other, &options, &Silent, STEP).unwrap();
        assert_eq!(loaded[0].image.id(), image.id());
        assert_eq!(
            loaded[0].image.tree(&other).unwrap().walk().len(),
            image.tree(&store).unwrap().walk().len()
        );
        let expected = match codec {
            Codec::Gzip => media_type::LAYER_GZIP,
            _ => media_type::LAYER_ZSTD,
        };
        assert_eq!(loaded[0].image.manifest.layers[0].media_type, expected);
        let manifest = &loaded[0].image.manifest;
        assert_eq!(
            manifest.layers[0].size_bytes + manifest.config.size_bytes,
            sent.sent_bytes
        );
        // Pushed as it came, it is the same image.
        let again = format!("{}/copy/sample:1", registry.address());
        let manifest = loaded[0].image.manifest_digest;
        let options = push_options(Codec::Zstd);
        let copied = push(
            &client(),
            &loaded[0].image,
            &other,
            &reference(&again),
            &options,
            &Silent,
            STEP,
        )
        .unwrap();
        assert_eq!(copied.digest, manifest);
        assert_eq!(
            resolve(&client(), &reference(&again), &platform(), &Silent)
                .unwrap()
                .digest,
            manifest
        );
    }
}

#[test]
fn podman_runs_on_what_is_pushed() {
    let Some(podman) = oracle::require("podman") else {
        return;
    };
    let Some(registry) = Registry::start() else { return };
    let (_directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let name = format!("{}/shop/sample:1", registry.address());
    pushed(&client(), &image, &store, &name, Codec::Zstd);
    let work = tempfile::tempdir().unwrap();
    let podman = |arguments: &[&str]| {
        let mut command = Command::new(&podman);
        command
            .args(["--storage-driver=vfs", "--root"])
            .arg(work.path().join("root"))
            .arg("--runroot")
            .arg(work.path().join("run"))
            .args(arguments);
        run(&mut command)
    };
    let id = podman(&["pull", "-q", "--tls-verify=false", &name]);
    assert_eq!(format!("sha256:{}", id.trim()), image.id().to_string());
    // What podman sends is ours again.
    let back = format!("{}/back/sample:1", registry.address());
    podman(&["push", "-q", "--tls-verify=false", &name, &back]);
    let client = client();
    let resolved = resolve(&client, &reference(&back), &platform(), &Silent).unwrap();
    let (_other_directory, other) = super::images::store();
    let pulled = pull(&client, &resolved, &other, &PullOptions::default(), &Silent, STEP).unwrap();
    assert_eq!(pulled.image.config.rootfs.diff_ids, image.config.rootfs.diff_ids);
    podman(&["rmi", "--all", "--force"]);
}

#[test]
fn what_is_there_is_not_sent_and_what_is_elsewhere_is_asked_for() {
    let Some(registry) = Registry::start() else { return };
    let (directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let name = |repository: &str| format!("{}/{repository}:1", registry.address());
    let client = client();
    let first = pushed(&client, &image, &store, &name("one"), Codec::Zstd);
    let counts = |sent: Sent| (sent.blobs_sent, sent.blobs_present, sent.blobs_mounted);
    assert_eq!(counts(first), (2, 0, 0));
    let again = pushed(&client, &image, &store, &name("one"), Codec::Zstd);
    assert_eq!((counts(again), again.sent_bytes), ((0, 2, 0), 0));
    let elsewhere = pushed(&client, &image, &store, &name("shop/two"), Codec::Zstd);
    assert_eq!(counts(elsewhere), (1, 0, 1));
    assert!(elsewhere.sent_bytes < 1000);

    // Without its blob, the layer is asked for by the digest it had; in another place it is made anew, the same.
    let blob = |image: &Descriptor| directory.path().join("blobs/sha256").join(image.digest.hex());
    let resolved = resolve(&client, &reference(&name("one")), &platform(), &Silent).unwrap();
    std::fs::remove_file(blob(&resolved.manifest().layers[0])).unwrap();
    assert_eq!(
        counts(pushed(&client, &image, &store, &name("one"), Codec::Zstd)),
        (0, 2, 0)
    );
    assert_eq!(
        counts(pushed(&client, &image, &store, &name("three"), Codec::Zstd)),
        (2, 0, 0)
    );
    let third = resolve(&client, &reference(&name("three")), &platform(), &Silent).unwrap();
    assert_eq!(third.digest, resolved.digest);
    assert!(blob(&resolved.manifest().layers[0]).exists());
}

#[test]
fn the_blob_of_a_pull_is_known_to_be_there() {
    let Some(registry) = Registry::start() else { return };
    let (_directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    let name = |repository: &str| format!("{}/{repository}:1", registry.address());
    pushed(&client(), &image, &store, &name("one"), Codec::Gzip);
    let client = client();
    let (_other_directory, other) = super::images::store();
    let resolved = resolve(&client, &reference(&name("one")), &platform(), &Silent).unwrap();
    let pulled = pull(&client, &resolved, &other, &PullOptions::default(), &Silent, STEP).unwrap();
    let sent = pushed(&client, &pulled.image, &other, &name("two"), Codec::Zstd);
    assert_eq!((sent.blobs_mounted, sent.blobs_sent), (1, 1));
}

#[test]
fn an_index_is_copied_whole_or_for_one_kind_of_machine() {
    let Some((from, to)) = Registry::start().zip(Registry::start()) else {
        return;
    };
    let Some(skopeo) = oracle::require("skopeo") else {
        return;
    };
    // Two images, and an index of them, put there by hand.
    let (_directory, store) = store();
    let client = client();
    let name = |registry: &Registry, rest: &str| format!("{}/shop/os{rest}", registry.address());
    let manifests = ["amd64", "arm64"].map(|architecture| {
        let image = sample(
            &store,
            &format!("localhost/{architecture}"),
            architecture.len() as u32 * 3 + u32::from(architecture.as_bytes()[1]),
        );
        let tag = name(&from, &format!(":{architecture}"));
        push(
            &client,
            &image,
            &store,
            &reference(&tag),
            &push_options(Codec::Gzip),
            &Silent,
            STEP,
        )
        .unwrap();
        let raw = run(Command::new(&skopeo)
            .args(["inspect", "--raw", "--tls-verify=false"])
            .arg(format!("docker://{tag}")));
        let mut descriptor = Descriptor::of(media_type::MANIFEST, raw.as_bytes());
        descriptor.platform = Some(osmith_image::Platform::new("linux", architecture));
        descriptor
    });
    let index = osmith_image::Index::new(manifests.to_vec()).to_bytes();
    put_index(&name(&from, ":1"), &index);

    let copied = |tag: &str, platform: Option<&osmith_image::Platform>| {
        let (from_name, to_name) = (reference(&name(&from, ":1")), reference(&name(&to, tag)));
        let endpoint = |name| Endpoint {
            client: &client,
            name,
        };
        osmith_image::registry::copy(endpoint(&from_name), endpoint(&to_name), platform, &Silent, STEP)
            .unwrap()
    };
    let one = copied(":one", Some(&osmith_image::Platform::new("linux", "arm64")));
    assert_eq!((one.digest, one.sent.blobs_sent), (manifests[1].digest, 2));
    let all = copied(":all", None);
    assert_eq!(all.digest, osmith_image::Sha256Digest::of(&index));
    assert_eq!((all.sent.blobs_sent, all.sent.blobs_present), (2, 2));
    for (platform, expected) in [("amd64", &manifests[0]), ("arm64", &manifests[1])] {
        let wanted = osmith_image::Platform::new("linux", platform);
        // Both say amd64 in their configuration.
        let found = resolve(&client, &reference(&name(&to, ":all")), &wanted, &Silent);
        match platform {
            "amd64" => assert_eq!(found.unwrap().manifest_digest, expected.digest),
            _ => assert!(found.unwrap_err().to_string().contains("for linux/amd64")),
        }
    }
    run(Command::new(&skopeo)
        .args(["inspect", "--tls-verify=false"])
        .arg(format!("docker://{}", name(&to, ":all"))));
    // Within a registry nothing is sent.
    let (from_name, to_name) = (
        reference(&name(&to, ":all")),
        reference(&format!("{}/other:1", to.address())),
    );
    let endpoint = |name| Endpoint {
        client: &client,
        name,
    };
    let mounted =
        osmith_image::registry::copy(endpoint(&from_name), endpoint(&to_name), None, &Silent, STEP).unwrap();
    assert_eq!((mounted.sent.blobs_mounted, mounted.sent.sent_bytes), (4, 0));
}

fn put_index(name: &str, index: &[u8]) {
    use std::io::{Read as _, Write as _};
    let (host, rest) = name.split_once('/').unwrap();
    let (path, tag) = rest.split_once(':').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let head = format!(
        "PUT /v2/{path}/manifests/{tag} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {}\r\n\
         Content-Length: {}\r\n\r\n",
        media_type::INDEX,
        index.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(index).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
