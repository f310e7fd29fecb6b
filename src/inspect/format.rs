//! Formats of images and video, told by their first bytes.
//!
//! Sources are the formats' own specifications (named at each test below). A format with a weak signature is believed
//! only when the fields behind it make sense too.

use std::fmt;

/// How many bytes of a body are looked at: five packets of an MPEG transport stream, the longest signature here.
pub const HEAD: usize = 1024;

/// A format of pictures, still or moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// JPEG.
    Jpeg,
    /// PNG, animated or not.
    Png,
    /// GIF.
    Gif,
    /// WebP.
    Webp,
    /// HEIF and HEIC, still or sequence.
    Heif,
    /// AVIF, still or sequence.
    Avif,
    /// TIFF, BigTIFF and the raw formats built on them.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// MP4 and its kin.
    Mp4,
    /// QuickTime.
    QuickTime,
    /// 3GPP and 3GPP2.
    ThreeGp,
    /// WebM.
    Webm,
    /// Matroska.
    Matroska,
    /// AVI.
    Avi,
    /// MPEG transport stream, with or without time codes (M2TS).
    MpegTs,
    /// MPEG program stream.
    MpegPs,
}

/// Still or moving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// Still pictures.
    Image,
    /// Moving pictures.
    Video,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 16] = [
        Format::Jpeg,
        Format::Png,
        Format::Gif,
        Format::Webp,
        Format::Heif,
        Format::Avif,
        Format::Tiff,
        Format::Bmp,
        Format::Mp4,
        Format::QuickTime,
        Format::ThreeGp,
        Format::Webm,
        Format::Matroska,
        Format::Avi,
        Format::MpegTs,
        Format::MpegPs,
    ];

    /// The word in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::Gif => "gif",
            Format::Webp => "webp",
            Format::Heif => "heif",
            Format::Avif => "avif",
            Format::Tiff => "tiff",
            Format::Bmp => "bmp",
            Format::Mp4 => "mp4",
            Format::QuickTime => "quicktime",
            Format::ThreeGp => "3gp",
            Format::Webm => "webm",
            Format::Matroska => "matroska",
            Format::Avi => "avi",
            Format::MpegTs => "mpeg-ts",
            Format::MpegPs => "mpeg-ps",
        }
    }

    /// Whether its pictures are still or moving.
    pub fn medium(self) -> Medium {
        match self {
            Format::Jpeg | Format::Png | Format::Gif | Format::Webp => Medium::Image,
            Format::Heif | Format::Avif | Format::Tiff | Format::Bmp => Medium::Image,
            Format::Mp4 | Format::QuickTime | Format::ThreeGp | Format::Webm => Medium::Video,
            Format::Matroska | Format::Avi | Format::MpegTs | Format::MpegPs => Medium::Video,
        }
    }

    /// Tells a format by the first bytes of a body, of which at most [`HEAD`] are looked at.
    pub fn sniff(head: &[u8]) -> Option<Format> {
        let head = &head[..head.len().min(HEAD)];
        let signature = SIGNATURES.iter().find(|(signature, _)| head.starts_with(signature)).map(|(_, format)| *format);
        signature
            .or_else(|| riff(head))
            .or_else(|| iso_media(head))
            .or_else(|| matroska(head))
            .or_else(|| is_bitmap(head).then_some(Format::Bmp))
            .or_else(|| is_transport_stream(head).then_some(Format::MpegTs))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Signatures that need nothing behind them.
const SIGNATURES: [(&[u8], Format); 10] = [
    // ISO/IEC 10918-1 annex B: SOI, then the first byte of another marker.
    (b"\xff\xd8\xff", Format::Jpeg),
    // PNG section 5.2.
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    // TIFF 6.0 section 2 in both byte orders, and BigTIFF with its fixed offset size.
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"II+\0\x08\0", Format::Tiff),
    (b"MM\0+\0\x08", Format::Tiff),
    // ISO/IEC 13818-1: a pack header. ISO/IEC 13818-2: a sequence header of bare video.
    (b"\0\0\x01\xba", Format::MpegPs),
    (b"\0\0\x01\xb3", Format::MpegPs),
];

