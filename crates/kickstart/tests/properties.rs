//! Whatever a file says, it is read to the end, and what is told of it keeps its secrets.

use osmith_kickstart::{
    Dialect, Included, Includes, Level, MissingIncludes, NoIncludes, ParseOptions, View, parse, pre_scripts,
    without_secrets,
};
use proptest::prelude::*;

/// Every path is this text, including itself.
struct Echo(String);

impl Includes for Echo {
    fn read(&mut self, path: &str, _: &str) -> Result<Included, String> {
        Ok(Included {
            name: path.to_owned(),
            text: self.0.clone(),
        })
    }
}

/// Pieces that lines are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "part",
            "/",
            "--size=10",
            "--grow",
            "network",
            "--device=",
            "rootpw",
            "user",
            "--name=a",
            "%pre",
            "%post",
            "%end",
            "%include",
            "a",
            "'",
            "\"",
            "\\",
            "#",
            "\n",
            "\n",
            "\r\n",
            " ",
            " ",
            "--",
            "=",
            "é",
            "\u{feff}",
            "bootc",
            "--source-imgref=registry:a/b",
            "%packages",
            "raid",
            "logvol",
            "--password=s",
            "autopart",
            "%certificate",
            "--filename=a",
            "clearpart",
            "--all",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

fn file() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

/// A word in one of the ways that it can be quoted.
fn quoted(word: &str, way: u8) -> String {
    match way % 3 {
        0 if !word.contains('\'') => format!("'{word}'"),
        1 => format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")),
        _ => word.chars().map(|character| format!("\\{character}")).collect(),
    }
}

proptest! {
    #[test]
    fn any_file_is_read_to_its_end(text in file(), strict: bool) {
        for dialect in Dialect::ALL {
            let options = ParseOptions { dialect, missing_includes: MissingIncludes::Tolerate };
            let parsed = parse("ks.cfg", &text, &options, &mut Echo(text.clone()));
            let lines = text.lines().count().max(1);
            for problem in &parsed.problems {
                prop_assert!((1..=lines).contains(&problem.position.line));
                prop_assert!(problem.position.column >= 1);
                prop_assert!(!problem.rendered().is_empty());
            }
            let in_order = |file: &str| {
                let of_file = parsed.problems.iter().filter(|problem| &*problem.position.file == file);
                let places: Vec<_> = of_file.map(|p| (p.position.line, p.position.column)).collect();
                places.is_sorted()
            };
            prop_assert!(in_order("ks.cfg"));
            // Who refuses less accepts more.
            let accepted = |view, strict| parsed.is_accepted(view, strict);
            prop_assert!(!accepted(View::Installer, strict) || accepted(View::Language, strict));
            prop_assert!(!accepted(View::Language, true) || accepted(View::Language, false));
            prop_assert_eq!(&parsed, &parse("ks.cfg", &text, &options, &mut Echo(text.clone())));
            let scripts = pre_scripts("ks.cfg", &text, &options, &mut NoIncludes).scripts;
            if !text.contains("%include") {
                let all: Vec<_> = parsed.kickstart.scripts_of(osmith_kickstart::Section::Pre).cloned().collect();
                prop_assert_eq!(scripts, all);
            }
        }
    }

    #[test]
    fn a_word_comes_through_however_it_is_quoted(word in "[^\\n\\r\\p{C}]{1,20}", way: u8) {
        let text = format!("bootloader --append={}\n", quoted(&word, way));
        let parsed = parse("ks.cfg", &text, &ParseOptions::default(), &mut NoIncludes);
        prop_assert_eq!(parsed.problems.iter().filter(|p| p.level == Level::Error).count(), 0, "{}", text);
        let append = parsed.kickstart.bootloader.and_then(|bootloader| bootloader.append);
        prop_assert_eq!(append.as_deref(), Some(word.as_str()));
    }

    #[test]
    fn secrets_are_in_nothing_that_is_shown(
        secret in "-{0,2}[A-Z]{12}( [A-Z]{3})?",
        way: u8,
        line in prop::sample::select(vec![
            "rootpw @", "rootpw -- @", "user --name=a --password @", "rootpw --iscrypted @ extra", "user --name=a --password=@ --frob", "user --passwrd=@",
            "part / --encrypted --passphrase=@ --siz", "autopart --encrypted --passphrase @ --frob",
            "network --wpakey=@ --essid=x", "bootloader --password=@ x", "sshpw --username=root @ --frob",
            "rhsm --activation-key=@", "raid / --passphrase=@", "rootpw @ x y z", "# rootpw @", "rdp --password=@ x",
            "iscsi --password=@ --reverse-password=@", "frob --password=@",
            "%include https://@@host/ks", "updates https://@@host/a", "url --url=https://@@host x",
        ]),
    ) {
        let text = line.replacen('@', &quoted(&secret, way), 1) + "\n";
        // Escaped characters hide nothing from a reader.
        let plain = |text: &str| text.replace('\\', "");
        prop_assert!(!plain(&without_secrets(&text)).contains(&secret), "{}", without_secrets(&text));
        let parsed = parse("ks.cfg", &text, &ParseOptions::default(), &mut NoIncludes);
        for problem in &parsed.problems {
            prop_assert!(!plain(&problem.rendered()).contains(&secret), "{}", problem.rendered());
        }
        let debug = format!("{:?}", parsed.kickstart);
        prop_assert!(!debug.contains(&secret));
    }

    #[test]
    fn lines_stay_lines_without_their_secrets(text in file()) {
        let shown = without_secrets(&without_secrets(&text));
        prop_assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
    }
}
