//! An image that is wanted: from the store, or from a registry if that is where it may be.

use crate::manifest::Platform;
use crate::reference::Reference;
use crate::store::{Image, Store, StoreError};

/// When images are fetched that have a registry's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// If they are not in the store.
    #[default]
    Missing,
    /// Always.
    Always,
    /// Always; if that fails, what is in the store will do.
    Newer,
    /// Never.
    Never,
}

impl PullPolicy {
    /// The image of a name, from the store or by `fetch`; of an index the one for that kind of machine. An image for
    /// another kind is as good as none, if it can be fetched. A name of `localhost` is never fetched.
    pub fn image<E: From<StoreError>>(
        self,
        name: &Reference,
        platform: &Platform,
        store: &Store,
        fetch: impl FnOnce() -> Result<Image, E>,
    ) -> Result<Image, E> {
        let is_elsewhere = name.domain().is_some_and(|domain| domain != "localhost");
        match (store.image_for(name, platform), self) {
            (Ok(image), PullPolicy::Missing)
                if is_elsewhere && image.require_platform(name, platform).is_err() =>
            {
                fetch()
            }
            (Ok(image), PullPolicy::Missing | PullPolicy::Never) => Ok(image),
            (Ok(image), _) if !is_elsewhere => Ok(image),
            (Ok(image), PullPolicy::Newer) => Ok(fetch().unwrap_or(image)),
            (Ok(_), PullPolicy::Always) => fetch(),
            (Err(error), PullPolicy::Never) => Err(error.into()),
            (Err(_), _) if is_elsewhere => fetch(),
            // A name without a registry may be an abbreviation for one with.
            (Err(error), _) if name.domain().is_none() => fetch().map_err(|_| error.into()),
            (Err(error), _) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use osmith_report::Silent;

    use super::*;
    use crate::config::ImageConfig;
    use crate::manifest::ManifestFormat;
    use crate::store::{Access, ImageParts};

    /// An image that has nothing but a processor.
    fn image(store: &Store, architecture: &str, names: &[Reference]) -> Image {
        let parts = ImageParts {
            config: ImageConfig::new(architecture, "linux"),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            format: ManifestFormat::Oci,
        };
        store.commit_image(parts, names, &Silent).unwrap()
    }

    #[test]
    fn images_are_fetched_as_the_policy_says() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Access::ReadWrite).unwrap();
        let name = |text: &str| text.parse::<Reference>().unwrap();
        let host = crate::host_architecture();
        let stored = image(&store, host, &[name("r.example/there"), name("localhost/there")]);
        let foreign = [name("r.example/foreign"), name("localhost/foreign")];
        let newer = image(&store, "s390x", &foreign);
        // Whether the place of images answers; what comes of it, and whether it was asked.
        let found = |policy: PullPolicy, text: &str, answers: bool| {
            let asked = Cell::new(false);
            let image = policy.image(&name(text), &Platform::host(), &store, || {
                asked.set(true);
                match answers {
                    true => Ok(newer.clone()),
                    false => Err(StoreError::NoStore("elsewhere".into())),
                }
            });
            let came = match image {
                Ok(image) if image == stored => "stored",
                Ok(_) if asked.get() => "fetched",
                Ok(_) => "foreign",
                Err(StoreError::NoStore(_)) => "no answer",
                Err(_) => "unknown",
            };
            (came, asked.get())
        };
        use PullPolicy::{Always, Missing, Never, Newer};
        for (policy, text, answers, expected) in [
            (Missing, "r.example/there", true, ("stored", false)),
            (Missing, "r.example/other", true, ("fetched", true)),
            (Missing, "r.example/other", false, ("no answer", true)),
            (Missing, "other", false, ("unknown", true)),
            (Missing, "other", true, ("fetched", true)),
            (Always, "r.example/there", true, ("fetched", true)),
            (Always, "r.example/there", false, ("no answer", true)),
            (Newer, "r.example/there", true, ("fetched", true)),
            (Newer, "r.example/there", false, ("stored", true)),
            (Never, "r.example/there", true, ("stored", false)),
            (Never, "r.example/other", true, ("unknown", false)),
            (Missing, "r.example/foreign", true, ("fetched", true)),
            (Missing, "r.example/foreign", false, ("no answer", true)),
            (Missing, "localhost/foreign", true, ("foreign", false)),
            (Never, "r.example/foreign", true, ("foreign", false)),
            (Always, "localhost/there", true, ("stored", false)),
            (Always, "localhost/other", true, ("unknown", false)),
        ] {
            assert_eq!(found(policy, text, answers), expected, "{policy:?} {text}");
        }
    }
}
