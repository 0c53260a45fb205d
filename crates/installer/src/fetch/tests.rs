use super::*;

fn source(text: &str) -> KickstartSource {
    text.parse().unwrap()
}

#[test]
fn relative_files_are_beside_the_including_one() {
    for (from, expected) in [
        ("http://a.example/ks/a.cfg?x=/y", "http://a.example/ks/b/c.cfg"),
        ("http://a.example", "http://a.example/b/c.cfg"),
        ("hd:sda1:/ks/a.cfg", "hd:sda1:/ks/b/c.cfg"),
        ("cdrom", "cdrom:/b/c.cfg"),
        ("/run/a.cfg", "/run/b/c.cfg"),
    ] {
        assert_eq!(beside(&source(from), "b/c.cfg"), Some(source(expected)), "{from}");
    }
}
