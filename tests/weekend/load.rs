//! What is sent all the while: legal frames by every way, large ones, frames to where nobody declared, and no frames.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tasrih::demo::uploader::{Reply, Uploader};
use tokio::task::JoinHandle;

use super::FRAME;
use super::dice::Dice;

/// Addresses 127.0.0.N of the clients: both sources are among them.
const CLIENTS: std::ops::Range<u8> = 4..11;
/// A client that gets no answer gives up after this.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the load goes.
#[derive(Clone)]
pub struct Targets {
    pub plain: String,
    pub intake: String,
    pub tunnel: String,
    pub undeclared: String,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub sent: AtomicU64,
    pub legal: AtomicU64,
    pub refused: AtomicU64,
    pub broken: AtomicU64,
    /// Ids of records that clients were told.
    pub told: Mutex<Vec<String>>,
}

pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Each client rests up to twice `rest` between two requests.
    pub fn begin(
        make: impl Fn(u8) -> Uploader,
        targets: &Targets,
        tally: &Arc<Tally>,
        rest: Duration,
        dice: &mut Dice,
    ) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |last: u8| {
            let (client, targets, tally) = (make(last), targets.clone(), tally.clone());
            tokio::spawn(send_on(client, targets, tally, rest, Dice(dice.next() | 1), stop.clone()))
        };
        let clients = CLIENTS.map(client).collect();
        Load { stop, clients }
    }

    pub async fn end(self) {
        self.stop.store(true, Ordering::Release);
        for client in self.clients {
            client.await.expect("a client does not panic");
        }
    }
}

async fn send_on(
    client: Uploader,
    targets: Targets,
    tally: Arc<Tally>,
    rest: Duration,
    mut dice: Dice,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::Acquire) {
        let request = request(&targets, &mut dice);
        tally.sent.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(PATIENCE, client.send(request)).await {
            Ok(Ok(reply)) => tally.take(&reply),
            // The proxy was killed, or something stood in its way: what was under way is for the log to say.
            Ok(Err(_)) | Err(_) => drop(tally.broken.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(rest * u32::try_from(dice.below(200)).expect("a small number") / 100).await;
    }
}

impl Tally {
    pub fn take(&self, reply: &Reply) {
        let counter = if reply.status == 200 { &self.legal } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
        self.told.lock().expect("ids").extend(reply.proxy_status("record"));
    }
}

/// A frame to one place.
pub fn frame(target: &str, body: Bytes) -> Request<Bytes> {
    Request::post(format!("{target}/cctv/cam1")).header("content-type", "image/jpeg").body(body).expect("a request")
}

fn request(targets: &Targets, dice: &mut Dice) -> Request<Bytes> {
    let (target, body) = match dice.below(100) {
        0..40 => (&targets.plain, Bytes::from_static(FRAME)),
        40..43 => (&targets.plain, [FRAME, &[0; 1_200_000]].concat().into()),
        43..75 => (&targets.intake, Bytes::from_static(FRAME)),
        75..83 => (&targets.tunnel, Bytes::from_static(FRAME)),
        83..93 => (&targets.undeclared, Bytes::from_static(FRAME)),
        _ => (&targets.plain, Bytes::from_static(b"this is no jpeg")),
    };
    frame(target, body)
}
