//! Names that look alike: the skeleton of Unicode Technical Standard 39, which two names share that a reader would take
//! for one another (`paypal` and `paypa1`, `rn` and `m`, Latin and Cyrillic `а`).

use idna::uts46::{AsciiDenyList, Hyphens, Uts46};

/// How a name looks. Names with the same skeleton look alike; a skeleton is no name.
pub fn skeleton(name: &str) -> String {
    let letters = in_letters(name).unwrap_or_else(|| name.to_owned());
    if letters.is_ascii() {
        return ascii_skeleton(&letters);
    }
    // The skeleton of `0` is `O`: case is folded after it too, because names have none.
    unicode_security::skeleton(&letters.to_lowercase()).collect::<String>().to_lowercase()
}

/// The same for ASCII, of which a register may have hundreds of thousands of names; a test compares the two.
fn ascii_skeleton(name: &str) -> String {
    let mut look = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        match letter.to_ascii_lowercase() {
            'm' => look.push_str("rn"),
            '0' => look.push('o'),
            '1' => look.push('l'),
            other => look.push(other),
        }
    }
    look
}

/// A name with `xn--` labels as browsers show it; `None` for a name without such labels.
pub fn in_letters(name: &str) -> Option<String> {
    if !name.split('.').any(|label| label.starts_with("xn--")) {
        return None;
    }
    let shown: Vec<String> = name.split('.').map(label).collect();
    Some(shown.join("."))
}

fn label(label: &str) -> String {
    if !label.starts_with("xn--") {
        return label.to_owned();
    }
    let (letters, _) = Uts46::new().to_unicode(label.as_bytes(), AsciiDenyList::URL, Hyphens::Allow);
    letters.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_share_a_skeleton() {
        let alike = [
            ("ministry-1", "ministry-l"),
            ("modern", "modem"),
            ("portal0", "portalo"),
            ("xn--80ak6aa92e.com", "apple.com"),
        ];
        for (one, two) in alike {
            assert_eq!(skeleton(one), skeleton(two), "{one} {two}");
        }
    }

    #[test]
    fn the_short_way_for_ascii_is_that_of_the_table() {
        for byte in (b'a'..=b'z').chain(b'0'..=b'9').chain(*b"-._*") {
            let letter = char::from(byte).to_string();
            let table = unicode_security::skeleton(&letter).collect::<String>().to_lowercase();
            assert_eq!(skeleton(&letter), table, "{letter}");
        }
    }

    #[test]
    fn names_that_differ_visibly_do_not() {
        for (one, two) in [("ministry-a", "ministry-b"), ("intake-1", "intake-2"), ("a.example", "a.example.org")] {
            assert_ne!(skeleton(one), skeleton(two), "{one} {two}");
        }
        assert_eq!(in_letters("xn--mller-kva.example").as_deref(), Some("müller.example"));
        assert_eq!(in_letters("mueller.example"), None);
    }
}
