//! Policy files and what is said of them: faulty ones, near misses that load, the canonical form, sources, and the
//! registers of earlier releases.

#[path = "register/canonical.rs"]
mod canonical;
#[path = "register/command.rs"]
mod command;
#[path = "register/fixtures.rs"]
mod fixtures;
#[path = "register/golden.rs"]
mod golden;
#[path = "register/identify.rs"]
mod identify;
#[path = "register/robust.rs"]
mod robust;
#[path = "register/schema.rs"]
mod schema;
