//! Registries that are reached by a proxy, as `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
//!
//! The registries have names that only the proxy knows: what works went through it.

use std::fs;

use insta::assert_snapshot;
use osmith_testing::certificates::Authority;
use osmith_testing::forward_proxy::{ForwardOptions, ForwardProxy};
use osmith_testing::registry::{Registry, RegistryOptions};

use super::program::Place;

const HOST: &str = "registry.example:5000";

/// A proxy that knows where [`HOST`] is.
fn proxy_to(registry: &Registry, options: ForwardOptions) -> ForwardProxy {
    let hosts = [(HOST.to_owned(), registry.address().to_owned())].into();
    ForwardProxy::start(ForwardOptions { hosts, ..options })
}

fn place() -> Place {
    let place = Place::new();
    place.file("registries.conf", "");
    place.image("localhost/web", &[("page", "hello")]);
    place
}

/// What commands print with these variables, and nothing else, in the environment.
fn transcript(place: &Place, variables: &[(&str, &str)], lines: &[&str]) -> String {
    place.transcript_with(lines, |command| {
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", place.path())
            .env("OSMITH_STORE", place.store())
            .env("CONTAINERS_REGISTRIES_CONF", place.path().join("registries.conf"))
            .envs(variables.iter().copied());
    })
}

/// Commands that must succeed.
fn ok(place: &Place, variables: &[(&str, &str)], lines: &[&str]) {
    for line in lines {
        let text = transcript(place, variables, &[line]);
        assert!(text.contains("exit status 0"), "{variables:?}: {text}");
    }
}

#[test]
fn without_tls_the_proxy_reads_along() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let proxy = proxy_to(&registry, ForwardOptions::default());
    let address = format!("http://{}", proxy.address());
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let lines = [
            "push -q --tls-verify=false localhost/web registry.example:5000/shop/web",
            "pull -q --tls-verify=false registry.example:5000/shop/web",
            "rmi registry.example:5000/shop/web",
        ];
        let others = if name == "ALL_PROXY" { "" } else { proxy.address() };
        ok(&place, &[(name, &address), ("HTTPS_PROXY", others)], &lines);
        let seen = proxy.take_seen();
        // The first try was TLS.
        assert_eq!(
            (seen[0].method.as_str(), seen[0].path.as_str()),
            ("CONNECT", HOST)
        );
        let read: Vec<_> = seen
            .iter()
            .filter(|request| request.method != "CONNECT")
            .collect();
        for method in ["HEAD", "PUT", "GET"] {
            assert!(
                read.iter().any(|request| request.method == method),
                "{method}: {seen:?}"
            );
        }
        assert!(
            read.iter()
                .all(|request| request.path.starts_with("http://registry.example:5000/v2/"))
        );
    }
}

#[test]
fn a_proxy_that_makes_no_tunnels_is_enough_without_tls() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let options = ForwardOptions {
        refuses_tunnels: true,
        ..ForwardOptions::default()
    };
    let proxy = proxy_to(&registry, options);
    let variables = [("HTTP_PROXY", proxy.address()), ("HTTPS_PROXY", proxy.address())];
    let push = "push -q --tls-verify=false localhost/web registry.example:5000/web";
    ok(&place, &variables, &[push]);
    assert_snapshot!(
        transcript(&place, &variables, &["pull registry.example:5000/web"]).replace(proxy.address(), "PROXY")
    );
}

#[test]
fn with_tls_there_is_a_tunnel() {
    let place = place();
    let authority = Authority::new(place.path(), "authority");
    let options = RegistryOptions {
        tls: Some(authority.sign(place.path(), "host", &["registry.example"])),
        password: true,
        ..RegistryOptions::default()
    };
    let Some(registry) = Registry::start_with(&options) else {
        return;
    };
    fs::create_dir(place.path().join("trusted")).unwrap();
    fs::copy(authority.certificate(), place.path().join("trusted/ca.crt")).unwrap();
    let proxy = proxy_to(&registry, ForwardOptions::default());
    let address = format!("http://{}/", proxy.address());
    for name in ["HTTPS_PROXY", "https_proxy"] {
        let lines = [
            "push -q --cert-dir trusted --creds tester:secret localhost/web registry.example:5000/web",
            "pull -q --cert-dir trusted --creds tester:secret registry.example:5000/web",
            "rmi registry.example:5000/web",
        ];
        ok(
            &place,
            &[(name, &address), ("HTTP_PROXY", "http://127.0.0.1:1")],
            &lines,
        );
        let seen = proxy.take_seen();
        assert!(!seen.is_empty());
        for request in seen {
            assert_eq!(
                (request.method.as_str(), request.path.as_str()),
                ("CONNECT", HOST)
            );
            assert_eq!(request.header("authorization"), None);
        }
    }
}

