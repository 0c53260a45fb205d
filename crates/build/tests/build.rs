//! Builds from beginning to end, without RUN: what the image is, what the cache does, what is said when it fails.

mod site;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use osmith_build::{BuiltImage, Request};
use osmith_image::compression::Codec;
use osmith_image::layout::{LayoutFormat, SaveOptions, save};
use osmith_image::store::Encoding;
use osmith_report::{Event, Observer, Outcome, Silent, StepId};
use site::{Site, build, told};

/// Remembers how steps ended.
#[derive(Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl Observer for Outcomes {
    fn observe(&self, event: Event) {
        if let Event::Finished { outcome, .. } = event {
            self.0.lock().unwrap().push(outcome);
        }
    }
}

fn outcomes(site: &Site, request: &Request) -> (BuiltImage, Vec<Outcome>) {
    let observer = Outcomes::default();
    let built = build(&site.store, request, &observer).unwrap();
    (built, observer.0.into_inner().unwrap())
}

fn cached(outcomes: &[Outcome]) -> usize {
    outcomes
        .iter()
        .filter(|outcome| **outcome == Outcome::Cached)
        .count()
}

#[test]
fn an_image_from_scratch() {
    let site = Site::new(&[("a", "A"), ("dir/b", "B"), ("dir/sub/c", "C")]);
    let built = site.build(
        "ARG BASE=scratch\nFROM $BASE\nARG version=1\nENV v=$version path=/x$v q=\"a b\"\nWORKDIR /srv\nWORKDIR app\n\
         COPY --chown=5:6 a ./\nCOPY dir /data\nCOPY --chmod=600 <<note.txt /data/\nvalue $v\nnote.txt\n\
         LABEL l=\"x y\"\nEXPOSE 80 443/udp\nVOLUME /data /vol\nUSER 7\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/bash\", \"-c\"]\n\
         CMD run it\nENTRYPOINT [\"/init\"]\nMAINTAINER somebody\nWORKDIR /late\n",
    );
    insta::assert_snapshot!(site.listing(&built));
    let mut config = built.image.config.clone();
    config.rootfs.diff_ids.clear();
    let text = serde_json::to_string_pretty(&config).unwrap();
    insta::assert_snapshot!(text);
    let layers = built
        .image
        .config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .count();
    assert_eq!(layers, built.image.manifest.layers.len());
}

#[test]
fn a_second_build_is_cached_and_gives_the_same_image() {
    let site = Site::new(&[("a", "A"), ("b", "B")]);
    let file = "FROM scratch AS one\nCOPY a /\nFROM one\nCOPY b /\nCOPY --from=one /a /c\nWORKDIR /w\n";
    let mut request = site.request(file);
    let (first, done) = outcomes(&site, &request);
    assert_eq!(cached(&done), 0);
    request.created += 100;
    let (second, done) = outcomes(&site, &request);
    assert_eq!(cached(&done), 3);
    assert_eq!(first.image, second.image);
    // The same content at another time is the same; other content is not, nor is what comes after it.
    site.write("b", "B");
    assert_eq!(cached(&outcomes(&site, &request).1), 3);
    site.write("b", "other");
    let (third, done) = outcomes(&site, &request);
    assert_eq!(cached(&done), 1);
    assert_ne!(third.image.id(), second.image.id());
    request.no_cache = true;
    assert_eq!(cached(&outcomes(&site, &request).1), 0);
}

