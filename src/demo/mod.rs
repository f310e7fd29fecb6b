//! The case, played on this machine.

pub mod recipient;
pub mod uploader;
