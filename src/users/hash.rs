//! Hashes of passwords: Argon2id (RFC 9106), written as a PHC string.
//!
//! New hashes have the second recommended choice of RFC 9106 §4: 64 MiB, three passes, four lanes. Others are read as long
//! as they cost a guesser no less than what OWASP calls the least, and cost this machine no more than is set aside for
//! one verification: whoever writes the file must not be able to take the proxy down with it.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::words::Password;

/// Memory of a new hash, in KiB.
const MEMORY: u32 = 64 * 1024;
/// Passes of a new hash over its memory.
const PASSES: u32 = 3;
/// Lanes of a new hash. They are computed one after another here: a second thread for each would let one client take
/// every core.
const LANES: u32 = 4;
/// Bytes of a new salt and of a new digest.
const SALT: usize = 16;
const DIGEST: usize = 32;

/// Most memory of a hash that is read, in KiB.
pub const MOST_MEMORY: u32 = 128 * 1024;
/// Least memory of a hash that is read, in KiB: OWASP's least.
const LEAST_MEMORY: u32 = 7 * 1024;
/// Least and most work of a hash that is read, in KiB times passes. OWASP's choices all have at least the first; eight
/// passes over 64 MiB are a second of a slow core.
const LEAST_WORK: u64 = 35 * 1024;
const MOST_WORK: u64 = 512 * 1024;
/// Most lanes of a hash that is read.
const MOST_LANES: u32 = 16;

/// The hash of a password. Two of the same password differ by their salts.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    digest: Vec<u8>,
}

/// Why a text is no hash that is taken. Says nothing of the hash itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashFault {
    /// Another algorithm, or no PHC string at all.
    #[error("is not `$argon2id$v=19$m=…,t=…,p=…$salt$hash`")]
    Shape,
    /// Salt or digest are not base64 without padding, or of no sensible length.
    #[error("has a salt or a digest that cannot be read")]
    Bytes,
    /// Guessing would be too cheap.
    #[error("is too weak (m={memory},t={passes}): at least m={LEAST_MEMORY} and m×t={LEAST_WORK} are asked for")]
    Weak {
        /// KiB.
        memory: u32,
        /// Passes.
        passes: u32,
    },
    /// Verifying would cost more than is set aside for it.
    #[error(
        "is too costly (m={memory},t={passes},p={lanes}): at most m={MOST_MEMORY}, p={MOST_LANES} and m×t={MOST_WORK} are verified"
    )]
    Costly {
        /// KiB.
        memory: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
}

/// The machine gives no random numbers, or no memory for a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password cannot be hashed: the machine gives no random numbers")]
pub struct NoHash;

impl Hash {
    /// Hashes a password with a new salt. Takes tens of milliseconds and 64 MiB.
    ///
    /// # Errors
    /// The machine gives no random numbers.
    pub fn of(password: &Password) -> Result<Hash, NoHash> {
        let mut hash = Hash::decoy(&[])?;
        hash.digest = hash.digest_of(password, DIGEST).ok_or(NoHash)?;
        Ok(hash)
    }

    /// The hash of no password, as costly as the costliest of these, or as a new one where there is none.
    ///
    /// # Errors
    /// The machine gives no random numbers.
    pub fn decoy(like: &[&Hash]) -> Result<Hash, NoHash> {
        let (mut salt, mut digest) = (vec![0; SALT], vec![0; DIGEST]);
        rand::fill(&mut salt).and_then(|()| rand::fill(&mut digest)).map_err(|_| NoHash)?;
        let costliest = like.iter().max_by_key(|hash| work(hash.memory, hash.passes));
        let (memory, passes, lanes) =
            costliest.map_or((MEMORY, PASSES, LANES), |hash| (hash.memory, hash.passes, hash.lanes));
        Ok(Hash { memory, passes, lanes, salt, digest })
    }

    /// Reads a PHC string.
    ///
    /// # Errors
    /// [`HashFault`].
    pub fn parse(text: &str) -> Result<Hash, HashFault> {
        let mut parts = text.strip_prefix("$argon2id$v=19$").ok_or(HashFault::Shape)?.split('$');
        let (Some(costs), Some(salt), Some(digest), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HashFault::Shape);
        };
        let mut costs = costs.split(',');
        let mut cost = |name: &str| {
            let written = costs.next().and_then(|cost| cost.strip_prefix(name)).ok_or(HashFault::Shape)?;
            // A sign or a leading zero would be another way of writing the same.
            let plain = written.bytes().all(|byte| byte.is_ascii_digit()) && !written.starts_with('0');
            written.parse::<u32>().ok().filter(|_| plain).ok_or(HashFault::Shape)
        };
        let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        if costs.next().is_some() {
            return Err(HashFault::Shape);
        }
        let work = work(memory, passes);
        if memory > MOST_MEMORY || lanes > MOST_LANES || work > MOST_WORK {
            return Err(HashFault::Costly { memory, passes, lanes });
        }
        if memory < LEAST_MEMORY || work < LEAST_WORK {
            return Err(HashFault::Weak { memory, passes });
        }
        Ok(Hash { memory, passes, lanes, salt: bytes(salt, 8)?, digest: bytes(digest, 16)? })
    }

    /// Whether this is the hash of a password. Takes as long as the hash costs, whatever the answer.
    pub fn fits(&self, password: &Password) -> bool {
        let made = self.digest_of(password, self.digest.len());
        made.is_some_and(|made| verify_slices_are_equal(&made, &self.digest).is_ok())
    }

    /// What tells this hash from every other one, for keyed digests.
    pub(super) fn identity(&self) -> impl Iterator<Item = &[u8]> {
        [self.salt.as_slice(), self.digest.as_slice()].into_iter()
    }

    fn digest_of(&self, password: &Password, length: usize) -> Option<Vec<u8>> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(length)).ok()?;
        let mut digest = vec![0; length];
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(password.as_bytes(), &self.salt, &mut digest).ok()?;
        Some(digest)
    }
}

