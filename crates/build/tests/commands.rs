//! Builds with RUN, on a tree of busybox.
#![allow(missing_docs, clippy::print_stderr)]

mod site;

use std::sync::Mutex;

use osmith_build::Request;
use osmith_build::run::DEFAULT_CAPABILITIES;
use osmith_report::{Event, Observer, Outcome, Silent};
use site::{Site, build, build_all, busybox_site as site, told};

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
struct Log(Mutex<(Vec<String>, Vec<Outcome>)>);

impl Observer for Log {
    fn observe(&self, event: Event) {
        let mut log = self.0.lock().unwrap();
        match event {
            Event::Output { line, .. } => log.0.push(line),
            Event::Finished { outcome, .. } => log.1.push(outcome),
            _ => {}
        }
    }
}

fn run(site: &Site, request: &Request) -> (Vec<String>, Vec<Outcome>) {
    let log = Log::default();
    if let Err(error) = build(&site.store, request, &log) {
        panic!("{}\n{:?}", told(&error), log.0.lock().unwrap().0);
    }
    log.0.into_inner().unwrap()
}

fn output(site: &Site, text: &str) -> Vec<String> {
    run(site, &site.request(text)).0
}

#[test]
fn commands_in_both_forms_and_heredocs_in_every_position() {
    let Some(site) = site() else { return };
    let lines = output(
        &site,
        r#"FROM localhost/base
ARG who=world
ENV greeting=hello
RUN echo "$greeting $who"
RUN ["/bin/echo", "$greeting", "two words"]
RUN <<EOF
echo script "$greeting"
echo line two
EOF
RUN <<EOF
#!/bin/cat
xyz
EOF
RUN cat <<A && cat <<'B' | tr a-z A-Z
first $who
A
second $who
B
RUN <<-EOF cat
	tabs $greeting
	EOF
SHELL ["/bin/sh", "-e", "-c"]
RUN false || echo still; echo "$-" | grep -q e && echo strict
"#,
    );
    assert_eq!(
        lines,
        [
            "hello world",
            "$greeting two words",
            "script hello",
            "line two",
            "#!/bin/cat",
            "xyz",
            "first world",
            "SECOND $WHO",
            "tabs hello",
            "still",
            "strict"
        ]
    );
}

#[test]
fn users_directories_and_what_is_in_the_layer() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base
USER web
WORKDIR /srv/app
RUN id -u && id -G && pwd && echo $HOME && umask && echo made > file
USER 7:logs
RUN id -u && id -G && echo $HOME
USER root
RUN mkdir -p /run/x /tmp/kept && echo 1 > /etc/made && rm /tmp/init && rm -r /srv/app/file && hostname
";
    let lines = output(&site, text);
    let expected = ["33", "33 50", "/srv/app", "/srv", "0022", "7", "50", "/", "build"];
    assert_eq!(lines, expected);
    let built = site.build(text);
    let listing = site.listing(&built);
    let changed: Vec<&str> = listing
        .lines()
        .filter(|line| !line.contains(" bin") && !line.contains("etc/passwd") && !line.contains("etc/group"))
        .collect();
    insta::assert_snapshot!(changed.join("\n"));
}

#[test]
fn a_step_runs_once_and_again_when_what_it_sees_changes() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base\nARG v=1\nRUN echo ran > /ran\nLABEL a=b\nRUN echo more >> /ran\n";
    let (_, first) = run(&site, &site.request(text));
    assert!(!first.contains(&Outcome::Cached));
    let (_, second) = run(&site, &site.request(text));
    assert_eq!(
        second
            .iter()
            .filter(|outcome| **outcome == Outcome::Cached)
            .count(),
        2
    );
    let mut other = site.request(text);
    other.build_args.insert("v".to_owned(), "2".to_owned());
    assert!(!run(&site, &other).1.contains(&Outcome::Cached));
    let mut proxy = site.request(text);
    proxy
        .build_args
        .insert("http_proxy".to_owned(), "http://proxy".to_owned());
    assert_eq!(
        run(&site, &proxy)
            .1
            .iter()
            .filter(|outcome| **outcome == Outcome::Cached)
            .count(),
        2
    );
}

#[test]
fn squashed_commands_leave_no_trace_of_what_is_gone() {
    let Some(site) = site() else { return };
    let mut request = site.request(
        "FROM localhost/base\nRUN echo secret > /secret\nWORKDIR /w\nRUN rm /secret && rm /tmp/init && rmdir /w\n",
    );
    request.squash = osmith_build::Squash::New;
    let built = build(&site.store, &request, &Silent).unwrap();
    let layers = built.image.layers(&site.store).unwrap();
    let last = site.store.layer(layers.last().unwrap()).unwrap();
    let paths: Vec<String> = last.entries().map(|(path, _)| path.to_string()).collect();
    assert!(paths.contains(&"tmp/init".to_owned()), "{paths:?}");
    assert!(
        !paths.iter().any(|path| path.contains("secret") || path == "w"),
        "{paths:?}"
    );
}

