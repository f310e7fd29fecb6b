//! The log of operation: what the program does, on standard error. It is not the evidence, which is `audit/`.
//!
//! | level | means |
//! |---|---|
//! | `error` | a promise or the service is impaired, and a person is needed |
//! | `warn` | something is worse than it should be, by itself or by a peer: worth a look |
//! | `info` | the life of the process: start, stop, register, waiting |
//! | `debug` | single connections and exchanges |
//!
//! **No personal data, at any level.** A line holds a fixed sentence and fields from closed sets: ids of declarations, of
//! records and connections, reasons, sizes, times, names of our own files, what the system answered. Never an address of
//! a client, a user, a name of a certificate, a host that a client asked for, a path, a query, a field or a body; not
//! even the message of a panic, which may quote what was being read. Recipients' addresses stand at `debug` only.
//!
//! **Bounded.** The same place in the source writes [`Repetition::limit`] lines a minute; how many more there were is
//! told in one line ([`Repetition::tell`]). Under systemd lines carry their priority and no time, which the journal has.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt, ParseError};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::LogFormat;

/// What like lines are counted in.
const WINDOW: Duration = Duration::from_secs(60);
/// Like lines in a minute, from `info` on.
const MOST: u32 = 10;
/// Like lines in a minute at `debug`, where each exchange has its own.
const MOST_AT_DEBUG: u32 = 600;

/// Reads `text` or `json`; `None` for anything else.
pub fn format(word: &str) -> Option<LogFormat> {
    match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingFault {
    /// The filter is not written as filters are.
    #[error("`{filter}` is no log filter; write a level (`info`) or targets with levels (`warn,tasrih::proxy=debug`)")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// A process has one log.
    #[error("the log was set up already")]
    Twice,
}

/// Sets up the log of this process, once. The filter is written like `RUST_LOG`, which is not read: what an audit tool
/// logs is not to be changed from an environment.
///
/// # Errors
/// [`LoggingFault`].
pub fn init(format: LogFormat, filter: &str) -> Result<Repetition, LoggingFault> {
    let end = if is_journal() { End::Journal } else { End::Stream { colours: io::stderr().is_terminal() } };
    let (subscriber, repetition) = subscriber(format, end, filter, io::stderr)?;
    subscriber.try_init().map_err(|_| LoggingFault::Twice)?;
    std::panic::set_hook(Box::new(|panicked| {
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "the program has a fault here; what was being done is given up, the rest goes on");
    }));
    Ok(repetition)
}

/// Where lines end up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// systemd's journal, which has a clock and reads priorities (`sd-daemon(3)`).
    Journal,
    /// Anything else.
    Stream {
        /// It is a terminal.
        colours: bool,
    },
}

/// A log that writes to `writer`, and the counts of what it leaves out.
///
/// # Errors
/// [`LoggingFault::Filter`].
pub fn subscriber<W>(
    format: LogFormat,
    end: End,
    filter: &str,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync + 'static, Repetition), LoggingFault>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let fault = |source| LoggingFault::Filter { filter: filter.to_owned(), source };
    let filter = EnvFilter::builder().parse(filter).map_err(fault)?;
    let repetition = Repetition::default();
    let bounded = filter.and(repetition.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match (format, end) {
        (LogFormat::Text, End::Stream { colours }) => lines.with_ansi(colours).with_filter(bounded).boxed(),
        (LogFormat::Text, End::Journal) => {
            lines.with_ansi(false).without_time().map_event_format(Prioritised).with_filter(bounded).boxed()
        }
        (LogFormat::Json, End::Stream { .. }) => {
            lines.json().flatten_event(true).with_ansi(false).with_filter(bounded).boxed()
        }
        (LogFormat::Json, End::Journal) => {
            let lines = lines.json().flatten_event(true).with_ansi(false);
            lines.map_event_format(Prioritised).with_filter(bounded).boxed()
        }
    };
    Ok((tracing_subscriber::registry().with(layer), repetition))
}

/// Whether standard error is the journal's stream: systemd names its device and inode (`systemd.exec(5)`), so that a
/// process whose output was redirected can tell.
fn is_journal() -> bool {
    let Ok(named) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(own) = rustix::fs::fstat(io::stderr()) else { return false };
    named == format!("{}:{}", own.st_dev, own.st_ino)
}

/// Puts the priority of syslog before a line: `<3>`.
struct Prioritised<F>(F);

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(ctx, writer, event)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Counts like lines, and leaves out what is too many. Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Repetition(Arc<Mutex<HashMap<Identifier, Window>>>);

/// What one place of the source wrote lately. There are as many as places that log, and these are in the program.
struct Window {
    place: &'static Metadata<'static>,
    since: Instant,
    written: u32,
    left_out: u64,
}

impl Repetition {
    /// Lines that one place may write in a minute at this level.
    pub fn limit(level: Level) -> u32 {
        if level <= Level::INFO { MOST } else { MOST_AT_DEBUG }
    }

    /// Tells how many lines were left out since the last time, one line for each place of the source.
    pub fn tell(&self) {
        for (place, count) in self.take() {
            let place_of = format!("{}:{}", place.target(), place.line().unwrap_or_default());
            let like = place_of.as_str();
            match *place.level() {
                Level::ERROR => tracing::error!(like, count, "like lines were left out"),
                Level::WARN => tracing::warn!(like, count, "like lines were left out"),
                Level::INFO => tracing::info!(like, count, "like lines were left out"),
                Level::DEBUG | Level::TRACE => tracing::debug!(like, count, "like lines were left out"),
            }
        }
    }

    /// Tells it every minute, for as long as this future is polled.
    pub async fn tell_each_minute(self) {
        let mut minutes = tokio::time::interval(WINDOW);
        loop {
            minutes.tick().await;
            self.tell();
        }
    }

    /// The lock is given back before anything is told: what is told comes through here again.
    fn take(&self) -> Vec<(&'static Metadata<'static>, u64)> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = windows.values_mut().filter(|window| window.left_out > 0);
        left_out.map(|window| (window.place, std::mem::take(&mut window.left_out))).collect()
    }

    fn lets_through(&self, place: &'static Metadata<'static>, now: Instant) -> bool {
        // What tells of left-out lines is one line a minute and place already.
        if place.target() == module_path!() {
            return true;
        }
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Window { place, since: now, written: 0, left_out: 0 };
        let window = windows.entry(place.callsite()).or_insert(fresh);
        if now.duration_since(window.since) >= WINDOW {
            (window.since, window.written) = (now, 0);
        }
        let fits = window.written < Repetition::limit(*place.level());
        match fits {
            true => window.written += 1,
            false => window.left_out += 1,
        }
        fits
    }
}

