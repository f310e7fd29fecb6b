//! HTTP/2 inside an intercepted connection: each stream is one exchange, and goes down the same corridor as a request of
//! HTTP/1.1.
//!
//! Streams keep out of each other's way: each has a task of its own, and the connection has room for what all of them may
//! send unread ([`CONNECTION_WINDOW`]). What keeps a client from having more than its share is bounded here, too: streams
//! at once, heads, resets, silence.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason as Code;
use h2::server::{Builder, Connection, SendResponse};
use h2::{RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, sleep, timeout};

use super::counted::{LINGER_BYTES, LINGER_TIME};
use super::error::Malformed;
use super::frames::{Followed, Frames};
use super::guard::Guard;
use super::opening::Stream;
use super::reply::ReplyBody;
use super::request::Door;
use super::server::{self, Fate, Unparsed};
use super::upload::{Told, Upload};
use super::{Corridor, Limits, StopSignal, stopped};
use crate::upstream::streams::{
    CONNECTION_WINDOW, FAULTS, FRAME_BUDGET, REMEMBERED, SEND_BUFFER, STREAM_WINDOW, STREAMS, pump,
};

/// Streams that the client has reset before they were accepted; more at once end the connection (CVE-2023-44487).
const RESET_UNSEEN: usize = STREAMS as usize;
/// Streams that a client may reset beyond those that it let be answered. Each is a record, and costs us more than it costs
/// the client: browsers cancel some, an attack nothing else.
const RESET_UNANSWERED: u64 = STREAMS as u64;
/// Streams that may be coming to their end at once, those that were reset included.
const UNDER_WAY: usize = 4 * STREAMS as usize;
/// How many times in the shorter of its limits a connection is looked at.
const LOOKS: u32 = 8;
/// How long a connection that is told to end may take without streams.
const FAREWELL: Duration = Duration::from_secs(1);

/// Speaks HTTP/2 on a stream until it ends.
pub async fn speak_http2<S: Stream>(
    corridor: &Arc<Corridor>,
    door: Arc<Door>,
    stream: S,
    shutdown: StopSignal,
) -> Fate {
    let limits = &corridor.limits;
    let (stream, frames) = Followed::new(stream, limits.idle);
    let shaken = timeout(limits.header_time, speaking(limits).handshake(stream)).await;
    let connection = match shaken {
        Ok(Ok(connection)) => connection,
        Ok(Err(fault)) => return Fate { requests: 0, fault: fault_of(&fault) },
        Err(_) => return Fate { requests: 0, fault: Some(Unparsed::Slow) },
    };
    let tally = Arc::new(Tally::new(frames));
    let fault = serve(corridor, &door, connection, &tally, shutdown).await;
    note_unparsed(corridor, &door, &tally).await;
    Fate { requests: tally.asked() + tally.noted(), fault }
}

/// Every bound of `h2`, written out: its defaults may change.
fn speaking(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(REMEMBERED)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(Some(FAULTS))
        .data_frame_budget(FRAME_BUDGET);
    builder
}

/// What has gone by on a connection. Shared with the tasks of its streams.
struct Tally {
    frames: Arc<Frames>,
    asked: AtomicU64,
    /// Refused by `h2`, and on record.
    noted: AtomicU64,
    answered: AtomicU64,
    abandoned: AtomicU64,
    /// Heads and trailers of ours that were handed to `h2`.
    told: AtomicU64,
    open: AtomicUsize,
}

