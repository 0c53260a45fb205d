//! Connections and registries that fail, between the client and a real registry.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use osmith_image::IntakeError;
use osmith_image::compression::Codec;
use osmith_image::registry::{
    Client, Credential, PullOptions, Pulled, Pushed, RegistryError, Resolved, pull, push, resolve,
};
use osmith_image::store::{Image, Store};
use osmith_report::{Class, Event, Failure, Observer, Silent};
use osmith_testing::fault_proxy::{Fault, FaultProxy, SeenRequest};
use osmith_testing::registry::Registry;

use super::images::{STEP, client, platform, reference, sample, settings, store};
use super::push::push_options;

const IMAGE: &str = "shop/sample:1";

/// A registry with an image, in a store, too.
fn registry_with_image() -> Option<(Registry, tempfile::TempDir, Store, Image)> {
    let registry = Registry::start()?;
    let (directory, store) = store();
    let image = sample(&store, "localhost/sample:1", 1);
    pushed(&client(), registry.address(), &image, &store).unwrap();
    Some((registry, directory, store, image))
}

fn pushed(client: &Client, address: &str, image: &Image, store: &Store) -> Result<Pushed, RegistryError> {
    let name = reference(&format!("{address}/{IMAGE}"));
    push(
        client,
        image,
        store,
        &name,
        &push_options(Codec::Zstd),
        &Silent,
        STEP,
    )
}

fn resolved(client: &Client, address: &str) -> Result<Resolved, RegistryError> {
    resolve(
        client,
        &reference(&format!("{address}/{IMAGE}")),
        &platform(),
        &Silent,
    )
}

fn pulled(address: &str) -> Result<(tempfile::TempDir, Store, Pulled), RegistryError> {
    let client = client();
    let resolved = resolved(&client, address)?;
    let (directory, store) = store();
    let pulled = pull(&client, &resolved, &store, &PullOptions::default(), &Silent, STEP)?;
    Ok((directory, store, pulled))
}

fn of_layer(request: &SeenRequest) -> bool {
    // The first blob is the configuration, which is short.
    request.method == "GET" && request.path.contains("/blobs/sha256:") && !request.path.contains("uploads")
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Fault::Answer(status, headers.collect(), body.to_owned())
}

#[test]
fn what_passes_is_tried_again() {
    let Some((registry, _directory, _store, image)) = registry_with_image() else {
        return;
    };
    for faults in [
        vec![answer(503, &[], ""), answer(500, &[], "x"), answer(408, &[], "")],
        vec![Fault::Drop, Fault::Drop, Fault::Drop],
        vec![answer(429, &[("Retry-After", "0")], "")],
    ] {
        for part in ["/v2/", "/manifests/", "/blobs/"] {
            let is_meant = move |request: &SeenRequest| match part {
                "/v2/" => request.path == part,
                part => request.path.contains(part),
            };
            let proxy = FaultProxy::with_faults(registry.address(), is_meant, faults.clone());
            let (_directory, store, pulled) = pulled(proxy.address()).unwrap();
            assert_eq!(pulled.image.id(), image.id());
            assert_eq!(store.verify(&Silent, STEP).unwrap(), []);
            let tried = proxy.seen().iter().filter(|request| is_meant(request)).count();
            assert!(tried > faults.len(), "{part}: {tried}");
        }
    }
}

