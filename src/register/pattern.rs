//! Patterns of paths and content types, as `requests` of a transfer or allowance writes them.

use std::fmt;

use crate::destination::path::{PathFault, canonical, is_dot, is_irregular_token, tokens};
use crate::destination::{RequestPath, shown};

/// A pattern of request paths: `*` stands for any text within one segment, `**` for any number of segments.
///
/// What is spelled out is brought into the canonical form of [`RequestPath`]. A wildcard never stands for anything
/// irregular (see [`RequestPath::is_irregular`]): a path with a dot segment, an empty segment or an encoded slash
/// matches only where the pattern spells that out. A `*` itself is written `%2A`, which matches `%2A` only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The canonical text, for display.
    text: String,
    segments: Vec<Segment>,
}

/// Why a text is not a pattern of paths.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternFault {
    /// What is spelled out is no path.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// `**` beside other text in a segment.
    #[error("pattern `{0}` has `**` within a segment, write `*` there, or `**` as a segment of its own")]
    DoubleStar(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// `**`
    Any,
    /// Literal tokens and stars; a segment of no parts is the empty segment.
    Parts(Vec<Part>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// A character or an encoded byte.
    Literal(String),
    /// `*`
    Star,
}

impl PathPattern {
    /// Reads a pattern; it begins with a slash.
    pub fn parse(text: &str) -> Result<PathPattern, PathPatternFault> {
        if !text.starts_with('/') {
            return Err(PathFault::NoSlash(shown(text)).into());
        }
        let canonical = canonical(text)?;
        let segments =
            canonical[1..].split('/').map(|segment| Segment::parse(segment, text)).collect::<Result<_, _>>()?;
        Ok(PathPattern { text: canonical, segments })
    }

    /// The segments that are spelled out without a wildcard: they are words of the declaration, not of a request.
    pub fn literal_segments(&self) -> impl Iterator<Item = &str> {
        self.text[1..].split('/').filter(|segment| !segment.contains('*') && !segment.is_empty())
    }

    /// Whether the pattern covers `path`.
    pub fn matches(&self, path: &RequestPath) -> bool {
        let segments: Vec<&str> = path.as_str()[1..].split('/').collect();
        // reached[n]: the patterns so far can cover exactly the first n segments. One row a pattern, so that no path
        // costs more than patterns times segments.
        let mut reached = vec![false; segments.len() + 1];
        reached[0] = true;
        for pattern in &self.segments {
            reached = pattern.advance(&segments, &reached);
        }
        reached[segments.len()]
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    /// Reads one canonical segment of the pattern that was written as `whole`.
    fn parse(segment: &str, whole: &str) -> Result<Segment, PathPatternFault> {
        if segment == "**" {
            return Ok(Segment::Any);
        }
        if segment.contains("**") {
            return Err(PathPatternFault::DoubleStar(shown(whole)));
        }
        let part = |token: &str| if token == "*" { Part::Star } else { Part::Literal(token.to_owned()) };
        Ok(Segment::Parts(tokens(segment).map(part).collect()))
    }

    /// How many segments can be covered after this one, from those that can be covered before it.
    fn advance(&self, segments: &[&str], before: &[bool]) -> Vec<bool> {
        let mut after = vec![false; before.len()];
        match self {
            Segment::Any => {
                after[0] = before[0];
                for (place, segment) in segments.iter().enumerate() {
                    let last = place + 1 == segments.len();
                    after[place + 1] = before[place + 1] || after[place] && is_plain(segment, last);
                }
            }
            Segment::Parts(parts) => {
                for (place, segment) in segments.iter().enumerate() {
                    after[place + 1] = before[place] && segment_matches(parts, segment);
                }
            }
        }
        after
    }
}

/// Whether `**` may stand for a segment: nothing irregular in it, and empty only after a final slash.
fn is_plain(segment: &str, last: bool) -> bool {
    !is_dot(segment) && (last || !segment.is_empty()) && !tokens(segment).any(is_irregular_token)
}

/// Whether the parts cover a whole segment.
fn segment_matches(parts: &[Part], segment: &str) -> bool {
    let has_star = parts.contains(&Part::Star);
    if has_star && (is_dot(segment) || segment.is_empty()) {
        return false;
    }
    let tokens: Vec<&str> = tokens(segment).collect();
    let mut reached = vec![false; tokens.len() + 1];
    reached[0] = true;
    for part in parts {
        reached = part.advance(&tokens, &reached);
    }
    reached[tokens.len()]
}

impl Part {
    /// How many tokens can be covered after this part, from those that can be covered before it.
    fn advance(&self, tokens: &[&str], before: &[bool]) -> Vec<bool> {
        let mut after = vec![false; before.len()];
        match self {
            Part::Star => {
                after[0] = before[0];
                for (place, token) in tokens.iter().enumerate() {
                    after[place + 1] = before[place + 1] || after[place] && !is_irregular_token(token);
                }
            }
            Part::Literal(literal) => {
                for (place, token) in tokens.iter().enumerate() {
                    after[place + 1] = before[place] && literal == token;
                }
            }
        }
        after
    }
}

/// A pattern of content types: `image/jpeg`, `image/*` or `*/*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentTypePattern {
    /// Lower case; `*` for any.
    kind: String,
    /// Lower case; `*` for any.
    subtype: String,
}

/// Why a text is not a pattern of content types.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no content type, write `type/subtype`, `type/*` or `*/*`, without parameters")]
pub struct ContentTypeFault(String);

impl ContentTypePattern {
    /// Reads a pattern without parameters.
    pub fn parse(text: &str) -> Result<ContentTypePattern, ContentTypeFault> {
        let fault = || ContentTypeFault(shown(text));
        let (kind, subtype) = text.split_once('/').ok_or_else(fault)?;
        let fits = |part: &str| part == "*" || is_token(part) && !part.contains('*');
        if !fits(kind) || !fits(subtype) || kind == "*" && subtype != "*" {
            return Err(fault());
        }
        Ok(ContentTypePattern { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase() })
    }

    /// Whether the pattern covers the value of a Content-Type field; parameters are not looked at.
    ///
    /// A value that is no content type, two in one for example, is covered by nothing.
    pub fn matches(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let Some((kind, subtype)) = essence.split_once('/') else { return false };
        let covers =
            |pattern: &str, text: &str| is_token(text) && (pattern == "*" || pattern.eq_ignore_ascii_case(text));
        covers(&self.kind, kind) && covers(&self.subtype, subtype)
    }
}

impl fmt::Display for ContentTypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.subtype)
    }
}

