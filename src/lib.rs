//! Tasrih is the customs post of an organisation's network: personal data leaves only under a declaration.
//!
//! This page is the map. The house has six floors; a file uses its own floor and those below it, and
//! `tests/architecture.rs` reads the source to keep it so.
//!
//! ```text
//! 5 ENTRY       main.rs  cli/
//! 4 ASSEMBLY    app.rs  app/  reload.rs  reload/  demo/  admin/
//! 3 DATA PATH   proxy/
//! 2 ADAPTERS    upstream/  tls/  audit/  archive.rs  archive/  docket.rs  docket/  metrics/  users/  folder.rs
//! 2             secret.rs  logging.rs  clock.rs  service.rs  descriptors.rs
//! ==== purity line: no sockets, files, clocks or runtimes are named below ====
//! 1 DECISION    config/  register/  policy/  record/  flow/
//! 0 VOCABULARY  destination/  vocabulary/  inspect/
//! ```
//!
//! Start with `proxy::exchange`: the life of an exchange, from first byte to last record, in one function. What it
//! asks is decided in [`policy`], from a [`register`]; what it leaves behind is a [`record`] that [`audit`] keeps.
//!
//! Three promises outrank everything else:
//!
//! 1. **No declaration, no byte.** Only [`policy`] can make a `Permit`, and the dialer takes nothing else.
//! 2. **No record, no byte.** Only [`audit`] can make a `Recorded`, and nothing is sent without one.
//! 3. **No trust needed.** The log is checked with public tools and a public key (built with "Evidence that stands alone").

// 0 VOCABULARY
pub mod destination;
pub mod inspect;
pub mod vocabulary;

// 1 DECISION
pub mod config;
pub mod flow;
pub mod policy;
pub mod record;
pub mod register;

// 2 ADAPTERS
pub mod archive;
pub mod audit;
pub mod clock;
pub mod descriptors;
pub mod docket;
pub mod folder;
pub mod logging;
pub mod metrics;
pub mod secret;
pub mod service;
pub mod tls;
pub mod upstream;
pub mod users;

// 3 DATA PATH
pub mod proxy;

// 4 ASSEMBLY
pub mod admin;
pub mod app;
pub mod demo;
pub mod reload;

// 5 ENTRY
pub mod cli;