/// RIFF containers: WebP and AVI.
fn riff(head: &[u8]) -> Option<Format> {
    match (head.get(..4)?, head.get(8..12)?) {
        (b"RIFF", b"WEBP") => Some(Format::Webp),
        (b"RIFF", b"AVI ") => Some(Format::Avi),
        _ => None,
    }
}

/// ISO base media files (ISO/IEC 14496-12): a first box `ftyp` with brands, or the older QuickTime without one.
fn iso_media(head: &[u8]) -> Option<Format> {
    let size = u32::from_be_bytes(head.first_chunk::<4>().copied()?) as usize;
    match head.get(4..8)? {
        b"ftyp" => brands(head, size),
        // QuickTime files from before `ftyp` begin with one of these; the size keeps plain text out.
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" if size <= 1 || size >= 8 && head[0] < 0x20 => {
            Some(Format::QuickTime)
        }
        _ => None,
    }
}

/// The format that the brands of `ftyp` name: the major one, or, where that only names a structure, the first
/// compatible one that says more.
fn brands(head: &[u8], size: usize) -> Option<Format> {
    let end = size.clamp(12, head.len().max(12));
    let major = head.get(8..12)?;
    let compatible = head.get(16..end).unwrap_or_default().chunks_exact(4);
    // Sound alone is no picture: what an audio file carries is not known here.
    if matches!(major, b"M4A " | b"M4B " | b"M4P " | b"F4A " | b"F4B ") {
        return None;
    }
    // `mif1` and `msf1` are the structure that HEIF and AVIF share; without a coding's brand it is HEIF.
    let otherwise = if matches!(major, b"mif1" | b"msf1") { Format::Heif } else { Format::Mp4 };
    Some(std::iter::once(major).chain(compatible).find_map(brand).unwrap_or(otherwise))
}

/// The format that one brand names, if it names one.
fn brand(brand: &[u8]) -> Option<Format> {
    match brand {
        b"avif" | b"avis" => Some(Format::Avif),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"hevm" | b"hevs" => Some(Format::Heif),
        b"qt  " => Some(Format::QuickTime),
        [b'3', b'g', _, _] => Some(Format::ThreeGp),
        [b'm', b'p', b'4', _] | b"isom" | b"avc1" | b"M4V " | b"dash" => Some(Format::Mp4),
        _ => None,
    }
}

/// EBML with the document type of Matroska or WebM within the first bytes.
fn matroska(head: &[u8]) -> Option<Format> {
    let body = head.strip_prefix(b"\x1a\x45\xdf\xa3")?;
    let has = |name: &[u8]| body.windows(name.len()).any(|window| window == name);
    // Element 0x4282 is DocType; its one-byte length stands between.
    if has(b"\x42\x82\x84webm") {
        return Some(Format::Webm);
    }
    has(b"\x42\x82\x88matroska").then_some(Format::Matroska)
}