#[test]
fn what_does_not_pass_is_said_so_after_four_tries() {
    let Some((registry, ..)) = registry_with_image() else {
        return;
    };
    let proxy = FaultProxy::start(registry.address(), |request| {
        request
            .path
            .contains("/manifests/")
            .then(|| answer(502, &[], r#"{"errors":[{"message":"no room"}]}"#))
    });
    let error = pulled(proxy.address()).err().unwrap();
    assert!(
        error.to_string().ends_with("with the status 502 (no room)"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Network);
    let tried = proxy
        .seen()
        .iter()
        .filter(|request| request.path.contains("/manifests/"))
        .count();
    assert_eq!(tried, 4);
}

#[test]
fn a_registry_that_is_busy_is_waited_for_and_the_user_knows_it() {
    #[derive(Default)]
    struct Messages(Mutex<Vec<String>>);
    impl Observer for Messages {
        fn observe(&self, event: Event) {
            if let Event::Message { text, .. } = event {
                self.0.lock().unwrap().push(text);
            }
        }
    }
    let Some((registry, ..)) = registry_with_image() else {
        return;
    };
    let faults = [answer(429, &[("Retry-After", "1")], "")];
    let proxy = FaultProxy::with_faults(
        registry.address(),
        |request| request.path.contains("/manifests/"),
        faults,
    );
    let (start, messages) = (Instant::now(), Messages::default());
    let name = reference(&format!("{}/{IMAGE}", proxy.address()));
    resolve(&client(), &name, &platform(), &messages).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
    let messages = messages.0.into_inner().unwrap();
    assert!(
        messages.len() == 1 && messages[0].ends_with("with the status 429: trying again in 1 s"),
        "{messages:?}"
    );
}

#[test]
fn a_download_goes_on_where_it_broke() {
    let Some((registry, _directory, _store, image)) = registry_with_image() else {
        return;
    };
    for ranges in [true, false] {
        let mut cuts = vec![500_000, 100].into_iter();
        let proxy = FaultProxy::start(registry.address(), move |request| {
            let is_layer = of_layer(request) && request.header("range").is_some();
            match (is_layer, ranges) {
                (true, false) => Some(Fault::WithoutHeader("Range")),
                (true, true) => cuts.next().map(Fault::Cut),
                // The configuration is shorter than that and comes whole.
                (false, _) if of_layer(request) => Some(Fault::Cut(1_000_000)),
                (false, _) => None,
            }
        });
        let (_directory, store, pulled) = pulled(proxy.address()).unwrap();
        assert_eq!(pulled.image.id(), image.id());
        assert_eq!(store.verify(&Silent, STEP).unwrap(), []);
        let asked: Vec<_> = proxy
            .seen()
            .iter()
            .filter_map(|request| request.header("range").map(str::to_owned))
            .collect();
        assert_eq!(asked.first().map(String::as_str), Some("bytes=1000000-"));
        assert_eq!(asked.len() > 1, ranges, "{asked:?}");
    }
}

#[test]
fn wrong_bytes_are_noticed_and_leave_no_image() {
    let Some((registry, ..)) = registry_with_image() else {
        return;
    };
    for (part, at) in [("/manifests/sha256", 10), ("/blobs/", 5), ("/blobs/", 2_000_000)] {
        let proxy = FaultProxy::start(registry.address(), move |request| {
            request.path.contains(part).then_some(Fault::Flip(at))
        });
        let client = client();
        let pinned = resolved(&client, registry.address()).unwrap().pinned();
        let name = reference(&pinned.to_string().replace(registry.address(), proxy.address()));
        let (_directory, store) = store();
        let error = resolve(&client, &name, &platform(), &Silent)
            .and_then(|resolved| pull(&client, &resolved, &store, &PullOptions::default(), &Silent, STEP))
            .unwrap_err();
        assert!(
            matches!(error, RegistryError::Intake(IntakeError::BlobDigest { .. })),
            "{part} {at}: {error:?}"
        );
        assert_eq!(error.class(), Class::Corrupt);
        assert!(store.images().unwrap().images.is_empty());
    }
}

#[test]
fn a_slow_registry_is_only_slow() {
    let Some((registry, _directory, _store, image)) = registry_with_image() else {
        return;
    };
    let proxy = FaultProxy::start(registry.address(), |request| {
        of_layer(request).then_some(Fault::Slow(Duration::from_millis(20), 300_000))
    });
    assert_eq!(pulled(proxy.address()).unwrap().2.image.id(), image.id());
}

#[test]
fn a_redirect_to_another_host_does_not_take_the_password_along() {
    let Some((registry, _directory, _store, image)) = registry_with_image() else {
        return;
    };
    let storage = FaultProxy::start(registry.address(), |_| None);
    let target = storage.address().to_owned();
    let proxy = FaultProxy::start(registry.address(), move |request| {
        if request.path == "/v2/" || request.header("authorization").is_none() {
            return Some(answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""));
        }
        let location = format!("http://{target}{}", request.path);
        of_layer(request).then(|| answer(307, &[("Location", &location)], ""))
    });
    let mut settings = settings();
    settings.credential = Some(Credential::Password {
        username: "jo".to_owned(),
        password: "secret".to_owned(),
    });
    let client = Client::new(settings);
    let resolved = resolved(&client, proxy.address()).unwrap();
    let (_directory, store) = store();
    let pulled = pull(&client, &resolved, &store, &PullOptions::default(), &Silent, STEP).unwrap();
    assert_eq!(pulled.image.id(), image.id());
    let seen = storage.seen();
    assert_eq!(seen.len(), 2);
    assert!(
        seen.iter()
            .all(|request| request.header("authorization").is_none())
    );
}

#[test]
fn uploads_are_sent_again() {
    let Some(registry) = Registry::start() else { return };
    for (method, faults) in [
        ("HEAD", vec![answer(503, &[], "")]),
        ("POST", vec![Fault::Drop, answer(500, &[], "")]),
        ("PATCH", vec![Fault::DropRequest(100_000), answer(502, &[], "")]),
        ("PUT", vec![answer(503, &[], ""), Fault::Drop]),
    ] {
        let (_directory, store) = store();
        let image = sample(
            &store,
            "localhost/sample:1",
            method.len() as u32 * 7 + faults.len() as u32,
        );
        let proxy = FaultProxy::with_faults(
            registry.address(),
            move |request| request.method == method,
            faults,
        );
        pushed(&client(), proxy.address(), &image, &store)
            .unwrap_or_else(|error| panic!("{method}: {error:?}"));
        assert_eq!(
            pulled(registry.address()).unwrap().2.image.id(),
            image.id(),
            "{method}"
        );
    }
}

#[test]
fn a_mount_that_is_none_goes_on_as_an_upload() {
    let Some((registry, _directory, store, image)) = registry_with_image() else {
        return;
    };
    let proxy = FaultProxy::start(registry.address(), |request| {
        // A registry that does not know mounts begins an upload.
        let is_mount = request.path.contains("?mount=");
        is_mount.then_some(Fault::WithoutHeader("nothing"))
    });
    // The blob was seen in a repository of the proxy that does not exist.
    let name = reference(&format!("{}/other/sample:1", proxy.address()));
    let first = push(
        &client(),
        &image,
        &store,
        &name,
        &push_options(Codec::Zstd),
        &Silent,
        STEP,
    )
    .unwrap();
    assert_eq!((first.sent.blobs_mounted, first.sent.blobs_sent), (0, 2));
    std::fs::remove_dir_all(
        registry
            .blobs_path()
            .parent()
            .unwrap()
            .join("repositories/other/sample/_layers"),
    )
    .unwrap();
    let name = reference(&format!("{}/third/sample:1", proxy.address()));
    let second = push(
        &client(),
        &image,
        &store,
        &name,
        &push_options(Codec::Zstd),
        &Silent,
        STEP,
    )
    .unwrap();
    assert_eq!((second.sent.blobs_mounted, second.sent.blobs_sent), (0, 2));
    let begun = proxy
        .seen()
        .iter()
        .filter(|request| request.method == "POST" && request.path.contains("third"))
        .count();
    // One that became an upload, one for the configuration.
    assert_eq!(begun, 2);
}

#[test]
fn tokens_are_asked_for_kept_and_renewed_once() {
    let Some((registry, _directory, store, image)) = registry_with_image() else {
        return;
    };
    let mut given = 0;
    let mut refused = false;
    let address = std::sync::Arc::new(Mutex::new(String::new()));
    let own = address.clone();
    let proxy = FaultProxy::start(registry.address(), move |request| {
        let own = own.lock().unwrap().clone();
        if request.path.starts_with("/token") {
            given += 1;
            let good = request.header("authorization") == Some("Basic am86c2VjcmV0");
            return Some(match good {
                true => answer(200, &[], &format!(r#"{{"token":"T{given}","expires_in":300}}"#)),
                false => answer(401, &[], r#"{"details":"who are you"}"#),
            });
        }
        let scope = if request.method == "GET" || request.method == "HEAD" {
            "pull"
        } else {
            "pull,push"
        };
        let challenge = format!(
            "Bearer realm=\"http://{own}/token\",service=\"x y\",scope=\"repository:shop/sample:{scope}\""
        );
        let has_token = request
            .header("authorization")
            .is_some_and(|value| value.starts_with("Bearer T"));
        // Once, in the middle, a token is not taken any more.
        let ends_early = request.path.contains("/manifests/") && !std::mem::replace(&mut refused, true);
        (!has_token || ends_early).then(|| answer(401, &[("WWW-Authenticate", &challenge)], ""))
    });
    *address.lock().unwrap() = proxy.address().to_owned();
    let client_of = |password: &str| {
        let mut settings = settings();
        settings.credential = Some(Credential::Password {
            username: "jo".to_owned(),
            password: password.to_owned(),
        });
        Client::new(settings)
    };
    let client = client_of("secret");
    pushed(&client, proxy.address(), &image, &store).unwrap();
    let resolved = resolved(&client, proxy.address()).unwrap();
    let (_other_directory, other) = super::images::store();
    pull(&client, &resolved, &other, &PullOptions::default(), &Silent, STEP).unwrap();
    let tokens: Vec<_> = proxy
        .seen()
        .into_iter()
        .filter(|request| request.path.starts_with("/token"))
        .collect();
    // To push, to push after it was not taken, to pull.
    assert_eq!(tokens.len(), 3, "{tokens:?}");
    assert!(
        tokens[0]
            .path
            .contains("service=x%20y&scope=repository%3Ashop%2Fsample%3Apull%2Cpush&account=jo")
    );

    let error = super::faults::resolved(&client_of("wrong"), proxy.address()).unwrap_err();
    assert!(matches!(error, RegistryError::WrongPassword { .. }), "{error:?}");
    let error = super::faults::resolved(&super::images::client(), proxy.address()).unwrap_err();
    assert!(matches!(error, RegistryError::LoginRequired { .. }), "{error:?}");
}

#[test]
fn mirrors_are_asked_first_and_the_registry_when_they_fail() {
    let Some((registry, _directory, _store, image)) = registry_with_image() else {
        return;
    };
    let broken = FaultProxy::start(registry.address(), |request| {
        of_layer(request).then(|| answer(404, &[], ""))
    });
    let gone = FaultProxy::start("127.0.0.1:1", |_| Some(answer(404, &[], "")));
    let mut settings = settings();
    let text = format!(
        "[[registry]]\nprefix = \"images.example\"\nlocation = \"{}/shop\"\n\
         [[registry.mirror]]\nlocation = \"{}/shop\"\n[[registry.mirror]]\nlocation = \"{}/shop\"\n",
        registry.address(),
        gone.address(),
        broken.address()
    );
    settings
        .configuration
        .add(text.as_bytes(), std::path::Path::new("registries.conf"))
        .unwrap();
    let client = Client::new(settings);
    let resolved = resolve(
        &client,
        &reference("images.example/sample:1"),
        &platform(),
        &Silent,
    )
    .unwrap();
    assert_eq!(resolved.name.to_string(), "images.example/sample:1");
    let (_directory, store) = store();
    let pulled = pull(&client, &resolved, &store, &PullOptions::default(), &Silent, STEP).unwrap();
    assert_eq!(pulled.image.id(), image.id());
    assert!(!gone.seen().is_empty() && !broken.seen().is_empty());
}
