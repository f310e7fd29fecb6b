//! How the demo looks: aligned columns, short sentences, colour only where a person sees it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use super::compare::Side;
use super::world::World;
use crate::policy::Decision;
use crate::record::past::Past;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Where the demo is shown.
pub struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
}

impl Screen {
    /// Standard output; in colour on a terminal, unless `NO_COLOR` (no-color.org) is set.
    pub fn stdout() -> Screen {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let out = io::stdout();
        Screen { colour: out.is_terminal() && !plain && !dumb, out: Box::new(out) }
    }

    /// A line.
    pub fn say(&mut self, line: impl Display) {
        // Whoever closed the pipe does not want to read; the exit code still tells.
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }

    /// The heading of the whole, or of a part.
    pub fn heading(&mut self, text: &str) {
        let heading = self.paint(BOLD, text);
        self.say(format_args!("\n{heading}"));
    }

    /// A remark beside the exchanges.
    pub fn remark(&mut self, text: impl Display) {
        let remark = self.paint(DIM, &text.to_string());
        self.say(format_args!("          {remark}"));
    }

    /// Something that is done to the proxy.
    pub fn event(&mut self, time: &str, text: &str) {
        let (time, text) = (self.paint(DIM, time), self.paint(YELLOW, text));
        self.say(format_args!("{time}  {text}"));
    }

    /// The names of the columns of [`Screen::exchange`].
    pub fn columns(&mut self) {
        let names = format!(
            "{:<8}  {:<13}   {:<17}  {:>9}  {:<8}  {:<21}  {}",
            "time UTC", "source", "recipient", "bytes", "decision", "reason", "reference"
        );
        let names = self.paint(DIM, &names);
        self.say(names);
    }

    /// One exchange, from its decision record. The bytes are those that may leave: of a refused one, none.
    pub fn exchange(&mut self, decision: &Past, world: &World) {
        let verdict = decision.decision.unwrap_or(Decision::Denial);
        let colour = match verdict {
            Decision::Permit => GREEN,
            Decision::Denial => RED,
            Decision::WouldDeny => YELLOW,
        };
        let source = decision.source.as_deref().or(decision.peer.as_deref()).unwrap_or("?");
        let recipient = decision.destination.as_deref().map_or("?", |destination| world.name_of(destination));
        let reason = decision.reason.map_or("", |reason| reason.as_str());
        let bytes = if verdict == Decision::Denial { 0 } else { decision.body.map_or(0, |(size, _)| size) };
        let line = format!(
            "{}  {source:<13} → {recipient:<17}  {:>9}  {}  {reason:<21}  {}",
            self.paint(DIM, &time_of(decision)),
            grouped(bytes),
            self.paint(colour, &format!("{:<8}", verdict.as_str())),
            self.paint(DIM, &reference(decision)),
        );
        self.say(line.trim_end());
    }

    /// The recipients' accounts beside the records.
    pub fn sides(&mut self, sides: &[Side]) {
        let above = format!("{:<17}  {:^33}  {:^20}", "", "the recipient says", "the records say");
        let names = format!(
            "{:<17}  {:>11}  {:>8}  {:>10}  {:>11}  {:>9}",
            "recipient", "connections", "requests", "bytes", "let through", "bytes"
        );
        for line in [above, names] {
            let line = self.paint(DIM, line.trim_end());
            self.say(line);
        }
        for side in sides {
            self.side(side);
        }
    }

    fn side(&mut self, side: &Side) {
        let agrees = side.disagreements.is_empty();
        let word = if agrees { self.paint(GREEN, "agree") } else { self.paint(RED, "DISAGREE") };
        let cut = match side.interrupted {
            0 => String::new(),
            1 => "  1 of them was cut off".to_owned(),
            count => format!("  {count} of them were cut off"),
        };
        self.say(format_args!(
            "{:<17}  {:>11}  {:>8}  {:>10}  {:>11}  {:>9}  {word}{cut}",
            side.account.name,
            side.account.connections,
            side.account.requests.len(),
            grouped(if side.account.may_receive { side.arrived_bytes() } else { side.account.bytes }),
            side.let_through,
            grouped(side.bytes),
        ));
        for disagreement in &side.disagreements {
            let line = self.paint(RED, &disagreement.to_string());
            self.say(format_args!("{:<17}  {line}", ""));
        }
    }

    /// One point of the verdict.
    pub fn point(&mut self, holds: bool, text: &str) {
        let mark = if holds { self.paint(GREEN, "yes") } else { self.paint(RED, "NO ") };
        self.say(format_args!("{mark}  {text}"));
    }

    /// The last word.
    pub fn verdict(&mut self, agreed: bool) {
        let text = if agreed { "The two sides agree." } else { "The two sides do not agree." };
        let text = self.paint(if agreed { "1;32" } else { "1;31" }, text);
        self.say(format_args!("\n{text}"));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The time of a record as it is shown, UTC.
pub fn time_of(record: &Past) -> String {
    record.time.strftime("%H:%M:%S").to_string()
}

/// What an exchange went under: the filing, or the allowance. A refused one went under nothing; it is known by its record,
/// of whose id the end is shown.
fn reference(decision: &Past) -> String {
    let used = decision.used.as_ref().map(|(_, id)| id.clone());
    match decision.filing.clone().or(used).filter(|_| decision.decision != Some(Decision::Denial)) {
        Some(reference) => reference,
        None => format!("…{}", tail(&decision.uid)),
    }
}

/// The end of a record's id, which tells it from others of the same second.
pub fn tail(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// A number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1_000, 31_929, 1_234_567].map(grouped), ["0", "999", "1,000", "31,929", "1,234,567"]);
    }

    #[test]
    fn a_record_is_known_by_the_end_of_its_id() {
        assert_eq!(tail("01991a2b-3c4d-7e5f-8a9b-0c1d2e3f4a5b"), "0c1d2e3f4a5b");
    }
}
