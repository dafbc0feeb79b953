//! Tells Rust code from its comments and literals.
//!
//! Called by the rules in `text`. Pure. It must never fail: on text that is no valid Rust it gives
//! something of the same number of lines.

/// The text with comments and the contents of literals blanked; lines stay where they were.
pub(crate) fn code_only(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < characters.len() {
        let rest = &characters[at..];
        let before = at.checked_sub(1).map(|index| characters[index]);
        match skipped(rest, before) {
            Some(length) => {
                let blank = |&c: &char| if c == '\n' { '\n' } else { ' ' };
                code.extend(rest[..length.min(rest.len())].iter().map(blank));
                at += length;
            }
            None => {
                code.push(rest[0]);
                at += 1;
            }
        }
    }
    code
}

/// Length of the comment or literal that starts here, if one does.
fn skipped(rest: &[char], before: Option<char>) -> Option<usize> {
    match (rest[0], rest.get(1)) {
        ('/', Some('/')) => Some(rest.iter().position(|&c| c == '\n').unwrap_or(rest.len())),
        ('/', Some('*')) => Some(block_comment(rest)),
        ('"', _) => Some(string(rest)),
        ('r', Some('"' | '#')) if !before.is_some_and(continues_word) || before == Some('b') => {
            raw_string(rest)
        }
        ('\'', _) => character(rest),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#` and so on; none for a raw identifier such as `r#type`.
fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let mut at = 2 + hashes;
    while at < rest.len() {
        let closing = rest[at + 1..]
            .iter()
            .take(hashes)
            .filter(|&&c| c == '#')
            .count();
        if rest[at] == '"' && closing == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(rest.len())
}

/// A character literal; none for a lifetime.
fn character(rest: &[char]) -> Option<usize> {
    match (rest.get(1), rest.get(2)) {
        // The escaped character itself may be a quote.
        (Some('\\'), _) => rest
            .iter()
            .skip(3)
            .position(|&c| c == '\'')
            .map(|length| length + 4),
        (Some(_), Some('\'')) => Some(3),
        _ => None,
    }
}

/// Whether a character can be a part of an identifier.
pub(crate) fn continues_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[track_caller]
    fn check(input: &str, want: &str) {
        assert_eq!(code_only(input), want);
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check("a // b\nc", "a     \nc");
        check("a /* /* b */\n */ c", "a           \n    c");
        check("f(\"}\\\"{\") }", "f(      ) }");
        check("r\"\\\" }", "     }");
        check("r#\"}\"#}", "      }");
        check("br\"}\"}", "b    }");
        check("'{' '\\'' '\\u{7d}' }", "                  }");
    }

    #[test]
    fn lifetimes_and_raw_names_stay() {
        check("fn f<'a>(r#type: &'a str) {", "fn f<'a>(r#type: &'a str) {");
        check("'outer: loop {", "'outer: loop {");
    }
}
