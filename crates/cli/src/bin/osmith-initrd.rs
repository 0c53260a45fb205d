//! The program `osmith-initrd`.

fn main() {}
