//! Rust source as text: taking out what is not code, and listing the paths that are left.
//!
//! A small scanner and no parser: it knows comments, string and character literals, `use` trees and paths, which is all
//! that the floors need. A path that a macro puts together is not seen; the compiler's privacy still holds there.

/// The source without comments, literals and unit tests. What is removed leaves a space.
pub fn prose_removed(text: &str) -> String {
    without_tests(&without_literals(text))
}

fn without_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        match skipped(rest, kept.chars().next_back()) {
            Some(length) => {
                kept.push(' ');
                at += length;
            }
            None => {
                let character = rest.chars().next().expect("`at` is below the length, on a boundary");
                kept.push(character);
                at += character.len_utf8();
            }
        }
    }
    kept
}

/// Length of the comment or literal that `rest` begins with.
fn skipped(rest: &str, before: Option<char>) -> Option<usize> {
    let after_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if !after_word && let Some(length) = raw_string(rest) {
        return Some(length);
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    rest.starts_with('\'').then(|| character(rest)).flatten()
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        match (here.starts_with(b"/*"), here.starts_with(b"*/")) {
            (true, _) => (depth, at) = (depth + 1, at + 2),
            (_, true) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#` and their byte and C forms.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let open = prefix.len() + hashes;
    if !rest[open..].starts_with('"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = rest[open + 1..].find(&close).map_or(rest.len(), |found| open + 1 + found + close.len());
    Some(end)
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (position, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return position + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; a lifetime (`'a`) is none.
fn character(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        return Some(quoted(rest, '\''));
    }
    let (position, second) = characters.next()?;
    (second == '\'').then_some(position + 1)
}

/// Cuts `#[cfg(test)] mod name { … }`: unit tests may read files and look upwards. Braces in literals are gone already.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let Some(start) = code.find(MARK) else { return code.to_owned() };
    let (before, after) = (&code[..start], &code[start + MARK.len()..]);
    let module = after.trim_start().starts_with("mod ");
    let end = if module { block_end(after) } else { 0 };
    format!("{before} {}", without_tests(&after[end..]))
}

/// Where the first block or statement of `code` ends.
fn block_end(code: &str) -> usize {
    let mut depth = 0;
    for (position, character) in code.char_indices() {
        match character {
            ';' if depth == 0 => return position + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return position + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Every path of two or more segments, and every path of a `use`, with its tree spread out: `use a::{b, c::d};` gives
/// `a::b` and `a::c::d`.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let fresh = at == 0 || tokens[at - 1] != "::";
        if tokens[at] == "use" {
            at = tree(&tokens, at + 1, &[], &mut found);
        } else if fresh && is_word(&tokens[at]) && tokens.get(at + 1).is_some_and(|next| next == "::") {
            at = tree(&tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Words, `::`, and single characters.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut characters = code.chars().peekable();
    while let Some(character) = characters.next() {
        let mut token = character.to_string();
        if is_word(&token) {
            while let Some(next) = characters.next_if(|next| next.is_alphanumeric() || *next == '_') {
                token.push(next);
            }
        } else if character == ':' && characters.next_if_eq(&':').is_some() {
            token.push(':');
        }
        if !character.is_whitespace() {
            tokens.push(token);
        }
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Reads one path or tree from `at`, adds what it names to `found`, and gives the position behind it.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            // `a::b::<T>` and `a::*` end the path; what follows is read on its own.
            Some(word) if is_word(word) => path.push(word.to_owned()),
            Some("::") => {}
            Some("{") if at > 0 && (tokens[at - 1] == "::" || tokens[at - 1] == "use" || path.is_empty()) => {
                return group(tokens, at + 1, &path, found);
            }
            _ => break,
        }
        at += 1;
        let follows = tokens.get(at).is_some_and(|next| next == "::") || tokens[at - 1] == "::";
        if !follows {
            break;
        }
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    at
}

/// Reads the branches of a group, up to and past its closing brace.
fn group(tokens: &[String], mut at: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "}" => return at + 1,
            "," => at += 1,
            // `as name` renames the branch before it.
            "as" => at += 2,
            _ => at = tree(tokens, at, prefix, found).max(at + 1),
        }
    }
    at
}
