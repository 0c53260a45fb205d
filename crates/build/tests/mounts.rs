//! `RUN --mount`, on a tree of busybox.
#![allow(missing_docs, clippy::print_stderr)]

mod site;

use std::os::unix::net::UnixListener;
use std::sync::Mutex;

use osmith_build::{ExtraContext, Request};
use osmith_report::{Event, Observer, Outcome};
use site::{Site, build, busybox_site, told};

osmith_testing::before_tests!(before_tests);

fn before_tests() -> Option<()> {
    if osmith_sys::sandbox::run_if_child().is_some() {
        return Some(());
    }
    // An ordinary user's tests that need it are left out.
    let _ = osmith_sys::mount::enter_namespace();
    None
}

#[derive(Default)]
struct Log(Mutex<(Vec<String>, usize)>);

impl Observer for Log {
    fn observe(&self, event: Event) {
        let mut log = self.0.lock().unwrap();
        match event {
            Event::Output { line, .. } => log.0.push(line),
            Event::Finished {
                outcome: Outcome::Cached,
                ..
            } => log.1 += 1,
            _ => {}
        }
    }
}

/// What the commands print, and how many steps were known.
fn run(site: &Site, request: &Request) -> (Vec<String>, usize) {
    let log = Log::default();
    if let Err(error) = build(&site.store, request, &log) {
        panic!("{}\n{:?}", told(&error), log.0.lock().unwrap().0);
    }
    log.0.into_inner().unwrap()
}

fn output(site: &Site, text: &str) -> Vec<String> {
    run(site, &site.request(text)).0
}

/// What an image has beside its base.
fn paths(site: &Site, text: &str) -> Vec<String> {
    let tree = site.tree(&site.build(text));
    let paths = tree
        .walk()
        .into_iter()
        .map(|(path, _)| String::from_utf8(path).unwrap());
    paths
        .filter(|path| !["", "bin", "etc", "tmp"].contains(&path.split('/').next().unwrap()))
        .collect()
}

#[test]
fn files_of_contexts_stages_and_images_are_shown_and_in_no_layer() {
    let Some(site) = busybox_site() else { return };
    site.write("src/a", "A\n");
    site.write("src/skipped", "S\n");
    site.write(".containerignore", "src/skipped\n");
    let text = "FROM localhost/base AS other\nRUN mkdir -p /made/deep && echo M > /made/deep/m\n\
                FROM localhost/base\nWORKDIR /w\n\
                RUN --mount=target=ctx --mount=type=bind,source=src/a,target=/one \
                --mount=from=other,source=/made,target=/made,rw --mount=from=localhost/base,source=/etc/passwd,dst=/p \
                cat ctx/src/a /one /made/deep/m && grep -c root /p && ls ctx/src && echo W > /made/w && cat /made/w && \
                ! echo no > ctx/no && ! echo no > /one\n";
    assert_eq!(
        output(&site, text),
        [
            "A",
            "A",
            "M",
            "1",
            "a",
            "W",
            "/bin/sh: can't create ctx/no: Read-only file system",
            "/bin/sh: can't create /one: Read-only file system"
        ]
    );
    assert_eq!(paths(&site, text), ["w"]);
}

#[test]
fn a_step_runs_again_when_a_file_that_it_was_shown_changes() {
    let Some(site) = busybox_site() else { return };
    site.write("used", "1\n");
    site.write("unused", "1\n");
    let request = site.request("FROM localhost/base\nRUN --mount=source=used,target=/used cp /used /copy\n");
    assert_eq!(run(&site, &request).1, 0);
    site.write("unused", "2\n");
    assert_eq!(run(&site, &request).1, 1);
    site.write("used", "2\n");
    assert_eq!(run(&site, &request).1, 0);
    assert!(
        site.listing(&site.build("FROM localhost/test\n"))
            .contains("copy \"2\\n\"")
    );
}

