//! Request paths in the one form that is matched and sent.
//!
//! Percent-encoded unreserved characters (RFC 3986 section 2.3) are decoded once; what stays encoded has upper-case
//! hex digits; the few characters that clients send raw although they may not (`"`, `<`, `|`, …) are encoded. Nothing
//! is decoded twice and no dot segment is removed: a path whose meaning depends on who reads it is *irregular*.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::shown;

/// A request path without its query, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestPath {
    text: Arc<str>,
    irregular: bool,
}

/// Why a text is not a request path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not begin with a slash.
    #[error("path `{0}` does not begin with `/`")]
    NoSlash(String),
    /// A per cent sign without two hex digits behind it.
    #[error("path `{0}` has a `%` without two hex digits behind it, write `%25` for the sign itself")]
    BadPercent(String),
    /// A character that no path has, encoded or not.
    #[error("path `{text}` has the character {character:?}, which has to be percent-encoded")]
    Character {
        /// The path as written.
        text: String,
        /// The first character that does not belong.
        character: char,
    },
}

impl RequestPath {
    /// Brings a path, without its query, into canonical form; the empty path is `/`.
    pub fn parse(text: &str) -> Result<RequestPath, PathFault> {
        let text = if text.is_empty() { "/" } else { text };
        if !text.starts_with('/') {
            return Err(PathFault::NoSlash(shown(text)));
        }
        let text = canonical(text)?;
        let irregular = is_irregular(&text);
        Ok(RequestPath { text: text.into(), irregular })
    }

    /// The canonical form: what is matched and what is sent.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether readers may disagree about this path: it has a dot segment, an empty segment before the last, an
    /// encoded slash, a backslash, a control character, a `;`, or bytes that spell one of these in overlong UTF-8.
    /// Such a path is refused unless a pattern spells the irregularity literally.
    pub fn is_irregular(&self) -> bool {
        self.irregular
    }
}

impl fmt::Display for RequestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Decodes unreserved characters once and encodes what must not stand raw.
pub(crate) fn canonical(text: &str) -> Result<String, PathFault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        match character {
            '%' => {
                let byte = hex_pair(rest.as_str()).ok_or_else(|| PathFault::BadPercent(shown(text)))?;
                rest.nth(1);
                push_byte(&mut out, byte);
            }
            '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}' | '[' | ']' => push_encoded(&mut out, character as u8),
            '#' | '?' => return Err(PathFault::Character { text: shown(text), character }),
            '!'..='~' => out.push(character),
            _ => return Err(PathFault::Character { text: shown(text), character }),
        }
    }
    Ok(out)
}

/// The byte that the first two characters spell in hexadecimal.
fn hex_pair(text: &str) -> Option<u8> {
    let digits = text.get(..2)?;
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

fn push_byte(out: &mut String, byte: u8) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        out.push(char::from(byte));
    } else {
        push_encoded(out, byte);
    }
}

fn push_encoded(out: &mut String, byte: u8) {
    write!(out, "%{byte:02X}").expect("writing to a String cannot fail");
}

/// Whether a canonical path is one that readers may disagree about.
fn is_irregular(path: &str) -> bool {
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        if is_dot(segment) || segment.is_empty() && !last || tokens(segment).any(is_irregular_token) {
            return true;
        }
    }
    false
}

/// Whether a canonical segment is `.` or `..`.
pub(crate) fn is_dot(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// The characters of a canonical segment, an encoded byte being one of them.
pub(crate) fn tokens(segment: &str) -> impl Iterator<Item = &str> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        let length = if rest.starts_with('%') { 3 } else { 1 };
        let (token, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(token)
    })
}

/// Whether a token changes a path's meaning for some readers: `;`, an encoded slash or backslash, a control
/// character, or `%C0` and `%C1`, which never occur in UTF-8 and begin an overlong `/`, `.` or `\`.
pub(crate) fn is_irregular_token(token: &str) -> bool {
    let control = |digits: &str| u8::from_str_radix(digits, 16).is_ok_and(|byte| byte.is_ascii_control());
    match token {
        ";" | "%3B" | "%2F" | "%5C" | "%C0" | "%C1" => true,
        _ => token.strip_prefix('%').is_some_and(control),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, canonical: &str, irregular: bool) {
        let path = RequestPath::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!((path.as_str(), path.is_irregular()), (canonical, irregular), "{text}");
    }

    #[test]
    fn canonical_form() {
        check("", "/", false);
        check("/cctv/cam1.jpg", "/cctv/cam1.jpg", false);
        check("/cctv/", "/cctv/", false);
        check("/%63ctv/%7Euser", "/cctv/~user", false);
        check("/a%3ab%c3%a9", "/a%3Ab%C3%A9", false);
        check("/a b".replace(' ', "%20").as_str(), "/a%20b", false);
        check("/{id}|x", "/%7Bid%7D%7Cx", false);
        check("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,=", false);
        // Decoded once, never twice.
        check("/%2541", "/%2541", false);
        check("/%252e%252e/", "/%252e%252e/", false);
    }

    #[test]
    fn irregular_paths_and_their_near_misses() {
        for text in ["/a/../b", "/a/..", "/./a", "/%2e%2E/a", "/a//b", "//a", "/a%2fb", "/a\\b", "/a%5cb", "/a%00"] {
            assert!(RequestPath::parse(text).expect(text).is_irregular(), "{text}");
        }
        for text in ["/a;b", "/a%3bb", "/a%0d%0a", "/a%7f", "/..%c0%afetc", "/%c1%9c"] {
            assert!(RequestPath::parse(text).expect(text).is_irregular(), "{text}");
        }
        for text in ["/a..b", "/...", "/a.", "/.well-known/x", "/a/", "/a%20b", "/a%c3%80", "/a%3A", "/a%25"] {
            assert!(!RequestPath::parse(text).expect(text).is_irregular(), "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["a", "*", "http://x/", "/%", "/%4", "/%zz", "/%+1", "/%4é", "/a?b", "/a#b", "/a b", "/é", "/\u{0}"]
        {
            assert!(RequestPath::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn canonical_form_is_a_fixed_point(text in "/[ -~é]{0,40}") {
            if let Ok(path) = RequestPath::parse(&text) {
                let again = RequestPath::parse(path.as_str()).expect("a canonical path is a path");
                prop_assert_eq!(again, path);
            }
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = RequestPath::parse(&text);
        }
    }
}