fn work(memory: u32, passes: u32) -> u64 {
    u64::from(memory) * u64::from(passes)
}

/// At most 64 bytes: more tells nothing.
fn bytes(text: &str, least: usize) -> Result<Vec<u8>, HashFault> {
    let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| HashFault::Bytes)?;
    if (least..=64).contains(&bytes.len()) { Ok(bytes) } else { Err(HashFault::Bytes) }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hash { memory, passes, lanes, salt, digest } = self;
        let (salt, digest) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(digest));
        write!(f, "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${digest}")
    }
}

impl fmt::Debug for Hash {
    /// Says nothing of salt and digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash(m={},t={},p={})", self.memory, self.passes, self.lanes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::given(text).expect("a password")
    }

    /// From the tests of the reference implementation (P-H-C/phc-winner-argon2, `test.c`).
    const REFERENCE: [(&str, &str); 2] = [
        ("password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"),
        ("differentpassword", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94"),
    ];

    #[test]
    fn hashes_of_the_reference_implementation_are_verified() {
        for (right, text) in REFERENCE {
            let hash = Hash::parse(text).expect("a hash");
            assert!(hash.fits(&password(right)));
            assert!(!hash.fits(&password("Password")));
            assert_eq!(hash.to_string(), text);
        }
    }

    #[test]
    fn a_new_hash_has_the_costs_of_rfc_9106_and_a_salt_of_its_own() {
        let (one, other) = (Hash::of(&password("open sesame")).expect("made"), Hash::of(&password("open sesame")));
        assert!(one.to_string().starts_with("$argon2id$v=19$m=65536,t=3,p=4$"), "{one}");
        assert_ne!(Ok(&one), other.as_ref());
        let read = Hash::parse(&one.to_string()).expect("its own writing");
        assert!(read == one && read.fits(&password("open sesame")) && !read.fits(&password("open sesam")));
    }

    #[test]
    fn what_costs_too_little_or_too_much_is_refused() {
        let with = |costs: &str| Hash::parse(&format!("$argon2id$v=19${costs}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q"));
        for good in ["m=7168,t=5,p=1", "m=9216,t=4,p=1", "m=12288,t=3,p=1", "m=19456,t=2,p=1", "m=47104,t=1,p=1"] {
            assert!(with(good).is_ok(), "{good} is one of OWASP's");
        }
        assert!(with("m=131072,t=4,p=16").is_ok());
        let costly = |memory, passes, lanes| Err(HashFault::Costly { memory, passes, lanes });
        assert_eq!(with("m=4194304,t=1,p=1"), costly(4_194_304, 1, 1), "4 GiB");
        assert_eq!(with("m=131072,t=5,p=1"), costly(131_072, 5, 1));
        assert_eq!(with("m=65536,t=3,p=17"), costly(65_536, 3, 17));
        assert_eq!(with("m=4294967295,t=4294967295,p=1"), costly(u32::MAX, u32::MAX, 1), "no overflow");
        assert_eq!(with("m=7167,t=5,p=1"), Err(HashFault::Weak { memory: 7_167, passes: 5 }));
        assert_eq!(with("m=19456,t=1,p=1"), Err(HashFault::Weak { memory: 19_456, passes: 1 }));
        for bad in ["m=65536,t=3", "t=3,m=65536,p=4", "m=65536,t=3,p=4,x=1", "m=+65536,t=3,p=4", "m=065536,t=3,p=4"] {
            assert_eq!(with(bad), Err(HashFault::Shape), "{bad}");
        }
    }

    #[test]
    fn other_algorithms_and_broken_strings_are_no_hashes() {
        for bad in [
            "",
            "secret",
            "$2y$10$abcdefghijklmnopqrstuv",
            "$argon2i$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q",
            "$argon2id$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q",
            "$argon2id$v=19$m=65536,t=3,p=4$c29tc2FsdA",
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q$",
        ] {
            assert_eq!(Hash::parse(bad), Err(HashFault::Shape), "{bad}");
        }
        for bad in [
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ=$CTFhFdXPJO1aFaMaO6Mm5Q",
            "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$CTFhFdXPJO1aFaMaO6Mm5Q",
            "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$CTFh",
        ] {
            assert_eq!(Hash::parse(bad), Err(HashFault::Bytes), "{bad}");
        }
    }
}