impl<S> Filter<S> for Repetition {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.lets_through(event.metadata(), Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a log wrote.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that `work` makes.
    fn lines(format: LogFormat, end: End, filter: &str, work: impl FnOnce(&Repetition)) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let (subscriber, repetition) =
            subscriber(format, end, filter, move || writer.clone()).expect("a filter that can be read");
        tracing::subscriber::with_default(subscriber, || work(&repetition));
        let bytes = written.0.lock().expect("no panic").clone();
        String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    const STREAM: End = End::Stream { colours: false };

    #[test]
    fn a_filter_is_checked_before_anything_is_set_up() {
        let fault = subscriber(LogFormat::Text, STREAM, "tasrih=loud", io::stderr).map(|_| ());
        let fault = fault.expect_err("no level has this name");
        assert!(fault.to_string().contains("`tasrih=loud` is no log filter"), "{fault}");
    }

    #[test]
    fn a_flood_of_like_lines_is_bounded_and_counted_and_others_are_not_touched() {
        let flooded = lines(LogFormat::Text, STREAM, "info", |repetition| {
            for turn in 0..1000 {
                tracing::warn!(target: "tasrih::flood", turn, "the same again");
            }
            tracing::warn!(target: "tasrih::other", "another");
            repetition.tell();
            repetition.tell();
        });
        let count = |part: &str| flooded.iter().filter(|line| line.contains(part)).count();
        assert_eq!((count("the same again"), count("another")), (10, 1), "{flooded:#?}");
        let told: Vec<&String> = flooded.iter().filter(|line| line.contains("like lines were left out")).collect();
        assert_eq!(told.len(), 1, "once, not twice: {flooded:#?}");
        assert!(told[0].contains("WARN") && told[0].contains("count=990") && told[0].contains("tasrih::flood:"));
    }

    #[test]
    fn a_new_minute_has_room_again() {
        let repetition = Repetition::default();
        let kept = repetition.clone();
        let (subscriber, counted) = subscriber(LogFormat::Text, STREAM, "info", io::sink).expect("a filter");
        tracing::subscriber::with_default(subscriber, || tracing::info!(target: "tasrih::x", "one"));
        let place = counted.0.lock().expect("no panic").values().next().expect("one place").place;
        let begun = Instant::now();
        let through = |after: u64| kept.lets_through(place, begun + Duration::from_secs(after));
        assert_eq!((0..30).filter(|_| through(0)).count(), 10);
        assert!(!through(59));
        assert!(through(60));
        assert_eq!(repetition.take().iter().map(|(_, count)| count).sum::<u64>(), 21);
    }

    #[test]
    fn json_lines_are_json_also_in_the_journal() {
        let work = |_: &Repetition| tracing::error!(size = 7, why = "say \"no\"", "a promise is impaired");
        for end in [STREAM, End::Journal] {
            let line = lines(LogFormat::Json, end, "info", work).remove(0);
            let json = if end == End::Journal { line.strip_prefix("<3>").expect("a priority") } else { &line };
            let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
            assert_eq!((json["level"].as_str(), json["size"].as_u64()), (Some("ERROR"), Some(7)), "{json}");
            assert_eq!(
                (json["message"].as_str(), json["why"].as_str()),
                (Some("a promise is impaired"), Some("say \"no\""))
            );
        }
    }

    #[test]
    fn the_journal_gets_priorities_and_no_time() {
        let told = lines(LogFormat::Text, End::Journal, "debug", |_| {
            tracing::error!("one");
            tracing::warn!("two");
            tracing::info!("three");
            tracing::debug!("four");
        });
        let starts: Vec<&str> = told.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
        assert_eq!(starts, ["<3>ERROR", "<4>", "<6>", "<7>DEBUG"], "{told:?}");
        let streamed = lines(LogFormat::Text, STREAM, "info", |_| tracing::info!("one"));
        assert!(streamed[0].starts_with("20") && streamed[0].contains("INFO"), "{streamed:?}");
    }
}
