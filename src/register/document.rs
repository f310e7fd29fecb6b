//! A policy file as written: YAML read into a small tree whose every node knows its place.
//!
//! Strict on purpose: duplicate keys, anchors, aliases, merge keys, tags, directives and several documents are faults,
//! because each of them lets a file mean something other than what its reader sees. Scalars stay text here, with the
//! kind that YAML 1.2's core schema gives them; what a value has to be is asked in `fields.rs` and `scalar.rs`.

use std::collections::HashMap;

use serde_yaml::granit_parser::{self, Event, Marker, Options, Parser, ScalarStyle, Span, StrInput};

use super::fault::{Collector, Place, Problem};

/// Largest policy file, in bytes.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// Most values in one policy file.
pub const MAX_NODES: usize = 200_000;
/// Deepest nesting of lists and maps.
pub const MAX_DEPTH: usize = 32;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What stands there.
    pub value: Value,
}

/// What stands at a place.
#[derive(Clone, Debug)]
pub enum Value {
    /// A single value.
    Scalar(Scalar),
    /// Values in a row.
    List(Vec<Node>),
    /// Keys are unique.
    Map(Vec<(Key, Node)>),
    /// Already reported; nothing more is said of it.
    Broken,
}

/// A key of a map.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// The key after YAML's escapes.
    pub text: String,
}

/// A scalar as written.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// After YAML's escapes.
    pub text: String,
    /// Neither quoted nor a block: only then may it be something else than text.
    pub plain: bool,
}

/// What a scalar is by YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// Decimal, `0o` or `0x` digits.
    Integer,
    /// `1.0`, `1e3`, `.inf`.
    Float,
    /// Everything else.
    Text,
}

impl Scalar {
    /// The kind that YAML 1.2's core schema gives it: `NO` is text there, `1.0` a float, `~` null.
    pub fn kind(&self) -> Kind {
        if !self.plain {
            return Kind::Text;
        }
        match self.text.as_str() {
            "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
            "true" | "True" | "TRUE" => Kind::Boolean(true),
            "false" | "False" | "FALSE" => Kind::Boolean(false),
            text if is_integer(text) => Kind::Integer,
            text if is_float(text) => Kind::Float,
            _ => Kind::Text,
        }
    }
}

fn is_integer(text: &str) -> bool {
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|character| character.is_digit(radix));
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let octal = text.strip_prefix("0o").is_some_and(|rest| digits(rest, 8));
    let hexadecimal = text.strip_prefix("0x").is_some_and(|rest| digits(rest, 16));
    digits(unsigned, 10) || octal || hexadecimal
}

fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let special = matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN");
    let numeric = unsigned.starts_with(|character: char| character.is_ascii_digit() || character == '.')
        && unsigned.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && unsigned.parse::<f64>().is_ok();
    special || numeric
}

/// Reads the file at position `file` of the collector's texts. `None` where it holds no document, or where a fault made
/// the rest unreadable.
pub fn read(file: usize, text: &str, collector: &Collector<'_>) -> Option<Node> {
    let whole = Place { file: narrow(file), line: 1, column: 1, length: 1 };
    if text.len() > MAX_BYTES {
        let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", text.len());
        collector.fault(whole, Problem::new(message).hint("split it: all files of the folder are read together"));
        return None;
    }
    let mut reading = Reading { parser: Parser::new_from_str_with_options(text, options()), file, collector, nodes: 0 };
    reading.stream().ok().flatten()
}

fn options() -> Options {
    granit_parser::options! {
        strict_indentation: true,
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    }
}

/// The rest of the file cannot be read; the fault is already noted.
struct Stop;

struct Reading<'a> {
    parser: Parser<'a, StrInput<'a>>,
    file: usize,
    collector: &'a Collector<'a>,
    nodes: usize,
}

