//! Archives for tests, made header by header, so that they can be as bad as they like.

/// A tar archive in the making.
#[derive(Default)]
pub(crate) struct Archive(pub(crate) Vec<u8>);

/// The fields of a header; numbers as they stand there.
pub(crate) struct Entry<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) mode: &'a [u8],
    pub(crate) size: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) major: &'a [u8],
    pub(crate) minor: &'a [u8],
}

impl Default for Entry<'_> {
    fn default() -> Self {
        Entry {
            name: b"file",
            mode: b"0000644",
            size: b"00000000000",
            kind: b'0',
            link: b"",
            major: b"0000000",
            minor: b"0000000",
        }
    }
}

impl Archive {
    /// A header, whose checksum is right.
    pub(crate) fn header(mut self, entry: Entry) -> Self {
        let mut block = [0; 512];
        let fields = [
            (0, entry.name),
            (100, entry.mode),
            (108, b"0000000"),
            (116, b"0000000"),
            (124, entry.size),
            (136, b"00000000000"),
            (148, b"        "),
            (156, &[entry.kind]),
            (157, entry.link),
            (257, b"ustar\x0000"),
            (329, entry.major),
            (337, entry.minor),
        ];
        for (at, field) in fields {
            block[at..at + field.len()].copy_from_slice(field);
        }
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&block);
        self
    }

    /// Bytes, and zeros up to a whole block.
    pub(crate) fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// An entry of that kind with content.
    pub(crate) fn sized(self, name: &str, kind: u8, content: &[u8]) -> Self {
        let size = format!("{:011o}", content.len());
        self.header(Entry {
            name: name.as_bytes(),
            size: size.as_bytes(),
            kind,
            ..Entry::default()
        })
        .data(content)
    }

    pub(crate) fn file(self, name: &str, content: &[u8]) -> Self {
        self.sized(name, b'0', content)
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.sized(name, b'5', b"")
    }

    pub(crate) fn link(self, name: &str, kind: u8, target: &str) -> Self {
        self.header(Entry {
            name: name.as_bytes(),
            kind,
            link: target.as_bytes(),
            ..Entry::default()
        })
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, key: &str, value: &[u8]) -> Self {
        let rest = key.len() + value.len() + 3;
        let length = (1..)
            .map(|digits| rest + digits)
            .find(|length| length.to_string().len() + rest == *length);
        let mut record = format!("{} {key}=", length.unwrap()).into_bytes();
        record.extend_from_slice(value);
        record.push(b'\n');
        self.sized("pax", b'x', &record)
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}