/// `BM`, reserved zeros, and the size of a known information header.
fn is_bitmap(head: &[u8]) -> bool {
    let header = head.get(14..18).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    head.starts_with(b"BM")
        && head.get(6..10) == Some(&[0; 4])
        && matches!(header, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// Packets of 188 bytes, or 192 with a time code before each, all in sync as far as the head goes; three at least.
fn is_transport_stream(head: &[u8]) -> bool {
    let in_sync = |first: usize, length: usize| {
        let mut packets = (first..).step_by(length).map_while(|start| head.get(start..start + 4));
        let plausible = |packet: &[u8]| packet[0] == 0x47 && packet[1] & 0x80 == 0 && packet[3] & 0x30 != 0;
        head.len() >= first + 2 * length + 4 && packets.all(plausible)
    };
    in_sync(0, 188) || in_sync(4, 192)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(head: &[u8], expected: Option<Format>) {
        assert_eq!(Format::sniff(head), expected, "{:?}", head.escape_ascii().to_string());
    }

    /// Packets of `length` bytes whose sync byte lies behind `first` others.
    fn packets(count: usize, first: usize, length: usize) -> Vec<u8> {
        let packet: Vec<u8> = [vec![0; first], b"\x47\x40\x00\x10".to_vec(), vec![0xff; length - first - 4]].concat();
        packet.repeat(count)
    }

    #[test]
    fn signatures_and_their_near_misses() {
        check(b"\xff\xd8\xff\xe1\0\x10Exif", Some(Format::Jpeg));
        check(b"\xff\xd8\xff", Some(Format::Jpeg));
        check(b"\xff\xd8", None);
        check(b"\xff\xd8\x00\xe1", None);
        check(b"x\xff\xd8\xff\xe1", None);
        check(b"\x89PNG\r\n\x1a\n\0\0", Some(Format::Png));
        check(b"\x89PNG\n\x1a\n\0\0", None);
        check(b"GIF89a...", Some(Format::Gif));
        check(b"GIF88a...", None);
        check(b"II*\0\x08\0\0\0", Some(Format::Tiff));
        check(b"MM\0*\0\0\0\x08", Some(Format::Tiff));
        check(b"II\0*", None);
        check(b"\0\0\x01\xba\x44", Some(Format::MpegPs));
        check(b"\0\0\x01\xbc\x44", None);
        check(b"", None);
    }

    #[test]
    fn containers_and_their_near_misses() {
        check(b"RIFF\x10\0\0\0WEBPVP8 ", Some(Format::Webp));
        check(b"RIFF\x10\0\0\0AVI LIST", Some(Format::Avi));
        check(b"RIFF\x10\0\0\0WAVEfmt ", None);
        check(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", Some(Format::Webm));
        check(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x88matroska", Some(Format::Matroska));
        check(b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01", None);
        check(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", Some(Format::Mp4));
        check(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", Some(Format::QuickTime));
        check(b"\0\0\0\x14ftyp3gp4\0\0\0\x003gp4", Some(Format::ThreeGp));
        check(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Some(Format::Heif));
        check(b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", Some(Format::Avif));
        check(b"\0\0\0\x14ftypmif1\0\0\0\0mif1avif", Some(Format::Heif));
        check(b"\0\0\0\x18ftypXXXX\0\0\0\0YYYYZZZZ", Some(Format::Mp4));
        check(b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42", None);
        check(b"\0\0\0\x18ftyp", None);
        check(b"\0\0\x01\0moov\0\0", Some(Format::QuickTime));
        check(b"tax free\n", None);
    }

    #[test]
    fn weak_signatures_need_what_stands_behind_them() {
        let bitmap =
            |reserved: &[u8], header: u8| [b"BM\x36\0\0\0", reserved, b"\x36\0\0\0", &[header, 0, 0, 0]].concat();
        check(&bitmap(&[0; 4], 40), Some(Format::Bmp));
        check(&bitmap(b"\0\0\x01\0", 40), None);
        check(&bitmap(&[0; 4], 41), None);
        check(b"BMW, a maker of cars", None);
        check(&packets(3, 0, 188), Some(Format::MpegTs));
        check(&packets(20, 0, 188), Some(Format::MpegTs));
        check(&packets(3, 4, 192), Some(Format::MpegTs));
        check(&packets(2, 0, 188), None);
        check(&packets(3, 0, 187), None);
        check(&b"Good morning. ".repeat(60), None);
    }

    #[test]
    fn words_are_unlike() {
        let words: std::collections::BTreeSet<&str> = Format::ALL.map(Format::as_str).into_iter().collect();
        assert_eq!(words.len(), Format::ALL.len());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_text_is_a_picture(bytes in proptest::collection::vec(any::<u8>(), 0..1200), text in "[ -~\n]{0,300}") {
            let _ = Format::sniff(&bytes);
            let signed = ["GIF87a", "GIF89a"].iter().any(|signature| text.starts_with(signature));
            prop_assert!(signed || Format::sniff(text.as_bytes()).is_none());
        }
    }
}
