//! Stories that boot a machine, one file a story below `tests/`.
