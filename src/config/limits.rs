//! The key `limits` of `tasrih.yaml`: what a peer may hold open, in bytes, number and time.
//!
//! A bound that would protect nothing, or that no legal upload could keep, is a fault and not taken as it is.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Limits;
use crate::register::document::Scalar;
use crate::register::fault::Problem;
use crate::register::fields::{Fields, Read};
use crate::register::scalar;

/// What hyper needs at least, and more than any honest head.
const HEAD: RangeInclusive<u64> = (8 << 10)..=(1 << 20);
/// Browsers send about twenty fields.
const HEAD_FIELDS: RangeInclusive<u64> = 10..=1_000;
/// One megabyte a second is more than many lines have.
const BODY_RATE: RangeInclusive<u64> = 1..=(1 << 20);
/// Longest time for a request head or a handshake of a client.
const HEADER_TIME: Duration = Duration::from_secs(600);
/// Longest time for one step on the way to a recipient.
const STEP_TIME: Duration = Duration::from_secs(300);
/// Longest time for anything else.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Reads the limits.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<Limits> {
    let default = Limits::default();
    let read = Limits {
        hold_memory: fields.or_default("hold_memory", default.hold_memory, scalar::size),
        hold: fields.or_default("hold", default.hold, scalar::size),
        held_total: fields.or_default("held_total", default.held_total, scalar::size),
        connections: fields.or_default("connections", default.connections, connections),
        connections_per_source: fields.or_default(
            "connections_per_source",
            default.connections_per_source,
            connections,
        ),
        requests_per_source: fields.or_default("requests_per_source", default.requests_per_source, requests),
        head: fields.or_default("head", default.head, head),
        head_fields: fields.or_default("head_fields", default.head_fields, head_fields),
        header_time: fields.or_default("header_time", default.header_time, at_most(HEADER_TIME)),
        idle: fields.or_default("idle", default.idle, at_most(LONGEST)),
        body_rate: fields.or_default("body_rate", default.body_rate, body_rate),
        body_window: fields.or_default("body_window", default.body_window, at_most(LONGEST)),
        body_time: fields.or_default("body_time", default.body_time, at_most(LONGEST)),
        resolve_time: fields.or_default("resolve_time", default.resolve_time, at_most(STEP_TIME)),
        connect_time: fields.or_default("connect_time", default.connect_time, at_most(STEP_TIME)),
        handshake_time: fields.or_default("handshake_time", default.handshake_time, at_most(STEP_TIME)),
        answer_time: fields.or_default("answer_time", default.answer_time, at_most(LONGEST)),
        answer: fields.or_default("answer", default.answer, scalar::size),
        exchange_time: fields.or_default("exchange_time", default.exchange_time, at_most(LONGEST)),
        drain: fields.or_default("drain", default.drain, at_most(LONGEST)),
    };
    let bytes = |count: u64| format!("{count} bytes");
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    keep_order(fields, ("hold_memory", read.hold_memory), ("hold", read.hold), bytes);
    keep_order(fields, ("hold", read.hold), ("held_total", read.held_total), bytes);
    keep_order(fields, ("body_window", read.body_window), ("body_time", read.body_time), seconds);
    keep_order(fields, ("body_time", read.body_time), ("exchange_time", read.exchange_time), seconds);
    Some(read)
}

/// The second of two bounds may not be below the first; the fault stands at the one that is written.
fn keep_order<T: PartialOrd + Copy>(
    fields: &Fields<'_>,
    (small, least): (&str, T),
    (large, most): (&str, T),
    shown: impl Fn(T) -> String,
) {
    if least <= most {
        return;
    }
    let problem = Problem::new(format!("`{small}` ({}) is more than `{large}` ({})", shown(least), shown(most)));
    let place = fields.places().written(large).unwrap_or_else(|| fields.places().of(small));
    fields.collector().fault(place, problem.hint(format!("raise `{large}`, or lower `{small}`")));
}

fn connections(scalar: &Scalar) -> Read<usize> {
    let (count, canonical) = scalar::count(1)(scalar)?;
    let most = || Problem::new(format!("`{count}` connections are more than this machine can count"));
    Ok((usize::try_from(count).map_err(|_| most())?, canonical))
}

/// Zero is no bound.
fn requests(scalar: &Scalar) -> Read<Option<NonZeroU32>> {
    let (count, canonical) = scalar::count(0)(scalar)?;
    let most = || Problem::new(format!("`{count}` requests a second are no bound")).hint("write 0 for none");
    Ok((NonZeroU32::new(u32::try_from(count).map_err(|_| most())?), canonical))
}

fn head(scalar: &Scalar) -> Read<usize> {
    let (size, canonical) = scalar::size(scalar)?;
    let size = within(size, &HEAD, scalar, ("8KiB", "1MiB"))?;
    Ok((usize::try_from(size).unwrap_or(usize::MAX), canonical))
}

fn head_fields(scalar: &Scalar) -> Read<usize> {
    let (count, canonical) = scalar::count(1)(scalar)?;
    let count = within(count, &HEAD_FIELDS, scalar, (HEAD_FIELDS.start(), HEAD_FIELDS.end()))?;
    Ok((usize::try_from(count).unwrap_or(usize::MAX), canonical))
}

fn body_rate(scalar: &Scalar) -> Read<u64> {
    let (rate, canonical) = scalar::size(scalar)?;
    Ok((within(rate, &BODY_RATE, scalar, ("1B", "1MiB"))?, canonical))
}

fn within(
    value: u64,
    range: &RangeInclusive<u64>,
    scalar: &Scalar,
    (least, most): (impl Display, impl Display),
) -> Result<u64, Problem> {
    match range.contains(&value) {
        true => Ok(value),
        false => {
            let problem = Problem::new(format!("`{}` is outside of what makes sense here", scalar.text));
            Err(problem.hint(format!("write {least} to {most}")))
        }
    }
}

/// A duration that is no longer than this.
fn at_most(longest: Duration) -> impl Fn(&Scalar) -> Read<Duration> {
    move |scalar| {
        let (time, canonical) = scalar::duration(scalar)?;
        if time > longest {
            let problem = Problem::new(format!("`{}` is so long that it bounds nothing", scalar.text));
            return Err(problem.hint(format!("write at most PT{}S", longest.as_secs())));
        }
        Ok((time, canonical))
    }
}