#[test]
fn a_proxy_with_a_password() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let options = ForwardOptions {
        // jo:a@b
        authorization: Some("Basic am86YUBi".to_owned()),
        ..ForwardOptions::default()
    };
    let proxy = proxy_to(&registry, options);
    let push = "push -q --tls-verify=false localhost/web registry.example:5000/web";
    let good = format!("http://jo:a%40b@{}", proxy.address());
    ok(&place, &[("ALL_PROXY", &good)], &[push]);
    let seen = proxy.take_seen();
    assert!(seen.iter().any(|request| request.method == "CONNECT"));
    assert!(seen.iter().any(|request| request.method == "PUT"));
    let mut text = String::new();
    for userinfo in ["", "jo:wrong@"] {
        let address = format!("http://{userinfo}{}", proxy.address());
        let lines = [
            "pull registry.example:5000/web",
            "pull --tls-verify=false registry.example:5000/web",
        ];
        text += &transcript(&place, &[("ALL_PROXY", &address)], &lines);
    }
    assert_snapshot!(text.replace(proxy.address(), "PROXY"));
}

#[test]
fn what_is_reached_without_a_proxy() {
    let Some(registry) = Registry::start() else { return };
    let place = place();
    let hosts = ForwardOptions {
        hosts: [("registry.invalid".to_owned(), registry.address().to_owned())].into(),
        ..ForwardOptions::default()
    };
    let proxy = ForwardProxy::start(hosts);
    let with = |except: &'static str| [("all_proxy", proxy.address()), ("no_proxy", except)];
    // An address of this machine that is not the loopback device's.
    let (_, port) = registry.address().split_once(':').unwrap();
    let push = format!("push -q --retry 0 --tls-verify=false localhost/web 0.0.0.0:{port}/web");
    for except in ["0.0.0.0", "0.0.0.0/8", "x.example, 0.0.0.0", "*"] {
        ok(&place, &with(except), &[&push]);
        assert_eq!(proxy.take_seen().len(), 0, "{except}");
    }
    for except in ["0.0.0.0:1", "10.0.0.0/8", "0.0.0.0.example"] {
        let text = transcript(&place, &with(except), &[&push]);
        assert!(
            text.contains("by the proxy") || text.contains("502"),
            "{except}: {text}"
        );
        assert!(!proxy.take_seen().is_empty(), "{except}");
    }
    // Names: nobody but the proxy knows this one.
    let pull = "pull -q --retry 0 --tls-verify=false registry.invalid/web";
    for (except, is_direct) in [
        ("registry.invalid", true),
        ("invalid", true),
        (".invalid", true),
        (".registry.invalid", false),
        ("REGISTRY.INVALID:443,registry.invalid:80", true),
    ] {
        let text = transcript(&place, &with(except), &[pull]);
        assert_eq!(proxy.take_seen().is_empty(), is_direct, "{except}: {text}");
        assert_eq!(
            text.contains("cannot connect to the registry"),
            is_direct,
            "{except}: {text}"
        );
        assert_eq!(text.contains("exit status 0"), !is_direct, "{except}: {text}");
    }
    // The loopback device is never reached by a proxy.
    let push = format!(
        "push -q --tls-verify=false localhost/web {}/web",
        registry.address()
    );
    ok(&place, &with(""), &[&push]);
    assert_eq!(proxy.take_seen().len(), 0);
}

#[test]
fn proxies_that_are_none() {
    let place = place();
    let pull = ["pull -q --retry 0 registry.example:5000/web"];
    let mut text = String::new();
    for (name, value) in [
        ("HTTPS_PROXY", "http://jo:secret@127.0.0.1:1"),
        ("https_proxy", "socks5://jo:secret@127.0.0.1:1"),
        ("ALL_PROXY", "http://jo:secret@127.0.0.1:port"),
    ] {
        text += &transcript(&place, &[(name, value)], &pull);
    }
    assert!(!text.contains("secret"), "{text}");
    assert_snapshot!(text);
    place.ok("rmi localhost/web");
    place.ok("prune");
    place.require_no_images();
}