#[test]
fn a_command_that_fails_is_named_with_its_line() {
    let Some(site) = site() else { return };
    insta::assert_snapshot!(site.fails("FROM localhost/base\n\nRUN echo before && \\\n    exit 3\n"));
    insta::assert_snapshot!(site.fails("FROM localhost/base\nRUN [\"/no/such/program\"]\n"));
    insta::assert_snapshot!(site.fails("FROM localhost/base\nUSER nobody\nRUN true\n"));
    assert!(site.store.image(&"localhost/test".parse().unwrap()).is_err());
}

#[test]
fn stages_that_need_nothing_of_each_other_are_built_at_once() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base AS one\nRUN echo 1 > /one\nRUN sleep 0.3; date +%s%N > /end\n\
                FROM localhost/base AS two\nRUN sleep 0.3; date +%s%N > /end\n\
                FROM scratch\nCOPY --from=one /one /end /a/\nCOPY --from=two /end /b/\n";
    let begun = |jobs| {
        let log = Started::default();
        let mut request = site.request(text);
        request.no_cache = true;
        request.jobs = jobs;
        let built = build(&site.store, &request, &log).unwrap();
        assert!(site.listing(&built).contains("a/one \"1\\n\""));
        log.0.into_inner().unwrap().1
    };
    assert_eq!(begun(1), 1);
    assert_eq!(begun(4), 2);
}

#[test]
fn images_for_several_platforms_are_built_at_once() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base AS files\nARG TARGETVARIANT\nRUN echo $TARGETVARIANT > /v; sleep 0.3\n\
                FROM scratch\nCOPY --from=files /v /v\n";
    let begun = |jobs| {
        let mut request = site.request(text);
        request.tags.clear();
        request.no_cache = true;
        request.jobs = jobs;
        let requests = ["v1", "v2"].map(|variant| {
            let mut request = request.clone();
            request.platforms.target.variant = Some(variant.to_owned());
            request
        });
        let log = Started::default();
        let built = build_all(&site.store, &requests, &log).unwrap();
        let listed: Vec<_> = built.iter().map(|built| site.listing(built)).collect();
        assert!(
            listed[0].contains("\"v1\\n\"") && listed[1].contains("\"v2\\n\""),
            "{listed:?}"
        );
        assert_eq!(built[1].image.config.variant.as_deref(), Some("v2"));
        log.0.into_inner().unwrap().1
    };
    assert_eq!(begun(1), 1);
    assert_eq!(begun(4), 2);
}

#[test]
fn steps_for_several_platforms_are_told_apart() {
    let Some(site) = site() else { return };
    let mut request = site.request("FROM scratch AS a\nENV a=b\nFROM a\nHEALTHCHECK CMD true\n");
    request.jobs = 1;
    let mut other = request.clone();
    other.platforms.target.architecture = "arm64".to_owned();
    let log = Titles::default();
    build_all(&site.store, &[request, other], &log).unwrap();
    insta::assert_snapshot!(log.0.into_inner().unwrap().join("\n"));
}

/// The titles of the steps, and what is strange.
#[derive(Default)]
struct Titles(Mutex<Vec<String>>);

impl Observer for Titles {
    fn observe(&self, event: Event) {
        let mut lines = self.0.lock().unwrap();
        match event {
            Event::Plan { steps } => lines.extend(steps.into_iter().map(|step| step.title)),
            Event::Message { text, .. } => lines.push(text),
            Event::Finished { step, .. } => lines.push(format!("{} ends", step.0)),
            _ => {}
        }
    }
}

/// How many steps are under way, and the most there were.
#[derive(Default)]
struct Started(Mutex<(usize, usize)>);

impl Observer for Started {
    fn observe(&self, event: Event) {
        let mut counts = self.0.lock().unwrap();
        match event {
            Event::Started { .. } => counts.0 += 1,
            Event::Finished { .. } => counts.0 -= 1,
            _ => {}
        }
        counts.1 = counts.1.max(counts.0);
    }
}

#[test]
fn a_stage_that_fails_ends_the_others() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base AS slow\nRUN sleep 60\nFROM localhost/base AS broken\nRUN exit 9\n\
                FROM scratch\nCOPY --from=slow / /\nCOPY --from=broken / /\n";
    let begun = std::time::Instant::now();
    let told = site.fails(text);
    assert!(
        told.contains("Containerfile:4: RUN exit 9") && told.contains("exit code 9"),
        "{told}"
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn rights_are_what_was_asked_for_and_are_in_the_key() {
    let Some(site) = site() else { return };
    let text = "FROM localhost/base\nRUN grep CapBnd /proc/self/status\n";
    let mask = |lines: &[String]| {
        let digits = lines.first().and_then(|line| line.split_whitespace().nth(1));
        u64::from_str_radix(digits.unwrap(), 16).unwrap()
    };
    let mut request = site.request(text);
    assert_eq!(mask(&run(&site, &request).0), DEFAULT_CAPABILITIES);
    request.run.capabilities = DEFAULT_CAPABILITIES & !1;
    let (lines, outcomes) = run(&site, &request);
    assert_eq!(mask(&lines), DEFAULT_CAPABILITIES & !1);
    assert!(!outcomes.contains(&Outcome::Cached));
    request.run.capabilities = DEFAULT_CAPABILITIES;
    assert!(run(&site, &request).1.contains(&Outcome::Cached));
}
