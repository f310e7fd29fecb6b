//! What is added is read back, and every damage is told.

use super::*;
use crate::record::Asker;

fn given(reference: &str, act: Act) -> Entry {
    let asked_by = Some(Asker { uid: 1000, user: Some("amal".to_owned()) });
    Entry {
        at: "2026-11-24T15:00:00Z".parse().expect("a time"),
        way: Way { means: Means::Command, origin: Origin { asked_by, ..Origin::default() } },
        authority: "CNDP".to_owned(),
        reference: reference.to_owned(),
        date: Some("2026-11-23".parse().expect("a day")),
        note: Some("by telephone\n\"now\"".to_owned()),
        act,
        owed: false,
    }
}

fn suspend(reference: &str) -> Entry {
    given(reference, Act::Suspend(Scope::parse("country:FR").expect("a scope")))
}

#[test]
fn entries_are_read_back_and_a_lift_ends_what_stands_before_it() {
    let state = tempfile::tempdir().expect("a folder");
    let mut docket = Docket::read(state.path()).expect("empty");
    let owed = Entry { owed: true, ..suspend("o-2") };
    docket.add(vec![suspend("o-1"), owed]).expect("added");
    docket.add(vec![given("l-1", Act::Lift("o-1".to_owned())), suspend("o-1")]).expect("added");
    let read = Docket::read(state.path()).expect("whole");
    assert_eq!(read.entries, docket.entries);
    let lifted: Vec<_> = read.suspensions().map(|known| known.lift.is_some()).collect();
    assert_eq!(lifted, [true, false, false], "the same reference again is another order");
    assert_eq!(read.owed().len(), 1);
    docket.all_noted().expect("noted");
    assert!(Docket::read(state.path()).expect("whole").owed().is_empty());
    assert!(!state.path().join("orders.new").exists());
}

#[test]
fn whatever_is_cut_or_changed_is_damage() {
    let state = tempfile::tempdir().expect("a folder");
    let file = state.path().join(NAME);
    Docket::read(state.path()).expect("empty").add(vec![suspend("o-1"), suspend("o-2")]).expect("added");
    let whole = fs::read(&file).expect("written");
    let fault = |bytes: &[u8]| {
        fs::write(&file, bytes).expect("written");
        Docket::read(state.path()).expect_err("damaged")
    };
    for length in 0..whole.len() {
        assert!(fault(&whole[..length]).is_integrity(), "cut to {length} bytes");
    }
    for position in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[position] ^= 1 << bit;
            assert!(fault(&flipped).is_integrity(), "bit {bit} of byte {position}");
        }
    }
    assert!(fault(&[&whole[..], b"x"].concat()).is_integrity());
    fs::write(&file, &whole).expect("written");
    assert_eq!(Docket::read(state.path()).expect("whole").suspensions().count(), 2);
}
