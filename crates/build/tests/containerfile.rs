//! The Containerfile language through its public face: what is read, what is found wrong, and that nothing panics.

use osmith_build::containerfile::{
    Arguments, Command, Containerfile, CopySource, Instruction, Keyword, Parsed, Severity, parse,
};
use proptest::prelude::*;

fn read(text: &str) -> Vec<Instruction> {
    let parsed = parse("Containerfile", text.as_bytes());
    assert!(!parsed.has_errors(), "{}", findings(&parsed));
    parsed.containerfile.instructions
}

fn findings(parsed: &Parsed) -> String {
    let Containerfile { source, .. } = &parsed.containerfile;
    let mut text = String::new();
    for finding in &parsed.diagnostics {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        text += &format!(
            "{severity}: {}\n{}\n",
            finding.headline(source),
            finding.excerpt(source)
        );
    }
    text
}

fn diagnose(text: &str) -> String {
    findings(&parse("Containerfile", text.as_bytes()))
}

fn run_of(instruction: &Instruction) -> (&Command, Vec<(&str, &str, bool)>, bool) {
    let Arguments::Run {
        command,
        heredocs,
        is_script,
    } = &instruction.arguments
    else {
        panic!("{instruction:?}")
    };
    let heredocs = heredocs
        .iter()
        .map(|one| (one.name.as_str(), one.body.as_str(), one.expands));
    (command, heredocs.collect(), *is_script)
}

#[test]
fn every_instruction_and_flag_is_read() {
    let text = r#"# escape=\
# syntax=anything
ARG VERSION=1 OTHER
from --platform=linux/amd64 debian:${VERSION} as base
FROM --after=base scratch
RUN --mount=type=cache,target=/a --mount=type=tmpfs,target=/b --network=none --security=sandbox true
RUN ["a", "b c"]
COPY --from=base --chown=1:2 --chmod=u+x --link --parents --exclude=a --exclude=b x "y z" /d
ADD --chown=1 --chmod=0644 --checksum=sha256:1 --link=false --keep-git-dir --unpack=true a.tar /
COPY ["a b", "/c d/"]
CMD echo hi
ENTRYPOINT ["/bin/x"]
SHELL ["/bin/bash", "-c"]
ENV a=1 b="x y" c=\ d
ENV old  value with blanks
LABEL "a b"=c
EXPOSE 80 443/tcp $PORTS
USER me:us
WORKDIR /a b
STOPSIGNAL SIGTERM
VOLUME ["/a", "/b"]
VOLUME /c /d
HEALTHCHECK --interval=1s --timeout=1s --start-period=1s --start-interval=1s --retries=3 CMD ["x"]
HEALTHCHECK NONE
ONBUILD COPY --from=base a b
MAINTAINER it's me
"#;
    let instructions = read(text);
    let names: Vec<_> = instructions.iter().map(|one| one.keyword.name()).collect();
    insta::assert_snapshot!(names.join(" "));
    let flags: Vec<_> = instructions[5].flags.iter().map(|flag| flag.name).collect();
    assert_eq!(
        flags,
        ["from", "chown", "chmod", "link", "parents", "exclude", "exclude"]
    );
    assert_eq!(instructions[5].flags_named("exclude").count(), 2);
    assert_eq!(instructions[5].flag("link").unwrap().value, None);
    let Arguments::Assignments(pairs) = &instructions[11].arguments else {
        panic!()
    };
    let pairs: Vec<_> = pairs
        .iter()
        .map(|pair| (pair.name.raw.as_str(), pair.value.as_ref().unwrap().raw.as_str()))
        .collect();
    assert_eq!(pairs, [("a", "1"), ("b", "\"x y\""), ("c", "\\ d")]);
    let Arguments::Assignments(pairs) = &instructions[12].arguments else {
        panic!()
    };
    assert_eq!(pairs[0].value.as_ref().unwrap().raw, "value with blanks");
}

