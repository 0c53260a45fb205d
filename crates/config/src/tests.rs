use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Every key, in both forms.
const EVERY_TOML: &str = include_str!("tests/every.toml");
const EVERY_JSON: &str = include_str!("tests/every.json");

mod invalid;

fn problems(text: &str, format: Format) -> Vec<String> {
    let problems = match Configuration::parse(text.as_bytes(), format) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems,
    };
    let line = |problem: Problem| {
        let position = problem.position.unwrap();
        format!("{position} {problem}")
    };
    problems.into_iter().map(line).collect()
}

fn parsed(text: &str, format: Format) -> Configuration {
    Configuration::parse(text.as_bytes(), format).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_key_is_the_same_in_toml_and_in_json() {
    let mut toml = parsed(EVERY_TOML, Format::Toml);
    let mut json = parsed(EVERY_JSON, Format::Json);
    assert_eq!(
        toml.positions.of("customizations.user[1].name"),
        Some(Position { line: 20, column: 1 })
    );
    assert_eq!(
        json.positions.of("customizations.user[1].name"),
        Some(Position { line: 21, column: 10 })
    );
    toml.positions = Positions::default();
    json.positions = Positions::default();
    assert_eq!(toml, json);
    let wrapped = format!("{{\"blueprint\": {EVERY_JSON}}}");
    let mut wrapped = parsed(&wrapped, Format::Json);
    wrapped.positions = Positions::default();
    assert_eq!(wrapped, json);
}

#[test]
fn every_key_of_the_tables_is_in_the_example() {
    fn missing(keys: &[schema::Key], value: &value::Value, path: &str, found: &mut Vec<String>) {
        for key in keys {
            let path = value::below(path, key.name);
            let field = value.field(key.name);
            match (&key.takes, field) {
                (schema::Takes::Nothing(_) | schema::Takes::Anything, _) => {}
                (schema::Takes::Table(keys), Some(field)) => missing(keys, field, &path, found),
                (schema::Takes::Tables(keys), Some(field)) => {
                    let all: Vec<_> = field
                        .items()
                        .iter()
                        .flat_map(|item| item.entries().to_vec())
                        .collect();
                    let union = value::Value {
                        span: 0..0,
                        kind: value::Kind::Table(all),
                    };
                    missing(keys, &union, &path, found);
                }
                (_, None) => found.push(path),
                _ => {}
            }
        }
    }
    let mut problems = Problems::of(EVERY_TOML.as_bytes());
    let tree = toml::parse(EVERY_TOML, &mut problems).unwrap();
    let mut found = Vec::new();
    missing(schema::CONFIGURATION, &tree, "", &mut found);
    // A disk and file systems exclude each other.
    assert_eq!(found, ["customizations.disk"]);
}

/// The blocks of a page in a language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let parts = page.split("```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(language)).collect()
}

#[test]
fn the_examples_of_the_page_are_configurations() {
    const PAGE: &str = include_str!("../../../docs/configuration.md");
    let toml = blocks(PAGE, "toml\n");
    let json = blocks(PAGE, "json\n");
    assert_eq!((toml.len(), json.len()), (7, 1));
    for block in &toml {
        let configuration = parsed(block, Format::Toml);
        assert_ne!(configuration, Configuration::default(), "{block}");
    }
    let [mut first, mut same] = [parsed(toml[0], Format::Toml), parsed(json[0], Format::Json)];
    first.positions = Positions::default();
    same.positions = Positions::default();
    assert_eq!(first, same);
}

#[test]
fn the_page_names_every_key() {
    const PAGE: &str = include_str!("../../../docs/configuration.md");
    fn check(keys: &[schema::Key], words: &HashSet<&str>) {
        for key in keys {
            match key.takes {
                schema::Takes::Anything => continue,
                schema::Takes::Table(keys) | schema::Takes::Tables(keys) => check(keys, words),
                _ => {}
            }
            assert!(words.contains(key.name), "{}", key.name);
        }
    }
    let words = PAGE.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    check(schema::CONFIGURATION, &words.collect());
}