impl Tally {
    fn new(frames: Arc<Frames>) -> Tally {
        let zero = || AtomicU64::new(0);
        let (asked, noted, answered, abandoned, told) = (zero(), zero(), zero(), zero(), zero());
        Tally { frames, asked, noted, answered, abandoned, told, open: AtomicUsize::new(0) }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    fn noted(&self) -> u64 {
        self.noted.load(Ordering::Acquire)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Whether the client does more harm than an honest one would.
    fn is_flood(&self) -> bool {
        let (abandoned, answered) = (self.abandoned.load(Ordering::Acquire), self.answered.load(Ordering::Acquire));
        abandoned > answered + RESET_UNANSWERED || self.open() > UNDER_WAY
    }
}

/// Counts a stream while it is open.
struct OpenStream(Arc<Tally>);

impl OpenStream {
    fn begin(tally: &Arc<Tally>) -> OpenStream {
        tally.asked.fetch_add(1, Ordering::AcqRel);
        tally.open.fetch_add(1, Ordering::AcqRel);
        OpenStream(tally.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes streams in until the connection ends; tells what was wrong with it.
async fn serve<S: Stream>(
    corridor: &Arc<Corridor>,
    door: &Arc<Door>,
    mut connection: Connection<Followed<S>, Bytes>,
    tally: &Arc<Tally>,
    mut shutdown: StopSignal,
) -> Option<Unparsed> {
    let limits = &corridor.limits;
    let look = limits.idle.min(limits.header_time) / LOOKS;
    let (mut rested, mut leaving) = (Instant::now(), None);
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                None => return None,
                Some(Err(fault)) => return fault_of(&fault),
                Some(Ok((request, respond))) => begin(corridor, door, request, respond, tally),
            },
            () = tally.frames.refused() => note_unparsed(corridor, door, tally).await,
            () = stopped(&mut shutdown), if leaving.is_none() => leaving = Some(Instant::now() + FAREWELL),
            () = door.proofs.certificate_lost(), if leaving.is_none() => leaving = Some(Instant::now() + FAREWELL),
            () = sleep(look) => {}
        }
        if tally.is_flood() {
            tracing::warn!(connection = %door.connection, "a client resets more streams than it lets be answered; its connection is closed");
            connection.abrupt_shutdown(Code::ENHANCE_YOUR_CALM);
            farewell(&mut connection).await;
            return None;
        }
        if tally.frames.head_for().is_some_and(|since| since >= limits.header_time) {
            return Some(Unparsed::Slow);
        }
        if tally.open() > 0 {
            rested = Instant::now();
        }
        if rested.elapsed() >= limits.idle && leaving.is_none() {
            leaving = Some(Instant::now() + FAREWELL);
        }
        match leaving {
            None => {}
            // What was asked for already is answered; a client that has nothing open and does not go is left.
            Some(until) if Instant::now() >= until && rested.elapsed() >= FAREWELL => return None,
            Some(_) => connection.graceful_shutdown(),
        }
    }
}

/// Gives our last word a little time to go.
async fn farewell<S: Stream>(connection: &mut Connection<Followed<S>, Bytes>) {
    let _ = timeout(FAREWELL, poll_fn(|context| connection.poll_closed(context))).await;
}

/// Why `h2` ended a connection; nothing where the client merely left.
fn fault_of(fault: &h2::Error) -> Option<Unparsed> {
    (fault.is_library() && fault.reason() != Some(Code::NO_ERROR)).then_some(Unparsed::Frames)
}

/// Records what `h2` refused by itself since it was last asked.
async fn note_unparsed(corridor: &Arc<Corridor>, door: &Arc<Door>, tally: &Tally) {
    let refused = tally.frames.unparsed(tally.asked(), tally.told.load(Ordering::Acquire));
    for _ in tally.noted()..refused {
        tally.noted.fetch_add(1, Ordering::AcqRel);
        server::unparsed(corridor, door, Some(Unparsed::Frames)).await;
    }
}

fn begin(
    corridor: &Arc<Corridor>,
    door: &Arc<Door>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    tally: &Arc<Tally>,
) {
    let open = OpenStream::begin(tally);
    let exchange = exchange(corridor.clone(), door.clone(), request, respond, open);
    super::spawn(corridor.halt.clone(), exchange);
}

/// One stream. A client that resets it drops what is done for it, and the guards write what is owed.
async fn exchange(
    corridor: Arc<Corridor>,
    door: Arc<Door>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    open: OpenStream,
) {
    let (parts, incoming) = request.into_parts();
    let (mut expects, learnt) = (expects_word(&parts.headers), Arc::<Told>::default());
    let upload = Upload::of_stream(incoming, &parts.headers, learnt.clone());
    let idle = corridor.limits.idle;
    let mut answering = Box::pin(answer(corridor, door, Request::from_parts(parts, upload)));
    let response = loop {
        tokio::select! {
            response = &mut answering => break response,
            () = learnt.wanted(), if expects => {
                expects = false;
                open.0.told.fetch_add(1, Ordering::AcqRel);
                // A client that is gone is noticed below.
                let _ = respond.send_informational(go_on());
            }
            reset = poll_fn(|context| respond.poll_reset(context)) => {
                let is_given_up = open.0.frames.is_given_up(respond.stream_id().as_u32());
                if matches!(reset, Ok(Code::PROTOCOL_ERROR)) && !is_given_up {
                    // `h2` ended it, because its body breaks the rules: whoever reads the body finds that, and has it recorded.
                    answering.await;
                } else {
                    open.0.abandoned.fetch_add(1, Ordering::AcqRel);
                }
                return;
            }
        }
    };
    open.0.answered.fetch_add(1, Ordering::AcqRel);
    open.0.told.fetch_add(1, Ordering::AcqRel);
    let (body, head) = split(response);
    let is_over = body.is_end_stream();
    // A client that is gone has no use for the answer; dropping its body writes the outcome.
    let Ok(mut stream) = respond.send_response(head, is_over) else { return };
    if !is_over {
        tell(body, &mut stream, idle, &open.0).await;
    }
    read_over(&learnt).await;
}

/// Whether the client waits to be asked for its body (RFC 9110 §10.1.1).
fn expects_word(head: &HeaderMap) -> bool {
    head.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Reads over what still comes of a body that was given up, within the bounds of HTTP/1.1. There are clients that miss an
/// answer whose stream is reset while they still send (curl 7.88).
async fn read_over(learnt: &Told) {
    let Some(mut body) = learnt.unread() else { return };
    let reading = async {
        let mut over = 0;
        while over < LINGER_BYTES {
            let Some(Ok(frame)) = body.frame().await else { return };
            over += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
    };
    let _ = timeout(LINGER_TIME, reading).await;
}

fn go_on() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    response
}

async fn answer(corridor: Arc<Corridor>, door: Arc<Door>, request: Request<Upload>) -> Response<ReplyBody> {
    let (fields, most) = (request.headers().len(), corridor.limits.head_fields);
    if fields > most {
        let denial = Malformed::TooManyFields { most }.into();
        return Guard::begin(&corridor, &door).refuse(denial, request.headers()).await;
    }
    server::answer(corridor, door, request).await
}

/// The head as HTTP/2 has it: without fields of a connection, with the length of a body that is known.
fn split(response: Response<ReplyBody>) -> (ReplyBody, Response<()>) {
    let (mut head, body) = response.into_parts();
    head.headers.remove(CONNECTION);
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    (body, Response::from_parts(head, ()))
}

async fn tell(body: ReplyBody, stream: &mut SendStream<Bytes>, idle: Duration, tally: &Tally) {
    let body = body.map_frame(|frame| {
        if frame.is_trailers() {
            tally.told.fetch_add(1, Ordering::AcqRel);
        }
        frame
    });
    // However it went: the outcome is written by the guard that the body carries.
    let _ = pump(body, stream, idle).await;
}