#[test]
fn a_label_does_not_spoil_the_cache_but_a_mode_does() {
    let site = Site::new(&[("a", "A")]);
    site.build("FROM scratch\nCOPY a /\n");
    let (_, done) = outcomes(&site, &site.request("FROM scratch\nLABEL x=y\nCOPY a /\n"));
    assert_eq!(cached(&done), 1);
    let mut permissions = std::fs::metadata(site.context.join("a")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(site.context.join("a"), permissions).unwrap();
    assert_eq!(
        cached(&outcomes(&site, &site.request("FROM scratch\nCOPY a /\n")).1),
        0
    );
}

#[test]
fn stages_and_images_as_sources() {
    let site = Site::new(&[("a", "A"), ("b", "B")]);
    let base = site.build("FROM scratch\nCOPY --chown=3:4 a b /base/\n");
    let second = site.build(
        "FROM localhost/test AS first\nCOPY a /first\nFROM scratch AS unused\nCOPY missing /\n\
         FROM scratch\nCOPY --from=first / /all\nCOPY --from=localhost/test /base/b* /\nCOPY --from=0 /first /by-number\n",
    );
    insta::assert_snapshot!(site.listing(&second));
    assert_eq!(base.image.manifest.layers.len(), 1);
}

#[test]
fn squash_makes_one_layer_of_the_new_ones() {
    let site = Site::new(&[("a", "A"), ("b", "B")]);
    site.build("FROM scratch\nCOPY a /base\n");
    let mut request = site.request("FROM localhost/test\nCOPY a /x\nCOPY b /x\nCOPY b /base\nWORKDIR /w\n");
    let plain = build(&site.store, &request, &Silent).unwrap();
    request.squash = osmith_build::Squash::New;
    request.tags = vec!["localhost/squashed".parse().unwrap()];
    request.containerfile.bytes =
        [b"FROM localhost/test\n", &b"COPY b /y\nCOPY a /y\nLABEL z=1"[..]].concat();
    let squashed = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(
        squashed.image.manifest.layers.len(),
        plain.image.manifest.layers.len() + 1
    );
    let before = plain.image.manifest.layers.len();
    assert_eq!(
        squashed.image.manifest.layers[..before],
        plain.image.manifest.layers[..]
    );
    insta::assert_snapshot!(site.listing(&squashed));
    let filled: Vec<_> = squashed
        .image
        .config
        .history
        .iter()
        .filter(|entry| !entry.empty_layer)
        .collect();
    assert_eq!(filled.len(), squashed.image.manifest.layers.len());
}

#[test]
fn only_what_the_target_needs_is_built() {
    let site = Site::new(&[("a", "A")]);
    let mut request = site.request("FROM scratch AS base\nCOPY a /\nFROM base AS broken\nCOPY missing /\n");
    request.target = Some("BASE".to_owned());
    let built = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(built.stage, "base");
    assert_eq!(site.listing(&built), "0644 0:0 a \"A\"\n");
}

#[test]
fn ignored_files_are_not_seen() {
    let site = Site::new(&[
        ("keep", "K"),
        ("drop.log", "D"),
        ("logs/a.log", "L"),
        ("logs/keep.log", "L"),
        ("node/x/y", "N"),
        (
            ".containerignore",
            "*.log\nlogs\n!logs/keep.log\nnode\n.containerignore\n",
        ),
    ]);
    let built = site.build("FROM scratch\nCOPY . /\n");
    insta::assert_snapshot!(site.listing(&built));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY drop.log /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY node /\n"));
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn observe(&self, event: Event) {
        if let Event::Message { text, .. } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[test]
fn what_is_not_kept_or_not_read_is_said() {
    let site = Site::new(&[("a", "A"), (".containerignore", "x\n"), (".dockerignore", "y\n")]);
    let said = |text: &str| {
        let warnings = Warnings::default();
        build(&site.store, &site.request(text), &warnings).unwrap();
        warnings.0.into_inner().unwrap()
    };
    let two_files = "'.containerignore' says what COPY and ADD leave out; '.dockerignore' is there as well and is not read";
    assert_eq!(said("FROM scratch\nCOPY a /\n"), [two_files]);
    std::fs::remove_file(site.context.join(".containerignore")).unwrap();
    let shell = "SHELL [\"/bin/bash\", \"-c\"]";
    let lost = said(&format!("FROM scratch\n{shell}\nCOPY a /\n"));
    assert!(
        lost.len() == 1 && lost[0].contains("SHELL is not kept in the image"),
        "{lost:?}"
    );
    // In a stage that is no image it is of no use to anybody afterwards.
    let stages = format!("FROM scratch AS one\n{shell}\nCOPY a /\nFROM scratch\nCOPY --from=one a /\n");
    assert_eq!(said(&stages), [""; 0]);
}

#[test]
fn build_arguments_and_automatic_variables() {
    let site = Site::new(&[]);
    let mut request = site.request(
        "FROM scratch\nARG who=nobody\nARG TARGETARCH\nENV greeting=\"hello $who on $TARGETARCH\" os=$TARGETOS\n",
    );
    request.build_args.insert("who".to_owned(), "world".to_owned());
    request.build_args.insert("extra".to_owned(), "1".to_owned());
    let built = build(&site.store, &request, &Silent).unwrap();
    let env = &built.image.config.config.env;
    assert!(
        env.contains(&"greeting=hello world on amd64".to_owned()),
        "{env:?}"
    );
    assert!(env.contains(&"os=".to_owned()));
}

#[test]
fn a_timestamp_is_everywhere() {
    let site = Site::new(&[("a", "A")]);
    let mut request = site.request("FROM scratch\nCOPY a /d/\n");
    request.times = osmith_build::Times::All(86_400);
    let built = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(
        built.image.config.created.as_deref(),
        Some("1970-01-02T00:00:00Z")
    );
    let tree = site.tree(&built);
    for path in ["d", "d/a"] {
        let inode = tree.inode(tree.lookup(path.as_bytes()).unwrap());
        assert_eq!(inode.metadata.mtime.seconds, 86_400, "{path}");
    }
}

#[test]
fn what_is_wrong_in_the_containerfile() {
    let site = Site::new(&[("a", "A")]);
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPPY a /\nRUM x\n"));
    insta::assert_snapshot!(site.fails("FROM scratch AS base\nFROM localhost/none\n"));
    insta::assert_snapshot!(site.fails(
        "FROM scratch\nHEALTHCHECK NONE\nONBUILD RUN x\nRUN --mount=type=cache,target=/x y\nADD https://x/y /\n\
         COPY --link a /\nCOPY --from=later a /\nSTOPSIGNAL SIGTREM\nEXPOSE 99999\nENV x=\"${y:?is needed}\"\n"
    ));
    let mut request = site.request("FROM scratch\nCOPY --from=later a /\nFROM scratch AS later\n");
    request.target = Some("0".to_owned());
    insta::assert_snapshot!(told(&build(&site.store, &request, &Silent).unwrap_err()));
    let mut request = site.request("FROM scratch AS build\nFROM scratch AS test\n");
    request.target = Some("tets".to_owned());
    insta::assert_snapshot!(told(&build(&site.store, &request, &Silent).unwrap_err()));
}

#[test]
fn what_cannot_be_copied() {
    let site = Site::new(&[("a", "A"), ("dir/b", "B")]);
    insta::assert_snapshot!(site.fails("FROM scratch\n\nCOPY missing /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY *.none /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY ../a /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY --chown=nobody a /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY --chmod=9 a /\n"));
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY a /a\nCOPY dir /a\n"));
    std::os::unix::fs::symlink("/etc/passwd", site.context.join("out")).unwrap();
    insta::assert_snapshot!(site.fails("FROM scratch\nCOPY out /\n"));
}

#[test]
fn a_context_that_is_missing() {
    let site = Site::new(&[]);
    let mut request = site.request("FROM scratch\n");
    request.context = Path::new("does/not/exist").to_owned();
    insta::assert_snapshot!(told(&build(&site.store, &request, &Silent).unwrap_err()));
}

#[test]
fn bases_in_layouts() {
    let site = Site::new(&[("a", "A")]);
    let base = site.build("FROM scratch\nCOPY a /base\n");
    let layout = site.context.join("layout");
    let archive = site.context.join("archive");
    for (path, format) in [
        (&layout, LayoutFormat::Directory),
        (&archive, LayoutFormat::Archive),
    ] {
        let options = SaveOptions {
            format,
            encoding: Encoding::of(Codec::Zstd),
            name: None,
        };
        save(&base.image, &site.store, path, &options, &Silent, StepId(0)).unwrap();
    }
    let other = Site::new(&[("b", "B")]);
    let text = format!(
        "FROM oci:{}\nCOPY b /\nCOPY --from=oci-archive:{} /base /copy\n",
        layout.display(),
        archive.display()
    );
    let built = other.build(&text);
    assert_eq!(
        other.listing(&built),
        "0644 0:0 b \"B\"\n0644 0:0 base \"A\"\n0644 0:0 copy \"A\"\n"
    );
    assert!(
        other
            .fails("FROM oci:does/not/exist\n")
            .starts_with("Input: Containerfile:1:6: ")
    );
}

#[test]
fn what_an_image_is_not_to_say() {
    let site = Site::new(&[("a.txt", "a")]);
    let mut base = site.request("FROM scratch\nLABEL kept=1 gone=2\nCOPY a.txt /\nCOPY a.txt /b\n");
    base.tags = vec!["localhost/base".parse().unwrap()];
    base.annotations.insert("of.base".to_owned(), "x".to_owned());
    base.omits_history = true;
    let base = build(&site.store, &base, &Silent).unwrap().image;
    assert_eq!((base.config.history.len(), base.manifest.layers.len()), (0, 2));

    let mut request = site.request("FROM localhost/nothing\nLABEL gone=3 own=4\nCOPY a.txt /c\n");
    request.first_base = Some("localhost/base".to_owned());
    request.unset_labels = vec!["gone".to_owned()];
    request.unset_annotations = vec![
        "of.base".to_owned(),
        "org.opencontainers.image.created".to_owned(),
    ];
    let child = build(&site.store, &request, &Silent).unwrap().image;
    let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&child.config.config.labels), ["kept", "own"]);
    assert_eq!(
        names(&child.manifest.annotations),
        [
            "org.opencontainers.image.base.digest",
            "org.opencontainers.image.base.name"
        ]
    );
    // What the base does not say of its layers is said by nobody.
    let history = child.config.history.iter();
    let said: Vec<_> = history
        .map(|entry| (entry.created_by.is_some(), entry.empty_layer))
        .collect();
    assert_eq!(
        said,
        [(false, false), (false, false), (true, true), (true, false)]
    );
}
