//! One module an area; each command turns its arguments into a library's request and the result into output.

pub(crate) mod reference_pages;
