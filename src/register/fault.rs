//! Faults and warnings of policy files, each with its place, the line it stands on, a caret and a hint.
//!
//! A [`Collector`] gathers them while the documents are read, so that one run tells everything that is wrong in every
//! file. Nothing here knows what a register is; of its warnings only the code is passed on.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::rc::Rc;

use serde_json::{Value as Json, json};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::lint::Lint;

/// A policy file: the name under which faults cite it, and its content.
#[derive(Clone, Debug)]
pub struct Text {
    /// Usually its path.
    pub name: String,
    /// The YAML as written.
    pub text: String,
}

/// A stretch of one line of one file. Lines and columns count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Position of the file among the texts of the [`Collector`].
    pub file: u32,
    /// From one.
    pub line: u32,
    /// From one, in characters.
    pub column: u32,
    /// How many characters the caret underlines.
    pub length: u32,
}

impl Place {
    /// No line of the first file: for what is wrong with something that is not written, such as a default.
    pub const NOWHERE: Place = Place { file: 0, line: 0, column: 0, length: 0 };
}

/// What is wrong with a value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Lower case, no final stop, quoting the offending text.
    pub message: String,
    /// How to repair it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), hint: None }
    }

    /// The same problem with a hint.
    pub fn hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }
}

/// A fault or warning at a place of a file. [`fmt::Display`] shows the place, the line with a caret, and the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Name of the file.
    pub file: String,
    /// From one; zero where the fault belongs to no line.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// What a warning of the register is about; faults have none.
    pub code: Option<Lint>,
    /// Lower case, no final stop, quoting the offending text.
    pub message: String,
    /// How to repair it.
    pub hint: Option<String>,
    excerpt: Option<Excerpt>,
}

impl Fault {
    /// A warning that belongs to no line of any file; `file` is what it is about.
    pub fn of_no_line(file: String, code: Lint, problem: Problem) -> Fault {
        let Problem { message, hint } = problem;
        Fault { file, line: 0, column: 0, code: Some(code), message, hint, excerpt: None }
    }

    /// For programs: where, what, and how to mend it.
    pub fn to_json(&self) -> Json {
        json!({
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "code": self.code.map(Lint::as_str),
            "message": self.message,
            "hint": self.hint,
        })
    }
}

/// All faults of all files, in the order of files and lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or_else(String::new, |code| format!(" [{code}]"));
        match self.line {
            0 => writeln!(f, "{}: {}{code}", self.file, self.message)?,
            line => writeln!(f, "{}:{line}:{}: {}{code}", self.file, self.column, self.message)?,
        }
        let gutter = self.line.to_string().len().max(3);
        if let Some(excerpt) = &self.excerpt {
            writeln!(f, " {:>gutter$} | {}", self.line, excerpt.line)?;
            writeln!(f, " {:>gutter$} | {}{}", "", " ".repeat(excerpt.indent), "^".repeat(excerpt.carets))?;
        }
        if let Some(hint) = &self.hint {
            writeln!(f, " {:>gutter$} = hint: {hint}", "")?;
        }
        Ok(())
    }
}

/// The line of a fault, fit for a terminal, and where the caret goes below it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    /// Terminal cells before the first caret.
    indent: usize,
    carets: usize,
}

/// Longest stretch of a line that an excerpt shows, in characters.
const EXCERPT_WIDTH: usize = 140;
/// Characters of context kept before the caret when a long line is cut.
const EXCERPT_LEAD: usize = 60;

impl Excerpt {
    fn of(line: &str, place: Place) -> Excerpt {
        let characters: Vec<char> = line.chars().map(visible).collect();
        let (column, length) = (place.column as usize, place.length as usize);
        let start = column.saturating_sub(1).min(characters.len());
        let from = if characters.len() > EXCERPT_WIDTH { start.saturating_sub(EXCERPT_LEAD) } else { 0 };
        let to = characters.len().min(from + EXCERPT_WIDTH);
        let cut_before = if from > 0 { "…" } else { "" };
        let cut_after = if to < characters.len() { "…" } else { "" };
        let shown: String = characters[from..to].iter().collect();
        let marked = &characters[start..to.min(start + length).max(start)];
        let before: String = characters[from..start].iter().collect();
        Excerpt {
            line: format!("{cut_before}{shown}{cut_after}").trim_end().to_owned(),
            indent: cut_before.width() + before.width(),
            carets: marked.iter().map(|character| character.width().unwrap_or(0)).sum::<usize>().max(1),
        }
    }
}

/// Control characters and directional marks could rewrite a terminal; they are shown as a replacement character.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

