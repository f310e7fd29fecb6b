//! A proxy whose log is not synced as it must be, to see that `traced` would notice.
//!
//! It runs in a process of its own, which is this test binary again with one ignored test, because a trace is of a
//! process. All of it is the real program but the storage.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use tasrih::app::{self, Parts};
use tasrih::audit::storage::{Folder, Segment, Storage};
use tasrih::register::compile::{Text, compile};
use tasrih::{config, folder};
use tokio::signal::unix::{SignalKind, signal};

use super::ground::Ground;

/// What is wrong with the storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It says that it synced, and does not.
    Never,
    /// It syncs before it writes: there is a sync before every byte that leaves, and it covers the batch before.
    Behind,
}

const FAULT: &str = "TASRIH_UNSYNCED";
const PLACE: &str = "TASRIH_UNSYNCED_GROUND";

/// The command that runs such a proxy.
pub fn command(ground: &Ground, fault: Fault) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test binary"));
    command.args(["--exact", "unsynced::a_proxy_whose_log_is_not_synced", "--ignored", "--nocapture"]);
    command.env(FAULT, format!("{fault:?}")).env(PLACE, ground.path(""));
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process that traced.rs starts, not a test"]
async fn a_proxy_whose_log_is_not_synced() {
    let (Ok(fault), Some(place)) = (std::env::var(FAULT), std::env::var_os(PLACE)) else { return };
    let fault = if fault == "Never" { Fault::Never } else { Fault::Behind };
    let place = PathBuf::from(place);
    let text = std::fs::read_to_string(place.join("tasrih.yaml")).expect("a configuration");
    let settings = config::read(&Text { name: "tasrih.yaml".into(), text }).expect("settings").settings;
    let texts = folder::read(&place.join("policies")).expect("policies");
    let register = compile(&texts).expect("a register");
    let inner = Folder::open_or_create(&settings.state.join("log")).expect("a folder");
    let parts = Parts { storage: Some(Arc::new(Careless { inner, fault })), ..Parts::new(settings, register, texts) };
    let mut terminate = signal(SignalKind::terminate()).expect("a signal");
    let running = app::start(parts).await.expect("a proxy");
    println!("proxy      http://{}\nadmin      http://{}/metrics", running.proxies[0], running.admin);
    terminate.recv().await;
    running.stop().await;
}

struct Careless {
    inner: Folder,
    fault: Fault,
}

struct CarelessSegment {
    inner: Box<dyn Segment>,
    fault: Fault,
}

impl Careless {
    fn segment(&self, inner: Box<dyn Segment>) -> Box<dyn Segment> {
        Box::new(CarelessSegment { inner, fault: self.fault })
    }
}

impl Storage for Careless {
    fn names(&self) -> io::Result<Vec<String>> {
        self.inner.names()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.inner.read(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        Ok(self.segment(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Segment>> {
        Ok(self.segment(self.inner.open(name)?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }

    fn free(&self) -> io::Result<u64> {
        self.inner.free()
    }
}

impl Segment for CarelessSegment {
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        self.inner.allocate(end)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fault == Fault::Behind {
            self.inner.sync()?;
        }
        self.inner.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.inner.truncate(length)
    }
}