#[test]
fn what_is_read_is_what_is_written() {
    let configuration = parsed(EVERY_TOML, Format::Toml);
    let [admin, app] = &configuration.users[..] else {
        panic!()
    };
    assert_eq!(admin.password, Some(Password::Hashed("$6$salt$hash".to_owned())));
    assert_eq!(admin.home.as_deref(), Some("/var/lib/admin"));
    assert_eq!(
        admin.groups.as_deref(),
        Some(&["wheel".to_owned(), "app".to_owned()][..])
    );
    assert_eq!(
        (admin.expires_on_day, admin.must_change_password),
        (Some(21_000), true)
    );
    assert_eq!(app.password, Some(Password::Plain("correct horse".to_owned())));
    assert_eq!(app.home.as_deref(), Some(""));
    let Storage::Mounts(mounts) = &configuration.storage else {
        panic!()
    };
    let mounts: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.mountpoint.as_str(), mount.min_bytes))
        .collect();
    assert_eq!(mounts, [("/", 10 << 30), ("/var/lib/data", 1_500_000_000)]);
    assert_eq!(configuration.services.enabled, ["app.service", "app.timer"]);
    assert_eq!(configuration.files[0].mode, Some(0o600));
    assert_eq!(
        configuration.files[0].contents,
        FileContents::Bytes(b"a\nb\n".to_vec())
    );
    assert_eq!(
        configuration.files[1].contents,
        FileContents::Local("/srv/motd".to_owned())
    );
    assert_eq!(
        configuration.directories[0].user,
        Some(Owner::Name("app".to_owned()))
    );
    assert_eq!(configuration.directories[0].group, Some(Owner::Id(1500)));
    assert_eq!(
        configuration.firewall.ports[1],
        ("8000-8100".to_owned(), "udp".to_owned())
    );
    assert_eq!(configuration.kernel_arguments.as_deref(), Some("quiet x=\"a b\""));
}

#[test]
fn a_disk_has_partitions() {
    let text = r#"
[customizations.disk]
type = "gpt"
minsize = "20 GiB"
start_offset = "8 MiB"
sector_size = 512
[[customizations.disk.partitions]]
mountpoint = "/boot/efi"
minsize = "1 GiB"
label = "ESP"
[[customizations.disk.partitions]]
type = "plain"
fs_type = "swap"
label = "swap"
minsize = 1073741824
part_label = "Swap space"
part_type = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
part_uuid = "11111111-2222-3333-4444-55555555555F"
[[customizations.disk.partitions]]
mountpoint = "/var/lib/data"
fs_type = "vfat"
minsize = "1 GiB"
[[customizations.disk.partitions]]
fs_type = "none"
minsize = "1 GiB"
[[customizations.disk.partitions]]
mountpoint = "/"
fs_type = "ext4"
minsize = "5 GiB"
"#;
    let Storage::Disk(disk) = parsed(text, Format::Toml).storage else {
        panic!()
    };
    assert_eq!(
        (disk.min_bytes, disk.start_offset_bytes),
        (Some(20 << 30), Some(8 << 20))
    );
    let kinds: Vec<_> = disk
        .partitions
        .iter()
        .map(|partition| partition.contents)
        .collect();
    use PartitionContents::{Empty, Ext4, Swap, Vfat};
    assert_eq!(kinds, [Vfat, Swap, Vfat, Empty, Ext4]);
    let swap = &disk.partitions[1];
    assert_eq!(swap.key, "customizations.disk.partitions[1]");
    assert_eq!(swap.guid.as_deref(), Some("11111111-2222-3333-4444-55555555555f"));
    assert_eq!(swap.name.as_deref(), Some("Swap space"));
    assert_eq!(swap.min_bytes, 1 << 30);
    assert_eq!(swap.mountpoint, None);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "nam = 1\n[customizations]\nhostname = \"-\"\n[[customizations.user]]\nnmae = \"a\"\n\
                [customizations.kernel]\nappend = 7\n";
    assert_eq!(
        problems(text, Format::Toml),
        [
            "1:1 nam: there is no key 'nam' (did you mean 'name'?)",
            "3:12 customizations.hostname: '-' is no host name (use letters, digits and '-', in parts between '.', 64 \
             characters at most)",
            "4:1 customizations.user[0]: the key 'name' is missing (add it; it takes a string)",
            "5:1 customizations.user[0].nmae: there is no key 'nmae' (did you mean 'name'?)",
            "7:10 customizations.kernel.append: this is an integer; the key takes a string (put it into quotes)",
        ]
    );
    let error = Configuration::parse(text.as_bytes(), Format::Toml)
        .unwrap_err()
        .in_file("config.toml");
    let shown = error.to_string();
    assert!(
        shown.starts_with("the configuration has 5 errors:\n  config.toml:1:1: nam: there"),
        "{shown}"
    );
    let one = Configuration::parse(b"\n x=1", Format::Toml).unwrap_err();
    assert!(
        one.to_string()
            .starts_with("line 2, column 2: x: there is no key"),
        "{one}"
    );
}

