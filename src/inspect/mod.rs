//! What a body or query is and carries, as far as this program can read it.
//!
//! An [`Inspector`] takes a body in chunks and gives [`Findings`]: what the bytes are, which categories were found in
//! them, and why they could not be read where they could not. What is not read is never clean: it is `Some(Unread)`,
//! and the policy refuses it unless the register says otherwise. No value that was found leaves this room.
//!
//! Today images and video are known by their first bytes ([`format`]) and nothing is read inside them. Hence two things
//! stay unseen: what follows an image's end in the same body, and a file that is a good image and something else at
//! once. Text, JSON, forms and documents are [`Unread::NotBuilt`]. The readers of "Seeing what leaves" fill the same
//! interface. [`protocol`] tells what the first bytes of a whole connection are.

use crate::vocabulary::Term;
use format::{Format, HEAD, Medium};
use label::Label;

pub mod format;
mod label;
pub mod protocol;

/// Takes a body as it comes and tells what it carries.
pub trait Inspector: Send {
    /// Takes the next bytes of the body, after transfer-coding and before content-coding is undone.
    fn push(&mut self, chunk: &[u8]);

    /// Tells what was found, after the last byte.
    fn findings(self: Box<Self>) -> Findings;
}

/// What a body or query is and carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What the bytes are, whatever their label says.
    pub content: Content,
    /// Categories seen, each once for every detector that saw it.
    pub found: Vec<Finding>,
    /// Why it could not be read in whole; `None` if it was.
    pub unread: Option<Unread>,
}

impl Findings {
    /// Findings of a content that could not be read.
    fn unread(content: Content, unread: Unread) -> Findings {
        Findings { content, found: Vec::new(), unread: Some(unread) }
    }
}

/// What the bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// No bytes at all.
    #[default]
    Empty,
    /// A still picture.
    Image(Format),
    /// Moving pictures.
    Video(Format),
    /// Anything else.
    Other,
}

/// A category seen, and how often; never the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The category.
    pub category: Term,
    /// How many times it was seen.
    pub count: u64,
    /// The detector that saw it.
    pub detector: &'static str,
}

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unread {
    /// The bytes are of no format known here.
    UnknownFormat,
    /// The content type says one thing and the bytes another.
    LabelDisagrees,
    /// A content-coding was not undone.
    Encoded,
    /// The format is known, but its reader is not built yet.
    NotBuilt,
    /// The bytes end too early.
    Truncated,
    /// Reading took more time, memory or depth than it may.
    OverBudget,
    /// The content is encrypted.
    Encrypted,
    /// The bytes break the rules of their format.
    Malformed,
}

impl Unread {
    /// Every reason.
    pub const ALL: [Unread; 8] = [
        Unread::UnknownFormat,
        Unread::LabelDisagrees,
        Unread::Encoded,
        Unread::NotBuilt,
        Unread::Truncated,
        Unread::OverBudget,
        Unread::Encrypted,
        Unread::Malformed,
    ];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Unread::UnknownFormat => "unknown-format",
            Unread::LabelDisagrees => "label-disagrees",
            Unread::Encoded => "encoded",
            Unread::NotBuilt => "not-built",
            Unread::Truncated => "truncated",
            Unread::OverBudget => "over-budget",
            Unread::Encrypted => "encrypted",
            Unread::Malformed => "malformed",
        }
    }
}

/// An inspector for a body with these header values.
pub fn body(content_type: Option<&str>, content_encoding: Option<&str>) -> Box<dyn Inspector> {
    let encoded = content_encoding.is_some_and(|codings| !is_identity(codings));
    Box::new(Sniffer { label: Label::read(content_type), encoded, head: Vec::new() })
}

/// Findings of a request's query, the part behind `?`.
pub fn target(query: Option<&str>) -> Findings {
    match query {
        None | Some("") => Findings::default(),
        Some(_) => Findings::unread(Content::Other, Unread::NotBuilt),
    }
}

/// Whether a Content-Encoding lists nothing but `identity`.
fn is_identity(codings: &str) -> bool {
    codings.split(',').map(str::trim).all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case("identity"))
}

/// Tells a body by its first bytes and compares it with its label.
struct Sniffer {
    label: Label,
    encoded: bool,
    /// The first bytes, at most [`HEAD`].
    head: Vec<u8>,
}