/// Gathers the faults and warnings of a set of files.
#[derive(Debug)]
pub struct Collector<'a> {
    texts: &'a [Text],
    /// The lines of each text, for excerpts.
    lines: Vec<Vec<&'a str>>,
    /// The keys of all entries, each once: they are the same in every entry of a kind.
    keys: RefCell<HashSet<Rc<str>>>,
    faults: RefCell<Vec<(Option<Place>, Fault)>>,
    warnings: RefCell<Vec<(Option<Place>, Fault)>>,
}

impl<'a> Collector<'a> {
    /// A collector for these files, without faults so far.
    pub fn new(texts: &'a [Text]) -> Collector<'a> {
        let lines = texts.iter().map(|text| text.text.lines().collect()).collect();
        Collector { texts, lines, keys: RefCell::default(), faults: RefCell::default(), warnings: RefCell::default() }
    }

    /// A key, kept once however many entries have it.
    pub fn key(&self, key: &str) -> Rc<str> {
        let mut keys = self.keys.borrow_mut();
        match keys.get(key) {
            Some(known) => known.clone(),
            None => {
                let new: Rc<str> = key.into();
                keys.insert(new.clone());
                new
            }
        }
    }

    /// Notes a fault at a place.
    pub fn fault(&self, place: Place, problem: Problem) {
        self.faults.borrow_mut().push((Some(place), self.at(place, None, problem)));
    }

    /// Notes a warning at a place.
    pub fn warn(&self, place: Place, problem: Problem) {
        self.warnings.borrow_mut().push((Some(place), self.at(place, None, problem)));
    }

    /// Notes a warning of the register at a place.
    pub fn lint(&self, place: Place, code: Lint, problem: Problem) {
        self.warnings.borrow_mut().push((Some(place), self.at(place, Some(code), problem)));
    }

    /// Whether any fault was noted.
    pub fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// How a message cites another place: `policies/x.yaml:3:5`.
    pub fn cite(&self, place: Place) -> String {
        format!("{}:{}:{}", self.texts[place.file as usize].name, place.line, place.column)
    }

    /// The faults and the warnings, each in the order of files and lines.
    pub fn finish(self) -> (Vec<Fault>, Vec<Fault>) {
        (sorted(self.faults.into_inner()), sorted(self.warnings.into_inner()))
    }

    fn at(&self, place: Place, code: Option<Lint>, problem: Problem) -> Fault {
        let (text, lines) = (&self.texts[place.file as usize], &self.lines[place.file as usize]);
        let line = place.line.checked_sub(1).and_then(|line| lines.get(line as usize)).copied();
        Fault {
            file: text.name.clone(),
            line: place.line as usize,
            column: place.column as usize,
            code,
            message: problem.message,
            hint: problem.hint,
            excerpt: line.map(|line| Excerpt::of(line, place)),
        }
    }
}

fn sorted(mut found: Vec<(Option<Place>, Fault)>) -> Vec<Fault> {
    found.sort_by(|(left, a), (right, b)| left.cmp(right).then_with(|| a.message.cmp(&b.message)));
    found.dedup();
    found.into_iter().map(|(_, fault)| fault).collect()
}

/// The word nearest to `text` among `words`, where one is near enough to be meant.
pub fn nearest<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(text, word), word))
        .filter(|(distance, word)| *distance <= 1.max(word.chars().count().min(text.chars().count()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `did you mean …?` for the nearest of `words`; the list of all of them where none is near and they are few.
pub fn meant<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> Option<String> {
    let words: Vec<&str> = words.into_iter().collect();
    if let Some(near) = nearest(text, words.iter().copied()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let listed = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    (!words.is_empty() && words.len() <= 12).then(|| format!("one of {listed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_below_wide_and_right_to_left_text() {
        let texts = [Text { name: "a.yaml".into(), text: "label: {ar: اللقطات, xx: 摄像头}\n".into() }];
        let collector = Collector::new(&texts);
        collector.fault(Place { file: 0, line: 1, column: 26, length: 3 }, Problem::new("wide"));
        let (faults, _) = collector.finish();
        let shown = faults[0].to_string();
        assert!(shown.starts_with("a.yaml:1:26: wide\n   1 | label: {ar: اللقطات, xx: 摄像头}\n"), "{shown}");
        assert!(shown.lines().nth(2).is_some_and(|line| line.ends_with("^^^^^^")), "{shown}");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret_and_controls_are_not_printed() {
        let text = format!("{}\u{1b}[2J{}", "a".repeat(300), "b".repeat(300));
        let texts = [Text { name: "a.yaml".into(), text }];
        let collector = Collector::new(&texts);
        collector.fault(Place { file: 0, line: 1, column: 301, length: 4 }, Problem::new("long"));
        let shown = Faults(collector.finish().0).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn hints_name_a_near_word_only() {
        assert_eq!(nearest("trasfers", ["sources", "transfers"]), Some("transfers"));
        assert_eq!(nearest("kangaroo", ["sources", "transfers"]), None);
    }
}
