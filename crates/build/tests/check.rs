//! `osmith build --check`: what is said of a file that works and could be better.
#![allow(missing_docs)]

use std::collections::BTreeMap;

use osmith_build::check::{Checked, check};
use osmith_build::plan::{BaseImages, ImageFormat, MissingImage, Platforms, Wanted};
use osmith_image::{ImageConfig, Platform};

/// Knows one image, `known`, with the variable `BASE`.
struct Images;

impl BaseImages for Images {
    fn config(&mut self, name: &str, platform: &Platform) -> Result<ImageConfig, MissingImage> {
        let mut config = ImageConfig::new(&platform.architecture, &platform.os);
        config.config.env = vec!["BASE=1".to_owned()];
        match name {
            "known" => Ok(config),
            _ => Err(MissingImage {
                message: "it is missing".to_owned(),
                note: String::new(),
            }),
        }
    }
}

fn checked(text: &str) -> Checked {
    let platform = Platform::new("linux", "amd64");
    let wanted = Wanted {
        build_args: BTreeMap::new(),
        target: None,
        first_base: None,
        platforms: Platforms {
            target: platform.clone(),
            build: platform,
        },
        is_platform_given: false,
        contexts: BTreeMap::new(),
        format: ImageFormat::Docker,
    };
    check("Containerfile", text.as_bytes(), &wanted, &mut Images)
}

#[test]
fn every_rule_has_its_words() {
    let text = "\
ARG version
FROM known:$version AS Build
from known as scratch
FROM --platform=linux/amd64 known
FROM --platform=$TARGETPLATFORM known AS one
Maintainer somebody
ENV legacy value
ENV api_token=x
ARG DB_PASSWORD
EXPOSE 80/TCP
WORKDIR relative
WORKDIR again
CMD first one
CMD second
RUN apt-get update
RUN systemctl start nginx
RUN echo a && \\

    echo b
COPY $BASE ${none:-x} $nnone /dst/
FROM one
ENV x=$BASE y=$legacy z=$undefined
";
    insta::assert_snapshot!(checked(text).text());
    insta::assert_snapshot!(checked("ARG flavour=base\nFROM $flavor\n").text());
}

#[test]
fn rules_are_switched_off_and_made_errors_by_the_file() {
    let text = "FROM missing\nCMD run\nENV a=$b\n";
    let rules = |text: &str| -> Vec<&str> {
        checked(text)
            .warnings
            .iter()
            .map(|warning| warning.rule)
            .collect()
    };
    assert_eq!(rules(text), ["JSONArgsRecommended"]);
    assert_eq!(
        rules(&format!("# check=skip=JSONArgsRecommended\n{text}")),
        [""; 0]
    );
    assert_eq!(rules(&format!("# syntax=x\n# check=skip=all\n{text}")), [""; 0]);
    let strict = checked(&format!("# check=error=true;skip=Maintainr\n{text}"));
    assert!(
        strict.has_failed() && strict.text().contains("there is no rule `Maintainr`"),
        "{}",
        strict.text()
    );
    assert_eq!(
        rules("FROM known AS k\nARG n=1\nENV a=$n b=$BASE\nUSER $n\nWORKDIR /$n\n"),
        [""; 0]
    );
}

#[test]
fn errors_are_found_all_at_once() {
    let checked = checked("FROM missing\nRUN --mount=type=cach,target=/x true\nCOPPY a b\n");
    assert!(checked.has_failed());
    let checked = checked_text("FROM missing\nSTOPSIGNAL SIGTREM\nEXPOSE x\nCMD a\n");
    assert_eq!(checked, 3);
}

fn checked_text(text: &str) -> usize {
    checked(text).warnings.len()
}
