//! How records lie in a segment file: a header, then frames.
//!
//! ```text
//! segment  = header frame*
//! header   = "TASRIH1\n"  u64 base  u64 first sequence  u32 CRC32C of all before it
//! frame    = u32 length of payload  u32 CRC32C of length and payload  payload
//! payload  = a record: canonical JSON, so it begins with "{"
//!          | a batch:  "TASRIH-B"  u64 synced  u64 first sequence
//! ```
//!
//! Numbers are little-endian. A *position* counts the bytes of all segments since the log began; `base` is the position
//! of the segment's first byte, and its file is named after it. A batch stands before the records that one sync made
//! durable together; `synced` is the position up to which the log was durable before this batch was written. What is
//! damaged below the highest `synced` was acknowledged once; what is damaged above it never was.

/// Length of a segment's header in bytes.
pub const HEADER: u64 = 28;
/// Length of a batch frame in bytes.
pub const BATCH: u64 = FRAME + 24;
/// What a frame adds to its payload, in bytes.
pub const FRAME: u64 = 8;

const SEGMENT_MAGIC: &[u8; 8] = b"TASRIH1\n";
const BATCH_MAGIC: &[u8; 8] = b"TASRIH-B";
/// A length above this is damage: records are at most 60,000 bytes.
const MAX_PAYLOAD: usize = 65_535;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Position of the segment's first byte.
    pub base: u64,
    /// Sequence number of the first record that may lie in it.
    pub first: u64,
}

impl Header {
    /// The header's bytes.
    pub fn encode(self) -> Vec<u8> {
        let mut bytes = SEGMENT_MAGIC.to_vec();
        bytes.extend(self.base.to_le_bytes());
        bytes.extend(self.first.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend(checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the beginning of a segment; `None` where it is short or damaged.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let (covered, checksum) = bytes.get(..HEADER as usize)?.split_at(HEADER as usize - 4);
        let intact = covered.starts_with(SEGMENT_MAGIC) && checksum == crc32c::crc32c(covered).to_le_bytes();
        intact.then_some(Header { base: u64_at(covered, 8)?, first: u64_at(covered, 16)? })
    }
}

/// Name of the segment file whose first byte is at `base`.
pub fn segment_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// The base that a segment file's name gives; `None` for another file.
pub fn segment_base(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// Appends a record's frame to `out`.
pub fn push_record(out: &mut Vec<u8>, json: &[u8]) {
    push(out, json);
}

/// Appends a batch's frame to `out`.
pub fn push_batch(out: &mut Vec<u8>, batch: Batch) {
    let mut payload = BATCH_MAGIC.to_vec();
    payload.extend(batch.synced.to_le_bytes());
    payload.extend(batch.first.to_le_bytes());
    push(out, &payload);
}

fn push(out: &mut Vec<u8>, payload: &[u8]) {
    let length = (payload.len() as u32).to_le_bytes();
    out.extend(length);
    out.extend(checksum(length, payload).to_le_bytes());
    out.extend(payload);
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

/// What stands before the records of one sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Position up to which the log was durable before.
    pub synced: u64,
    /// Sequence number of the batch's first record.
    pub first: u64,
}

/// One intact frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The head of a batch.
    Batch(Batch),
    /// A record's JSON.
    Record(&'a [u8]),
}

/// Walks the intact frames of a segment, and stops before the first that is not.
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Frames<'a> {
    /// Begins after the header of a segment's bytes.
    pub fn of(segment: &'a [u8]) -> Frames<'a> {
        Frames::from(segment, HEADER)
    }

    /// Begins at the offset of a frame.
    pub fn from(segment: &'a [u8], offset: u64) -> Frames<'a> {
        Frames { bytes: segment, offset: usize::try_from(offset).unwrap_or(usize::MAX) }
    }

    /// Offset of the next frame: after the walk, the end of what is intact.
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = (u64, Frame<'a>);

    fn next(&mut self) -> Option<(u64, Frame<'a>)> {
        let at = self.offset;
        let (frame, length) = decode(self.bytes.get(at..)?)?;
        self.offset += length;
        Some((at as u64, frame))
    }
}

/// The highest `synced` of all intact batches that lie anywhere in `bytes`, also behind damage.
pub fn highest_synced(bytes: &[u8]) -> Option<u64> {
    let finds = memmem(bytes, BATCH_MAGIC);
    let batches = finds.filter_map(|at| match decode(bytes.get(at.checked_sub(FRAME as usize)?..)?)?.0 {
        Frame::Batch(batch) => Some(batch.synced),
        Frame::Record(_) => None,
    });
    batches.max()
}

fn decode(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let length: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let size = u32::from_le_bytes(length) as usize;
    if size > MAX_PAYLOAD {
        return None;
    }
    let payload = bytes.get(FRAME as usize..FRAME as usize + size)?;
    if bytes.get(4..8)? != checksum(length, payload).to_le_bytes() {
        return None;
    }
    Some((understand(payload)?, FRAME as usize + size))
}

fn understand(payload: &[u8]) -> Option<Frame<'_>> {
    if payload.first() == Some(&b'{') {
        return Some(Frame::Record(payload));
    }
    let batch = payload.strip_prefix(BATCH_MAGIC)?;
    Some(Frame::Batch(Batch { synced: u64_at(batch, 0)?, first: u64_at(batch, 8)? }))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn memmem<'a>(bytes: &'a [u8], wanted: &'a [u8; 8]) -> impl Iterator<Item = usize> + 'a {
    bytes.windows(wanted.len()).enumerate().filter(move |(_, window)| window == wanted).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::{Batch, Frame, Frames, Header, highest_synced, push_batch, push_record, segment_base, segment_name};

    fn segment() -> Vec<u8> {
        let mut bytes = Header { base: 7, first: 3 }.encode();
        push_batch(&mut bytes, Batch { synced: 35, first: 3 });
        push_record(&mut bytes, b"{\"a\":1}");
        push_record(&mut bytes, b"{}");
        bytes
    }

    #[test]
    fn gives_back_what_was_pushed() {
        let bytes = segment();
        assert_eq!(Header::decode(&bytes), Some(Header { base: 7, first: 3 }));
        let frames: Vec<_> = Frames::of(&bytes).map(|(_, frame)| frame).collect();
        let batch = Frame::Batch(Batch { synced: 35, first: 3 });
        assert_eq!(frames, [batch, Frame::Record(b"{\"a\":1}"), Frame::Record(b"{}")]);
        assert_eq!(highest_synced(&bytes), Some(35));
    }

    #[test]
    fn any_flipped_bit_ends_the_walk_or_spoils_the_header() {
        let bytes = segment();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let walked = Frames::of(&flipped).count();
            assert!(Header::decode(&flipped).is_none() || walked < 3, "bit {bit} was not noticed");
        }
    }

    #[test]
    fn zeros_are_no_frame() {
        let mut bytes = segment();
        bytes.extend([0; 64]);
        assert_eq!(Frames::of(&bytes).count(), 3);
    }

    #[test]
    fn names_carry_the_base() {
        assert_eq!(segment_base(&segment_name(64 << 20)), Some(64 << 20));
        assert_eq!(segment_base("lock"), None);
    }
}
