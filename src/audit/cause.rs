//! Why records cannot be written: a closed list of causes, the same words in log, metric and `/readyz`, each with what
//! is to be done.

use std::io;

/// Why records cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Too little room, noticed before anything was written: mends itself.
    NoRoom,
    /// A write or sync failed for lack of room, on a file system that cannot allocate ahead.
    LatchedEnospc,
    /// The disk failed to read or write.
    LatchedEio,
    /// The file system became read-only.
    LatchedErofs,
    /// Another fault of a write or sync.
    LatchedOther,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Cause; 5] =
        [Cause::NoRoom, Cause::LatchedEnospc, Cause::LatchedEio, Cause::LatchedErofs, Cause::LatchedOther];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::NoRoom => "no-room",
            Cause::LatchedEnospc => "latched-enospc",
            Cause::LatchedEio => "latched-eio",
            Cause::LatchedErofs => "latched-erofs",
            Cause::LatchedOther => "latched-other",
        }
    }

    /// What is to be done about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Cause::NoRoom => {
                "free space in the state folder beyond `disk.reserve`; it mends itself, no restart is needed"
            }
            Cause::LatchedEnospc => "free space in the state folder, then restart",
            Cause::LatchedEio => "see to the disk (kernel log, SMART), then restart; the start verifies the log",
            Cause::LatchedErofs => "make the file system writable again (check it first), then restart",
            Cause::LatchedOther => "mend what the log names, then restart; the start verifies the log",
        }
    }

    /// What a failed write or sync is.
    pub(super) fn of(error: &io::Error) -> Cause {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Cause::LatchedEnospc,
            Some(Errno::IO) => Cause::LatchedEio,
            Some(Errno::ROFS) => Cause::LatchedErofs,
            _ => Cause::LatchedOther,
        }
    }
}

/// A write or sync that failed, after which nobody knows what the disk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latch {
    /// What it was.
    pub cause: Cause,
    /// What failed, and how.
    pub fault: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_named_by_its_error() {
        for (number, cause) in [
            (28, Cause::LatchedEnospc),
            (122, Cause::LatchedEnospc),
            (5, Cause::LatchedEio),
            (30, Cause::LatchedErofs),
            (9, Cause::LatchedOther),
        ] {
            assert_eq!(Cause::of(&io::Error::from_raw_os_error(number)), cause);
        }
        assert_eq!(Cause::of(&io::Error::other("no number")), Cause::LatchedOther);
    }
}
