//! The documents behind a transfer: whether the files are there and are the ones that the register means.

use super::{Lint, Linting};

/// What lies at the path of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A file, by its SHA-256 in lower-case hex.
    File(String),
    /// Nothing.
    Missing,
    /// Something that cannot be read, and why.
    Unreadable(String),
}

pub(super) fn lint(linting: &Linting<'_>, look: &dyn Fn(&str) -> Found) {
    for (transfer, places) in linting.declared.transfers.entries() {
        for (position, document) in transfer.documents.iter().enumerate() {
            let Some(file) = &document.file else { continue };
            let place = places.of(&format!("documents[{position}].file"));
            let title = &document.title;
            match look(file) {
                Found::Missing => linting.warn(
                    place,
                    Lint::DocumentMissing,
                    format!("document \"{title}\": there is no file `{file}`"),
                    "put it there, or correct the path; paths begin at the folder of the policy files",
                ),
                Found::Unreadable(cause) => linting.warn(
                    place,
                    Lint::DocumentMissing,
                    format!("document \"{title}\": the file `{file}` cannot be read: {cause}"),
                    "make it readable for the user that runs the proxy",
                ),
                Found::File(found) => {
                    if document.sha256.as_ref().is_some_and(|declared| *declared != found) {
                        linting.warn(
                            places.of(&format!("documents[{position}].sha256")),
                            Lint::DocumentDiffers,
                            format!("document \"{title}\": the file `{file}` is another one than was declared"),
                            format!("bring the declared file back, or declare this one: `sha256: {found}`"),
                        );
                    }
                }
            }
        }
    }
}
