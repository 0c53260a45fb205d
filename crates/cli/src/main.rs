//! The program `osmith`.

fn main() {}
