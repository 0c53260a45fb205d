//! Our split streams and repository files against upstream's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::sync::Arc;

use composefs::fsverity::{Algorithm, Sha512HashValue};
use composefs::repository::{Repository, RepositoryConfig};
use composefs::splitstream::{SplitStreamData, SplitStreamReader};
use composefs_oracle::upstream::hash;
use osmith_formats::composefs::repository::META_JSON;
use osmith_formats::splitstream::{self, ContentType, Piece, Writer};
use osmith_formats::verity::Digest;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tempfile::TempDir;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Inline(Vec<u8>),
    Object(Vec<u8>),
}

fn repository() -> (TempDir, Arc<Repository<Sha512HashValue>>) {
    let directory = tempfile::tempdir().unwrap();
    let config = RepositoryConfig::new(Algorithm::SHA512).set_insecure();
    let opened = File::open(directory.path()).unwrap();
    let (repository, is_new) = Repository::init_path(opened, "composefs", config).unwrap();
    assert!(is_new);
    (directory, Arc::new(repository))
}

#[test]
fn meta_json_is_upstreams() {
    let (directory, _repository) = repository();
    let meta_json = fs::read_to_string(directory.path().join("composefs/meta.json")).unwrap();
    assert_eq!(meta_json, META_JSON);
}

/// Parts of a file, no two inline ones in a row, and names.
fn stream() -> impl Strategy<Value = (Vec<Part>, BTreeMap<String, u8>)> {
    let inline = prop_oneof![
        vec(any::<u8>(), 1..2000),
        (1..300_000_usize).prop_map(|length| vec![0; length])
    ];
    let object = vec(any::<u8>(), 0..5).prop_map(|seed| seed.repeat(1000));
    let pairs = vec((inline, object), 0..12).prop_map(|pairs| {
        let parts = pairs
            .into_iter()
            .map(|(inline, object)| [Part::Inline(inline), Part::Object(object)]);
        parts.flatten().collect()
    });
    (
        pairs,
        btree_map("(config:)?sha256:[0-9a-f]{1,64}", any::<u8>(), 0..12),
    )
}

fn ours(parts: &[Part], names: &BTreeMap<String, u8>) -> Vec<u8> {
    let mut writer = Writer::new(ContentType::LAYER).unwrap();
    for (name, seed) in names {
        writer.named_ref(name, &Digest::of(&[*seed]));
    }
    for part in parts {
        match part {
            Part::Inline(bytes) => writer.inline(bytes),
            Part::Object(bytes) => writer.object(&Digest::of(bytes), bytes.len() as u64).unwrap(),
        }
    }
    writer.finish().unwrap()
}

fn theirs(parts: &[Part], names: &BTreeMap<String, u8>) -> Vec<u8> {
    let (_directory, repository) = repository();
    let mut writer = repository
        .create_stream(u64::from_le_bytes(ContentType::LAYER.0))
        .unwrap();
    for (name, seed) in names {
        writer.add_named_stream_ref(name, &hash(&Digest::of(&[*seed])));
    }
    for part in parts {
        match part {
            Part::Inline(bytes) => writer.write_inline(bytes),
            Part::Object(bytes) => writer.write_external(bytes).unwrap(),
        }
    }
    let id = writer.done().unwrap();
    repository.read_object(&id).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn upstream_reads_what_we_write((parts, names) in stream()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stream");
        fs::write(&path, ours(&parts, &names)).unwrap();
        let content_type = u64::from_le_bytes(ContentType::LAYER.0);
        let mut reader =
            SplitStreamReader::<Sha512HashValue>::new(File::open(&path).unwrap(), Some(content_type)).unwrap();
        for (name, seed) in &names {
            prop_assert_eq!(reader.lookup_named_ref(name), Some(&hash(&Digest::of(&[*seed]))));
        }
        let mut chunks = Vec::new();
        reader.for_each_chunk(|chunk| {
            chunks.push(chunk);
            Ok(())
        }).unwrap();
        prop_assert_eq!(chunks.len(), parts.len());
        for (chunk, part) in chunks.iter().zip(&parts) {
            match (chunk, part) {
                (SplitStreamData::Inline(read), Part::Inline(bytes)) => prop_assert!(**read == **bytes),
                (SplitStreamData::External(id), Part::Object(bytes)) => {
                    prop_assert_eq!(id, &hash(&Digest::of(bytes)));
                }
                _ => prop_assert!(false, "{:?} for {:?}", chunk, part),
            }
        }
    }

    #[test]
    fn we_read_what_upstream_writes((parts, names) in stream()) {
        let bytes = theirs(&parts, &names);
        let parsed = splitstream::read(&bytes).unwrap();
        prop_assert_eq!(parsed.content_type, ContentType::LAYER);
        let names: BTreeMap<_, _> =
            names.iter().map(|(name, seed)| (name.clone(), Digest::of(&[*seed]))).collect();
        prop_assert_eq!(&parsed.names, &names);
        let length = |part: &Part| match part {
            Part::Inline(bytes) | Part::Object(bytes) => bytes.len() as u64,
        };
        prop_assert_eq!(parsed.size_bytes, parts.iter().map(length).sum::<u64>());
        let mut file = Vec::new();
        parsed.for_each(|piece| {
            match piece {
                Piece::Inline(bytes) => file.extend_from_slice(bytes),
                Piece::Object(digest) => file.extend_from_slice(digest.as_bytes()),
            }
            Ok(())
        }).unwrap();
        let expected: Vec<u8> = parts.iter().flat_map(|part| match part {
            Part::Inline(bytes) => bytes.clone(),
            Part::Object(bytes) => Digest::of(bytes).as_bytes().to_vec(),
        }).collect();
        prop_assert!(file == expected);
    }

    #[test]
    fn both_write_the_same((parts, names) in stream()) {
        prop_assert!(ours(&parts, &names) == theirs(&parts, &names));
    }
}
