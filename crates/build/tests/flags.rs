//! Flags of COPY and FROM, and what only Docker's format keeps. No command is run.
#![allow(missing_docs)]

mod site;

use osmith_build::plan::ImageFormat;
use osmith_report::Silent;
use site::{Site, build, told};

#[test]
fn parents_are_kept_from_the_root_or_the_pivot_on() {
    let site = Site::new(&[("a/b/c", "C"), ("a/b/d/e", "E"), ("a/x", "X")]);
    let built = site.build(
        "FROM scratch\nCOPY --parents a/b/c /one/\nCOPY --parents a/./b/d /two\nCOPY --parents a/*/c a/x /three/\n\
         COPY --parents=false a/x /four/\n",
    );
    insta::assert_snapshot!(site.listing(&built));
    let built = site
        .build("FROM scratch AS one\nCOPY a /s/a\nFROM scratch\nCOPY --from=one --parents /s/./a/b/c /\n");
    assert!(site.listing(&built).contains("a/b/c \"C\""));
}

#[test]
fn a_linked_layer_does_not_depend_on_what_is_below() {
    let site = Site::new(&[("a", "A"), ("b", "B")]);
    let layers = |base: &str| {
        let built = site.build(&format!(
            "FROM scratch\n{base}COPY --link --chown=3:4 a b /srv/www/\n"
        ));
        let layers = built.image.layers(&site.store).unwrap();
        (*layers.last().unwrap(), site.listing(&built))
    };
    let (first, _) = layers("COPY a /x\n");
    let (second, _) = layers("COPY b /y\n");
    assert_eq!(first, second);
    // A directory that is there keeps its owner and mode; a link is replaced, not followed.
    let (_, listing) = layers("COPY --chmod=700 --chown=9 a /srv/\n");
    assert!(
        listing.contains("0755 9:9 srv/") && listing.contains("0644 3:4 srv/www/a"),
        "{listing}"
    );
    std::os::unix::fs::symlink("/elsewhere", site.context.join("link")).unwrap();
    let built =
        site.build("FROM scratch AS s\nCOPY . /\nFROM scratch\nCOPY --from=s / /\nCOPY --link a /link/\n");
    assert!(
        site.listing(&built).contains("link/a \"A\""),
        "{}",
        site.listing(&built)
    );
    let history = built.image.config.history.last().unwrap();
    assert!(
        history.created_by.as_ref().unwrap().contains("COPY --link file:"),
        "{history:?}"
    );
}

#[test]
fn directories_before_a_linked_copy_have_a_layer_of_their_own() {
    let site = Site::new(&[("a", "A")]);
    let built = site.build("FROM scratch\nWORKDIR /w\nCOPY --link a /b/\nCOPY a .\n");
    let layered: Vec<bool> = built
        .image
        .config
        .history
        .iter()
        .map(|entry| !entry.empty_layer)
        .collect();
    assert_eq!(layered, [true, true, true]);
    assert!(site.listing(&built).contains("w/a \"A\""));
}

#[test]
fn archives_are_extracted_unless_told_otherwise() {
    let site = Site::new(&[("tree/f", "F")]);
    let archive = std::process::Command::new("tar")
        .args(["-C", "tree", "-czf", "t.tgz", "f"])
        .current_dir(&site.context)
        .status();
    assert!(archive.unwrap().success());
    let built = site.build(
        "FROM scratch\nADD t.tgz /in/\nADD --unpack=false t.tgz /out/\nADD --unpack=true t.tgz /again/\n",
    );
    let listing = site.listing(&built);
    for path in ["in/f", "out/t.tgz", "again/f"] {
        assert!(listing.contains(&format!(" {path} ")), "{listing}");
    }
}

#[test]
fn platforms_of_stages() {
    let site = Site::new(&[]);
    let mut request = site.request("FROM --platform=linux/arm64 scratch\nENV a=b\n");
    request.tags = vec!["localhost/arm".parse().unwrap()];
    let built = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(built.image.config.architecture, "arm64");
    site.build("FROM --platform=$TARGETPLATFORM scratch\nENV a=b\n");
    insta::assert_snapshot!(site.fails("FROM --platform=linux/amd64 localhost/arm\n"));
    insta::assert_snapshot!(site.fails("FROM --platform=linux/a/b/c scratch\n"));
    insta::assert_snapshot!(site.fails("FROM scratch AS one\nFROM --after=later scratch\n"));
    site.build("FROM scratch AS one\nFROM --after=one scratch\nENV a=b\n");
}

