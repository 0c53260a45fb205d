//! Trees, layers, records and archives lead back to each other.

use crate::trees::{files, grow, grown, prune, store, view};
use osmith_image::layer::{Entry, Layer, LayerNode, apply, diff, empty_tree, squash};
use osmith_image::store::Store;
use osmith_image::tar::{Limits, TarError, read_layer, write_layer};
use osmith_report::Silent;
use proptest::prelude::*;

fn archive(layer: &Layer, store: &Store) -> Result<Vec<u8>, TarError> {
    let mut bytes = Vec::new();
    write_layer(layer, store, &mut bytes, &Silent)?;
    Ok(bytes)
}

fn read(bytes: &[u8], store: &Store) -> Result<Layer, TarError> {
    read_layer(bytes, store, &Limits::default(), &Silent)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_becomes_a_layer_becomes_an_archive_becomes_the_tree(files in files(40)) {
        let (_directory, store) = store();
        let tree = grown(&files, &store);
        let layer = diff(&empty_tree(), &tree);
        let bytes = archive(&layer, &store).unwrap();
        prop_assert_eq!(bytes.len() % 512, 0);
        prop_assert_eq!(&archive(&layer, &store).unwrap(), &bytes);
        let (_other_directory, other_store) = crate::trees::store();
        let read_back = read(&bytes, &other_store).unwrap();
        prop_assert_eq!(&read_back, &layer);
        prop_assert_eq!(&archive(&read_back, &other_store).unwrap(), &bytes);
        let mut rebuilt = empty_tree();
        apply(&mut rebuilt, &read_back).unwrap();
        prop_assert_eq!(view(&rebuilt), view(&tree));
        let (id, record) = layer.to_bytes().unwrap();
        prop_assert_eq!(Layer::from_bytes(id, &record).unwrap(), layer);
    }

    #[test]
    fn a_difference_leads_from_one_tree_to_the_other(
        base in files(30),
        added in files(20),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        then_added in files(10),
    ) {
        let (_directory, store) = store();
        let lower = grown(&base, &store);
        let middle = prune(&grow(&lower, &added, &store), &removed);
        let upper = grow(&middle, &then_added, &store);
        let first = diff(&lower, &middle);
        let second = diff(&middle, &upper);
        let whole = diff(&lower, &upper);
        prop_assert!(diff(&upper, &upper).is_empty());
        for layers in [vec![&whole], vec![&first, &second], vec![&squash(&lower, [&first, &second]).unwrap()]] {
            let mut tree = lower.clone();
            for layer in layers {
                let bytes = archive(layer, &store).unwrap();
                let layer = &read(&bytes, &store).unwrap();
                apply(&mut tree, layer).unwrap();
            }
            prop_assert_eq!(view(&tree), view(&upper));
        }
        prop_assert_eq!(squash(&lower, [&first, &second]).unwrap(), whole);
    }

    #[test]
    fn an_archive_cut_off_anywhere_is_refused(files in files(8), cut in any::<prop::sample::Index>()) {
        let (_directory, store) = store();
        let layer = diff(&empty_tree(), &grown(&files, &store));
        let bytes = archive(&layer, &store).unwrap();
        // One zero block is an end, too.
        let cut = cut.index(bytes.len() - 512);
        let error = read(&bytes[..cut], &store).unwrap_err();
        prop_assert!(matches!(error, TarError::Truncated { .. }), "{:?}", error);
    }

    #[test]
    fn an_archive_with_damage_is_refused_or_read_but_never_worse(
        files in files(8),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let (_directory, store) = store();
        let layer = diff(&empty_tree(), &grown(&files, &store));
        let mut bytes = archive(&layer, &store).unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(layer) = read(&bytes, &store) {
            let _ = apply(&mut empty_tree(), &layer);
        }
    }
}

#[test]
fn whiteouts_come_before_their_siblings() {
    let (_directory, store) = store();
    let mut lower = empty_tree();
    let mut upper = empty_tree();
    for (tree, names) in [
        (&mut lower, &["d/a", "d/z", "a"][..]),
        (&mut upper, &["d/a", "d/b", "d-", "d.x"][..]),
    ] {
        for name in names {
            let mut builder = osmith_image::layer::LayerBuilder::new();
            let path = osmith_image::layer::LayerPath::parse(name.as_bytes()).unwrap();
            builder.add(path, Default::default(), LayerNode::Fifo).unwrap();
            apply(tree, &builder.finish()).unwrap();
        }
    }
    let layer = diff(&lower, &upper);
    let bytes = archive(&layer, &store).unwrap();
    let names: Vec<_> = bytes
        .chunks(512)
        .map(|block| {
            String::from_utf8_lossy(&block[..100])
                .trim_end_matches('\0')
                .to_owned()
        })
        .take_while(|name| !name.is_empty())
        .collect();
    assert_eq!(names, [".wh.a", "d-", "d.x", "d/.wh.z", "d/b"]);
    assert_eq!(
        layer
            .entries()
            .filter(|(_, entry)| **entry == Entry::Whiteout)
            .count(),
        2
    );
}
