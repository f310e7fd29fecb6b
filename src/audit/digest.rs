//! The state folder's digest key: HMAC-SHA-256 of bodies and paths, so that a record can tell that two are equal and
//! nothing else.

use std::fmt;

use aws_lc_rs::hmac;

use crate::policy::Digest;

/// The key. Destroying its file makes all digests of a state folder meaningless.
#[derive(Clone)]
pub struct DigestKey(hmac::Key);

impl DigestKey {
    /// Length of the secret in bytes.
    pub const LENGTH: usize = 32;

    /// Takes the secret as it lies in the file.
    pub fn new(secret: &[u8; DigestKey::LENGTH]) -> DigestKey {
        DigestKey(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Digest of bytes that are all at hand.
    pub fn digest(&self, bytes: &[u8]) -> Digest {
        let mut hasher = self.hasher();
        hasher.update(bytes);
        hasher.finish()
    }

    /// Digest of bytes that come one chunk after the other.
    pub fn hasher(&self) -> Hasher {
        Hasher(hmac::Context::with_key(&self.0))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

/// A digest under way.
#[derive(Clone)]
pub struct Hasher(hmac::Context);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, chunk: &[u8]) {
        self.0.update(chunk);
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        let tag = self.0.sign();
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(tag.as_ref());
        digest
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::DigestKey;

    /// RFC 4231 gives no case with a 32-byte key; this value is from Python's `hmac`.
    #[test]
    fn is_hmac_sha_256_whole_or_in_chunks() {
        let key = DigestKey::new(&[7; 32]);
        let mut hasher = key.hasher();
        hasher.update(b"fra");
        hasher.update(b"me");
        assert_eq!(hasher.finish(), key.digest(b"frame"));
        assert_eq!(
            key.digest(b"frame").to_string(),
            "6c4670de6d07b56311b89ea37c9397057391768db4a9b1202331e65c65757e80"
        );
    }
}