#[test]
fn heredocs_in_every_position() {
    let text = "FROM scratch
RUN <<EOF
echo $a
EOF
RUN <<-'EOF' && after
\tone
\tEOF
RUN cat <<A >/a && cat 3<<\"B\" >/b
first
A
second
B
RUN cat << EOF > /x
body
EOF
RUN echo $((1 << 3))
RUN <<EOF python3
print()
EOF
RUN echo \\
  <<EOF
late
EOF
COPY <<one.txt <<'two' plain /dir/
1 $x
one.txt
2
two
ONBUILD RUN <<E
inner
E
";
    let instructions = read(text);
    let (command, heredocs, is_script) = run_of(&instructions[1]);
    assert_eq!(command, &Command::Shell("<<EOF".to_owned()));
    assert_eq!((heredocs, is_script), (vec![("EOF", "echo $a\n", true)], true));
    assert_eq!(run_of(&instructions[2]).1, [("EOF", "one\n", false)]);
    assert!(!run_of(&instructions[2]).2);
    assert_eq!(
        run_of(&instructions[3]).1,
        [("A", "first\n", true), ("B", "second\n", false)]
    );
    assert_eq!(run_of(&instructions[4]).1, [("EOF", "body\n", true)]);
    assert_eq!(run_of(&instructions[5]).1, []);
    assert_eq!(run_of(&instructions[6]).1, [("EOF", "print()\n", true)]);
    assert_eq!(run_of(&instructions[7]).1, [("EOF", "late\n", true)]);
    let Arguments::Transfer { sources, destination } = &instructions[8].arguments else {
        panic!()
    };
    assert_eq!(destination.raw, "/dir/");
    let names: Vec<_> = sources
        .iter()
        .map(|source| match source {
            CopySource::Heredoc(heredoc) => format!("{}={:?}", heredoc.name, heredoc.body),
            CopySource::Path(path) => path.raw.clone(),
        })
        .collect();
    assert_eq!(names, ["one.txt=\"1 $x\\n\"", "two=\"2\\n\"", "plain"]);
    let Arguments::Onbuild(inner) = &instructions[9].arguments else {
        panic!()
    };
    assert_eq!(run_of(inner).1, [("E", "inner\n", true)]);
}

#[test]
fn another_escape_character() {
    let instructions = read("# escape=`\nFROM scratch\nRUN a `\n  b\\\nCMD x");
    assert_eq!(instructions[1].text, "RUN a   b\\");
    assert_eq!(instructions[2].keyword, Keyword::Cmd);
}

#[test]
fn misspelt_instructions_and_flags() {
    insta::assert_snapshot!(diagnose(
        "FORM debian\nFROM debian\nRUNN <<EOF\nnot an instruction\nEOF\nCOPY --form=x a b\nRUN --frobnicate=1 x\n\
         COPY --from x /y /z\nCOPY --link=maybe a b\nCOPY --chown=1 --chown=2 a b\nZZTOP 1\n"
    ));
}

#[test]
fn arguments_that_are_missing_or_wrong() {
    insta::assert_snapshot!(diagnose(
        "FROM debian AS\nFROM debian\nRUN\nCOPY a\nADD <<E\nE\nENV a\nENV a=1 b\nENV =1\nSHELL bash -c\n\
         HEALTHCHECK curl\nONBUILD FROM x\nONBUILD\nCMD ['a', 'b']\n"
    ));
}

#[test]
fn quotes_and_variables_that_cannot_work() {
    insta::assert_snapshot!(diagnose(
        "FROM deb${ian\nFROM debian\nENV a=\"x\nENV good=1 \\\n    bad='y\nWORKDIR /${x:z}\nCOPY <<E /x\n${oops\nE\n\
         ARG a=${}\nRUN echo \"${this is for the shell\n"
    ));
}

#[test]
fn structure() {
    insta::assert_snapshot!(diagnose("RUN before\n"));
    insta::assert_snapshot!(diagnose(""));
    insta::assert_snapshot!(diagnose("# only a comment\n\n"));
    insta::assert_snapshot!(diagnose(
        "# escape=x\n# escape=`\nFROM scratch\nRUN a \\\n\n  b\n"
    ));
    insta::assert_snapshot!(diagnose("FROM scratch\nRUN <<EOF\nnever\nCLOSED too\n"));
}

#[test]
fn bytes_that_are_no_text() {
    let parsed = parse("Containerfile", b"FROM scratch\nRUN \xff\xfe\n");
    insta::assert_snapshot!(findings(&parsed));
}

/// Pieces of which Containerfiles, good and bad, are made.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "FROM",
            "RUN",
            "COPY",
            "ADD",
            "ENV",
            "ARG",
            "ONBUILD",
            "HEALTHCHECK",
            "VOLUME",
            "SHELL",
            "LABEL",
            "as",
            "--from=",
            "--link",
            "--mount=",
            "<<",
            "<<-",
            "EOF",
            "'",
            "\"",
            "\\",
            "\\\n",
            "\n",
            "\r\n",
            " ",
            "\t",
            "$",
            "${",
            "}",
            ":-",
            "%%",
            "//",
            "=",
            "[\"a\"]",
            "[",
            "]",
            "#",
            "# escape=`",
            "`",
            "/",
            "*",
            "é",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,4}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// All that must hold for any input.
fn check(bytes: &[u8]) {
    let parsed = parse("Containerfile", bytes);
    let _ = findings(&parsed);
    let source = &parsed.containerfile.source;
    for instruction in &parsed.containerfile.instructions {
        assert!(instruction.span.start < instruction.span.end);
        assert!(!source.slice(instruction.span).is_empty());
        assert_eq!(
            Keyword::parse(instruction.text.split_whitespace().next().unwrap_or_default()),
            Some(instruction.keyword)
        );
    }
    for finding in &parsed.diagnostics {
        assert!(finding.span.start <= finding.span.end && !finding.message.is_empty());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn no_text_of_its_own_words_makes_it_panic(text in pieces()) {
        check(text.as_bytes());
        check(format!("FROM scratch\n{text}").as_bytes());
    }
}
