//! Foreign text on a terminal.

/// The text on one line, without what a terminal would take for a command.
pub fn printable(text: &str) -> String {
    let characters = text.chars().map(|character| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    });
    characters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(printable("é\u{1b}[2J\nend\u{9b}"), "é\\u{1b}[2J\\nend\\u{9b}");
    }
}