impl Inspector for Sniffer {
    fn push(&mut self, chunk: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&chunk[..room.min(chunk.len())]);
    }

    fn findings(self: Box<Self>) -> Findings {
        if self.head.is_empty() {
            return Findings::default();
        }
        // Coded bytes are not what the label speaks of, and may begin with anything.
        if self.encoded {
            return Findings::unread(Content::Other, Unread::Encoded);
        }
        let format = Format::sniff(&self.head);
        let content = match format {
            None => Content::Other,
            Some(format) => match format.medium() {
                Medium::Image => Content::Image(format),
                Medium::Video => Content::Video(format),
            },
        };
        Findings { content, found: Vec::new(), unread: self.label.compare(format) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\x00\x10JFIF\0";

    fn inspect(content_type: Option<&str>, encoding: Option<&str>, bytes: &[u8]) -> (Content, Option<Unread>) {
        let mut inspector = body(content_type, encoding);
        bytes.chunks(3).for_each(|chunk| inspector.push(chunk));
        let findings = inspector.findings();
        assert!(findings.found.is_empty());
        (findings.content, findings.unread)
    }

    #[test]
    fn no_bytes_are_empty_whatever_their_label() {
        assert_eq!(inspect(Some("image/jpeg"), Some("gzip"), b""), (Content::Empty, None));
        assert_eq!(target(None), Findings::default());
        assert_eq!(target(Some("")), Findings::default());
    }

    #[test]
    fn an_image_is_read_under_its_own_label_or_none() {
        let image = (Content::Image(Format::Jpeg), None);
        for label in
            [None, Some("image/jpeg"), Some("IMAGE/JPG; q=1"), Some("application/octet-stream"), Some("image/*")]
        {
            assert_eq!(inspect(label, None, JPEG), image, "{label:?}");
        }
        assert_eq!(inspect(Some("image/jpeg"), Some(" Identity "), JPEG), image);
    }

    #[test]
    fn label_and_bytes_that_disagree_are_unread() {
        let disagrees = Some(Unread::LabelDisagrees);
        for label in ["image/png", "video/mp4", "text/plain", "application/json", "multipart/form-data; boundary=x"] {
            assert_eq!(inspect(Some(label), None, JPEG), (Content::Image(Format::Jpeg), disagrees), "{label}");
        }
        for label in ["nonsense", "image/jpeg, text/plain", "image/svg+xml"] {
            assert_eq!(inspect(Some(label), None, JPEG).1, disagrees, "{label}");
        }
        assert_eq!(inspect(Some("image/jpeg"), None, b"name=Hassan"), (Content::Other, disagrees));
        assert_eq!(inspect(Some("image/jpeg"), None, b"\xff\xd8"), (Content::Other, disagrees));
        assert_eq!(inspect(Some("video/mp4"), None, b"name=Hassan"), (Content::Other, disagrees));
    }

    #[test]
    fn the_rest_is_unread() {
        let other = |unread| (Content::Other, Some(unread));
        assert_eq!(inspect(Some("application/json"), None, b"{}"), other(Unread::NotBuilt));
        assert_eq!(inspect(Some("text/plain; charset=utf-8"), None, b"hello"), other(Unread::NotBuilt));
        assert_eq!(inspect(Some("image/svg+xml"), None, b"<svg/>"), other(Unread::NotBuilt));
        assert_eq!(inspect(Some("application/x-thing"), None, b"hello"), other(Unread::UnknownFormat));
        assert_eq!(inspect(None, None, b"hello"), other(Unread::UnknownFormat));
        assert_eq!(inspect(Some("image/jpeg"), Some("gzip"), JPEG), other(Unread::Encoded));
        assert_eq!(inspect(Some("image/jpeg"), Some("identity, br"), JPEG), other(Unread::Encoded));
        assert_eq!(target(Some("a=b")).unread, Some(Unread::NotBuilt));
    }

    proptest! {
        #[test]
        fn only_image_and_video_are_ever_read(bytes in proptest::collection::vec(any::<u8>(), 1..80), label in "[a-z/+;* ]{0,20}") {
            let (content, unread) = inspect(Some(&label), None, &bytes);
            prop_assert!(unread.is_some() || matches!(content, Content::Image(_) | Content::Video(_)));
        }
    }
}
