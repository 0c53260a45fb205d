//! Processors, and what they are called where.

/// A processor that a machine with UEFI may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// The processor that an image names, in Go's words.
    pub fn of_image(name: &str) -> Option<Self> {
        match name {
            "amd64" => Some(Architecture::X86_64),
            "arm64" => Some(Architecture::Aarch64),
            _ => None,
        }
    }

    /// The name in `match-architectures`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x86_64",
            Architecture::Aarch64 => "aarch64",
        }
    }

    /// The suffix of EFI programs.
    pub fn efi_suffix(self) -> &'static str {
        match self {
            Architecture::X86_64 => "x64",
            Architecture::Aarch64 => "aa64",
        }
    }
}
