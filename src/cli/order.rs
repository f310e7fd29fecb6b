//! `tasrih order`: an authority's orders, by command. One that suspends is in force, on record and kept when the command
//! ends with 0, whatever state the policy files are in; where no proxy runs, it is kept and in force from the next start.

use std::path::Path;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::asking::{AskingFault, Proxy, answer};
use super::{FINDINGS, FINE, REFUSED, UNREADABLE};
use crate::admin::control::client::AskFault;
use crate::audit::{OpenFault, hold};
use crate::clock::{Clock, SystemClock};
use crate::docket::{Act, Docket, DocketFault, Entry};
use crate::record::Asker;
use crate::register::Scope;
use crate::reload::asker;
use crate::reload::orders::{Wanted, judge, list};

/// Take an authority's order, lift one, or list them
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stop at once what an authority orders to stop
    Suspend(Suspend),
    /// End a suspension that the authority lifted
    Lift(Lift),
    /// List the orders in force, those that were lifted, and open deadlines
    List(List),
}

#[derive(clap::Args)]
struct Letter {
    /// Who ordered it, such as CNDP
    #[arg(long, value_name = "NAME")]
    authority: String,
    /// What the authority calls it; each order and each lift has its own
    #[arg(long = "ref", value_name = "REF")]
    reference: String,
    /// Day of the authority's letter
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
    /// What is to be remembered with it
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    proxy: Proxy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct Suspend {
    /// What stops: transfer:ID, recipient:ID, source:ID, country:FR or everything
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Scope,
    /// Take the order also where its scope names nothing that is declared
    #[arg(long)]
    even_if_unknown: bool,
    #[command(flatten)]
    letter: Letter,
}

#[derive(clap::Args)]
struct Lift {
    /// Reference of the order that is lifted
    #[arg(long, value_name = "REF")]
    lifts: String,
    #[command(flatten)]
    letter: Letter,
}

#[derive(clap::Args)]
struct List {
    #[command(flatten)]
    proxy: Proxy,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn main(arguments: Arguments) -> u8 {
    match arguments.command {
        Command::Suspend(Suspend { scope, even_if_unknown, letter }) => {
            order(&letter, Act::Suspend(scope), even_if_unknown)
        }
        Command::Lift(Lift { lifts, letter }) => order(&letter, Act::Lift(lifts), false),
        Command::List(arguments) => orders(&arguments),
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).map_err(|problem| match problem.hint {
        Some(hint) => format!("{}; {hint}", problem.message),
        None => problem.message,
    })
}

/// What came of an order.
struct Outcome {
    /// In the words of the command.
    told: String,
    json: Value,
    code: u8,
}

/// Why nothing came of it.
struct Failed {
    told: String,
    code: u8,
}

impl Failed {
    fn of(told: impl ToString) -> Failed {
        Failed { told: told.to_string(), code: UNREADABLE }
    }
}

impl From<DocketFault> for Failed {
    fn from(fault: DocketFault) -> Failed {
        Failed { code: if fault.is_integrity() { REFUSED } else { UNREADABLE }, ..Failed::of(fault) }
    }
}

fn order(letter: &Letter, act: Act, even_if_unknown: bool) -> u8 {
    let taken = letter.proxy.state().map_err(Failed::of).and_then(|state| take(&state, letter, act, even_if_unknown));
    match taken {
        Ok(Outcome { told, json, code }) => {
            match letter.json {
                true => println!("{json:#}"),
                false => println!("{told}"),
            }
            code
        }
        Err(Failed { told, code }) => {
            eprintln!("tasrih order: {told}");
            code
        }
    }
}

/// How long a state folder is tried whose proxy starts or stops just now.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the proxy that runs; where none does, keeps the order for its start.
fn take(state: &Path, letter: &Letter, act: Act, even_if_unknown: bool) -> Result<Outcome, Failed> {
    let begun = Instant::now();
    loop {
        match asked(state, letter, &act, even_if_unknown) {
            Err(AskingFault::Ask(AskFault::NoProxy(_))) => {}
            Err(fault) => return Err(Failed::of(fault)),
            Ok(outcome) => return outcome,
        }
        match hold(state) {
            Ok(_held) => return kept(state, letter, act, even_if_unknown),
            // A proxy that starts or stops: it holds the folder, and does not answer.
            Err(OpenFault::Locked(_)) if begun.elapsed() < PATIENCE => std::thread::park_timeout(POLL),
            Err(OpenFault::Io { .. }) if !state.join("VERSION").exists() => {
                let state = state.display();
                return Err(Failed::of(format!("{state} is no state folder: name that of the proxy with --state")));
            }
            Err(fault) => return Err(Failed::of(fault)),
        }
    }
}

/// How often a folder is tried that another process holds.
const POLL: Duration = Duration::from_millis(50);

fn asked(
    state: &Path,
    letter: &Letter,
    act: &Act,
    even_if_unknown: bool,
) -> Result<Result<Outcome, Failed>, AskingFault> {
    let (scope, lifts) = match act {
        Act::Suspend(scope) => (Some(scope.to_string()), None),
        Act::Lift(lifts) => (None, Some(lifts)),
    };
    let form = json!({
        "authority": letter.authority, "ref": letter.reference, "scope": scope, "lifts": lifts,
        "date": letter.date.map(|date| date.to_string()), "note": letter.note, "even_if_unknown": even_if_unknown,
    });
    let answer = answer(state, Method::POST, "/orders", Some(&form))?;
    let body = &answer.body;
    if answer.status != StatusCode::OK {
        let text = |key: &str| body[key].as_str();
        let hint = text("hint").map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        let code = if answer.status == StatusCode::INTERNAL_SERVER_ERROR { FINDINGS } else { UNREADABLE };
        let told = format!("{}{hint}", text("fault").unwrap_or(answer.status.as_str()));
        return Ok(Err(Failed { told, code }));
    }
    let version = body["register"].as_str().unwrap_or_default();
    let version = version.get(..12).unwrap_or(version);
    let mut told = format!("{}; register {version}", sentence(letter, act, body["is_new"] == false));
    let unrecorded = body["unrecorded"].as_str();
    if let Some(fault) = unrecorded {
        told = format!("{told}\nit is not on record: {fault}; the next start records it");
    }
    let code = if unrecorded.is_some() { FINDINGS } else { FINE };
    Ok(Ok(Outcome { told, json: body.clone(), code }))
}

/// `order 12/2026 of CNDP is in force: it stops country:FR`
fn sentence(letter: &Letter, act: &Act, already: bool) -> String {
    let Letter { authority, reference, .. } = letter;
    let already = if already { " already" } else { "" };
    match act {
        Act::Suspend(scope) => format!("order {reference} of {authority} is in force{already}: it stops {scope}"),
        Act::Lift(lifts) => format!("order {lifts} of {authority} is lifted{already} by {reference}"),
    }
}

/// The state folder's lock is held.
fn kept(state: &Path, letter: &Letter, act: Act, even_if_unknown: bool) -> Result<Outcome, Failed> {
    let mut docket = Docket::read(state)?;
    let wanted = Wanted {
        authority: letter.authority.clone(),
        reference: letter.reference.clone(),
        date: letter.date,
        note: letter.note.clone(),
        act,
        even_if_unknown,
        by: own(),
    };
    let is_new = judge(&docket, None, &wanted).map_err(|problem| {
        Failed::of(problem.hint.map_or(problem.message.clone(), |hint| format!("{}\n  hint: {hint}", problem.message)))
    })?;
    if is_new {
        let entry = Entry { owed: true, ..wanted.entry(SystemClock::default().wall()) };
        docket.add(vec![entry])?;
    }
    let unchecked = match &wanted.act {
        Act::Suspend(Scope::Country(_) | Scope::Everything) | Act::Lift(_) => "",
        Act::Suspend(Scope::Transfer(_) | Scope::Recipient(_) | Scope::Source(_)) => {
            "\nwhether its scope is declared, `tasrih order list` tells then"
        }
    };
    let (authority, reference) = (&wanted.authority, &wanted.reference);
    let told = format!(
        "{reference} of {authority} is kept; no proxy runs on {}: it takes effect when one starts{unchecked}",
        state.display()
    );
    let json = json!({ "register": null, "is_new": is_new, "unrecorded": "no proxy runs: the start records it" });
    Ok(Outcome { told, json, code: FINE })
}

/// The user of this process.
fn own() -> Asker {
    asker(rustix::process::getuid().as_raw())
}

fn orders(arguments: &List) -> u8 {
    let state = match arguments.proxy.state() {
        Ok(state) => state,
        Err(fault) => return listing_failed(&Failed::of(fault)),
    };
    let listed = match answer(&state, Method::GET, "/orders", None) {
        Ok(answer) if answer.status == StatusCode::OK => Ok(answer.body),
        Ok(answer) => Err(Failed::of(answer.body["fault"].as_str().unwrap_or(answer.status.as_str()))),
        Err(AskingFault::Ask(AskFault::NoProxy(_))) if state.join("VERSION").exists() => {
            Docket::read(&state).map(|docket| list(&docket, None, SystemClock::default().wall())).map_err(Failed::from)
        }
        Err(fault) => Err(Failed::of(fault)),
    };
    match listed {
        Ok(listed) if arguments.json => println!("{listed:#}"),
        Ok(listed) => print(&listed),
        Err(failed) => return listing_failed(&failed),
    }
    FINE
}

fn listing_failed(failed: &Failed) -> u8 {
    eprintln!("tasrih order: {}", failed.told);
    failed.code
}

fn print(listed: &Value) {
    let orders = listed["orders"].as_array().map_or(&[][..], Vec::as_slice);
    if orders.is_empty() {
        println!("no orders");
    }
    for order in orders {
        let text = |key: &str| order[key].as_str().unwrap_or_default();
        let name = format!("{} {}", text("authority"), text("ref"));
        let told = if text("action") == "comply" { deadline(order) } else { suspension(order) };
        println!("{name:<24} {told}");
        if let Some(note) = order["note"].as_str() {
            println!("{:<24} {note}", "");
        }
    }
    if listed["register"].is_null() {
        println!("no proxy runs: this is what is in force when one starts; deadlines are in the policy files");
    }
}

fn deadline(order: &Value) -> String {
    let due = order["due"].as_str().map_or("without a day".to_owned(), |due| format!("by {due}"));
    match order["days_left"].as_i64() {
        None => format!("comply {due}"),
        Some(left) if left < 0 => format!("comply {due}: overdue for {} days", -left),
        Some(left) => format!("comply {due}: {left} days left"),
    }
}

fn suspension(order: &Value) -> String {
    let text = |key: &str| order[key].as_str().unwrap_or_default();
    let moment = |text: &str| {
        let zone = TimeZone::system();
        let at = text.parse::<Timestamp>();
        at.map_or(text.to_owned(), |at| zone.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string())
    };
    let way = match (text("means"), order["by"].as_str(), order["by_uid"].as_u64()) {
        ("command", Some(user), _) => format!("by command of {user}"),
        ("command", None, Some(uid)) => format!("by command of uid {uid}"),
        ("command", None, None) => "by command".to_owned(),
        _ if order["in_files"] == false => "read from the policy files, which do not hold it any more".to_owned(),
        _ => "by the policy files".to_owned(),
    };
    let (scope, since) = (text("scope"), moment(text("since")));
    let idle = if order["stops_nothing"] == true { ", which is not declared" } else { "" };
    match (order["in_force"] == true, order["lifted_by"].as_str()) {
        (true, _) => format!("stops {scope}{idle} since {since}, {way}"),
        (false, Some(lift)) => format!("stopped {scope} from {since} to {}, lifted by {lift}", moment(text("lifted"))),
        (false, None) => format!("stopped {scope} from {since}, lifted by the policy files"),
    }
}
