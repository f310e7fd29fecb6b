//! Whatever a policy file holds, it is read or refused with places; nothing panics, and nothing slips through.

use proptest::prelude::*;
use tasrih::register::compile::{HOLD_LIMIT, Text, examine};

/// Every key there is, so that a splice may meet each of them.
const REGISTER: &str = include_str!("../fixtures/registers/v1/90-every-other-key.yaml");

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_file_with_anything_spliced_in(start in 0usize..REGISTER.len(), cut in 0usize..40, spliced in "[ -~\\n]{0,12}|[\\PC]{0,4}") {
        let (start, end) = (boundary(start), boundary(start + cut));
        never_silent(format!("{}{spliced}{}", &REGISTER[..start], &REGISTER[end..]));
    }

    #[test]
    fn a_file_of_anything(text in "[\\PC\\n\\t]{0,200}|[-:{}\\[\\]&*!|>'\"%@#?, a\\n]{0,80}") {
        never_silent(text);
    }
}

/// The nearest character boundary at or before a byte position.
fn boundary(at: usize) -> usize {
    (0..=at.min(REGISTER.len())).rev().find(|at| REGISTER.is_char_boundary(*at)).unwrap_or(0)
}

fn never_silent(text: String) {
    let lines = text.lines().count();
    let examined = examine(&[Text { name: "any.yaml".into(), text }], HOLD_LIMIT);
    assert_eq!(examined.register.is_none(), !examined.faults.is_empty());
    for fault in examined.faults.iter().chain(&examined.warnings) {
        assert!(fault.line >= 1 && fault.line <= lines + 1 && fault.column >= 1, "{fault}");
        assert!(!fault.message.is_empty() && !fault.message.ends_with('.'), "{fault}");
    }
}
