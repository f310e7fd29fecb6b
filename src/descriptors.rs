//! File descriptors: how many the process may have, and who must leave some over.
//!
//! The kernel gives out the lowest free number (POSIX.1-2017 §2.14), so a new descriptor's number tells how many are
//! taken at least. Connections and held bodies stop short of the limit: what is left over serves the log, whose next
//! segment must be made, name lookups and the admin listener.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors left over for what must always work, where the limit is not tiny.
const RESERVE: u64 = 64;
/// A client's connection, and one to the recipient.
const OF_A_CONNECTION: u64 = 2;
/// Stands for a process without a limit.
const UNLIMITED: u64 = 1 << 30;

/// The limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    limit: u64,
}

impl Descriptors {
    /// As many as the process may have now.
    pub fn of_process() -> Descriptors {
        Descriptors { limit: getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED) }
    }

    /// Raises the soft limit to the hard one: the soft one is low for programs that call select(2), which none of ours do.
    ///
    /// # Errors
    /// Whatever the kernel says; the limit stays as it was.
    pub fn raise() -> io::Result<Descriptors> {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
        Ok(Descriptors::of_process())
    }

    /// How many there may be.
    pub fn limit(self) -> u64 {
        self.limit
    }

    /// Whether a client's new connection leaves enough over, also for the connections to recipients.
    pub fn fits_client(self, new: &impl AsFd) -> bool {
        self.is_below(new, self.limit - self.reserve() - (self.limit / 8).max(self.reserve()))
    }

    /// Whether a new connection to a recipient, or a file of a held body, leaves enough over.
    pub fn fits(self, new: &impl AsFd) -> bool {
        self.is_below(new, self.limit - self.reserve())
    }

    /// How many are wanted for so many connections, where there are fewer.
    pub fn wanted_for(self, connections: usize) -> Option<u64> {
        let wanted = Descriptors::wanted(connections);
        (wanted > self.limit).then_some(wanted)
    }

    /// How many are wanted for so many connections.
    pub fn wanted(connections: usize) -> u64 {
        (connections as u64).saturating_mul(OF_A_CONNECTION).saturating_add(2 * RESERVE)
    }

    fn reserve(self) -> u64 {
        RESERVE.min(self.limit / 4)
    }

    fn is_below(self, new: &impl AsFd, ceiling: u64) -> bool {
        u64::try_from(new.as_fd().as_raw_fd()).is_ok_and(|number| number < ceiling)
    }
}

/// Whether a call failed because there are no descriptors left, in the process or in the system.
pub fn is_shortage(fault: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(fault), Some(Errno::MFILE | Errno::NFILE))
}

/// What stands for [`is_shortage`] where a descriptor was had and given back.
pub fn shortage() -> io::Error {
    rustix::io::Errno::MFILE.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_always_left_over() {
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let number = u64::try_from(file.as_raw_fd()).expect("not negative");
        let with = |limit| Descriptors { limit };
        assert!(with(1_024).fits(&file) && with(1_024).fits_client(&file));
        assert!(!with(number + 1).fits(&file), "it would be the last one");
        assert!(!with(0).fits(&file) && !with(0).fits_client(&file));
        assert!(is_shortage(&shortage()) && !is_shortage(&io::ErrorKind::NotFound.into()));
    }

    #[test]
    fn what_connections_want_is_told() {
        let limit = Descriptors { limit: 1_024 };
        assert_eq!((limit.wanted_for(448), limit.wanted_for(449)), (None, Some(1_026)));
    }
}
