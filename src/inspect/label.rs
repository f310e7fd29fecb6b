//! What a content type says about a body, and whether the bytes agree.

use super::Unread;
use super::format::Format;

/// What a content type claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// Nothing: absent, or a word for "bytes".
    Nothing,
    /// One of these formats, whose bytes are known here.
    Picture(&'static [Format]),
    /// A text or document format whose reader comes later.
    Readable,
    /// Anything else.
    Foreign,
}

impl Label {
    /// Reads the value of a Content-Type field; parameters say nothing here.
    pub(super) fn read(content_type: Option<&str>) -> Label {
        let Some(content_type) = content_type else { return Label::Nothing };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "" | "*/*" | "application/octet-stream" | "binary/octet-stream" | "application/binary" => Label::Nothing,
            other => pictures(other).map_or_else(|| text_or_foreign(other), Label::Picture),
        }
    }

    /// Why a body with this label and these bytes is unread; `None` for a picture under a label that allows it.
    pub(super) fn compare(self, format: Option<Format>) -> Option<Unread> {
        match (self, format) {
            (Label::Nothing, Some(_)) => None,
            (Label::Picture(formats), Some(format)) if formats.contains(&format) => None,
            (Label::Picture(_) | Label::Readable | Label::Foreign, Some(_)) => Some(Unread::LabelDisagrees),
            (Label::Picture(_), None) => Some(Unread::LabelDisagrees),
            (Label::Readable, None) => Some(Unread::NotBuilt),
            (Label::Nothing | Label::Foreign, None) => Some(Unread::UnknownFormat),
        }
    }
}

const IMAGES: &[Format] =
    &[Format::Jpeg, Format::Png, Format::Gif, Format::Webp, Format::Heif, Format::Avif, Format::Tiff, Format::Bmp];

const VIDEOS: &[Format] = &[
    Format::Mp4,
    Format::QuickTime,
    Format::ThreeGp,
    Format::Webm,
    Format::Matroska,
    Format::Avi,
    Format::MpegTs,
    Format::MpegPs,
];

/// One container, told apart only by brands that writers choose loosely.
const ISO_VIDEO: &[Format] = &[Format::Mp4, Format::QuickTime, Format::ThreeGp];

/// The formats that a content type, in lower case and without parameters, may stand for.
fn pictures(essence: &str) -> Option<&'static [Format]> {
    Some(match essence {
        // No proper content types, but some clients send what their user interface filters by.
        "image/*" => IMAGES,
        "video/*" => VIDEOS,
        "image/jpeg" | "image/jpg" | "image/pjpeg" => &[Format::Jpeg],
        "image/png" | "image/apng" | "image/x-png" => &[Format::Png],
        "image/gif" => &[Format::Gif],
        "image/webp" => &[Format::Webp],
        "image/heic" | "image/heif" | "image/heic-sequence" | "image/heif-sequence" => &[Format::Heif],
        "image/avif" | "image/avif-sequence" => &[Format::Avif],
        "image/tiff" | "image/tiff-fx" | "image/x-tiff" | "image/x-adobe-dng" => &[Format::Tiff],
        "image/bmp" | "image/x-bmp" | "image/x-ms-bmp" => &[Format::Bmp],
        "video/mp4" | "application/mp4" | "video/x-m4v" | "video/quicktime" => ISO_VIDEO,
        "video/3gpp" | "video/3gpp2" => ISO_VIDEO,
        "video/webm" => &[Format::Webm],
        // Every WebM file is a Matroska file.
        "video/x-matroska" | "video/matroska" => &[Format::Matroska, Format::Webm],
        "video/x-msvideo" | "video/avi" | "video/msvideo" | "video/vnd.avi" => &[Format::Avi],
        "video/mp2t" => &[Format::MpegTs],
        "video/mpeg" => &[Format::MpegPs, Format::MpegTs],
        "video/mp2p" => &[Format::MpegPs],
        _ => return None,
    })
}

/// Parts the formats whose readers "Seeing what leaves" builds from the rest.
fn text_or_foreign(essence: &str) -> Label {
    let structured = essence.ends_with("+json") || essence.ends_with("+xml");
    let family = essence.starts_with("text/") || essence.starts_with("multipart/");
    let named = matches!(
        essence,
        "application/json"
            | "application/x-ndjson"
            | "application/xml"
            | "application/x-www-form-urlencoded"
            | "application/pdf"
            | "application/zip"
            | "application/gzip"
    );
    if structured || family || named { Label::Readable } else { Label::Foreign }
}