#[test]
fn caches_outlive_builds_and_are_in_no_layer() {
    let Some(site) = busybox_site() else { return };
    let mut request = site.request(
        "FROM localhost/base\nARG n\nUSER web\n\
         RUN --mount=type=cache,target=/cache,uid=33,gid=33,mode=0700 echo $n >> /cache/log; cat /cache/log; stat -c %a:%u /cache\n",
    );
    let mut lines = |n: &str| {
        request.build_args.insert("n".to_owned(), n.to_owned());
        run(&site, &request).0
    };
    assert_eq!(lines("1"), ["1", "700:33"]);
    assert_eq!(lines("2"), ["1", "2", "700:33"]);
    let listed = site.store.cache_mounts().unwrap();
    assert_eq!((listed.len(), listed[0].identity.id.as_str()), (1, "/cache"));
    let seeded = "FROM localhost/base\nRUN --mount=type=cache,id=s,target=/s,from=localhost/base,source=/etc,sharing=locked ls /s\n";
    assert_eq!(output(&site, seeded), ["group", "passwd"]);
    assert_eq!(paths(&site, seeded), [""; 0]);
}

#[test]
fn secrets_reach_nothing_but_the_command() {
    let Some(site) = busybox_site() else { return };
    let text = "FROM localhost/base\n\
                RUN --mount=type=secret,id=token cat /run/secrets/token | wc -c; stat -c %a /run/secrets/token\n\
                RUN --mount=type=secret,id=token,target=/t,mode=0444,uid=33 --mount=type=secret,id=token,env=TOKEN \
                stat -c %a:%u /t && test \"$TOKEN\" = \"$(cat /t)\"\n\
                RUN --mount=type=secret,id=other ls /run/secrets 2>/dev/null || echo none\n";
    let mut request = site.request(text);
    request
        .secrets
        .insert("token".to_owned(), b"xyzzy-secret".to_vec());
    assert_eq!(run(&site, &request).0, ["12", "400", "444:33", "none"]);
    let built = build(&site.store, &request, &osmith_report::Silent).unwrap();
    let config = String::from_utf8(built.image.config.to_bytes()).unwrap();
    assert!(
        !config.contains("xyzzy") && !site.listing(&built).contains("secrets"),
        "{config}"
    );
    // Another value is not another build: what it is for is elsewhere.
    request
        .secrets
        .insert("token".to_owned(), b"another-one!".to_vec());
    assert_eq!(run(&site, &request).1, 3);
    let needed = "FROM localhost/base\nRUN --mount=type=secret,id=token,required true\n";
    insta::assert_snapshot!(site.fails(needed));
    for entry in walk(site.store.path()) {
        let bytes = std::fs::read(&entry).unwrap_or_default();
        let found = bytes.windows(12).any(|window| window == b"xyzzy-secret");
        assert!(!found, "{}", entry.display());
    }
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(here) = pending.pop() {
        for entry in std::fs::read_dir(here).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => pending.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

#[test]
fn an_agent_is_reached_through_a_socket_of_the_right_owner() {
    let Some(site) = busybox_site() else { return };
    let socket = site.context.with_file_name("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let served = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let mut request = site.request(
        "FROM localhost/base\nUSER web\nRUN --mount=type=ssh,uid=33 stat -c %a:%u $SSH_AUTH_SOCK; \
         echo $SSH_AUTH_SOCK; test -S $SSH_AUTH_SOCK && echo socket\n",
    );
    request.agents.insert("default".to_owned(), socket);
    let lines = run(&site, &request).0;
    assert_eq!(lines, ["600:33", "/run/buildkit/ssh_agent.0", "socket"]);
    served.join().unwrap();
    let without = "FROM localhost/base\nRUN --mount=type=ssh echo \"<$SSH_AUTH_SOCK>\"\n";
    assert_eq!(output(&site, without), ["<>"]);
    insta::assert_snapshot!(site.fails("FROM localhost/base\nRUN --mount=type=ssh,required true\n"));
}

#[test]
fn memory_is_limited_and_forgotten() {
    let Some(site) = busybox_site() else { return };
    let text = "FROM localhost/base\nRUN --mount=type=tmpfs,target=/tmp,size=64k,tmpcopyup \
                ls /tmp; head -c 1000000 /dev/zero > /tmp/big || echo full; echo x > /tmp/x || true\n";
    let lines = output(&site, text);
    assert!(
        lines.contains(&"init".to_owned()) && lines.contains(&"full".to_owned()),
        "{lines:?}"
    );
    let tree = site.tree(&site.build(text));
    assert!(tree.lookup(b"tmp/big").is_none());
}

#[test]
fn named_contexts_come_before_stages_and_images() {
    let Some(site) = busybox_site() else { return };
    let other = site.context.with_file_name("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("f"), "other\n").unwrap();
    std::fs::write(other.join("left"), "out\n").unwrap();
    std::fs::write(other.join(".dockerignore"), "left\n").unwrap();
    let mut request = site.request(
        "FROM scratch AS named\nFROM alias\nCOPY --from=named . /copied/\nRUN --mount=from=named,target=/m cat /m/f && ls /copied\n",
    );
    request.contexts = [
        ("named".to_owned(), ExtraContext::Directory(other)),
        (
            "alias".to_owned(),
            ExtraContext::Image("localhost/base".to_owned()),
        ),
    ]
    .into();
    assert_eq!(run(&site, &request).0, ["other", "f"]);
}

#[test]
fn what_is_wrong_with_a_mount_is_said() {
    let Some(site) = busybox_site() else { return };
    let mount = |text: &str| format!("FROM localhost/base\nRUN --mount={text} true\n");
    for text in [
        "type=bnd,target=/x",
        "type=bind",
        "type=bind,target=/",
        "type=cache,target=/x,sharing=all",
        "type=cache,target=/x,source=/y",
        "type=tmpfs,target=/x,size=much",
        "type=secret",
        "type=secret,id=x,mode=999",
        "type=bind,target=/x,sorce=y",
        "type=bind,target=/x,from=nowhere",
        "type=bind,target=/x,ro=perhaps",
        "\"type=bind,target=/x",
        "target=/x,source=missing",
        "target=/x --mount=target=/x",
        "target=/etc/passwd",
    ] {
        insta::assert_snapshot!(site.fails(&mount(text)));
    }
}

#[test]
fn what_all_commands_have_in_common() {
    let Some(site) = busybox_site() else { return };
    let shown = site.context.with_file_name("shown");
    std::fs::create_dir(&shown).unwrap();
    std::fs::write(shown.join("f"), "seen\n").unwrap();
    let mut request = site.request(
        "FROM localhost/base\nENV kept=1 gone=2\nRUN cat /v/f; echo $http_proxy; ip link | grep -c '^[0-9]'; test -e /etc/resolv.conf || echo none\n",
    );
    let source = osmith_build::run::Source::Machine(shown);
    request.run.volumes = vec![osmith_build::run::Mount::new("/v", source)];
    request.run.network = false;
    request.run.proxies = vec![("http_proxy".to_owned(), "http://proxy:1".to_owned())];
    request.env = [
        ("new".to_owned(), "3".to_owned()),
        ("kept".to_owned(), "4".to_owned()),
    ]
    .into();
    request.unset_env = vec!["gone".to_owned()];
    let lines = run(&site, &request).0;
    assert_eq!(lines, ["seen", "http://proxy:1", "1", "none"]);
    let built = site.build("FROM localhost/test\n");
    let config = String::from_utf8(built.image.config.to_bytes()).unwrap();
    assert!(config.contains("kept=4") && config.contains("new=3"), "{config}");
    assert!(
        !config.contains("\"gone=2") && !config.contains("proxy:1"),
        "{config}"
    );
}