#[test]
fn triggers_of_a_base_run_first_and_once() {
    let site = Site::new(&[("a", "A")]);
    let mut request = site.request(
        "FROM scratch\nONBUILD COPY a /t/\nONBUILD ENV late=$who\nONBUILD ARG x=1\nENV who=base\n\
         HEALTHCHECK --interval=1m30s --timeout=5s --retries=3 CMD curl -f http://localhost/\nSHELL [\"/bin/ash\", \"-c\"]\n",
    );
    request.tags = vec!["localhost/parent".parse().unwrap()];
    request.format = ImageFormat::Docker;
    let parent = build(&site.store, &request, &Silent).unwrap();
    let config = serde_json::to_value(&parent.image.config.config).unwrap();
    assert_eq!(config["OnBuild"][0], "COPY a /t/");
    assert_eq!(config["Healthcheck"]["Interval"], 90_000_000_000_u64);
    assert_eq!(config["Healthcheck"]["Test"][0], "CMD-SHELL");
    assert_eq!(config["Shell"][0], "/bin/ash");
    let child = site.build("FROM localhost/parent\nENV own=1\n");
    assert!(site.listing(&child).contains("t/a \"A\""));
    let config = serde_json::to_value(&child.image.config.config).unwrap();
    assert!(config.get("OnBuild").is_none(), "{config}");
    assert!(child.image.config.config.env.contains(&"late=base".to_owned()));
    site.write("a", "changed");
    std::fs::remove_file(site.context.join("a")).unwrap();
    insta::assert_snapshot!(site.fails("FROM localhost/parent\n"));
}

#[test]
fn what_is_wrong_with_flags_is_said() {
    let site = Site::new(&[("a", "A")]);
    insta::assert_snapshot!(site.fails(
        "FROM scratch\nHEALTHCHECK --interval=fast CMD x\nHEALTHCHECK --retries=-1 CMD x\nHEALTHCHECK --timeout=1us CMD x\n\
         ADD --checksum=sha256:12 https://x/y /\nADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef a /\n\
         ADD --keep-git-dir a /\nCOPY https://x/y /\nRUN --security=insecure x\nRUN --device=/dev/kvm x\n"
    ));
    let mut request = site.request("FROM directory\n");
    request.contexts = [(
        "directory".to_owned(),
        osmith_build::ExtraContext::Directory(site.context.clone()),
    )]
    .into();
    insta::assert_snapshot!(told(&build(&site.store, &request, &Silent).unwrap_err()));
}

#[test]
fn everything_in_one_layer() {
    let site = Site::new(&[("a", "A"), ("b", "B")]);
    let mut request = site.request("FROM scratch\nCOPY a /x/\nCOPY b /y/\n");
    request.tags = vec!["localhost/base".parse().unwrap()];
    build(&site.store, &request, &Silent).unwrap();
    let mut request = site.request("FROM localhost/base\nENV e=1\nCOPY a /z/\nCOPY b /z/\n");
    request.squash = osmith_build::Squash::All;
    let built = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(built.image.layers(&site.store).unwrap().len(), 1);
    let history = &built.image.config.history;
    assert_eq!((history.len(), history[0].empty_layer), (1, false));
    assert_eq!(
        site.listing(&built),
        site.listing(&site.build("FROM localhost/base\nENV e=1\nCOPY a /z/\nCOPY b /z/\n"))
    );
}

#[test]
fn no_new_file_is_newer_than_the_epoch() {
    let site = Site::new(&[("old", "O"), ("new", "N")]);
    let at = |seconds| std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let touch = |name: &str, seconds| {
        let file = std::fs::File::options()
            .write(true)
            .open(site.context.join(name))
            .unwrap();
        file.set_modified(at(seconds)).unwrap();
    };
    touch("old", 1000);
    touch("new", 2000);
    let times = |clamps_files| {
        let mut request = site.request("FROM scratch\nCOPY . /\n");
        request.times = osmith_build::Times::Epoch {
            seconds: 1500,
            clamps_files,
        };
        let built = build(&site.store, &request, &Silent).unwrap();
        let tree = site.tree(&built);
        let mtime = |path: &[u8]| tree.inode(tree.lookup(path).unwrap()).metadata.mtime.seconds;
        (built.image.config.created, mtime(b"old"), mtime(b"new"))
    };
    let created = Some("1970-01-01T00:25:00Z".to_owned());
    assert_eq!(times(true), (created.clone(), 1000, 1500));
    assert_eq!(times(false), (created, 1000, 2000));
}

#[test]
fn labels_and_annotations_of_the_request() {
    let site = Site::new(&[]);
    let mut request = site.request("FROM scratch\nLABEL a=1 b=2\n");
    request.labels = [("b".to_owned(), "3".to_owned())].into();
    request.annotations = [("note".to_owned(), "n".to_owned())].into();
    let built = build(&site.store, &request, &Silent).unwrap();
    assert_eq!(built.image.config.config.labels["b"], "3");
    assert_eq!(built.image.manifest.annotations["note"], "n");
    let child = site.build("FROM localhost/test\n");
    assert_eq!(child.image.manifest.annotations["note"], "n");
    let mut request = site.request("FROM localhost/test\n");
    request.inherits_annotations = false;
    let child = build(&site.store, &request, &Silent).unwrap();
    assert!(!child.image.manifest.annotations.contains_key("note"));
}
