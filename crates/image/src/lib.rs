//! Container images: references, manifests, trees, layers and the object store.