#[test]
fn places_count_characters() {
    let text = "{\n \"name\": \"ä€𝄞\", \"nonsense\": 1}";
    assert_eq!(
        Configuration::parse(text.as_bytes(), Format::Json)
            .unwrap_err()
            .problems[0]
            .position
            .unwrap()
            .column,
        17
    );
    let text = "name = 'ä€𝄞'\n'ä' = 1 # ä\n";
    let error = Configuration::parse(text.as_bytes(), Format::Toml).unwrap_err();
    assert_eq!(error.problems[0].position, Some(Position { line: 2, column: 1 }));
    assert_eq!(error.problems[0].key, "\"ä\"");
}

#[test]
fn strict_json_alone_is_json() {
    for (text, expected) in [
        ("{} {}", "1:4 this is no JSON: trailing characters"),
        ("{\"name\": \"a\"}\n}", "2:1 this is no JSON: trailing characters"),
        ("{\"name\": \"a\",}", "1:14 this is no JSON: key must be a string"),
        ("{\"name\": [1,]}", "1:13 this is no JSON: expected value"),
        ("// no\n{}", "1:1 this is no JSON: expected value"),
        ("{\"name\": 'a'}", "1:10 this is no JSON: expected value"),
        (
            "{\"name\": \"a\"",
            "1:12 this is no JSON: EOF while parsing an object",
        ),
        ("", "1:1 this is no JSON: EOF while parsing a value"),
        (
            "{\n\"name\": \"\\ud800\"}",
            "2:16 this is no JSON: unexpected end of hex escape",
        ),
        (
            "{\"name\": \"a\", \"name\": \"b\"}",
            "1:15 name: the key 'name' stands here twice",
        ),
        ("[]", "1:1 the file is an array, not a table of keys"),
        (
            "{\"name\": null}",
            "1:10 name: this is null; the key takes a string",
        ),
        (
            "{\"blueprint\": {}, \"name\": \"a\"}",
            "1:2 blueprint: there is no key 'blueprint'",
        ),
        (
            "{\"customizations\": {\"user\": [{\"name\": \"a\", \"uid\": 1.5}]}}",
            "1:51 customizations.user[0].uid: this is a number with a fraction or an exponent",
        ),
    ] {
        let found = problems(text, Format::Json);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(expected), "{text}: {found:?}");
    }
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(problems(&deep, Format::Json)[0].contains("more than 64 deep"));
}

#[test]
fn what_is_no_toml_is_told_with_its_place() {
    assert!(problems("name = \n", Format::Toml)[0].starts_with("1:8 this is no TOML: "));
    let twice = problems("name = 'a'\nname = 'b'\n", Format::Toml);
    assert!(
        twice[0].starts_with("2:1 this is no TOML: duplicate key"),
        "{twice:?}"
    );
    let several = problems("name = \nversion = \n", Format::Toml);
    assert_eq!(several.len(), 2, "{several:?}");
    let deep = format!("name = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!problems(&deep, Format::Toml).is_empty());
    let error = Configuration::parse(b"name = '\xff'", Format::Toml).unwrap_err();
    assert_eq!(error.problems[0].position, Some(Position { line: 1, column: 9 }));
    let long = vec![b'#'; MAX_BYTES + 1];
    assert!(
        Configuration::parse(&long, Format::Toml)
            .unwrap_err()
            .to_string()
            .contains("at most")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_a_configuration_or_have_problems(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Toml, Format::Json] {
            if let Err(error) = Configuration::parse(&bytes, format) {
                prop_assert!(!error.problems.is_empty());
            }
        }
    }

    #[test]
    fn changed_examples_have_problems_with_places(at in 0usize..4000, byte in any::<u8>(), toml in any::<bool>()) {
        let (text, format) = if toml { (EVERY_TOML, Format::Toml) } else { (EVERY_JSON, Format::Json) };
        let mut bytes = text.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Err(error) = Configuration::parse(&bytes, format) {
            for problem in &error.problems {
                prop_assert!(problem.position.unwrap().line <= text.lines().count() + 1);
            }
        }
    }
}