/// A token of RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let pattern = PathPattern::parse(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
        let covers = |path: &str| pattern.matches(&RequestPath::parse(path).expect("a good path"));
        for path in matching {
            assert!(covers(path), "{pattern} should match {path}");
        }
        for path in others {
            assert!(!covers(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn wildcards() {
        check("/cctv/cam1", &["/cctv/cam1", "/%63ctv/cam1"], &["/cctv/cam1/", "/cctv/cam10", "/CCTV/cam1", "/cctv"]);
        check("/cctv/*", &["/cctv/cam1", "/cctv/a%20b"], &["/cctv/", "/cctv", "/cctv/a/b", "/x/cam1"]);
        check("/cctv/cam*.jpg", &["/cctv/cam1.jpg", "/cctv/cam.jpg"], &["/cctv/cam1.png", "/cctv/xcam1.jpg"]);
        check("/*a*b*/x", &["/ab/x", "/1a2ab3/x"], &["/ba/x", "/ab"]);
        check("/cctv/**", &["/cctv", "/cctv/", "/cctv/a", "/cctv/a/b/c"], &["/cctvx", "/x/cctv"]);
        check("/**", &["/", "/a", "/a/b/"], &[]);
        check("/**/x/*.jpg", &["/x/1.jpg", "/a/b/x/1.jpg"], &["/a/1.jpg", "/x/a/1.jpg"]);
        check("/a/**/b", &["/a/b", "/a/x/y/b"], &["/a", "/b", "/a/b/c"]);
    }

    #[test]
    fn irregular_paths_match_only_what_spells_them() {
        check("/**", &[], &["/a/../b", "//a", "/a//b", "/a%2Fb", "/a;b", "/a\\b", "/a%00", "/."]);
        check("/*", &["/a.b", "/..."], &["/..", "/.", "/%2e", "/a%2Fb", "/a;v=1", "/%5C", "/%C0%AF"]);
        check("/*/x", &["/a/x"], &["//x", "/../x"]);
        check("/*.*", &["/a.b"], &["/..", "/."]);
        check("/a;v=*/x", &["/a;v=1/x"], &["/a;v=1;w/x", "/a/x"]);
        check("/a/../b", &["/a/../b", "/a/%2e%2e/b"], &["/b", "/a/x/b"]);
        check("/a//b", &["/a//b"], &["/a/b", "/a/x/b"]);
        check("/p%2fq/**", &["/p%2Fq/x"], &["/p/q/x", "/p%2Fq/a%2Fb"]);
        check("/a//**", &["/a//b"], &["/a/b", "/a///b"]);
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", "cctv/*", "*", "/a**", "/**b/c", "/***", "/a?b", "/%zz", "/a b"] {
            assert!(PathPattern::parse(text).is_err(), "{text}");
        }
        let message = PathPattern::parse("/a**").expect_err("refused").to_string();
        assert_eq!(
            message,
            "pattern `/a**` has `**` within a segment, write `*` there, or `**` as a segment of its own"
        );
    }

    #[test]
    fn content_types() {
        let covers = |pattern: &str, text: &str| ContentTypePattern::parse(pattern).expect(pattern).matches(text);
        assert!(covers("image/jpeg", "image/jpeg"));
        assert!(covers("Image/JPEG", "IMAGE/jpeg ; q=1"));
        assert!(covers("image/*", "image/png"));
        assert!(covers("*/*", "text/plain; charset=utf-8"));
        assert!(!covers("image/jpeg", "image/jpg"));
        assert!(!covers("image/*", "imagex/png"));
        assert!(!covers("image/*", "image/png, text/html"));
        assert!(!covers("*/*", "nonsense"));
        assert!(!covers("*/*", ""));
        for text in ["image", "image/", "/jpeg", "*/jpeg", "image/j*", "image/jpeg; q=1", "image/a/b", "image /x"] {
            assert!(ContentTypePattern::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn wildcards_alone_match_no_irregular_path(path in "/[a.;/%25FC0\\\\]{0,20}") {
            if let Ok(path) = RequestPath::parse(&path) {
                for pattern in ["/**", "/*", "/*/**", "/**/*"] {
                    let matched = PathPattern::parse(pattern).expect("a good pattern").matches(&path);
                    prop_assert!(!(matched && path.is_irregular()), "{} matched {}", pattern, path);
                }
            }
        }

        #[test]
        fn a_path_without_stars_matches_itself(text in "/[a.;/%25FC0]{0,20}") {
            if let (Ok(path), Ok(pattern)) = (RequestPath::parse(&text), PathPattern::parse(&text)) {
                prop_assert!(pattern.matches(&path));
            }
        }
    }
}
