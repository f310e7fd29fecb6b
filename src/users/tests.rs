//! Verification as the data path asks for it: remembered, joined, bounded, and slowed down.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::file::write;
use super::hash::Hash;
use super::words::{Password, UserName};
use super::{Unproven, Users, throttle};
use crate::metrics::Metrics;
use crate::secret::{self, Secret};

const RIGHT: &str = "correct horse battery";
/// The least that is taken, so that tests are quick.
const CHEAP: &str = "$argon2id$v=19$m=7168,t=5,p=1$";

struct House {
    _folder: tempfile::TempDir,
    file: PathBuf,
    metrics: Metrics,
    users: Arc<Users>,
}

fn at(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn set(file: &std::path::Path, name: &str, password: &str) {
    let name = UserName::parse(name).expect("a name");
    let hash = Hash::of(&Password::new(password, &name).expect("a password")).expect("made");
    write(file, &name, Some(&hash)).expect("written");
}

fn house(names: &[&str]) -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("users");
    secret::create(Secret::Users, &file, "").expect("made");
    names.iter().for_each(|name| set(&file, name, RIGHT));
    let metrics = Metrics::new();
    let users = Arc::new(Users::load(Some(&file), metrics.clone()).expect("users"));
    House { _folder: folder, file, metrics, users }
}

impl House {
    fn counted(&self, result: &str) -> u64 {
        let line = format!("tasrih_credential_checks_total{{result=\"{result}\"}} ");
        let scrape = self.metrics.encode();
        let value = scrape.lines().find_map(|found| found.strip_prefix(&line)).expect("a series");
        value.parse().expect("a number")
    }
}

#[tokio::test]
async fn a_right_password_is_computed_once_and_a_wrong_one_each_time() {
    let house = house(&["amal"]);
    for _ in 0..3 {
        let proven = house.users.verify("amal", RIGHT, at(1)).await.expect("right");
        assert_eq!(proven.name(), "amal");
        assert_eq!(house.users.verify("amal", "something else", at(1)).await, Err(Unproven::Wrong));
        assert_eq!(house.users.verify("nobody", RIGHT, at(1)).await, Err(Unproven::Wrong));
    }
    assert_eq!((house.counted("right"), house.counted("remembered"), house.counted("wrong")), (1, 2, 6));
    for odd in ["", "amal:", "a b", "amal\0"] {
        assert_eq!(house.users.verify(odd, RIGHT, at(2)).await, Err(Unproven::Wrong), "{odd:?}");
    }
    for odd in ["", "\0", &"x".repeat(100_000)] {
        assert_eq!(house.users.verify("amal", odd, at(2)).await, Err(Unproven::Wrong));
    }
    assert_eq!(house.counted("wrong"), 13, "what cannot be right is computed all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_computed_once_for_all_who_ask() {
    let house = house(&["amal"]);
    let asked: Vec<_> = (0..50)
        .map(|_| {
            let users = house.users.clone();
            tokio::spawn(async move { users.verify("amal", RIGHT, at(1)).await.is_ok() })
        })
        .collect();
    for answer in asked {
        assert!(answer.await.expect("no panic"));
    }
    assert_eq!(house.counted("right"), 1);
    assert_eq!(house.counted("joined") + house.counted("remembered"), 49);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_is_slowed_down_and_nobody_else() {
    let house = house(&["amal", "reda"]);
    house.users.verify("reda", RIGHT, at(1)).await.expect("right");
    let (mut guesses, begun) = (Vec::new(), Instant::now());
    for number in 0..40 {
        let users = house.users.clone();
        guesses.push(tokio::spawn(async move { users.verify("amal", &format!("a guess of {number}"), at(1)).await }));
    }
    let mut wrong = 0;
    for guess in guesses {
        match guess.await.expect("no panic") {
            Err(Unproven::Wrong) => wrong += 1,
            Err(Unproven::Throttled(wait)) => assert!(wait <= throttle::EACH),
            other => panic!("{other:?}"),
        }
    }
    // On a busy machine forty computations may take longer than the time after which one more is let in.
    let later = begun.elapsed().div_duration_f64(throttle::EACH).ceil();
    assert!((10..=10 + later as u64).contains(&wrong) && wrong < 40, "{wrong}, {later} let in later");
    assert_eq!(house.counted("wrong"), wrong);
    while house.users.verify("amal", "one more", at(1)).await == Err(Unproven::Wrong) {}
    assert!(
        matches!(house.users.verify("amal", RIGHT, at(1)).await, Err(Unproven::Throttled(_))),
        "not even a right one"
    );
    assert!(house.users.verify("reda", RIGHT, at(1)).await.is_ok(), "what is remembered passes from there");
    assert!(house.users.verify("amal", RIGHT, at(2)).await.is_ok(), "and a right one from elsewhere");
}

#[tokio::test]
async fn a_change_of_the_file_counts_at_once_for_whom_it_changes() {
    let house = house(&["amal", "reda"]);
    let amal = house.users.verify("amal", RIGHT, at(1)).await.expect("right");
    let reda = house.users.verify("reda", RIGHT, at(1)).await.expect("right");
    assert!(!house.users.reload().expect("read"), "nothing changed");
    set(&house.file, "amal", "another password");
    assert!(house.users.reload().expect("read"));
    assert!(!house.users.still_proves(&amal) && house.users.still_proves(&reda));
    assert_eq!(house.users.verify("amal", RIGHT, at(1)).await, Err(Unproven::Wrong));
    assert!(house.users.verify("amal", "another password", at(1)).await.is_ok());
    assert!(house.users.verify("reda", RIGHT, at(1)).await.is_ok());
    assert_eq!(house.counted("remembered"), 1, "who did not change is remembered");

    std::fs::write(&house.file, "amal:secret\n").expect("written");
    assert!(house.users.reload().is_err());
    assert!(house.users.verify("amal", "another password", at(1)).await.is_ok(), "all or nothing");
    std::fs::write(&house.file, "").expect("written");
    assert!(house.users.reload().expect("read"));
    assert_eq!(house.users.verify("reda", RIGHT, at(1)).await, Err(Unproven::Wrong));
}

#[tokio::test]
async fn an_unknown_user_costs_what_the_costliest_costs() {
    let house = house(&[]);
    let cheap = format!("{CHEAP}c29tc2FsdHNvbWVzYWx0$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc");
    std::fs::write(&house.file, format!("a:{cheap}\n")).expect("written");
    house.users.reload().expect("read");
    assert!(house.users.table().decoy.to_string().starts_with(CHEAP));
    set(&house.file, "b", RIGHT);
    house.users.reload().expect("read");
    assert!(house.users.table().decoy.to_string().starts_with("$argon2id$v=19$m=65536,t=3,p=4$"));
}
