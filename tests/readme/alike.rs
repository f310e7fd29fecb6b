//! Whether what was printed is what README quotes, up to ids, times, hashes and ports, which no two runs share.

use serde_json::Value;

/// A line that stands for any number of lines.
const LEFT_OUT: &str = "…";

/// Whether `printed` is `quoted`, where a line `…` of the quotation stands for lines left out.
pub fn is_quoted(quoted: &str, printed: &str) -> bool {
    let quoted = lines(quoted);
    let printed = lines(printed);
    let mut parts: Vec<&[String]> = quoted.split(|line| line == LEFT_OUT).collect();
    let (Some(first), Some(last)) = (parts.first().copied(), parts.pop()) else { return false };
    if parts.is_empty() {
        return printed == first;
    }
    let Some(mut rest) = printed.strip_prefix(parts.remove(0)) else { return false };
    for part in parts {
        let Some(place) = (0..=rest.len()).find(|place| rest[*place..].starts_with(part)) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether everything that an abridged record says is in the whole one.
pub fn is_part_of(abridged: &Value, whole: &Value) -> bool {
    match (abridged, whole) {
        (Value::Object(few), Value::Object(all)) => {
            few.iter().all(|(key, value)| all.get(key).is_some_and(|whole| is_part_of(value, whole)))
        }
        (Value::String(one), Value::String(other)) => general(one) == general(other),
        (one, other) => one == other,
    }
}

/// Lines in their general form, without the width of columns and blank lines at either end.
fn lines(text: &str) -> Vec<String> {
    let general = |line: &str| general(&line.split_whitespace().collect::<Vec<_>>().join(" "));
    text.trim().lines().map(general).collect()
}

/// A line with a word in place of what differs from run to run.
fn general(line: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for character in line.chars() {
        match character.is_ascii_alphanumeric() || "-:.".contains(character) {
            true => run.push(character),
            false => {
                out.push_str(&general_run(&run));
                out.push(character);
                run.clear();
            }
        }
    }
    out + &general_run(&run)
}

fn general_run(run: &str) -> String {
    if let Some(time) = moment(run) {
        return time.to_owned();
    }
    run.split(':').map(general_word).collect::<Vec<_>>().join(":")
}

/// `10:12:14`, and a whole date-time.
fn moment(run: &str) -> Option<&'static str> {
    let shape: String = run.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    let shapes = ["00:00:00", "0000-00-00", "0000-00-00T00:00:00.000Z"];
    shapes.contains(&shape.as_str()).then_some("<time>")
}

fn general_word(word: &str) -> &str {
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = word.strip_suffix(".outcome").unwrap_or(word);
    match id.len() {
        36 if is_hex(&id.replace('-', "")) => "<id>",
        12.. if is_hex(id) => "<hash>",
        // Ports that the system gave; those of README are below them.
        5 if id.parse::<u16>().is_ok_and(|port| port > 10_000) => "<port>",
        _ => word,
    }
}

#[test]
fn what_differs_from_run_to_run_is_the_same() {
    let quoted = "a\n…\n10:00:00  x → y   31,929  …08d3d5ca4b50\n…\nend 127.0.0.1:40000\n";
    assert!(is_quoted(quoted, "a\nb\n10:12:14  x → y 31,929 …f87062077b5a\nc\nend 127.0.0.1:50123\n"));
    assert!(!is_quoted(quoted, "a\nb\n10:12:14  x → z 31,929 …f87062077b5a\nc\nend 127.0.0.1:50123\n"));
    assert!(!is_quoted(quoted, "b\n10:12:14  x → y 31,929 …f87062077b5a\nc\nend 127.0.0.1:50123\n"));
    assert!(!is_quoted(quoted, "a\nb\n10:12:14  x → y 31,929 …f87062077b5a\nc\nend 127.0.0.1:3128\n"));
    assert!(is_quoted("a\n", "a\n") && !is_quoted("a\n", "a\nb\n") && !is_quoted("a\n…\n", "b\na\n"));
}

#[test]
fn a_part_says_nothing_that_the_whole_does_not() {
    let whole = serde_json::json!({"uid": "01a20d0a-b327-74bd-bab4-34ccc1f1c97f", "in": {"a": 1, "b": [2]}});
    let same = serde_json::json!({"uid": "01a20d0a-b32e-74ac-8c3f-f87062077b5a", "in": {"a": 1}});
    let other = serde_json::json!({"in": {"a": 2}});
    assert!(is_part_of(&same, &whole) && !is_part_of(&other, &whole));
}