impl<'a> Reading<'a> {
    /// The one document of the stream.
    fn stream(&mut self) -> Result<Option<Node>, Stop> {
        let mut document = None;
        loop {
            let (event, span) = self.event()?;
            match event {
                Event::StreamEnd => return Ok(document),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if document.is_some() => {
                    let problem = Problem::new("a second document begins here")
                        .hint("a policy file is one document: remove `---` or use a file of its own");
                    self.collector.fault(self.place(span), problem);
                    return Ok(document);
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.event()?;
                    document = Some(self.node(event, span, 0)?);
                }
                other => unexpected(&other),
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(fault)) => {
                let place = self.marked(*fault.marker());
                self.collector.fault(
                    place,
                    Problem::new(format!("not readable as YAML: {}", uncapitalised(&fault.info())))
                        .hint("look at quotes, brackets and indentation here and on the line before; indent by spaces"),
                );
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Stop> {
        let place = self.place(span);
        self.count(place, depth)?;
        self.refuse_tag(&event, span, place);
        let value = match event {
            Event::Scalar(text, style, anchor, _) => {
                self.skip_anchor(anchor)?;
                // The parser gives `~` where nothing is written; only the empty stretch tells the two apart.
                let written = span.start.index() < span.end.index();
                let text = if written { text.into_owned() } else { String::new() };
                Value::Scalar(Scalar { text, plain: style == ScalarStyle::Plain })
            }
            Event::SequenceStart(_, anchor, _) => {
                self.skip_anchor(anchor)?;
                self.list(depth)?
            }
            Event::MappingStart(_, anchor, _) => {
                self.skip_anchor(anchor)?;
                self.map(depth)?
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.collector.fault(
                    place,
                    Problem::new("an alias is not read").hint("write the value out: a policy file means what it shows"),
                );
                Value::Broken
            }
            other => {
                unexpected(&other);
                Value::Broken
            }
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries = Vec::new();
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(entries)),
                (event, span) => entries.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        loop {
            let (event, span) = self.event()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Map(entries));
            }
            let key = self.node(event, span, depth + 1)?;
            let (event, span) = self.event()?;
            let value = self.node(event, span, depth + 1)?;
            let Some(key) = self.key(key) else { continue };
            if let Some(first) = seen.get(&key.text) {
                let message = format!("`{}` is written twice, first at {}", key.text, self.collector.cite(*first));
                self.collector.fault(key.place, Problem::new(message).hint("keep one of the two"));
                continue;
            }
            seen.insert(key.text.clone(), key.place);
            entries.push((key, value));
        }
    }

    fn key(&self, node: Node) -> Option<Key> {
        match node.value {
            Value::Scalar(scalar) if scalar.plain && scalar.text == "<<" => {
                let problem = Problem::new("a merge key (`<<`) is not read")
                    .hint("write the keys out: a policy file means what it shows");
                self.collector.fault(node.place, problem);
                None
            }
            Value::Scalar(scalar) => Some(Key { place: node.place, text: scalar.text }),
            Value::List(_) | Value::Map(_) => {
                self.collector.fault(node.place, Problem::new("a list or map stands where a key is expected"));
                None
            }
            Value::Broken => None,
        }
    }

    /// An anchor's event follows the node it names; it is a fault, and the node is read all the same.
    fn skip_anchor(&mut self, anchor: usize) -> Result<(), Stop> {
        if anchor == 0 {
            return Ok(());
        }
        let (event, span) = self.event()?;
        let Event::Anchor(_, name) = event else {
            unexpected(&event);
            return Err(Stop);
        };
        let problem =
            Problem::new(format!("an anchor (`&{name}`) is not read")).hint("write the value out where it is needed");
        self.collector.fault(self.place(span), problem);
        Ok(())
    }

    fn refuse_tag(&self, event: &Event<'a>, span: Span, place: Place) {
        let Some(tag) = event.tag() else { return };
        let place = span.tag_start.map_or(place, |start| self.marked(start));
        let problem = Problem::new(format!("a tag (`{}`) is not read", tag.original()))
            .hint("leave the tag out; the key says what its value is");
        self.collector.fault(place, problem);
    }

    fn count(&mut self, place: Place, depth: usize) -> Result<(), Stop> {
        self.nodes += 1;
        let problem = match () {
            () if depth > MAX_DEPTH => Problem::new(format!("nested deeper than {MAX_DEPTH} levels")),
            () if self.nodes > MAX_NODES => Problem::new(format!("more than {MAX_NODES} values in one file"))
                .hint("split it: all files of the folder are read together"),
            () => return Ok(()),
        };
        self.collector.fault(place, problem);
        Err(Stop)
    }

    fn place(&self, span: Span) -> Place {
        let one_line = span.start.line() == span.end.line();
        let length = if one_line { span.end.index().saturating_sub(span.start.index()).max(1) } else { 1 };
        Place { length: narrow(length), ..self.marked(span.start) }
    }

    fn marked(&self, marker: Marker) -> Place {
        let (line, column) = (narrow(marker.line()), narrow(marker.col() + 1));
        Place { file: narrow(self.file), line, column, length: 1 }
    }
}

/// A position within a file of at most [`MAX_BYTES`]. A large register has millions of places.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// The parser's grammar excludes these events where this is called; a debug build says so if it ever changes.
fn unexpected(event: &Event<'_>) {
    debug_assert!(false, "the parser gave {event:?} out of place");
}

/// The message as our messages begin: in lower case, but for a word in capitals.
fn uncapitalised(message: &str) -> String {
    let mut characters = message.chars();
    match (characters.next(), characters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(characters).collect(),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fault::{Collector, Text};
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        let texts = [Text { name: "a.yaml".into(), text: text.into() }];
        let collector = Collector::new(&texts);
        read(0, text, &collector);
        collector.finish().0.into_iter().map(|fault| fault.message).collect()
    }

    #[test]
    fn scalars_have_the_kinds_of_the_core_schema() {
        let table = [
            ("NO", Kind::Text),
            ("yes", Kind::Text),
            ("true", Kind::Boolean(true)),
            ("FALSE", Kind::Boolean(false)),
            ("~", Kind::Null),
            ("null", Kind::Null),
            ("042", Kind::Integer),
            ("-1", Kind::Integer),
            ("0x1F", Kind::Integer),
            ("0o17", Kind::Integer),
            ("1.0", Kind::Float),
            ("1e3", Kind::Float),
            (".5", Kind::Float),
            ("-.inf", Kind::Float),
            (".nan", Kind::Float),
            ("2023-02-20", Kind::Text),
            ("10.20.0.0", Kind::Text),
            ("1_000", Kind::Text),
            (".", Kind::Text),
            ("e3", Kind::Text),
        ];
        for (text, kind) in table {
            assert_eq!(Scalar { text: text.into(), plain: true }.kind(), kind, "{text}");
            assert_eq!(Scalar { text: text.into(), plain: false }.kind(), Kind::Text, "\"{text}\"");
        }
    }

    #[test]
    fn the_budget_is_told_and_its_edge_is_read() {
        let list = |entries: usize| format!("[{}]", "a,".repeat(entries));
        // The list itself is a value too.
        assert_eq!(faults(&list(MAX_NODES - 1)), Vec::<String>::new());
        assert_eq!(faults(&list(MAX_NODES)), [format!("more than {MAX_NODES} values in one file")]);
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(faults(&nested(MAX_DEPTH)), Vec::<String>::new());
        assert_eq!(faults(&nested(MAX_DEPTH + 1)).len(), 1);
        let comment = |bytes: usize| format!("#{}", "x".repeat(bytes - 1));
        assert_eq!(faults(&comment(MAX_BYTES)), Vec::<String>::new());
        assert_eq!(faults(&comment(MAX_BYTES + 1)).len(), 1);
    }
}
