//! The interception authority makes room for the next one, without a client that loses its way in between.
//!
//! [`begin`] makes the next key and certificate. The present authority goes on signing leaves; behind each stands a
//! *bridge*, the present name and key under the next one's signature. So a client that trusts only the present authority
//! and one that trusts only the next both find their way, and `/ca.pem` gives both. [`finish`] lets the next take over.
//! It is the *next* one that signs the bridge: it may be made for that, while the present one may forbid authorities
//! below it (`pathlen:0`) or come from elsewhere.
//!
//! Files, beside each other: the certificate file holds present, next and bridge; the next key is `…-next` until it takes
//! over, and what it replaces is kept as `…-previous`. Each step is one rename, and a step that was interrupted is done by
//! calling the same function again. A running proxy reads the files at its next start.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, Issuer, KeyPair};

use super::authority::{AUTHORITY_DAYS, authority_name, key_matches};
use super::bundle::{AuthorityFacts, Bundle, pem};
use super::fault::{AuthorityFault, RotationFault};
use super::issue::{self, IssueFault, Validity};
use crate::secret::{self, Secret};

/// Where the next key lies until it takes over: `ca-next.key` beside `ca.key`.
pub fn next_key(key: &Path) -> PathBuf {
    beside(key, "next")
}

/// Where something lies that was replaced: `ca-previous.key` beside `ca.key`.
pub fn previous(path: &Path) -> PathBuf {
    beside(path, "previous")
}

fn beside(path: &Path, word: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{word}{extension}"))
}

/// Makes the next authority and publishes it beside the present one. Gives what its certificate says.
///
/// # Errors
/// [`RotationFault`]; the present authority is as it was.
pub fn begin(certificate: &Path, key: &Path) -> Result<AuthorityFacts, RotationFault> {
    let bundle = Bundle::read(certificate)?;
    let present = key_of(key)?;
    if !key_matches(&bundle.own, &present) {
        return Err(AuthorityFault::OtherKey { certificate: certificate.to_owned(), key: key.to_owned() }.into());
    }
    if !bundle.is_root {
        return Err(RotationFault::Subordinate(certificate.to_owned()));
    }
    if !bundle.others.is_empty() {
        return Err(RotationFault::UnderWay(certificate.to_owned()));
    }
    let next = make_key(&next_key(key))?;
    let validity = Validity::around(issue::now(), AUTHORITY_DAYS);
    let mut params = issue::root(&authority_name(&next), validity);
    params.is_ca = rcgen::IsCa::Ca(BasicConstraints::Constrained(1));
    let own = params.self_signed(&next).map_err(IssueFault::from)?;
    let facts = AuthorityFacts::of(own.der()).expect("a certificate that was just made can be read");
    let bridge = bridge(&bundle, &present, &Issuer::new(params, next), validity)?;
    let text = pem(&bundle.own) + &own.pem() + &bridge;
    replace(certificate, &text)?;
    Ok(facts)
}

/// The present authority's name and key, signed by the next one: no longer valid than the present one itself.
fn bridge(
    bundle: &Bundle,
    present: &KeyPair,
    next: &Issuer<'_, KeyPair>,
    validity: Validity,
) -> Result<String, RotationFault> {
    let facts = AuthorityFacts::of(&bundle.own).ok_or(RotationFault::Issue(IssueFault::unreadable()))?;
    let bridge = issue::bridge(&bundle.own, present, next, validity.ending_by(facts.not_after))?;
    Ok(pem(&bridge))
}

/// The next key: the one that an interrupted [`begin`] left, or a new one.
fn make_key(path: &Path) -> Result<KeyPair, RotationFault> {
    if path.exists() {
        return key_of(path);
    }
    let key = issue::key()?;
    secret::create(Secret::Key, path, &key.serialize_pem()).map_err(AuthorityFault::from)?;
    Ok(key)
}

fn key_of(path: &Path) -> Result<KeyPair, RotationFault> {
    let text = secret::read(Secret::Key, path).map_err(AuthorityFault::from)?;
    KeyPair::from_pem(&text).map_err(|_| AuthorityFault::NoKey(path.to_owned()).into())
}

/// Lets the next authority take over. Gives what its certificate says.
///
/// # Errors
/// [`RotationFault`]. After an interruption between two renames the authority cannot be loaded; the same call mends it.
pub fn finish(certificate: &Path, key: &Path) -> Result<AuthorityFacts, RotationFault> {
    let bundle = Bundle::read(certificate)?;
    let next = bundle.others.first().ok_or_else(|| RotationFault::NotBegun(certificate.to_owned()))?;
    let waiting = next_key(key);
    let next_now: &Path = if waiting.exists() { &waiting } else { key };
    if !key_matches(next, &key_of(next_now)?) {
        let (certificate, key) = (certificate.to_owned(), next_now.to_owned());
        return Err(AuthorityFault::OtherKey { certificate, key }.into());
    }
    if waiting.exists() {
        if key.exists() {
            rename(key, &previous(key))?;
        }
        rename(&waiting, key)?;
    }
    replace(&previous(certificate), &pem(&bundle.own))?;
    replace(certificate, &pem(next))?;
    AuthorityFacts::of(next).ok_or(RotationFault::Issue(IssueFault::unreadable()))
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), RotationFault> {
    let failed = |source| RotationFault::File { path: path.to_owned(), source };
    let folder = folder_of(path);
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    // It is a certificate: whoever runs the proxy, and whoever rolls it out, reads it.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable).map_err(failed)?;
    file.persist(path).map_err(|fault| failed(fault.error))?;
    sync(folder).map_err(failed)
}

fn rename(from: &Path, to: &Path) -> Result<(), RotationFault> {
    let failed = |source| RotationFault::File { path: from.to_owned(), source };
    fs::rename(from, to).and_then(|()| sync(folder_of(to))).map_err(failed)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A rename is durable when its folder is.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
