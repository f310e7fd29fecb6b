//! The proxy as an operator has it: the real process, real signals, real sockets, real files.
//!
//! `reload`: SIGHUP. `control`: the socket in the state folder, and `tasrih reload`. `orders`: an authority's orders by command. `stop`: what SIGTERM finishes and what it cuts. `restart`: connection attempts wait while the process
//! is replaced. `clock`: a restart with the clock behind. `manager`: what systemd is told. `log`: what is logged, and what
//! never is. `unit`: the sandbox of `deploy/`. `rollout`: the authority on its way to the devices, and `browser`: what
//! Chromium makes of a refusal. `doctor` and `probe`: the two commands that look at
//! a live installation. The process and its recipients stand in `ground`.

#![allow(clippy::panic, reason = "a test that cannot go on says what it misses")]

#[path = "operate/browser.rs"]
mod browser;
#[path = "operate/clock.rs"]
mod clock;
#[path = "operate/control.rs"]
mod control;
#[path = "operate/doctor.rs"]
mod doctor;
#[path = "operate/ground.rs"]
mod ground;
#[path = "operate/log.rs"]
mod log;
#[path = "operate/manager.rs"]
mod manager;
#[path = "operate/orders.rs"]
mod orders;
#[path = "operate/probe.rs"]
mod probe;
#[path = "operate/reload.rs"]
mod reload;
#[path = "operate/restart.rs"]
mod restart;
#[path = "operate/rollout.rs"]
mod rollout;
#[path = "operate/stop.rs"]
mod stop;
#[path = "operate/unit.rs"]
mod unit;
