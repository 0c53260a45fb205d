//! Any text is a Kickstart file or gives problems with places that can be shown; it may include itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use osmith_kickstart::{
    Dialect, Included, Includes, MissingIncludes, ParseOptions, View, parse, pre_scripts, without_secrets,
};

/// Paths with an `a` in them are the text, under a name of their own; others are missing.
struct Echo<'t>(&'t str);

impl Includes for Echo<'_> {
    fn read(&mut self, path: &str, _: &str) -> Result<Included, String> {
        match path.contains('a') {
            false => Err("there is none".to_owned()),
            true => Ok(Included {
                name: path.to_owned(),
                text: self.0.to_owned(),
            }),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // A file that includes itself in many ways is as long as all of them.
    if text.len() > 4096 {
        return;
    }
    for dialect in Dialect::ALL {
        let options = ParseOptions {
            dialect,
            missing_includes: MissingIncludes::Tolerate,
        };
        let parsed = parse("ks.cfg", &text, &options, &mut Echo(&text));
        for problem in &parsed.problems {
            assert!(problem.position.line >= 1 && problem.position.column >= 1);
            assert!(!problem.rendered().is_empty());
        }
        assert!(!parsed.is_accepted(View::Installer, false) || parsed.is_accepted(View::Language, false));
        let before = pre_scripts("ks.cfg", &text, &options, &mut Echo(&text));
        for script in before.scripts.iter().chain(&parsed.kickstart.scripts) {
            assert!(!script.body.trim().is_empty());
        }
    }
    // Covering once more may cover more, where a quote went with what was covered; but lines stay lines.
    let shown = without_secrets(&without_secrets(&text));
    assert_eq!(shown.matches('\n').count(), text.matches('\n').count());
});
