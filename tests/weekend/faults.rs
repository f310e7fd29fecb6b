//! What can happen over a weekend, how it is brought about, and where an operator must see it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpSocket, TcpStream};

use super::dice::Dice;
use super::world::{World, fill};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    DiskFull,
    RecipientDown,
    NamesDead,
    DescriptorsOut,
    ClockSet,
    Killed,
    Reloaded,
    ReloadedFaulty,
    Stopped,
}

/// How a fault showed.
pub struct Seen {
    /// The metric that names it moved.
    pub metric: bool,
    /// The log of operation or the record names it.
    pub log: bool,
    /// From its end until legal frames passed by every way.
    pub recovered: Duration,
}

/// Names a figure, and what of its labels.
type Figure = (&'static str, &'static str);

/// How long a fault may take to show.
const SHOWN: Duration = Duration::from_secs(25);
/// How long the log may take to say how many like lines it left out.
const FOLDED: Duration = Duration::from_secs(75);
/// How long a crowd stays at most.
const CROWDED: Duration = Duration::from_secs(5);
/// Connections that take the last descriptor.
const MANY: u16 = 400;
const CROWD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 200));

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::DiskFull,
        Fault::RecipientDown,
        Fault::NamesDead,
        Fault::DescriptorsOut,
        Fault::ClockSet,
        Fault::Killed,
        Fault::Reloaded,
        Fault::ReloadedFaulty,
        Fault::Stopped,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Fault::DiskFull => "disk full, then freed",
            Fault::RecipientDown => "recipient down",
            Fault::NamesDead => "name service dead",
            Fault::DescriptorsOut => "descriptors exhausted",
            Fault::ClockSet => "clock set",
            Fault::Killed => "kill -9 under load",
            Fault::Reloaded => "reload",
            Fault::ReloadedFaulty => "reload of a faulty register",
            Fault::Stopped => "SIGTERM under load, start",
        }
    }

    /// The figure that names it.
    fn figure(self) -> Figure {
        match self {
            Fault::DiskFull => ("tasrih_record_fault", "cause=\"no-room\""),
            Fault::RecipientDown => ("tasrih_decisions_total", "reason=\"unreachable\""),
            Fault::NamesDead => ("tasrih_decisions_total", "reason=\"unresolvable\""),
            Fault::DescriptorsOut => ("tasrih_accept_failures_total", ""),
            Fault::ClockSet => ("tasrih_clock_steps_total", ""),
            Fault::Killed | Fault::Stopped => ("process_start_time_seconds", ""),
            Fault::Reloaded => ("tasrih_register_reloads_total", "result=\"taken\""),
            Fault::ReloadedFaulty => ("tasrih_register_reload_refused", ""),
        }
    }

    pub fn metric(self) -> String {
        let (name, part) = self.figure();
        if part.is_empty() { name.to_owned() } else { format!("{name}{{{part}}}") }
    }

    /// The words in the log of operation, or in a record, that name it.
    fn words(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Fault::DiskFull => ("too little room for records", &[]),
            Fault::RecipientDown => ("", &["unreachable", "upstream-fault"]),
            Fault::NamesDead => ("", &["unresolvable"]),
            Fault::DescriptorsOut => ("connections cannot be accepted now", &[]),
            Fault::ClockSet => ("the wall clock was set", &["clock-step"]),
            Fault::Killed => ("", &["interrupted", "start"]),
            Fault::Reloaded => ("a new register is in force", &["register-loaded"]),
            Fault::ReloadedFaulty => ("the register was refused", &["register-refused"]),
            Fault::Stopped => ("", &["stop"]),
        }
    }

    /// What names it in the log, for the table.
    pub fn sentence(self) -> String {
        let (line, records) = self.words();
        let records: Vec<String> = records.iter().map(|word| format!("record `{word}`")).collect();
        let line = if line.is_empty() { None } else { Some(format!("\"{line}\"")) };
        line.into_iter().chain(records).collect::<Vec<_>>().join(", ")
    }
}

impl World {
    /// Brings a fault about, waits until it shows, ends it, and waits until legal frames pass again.
    pub async fn suffer(&mut self, fault: Fault, dice: &mut Dice) -> Seen {
        let (logged, sequence) = (self.log(0).len(), self.sequence());
        let (name, part) = fault.figure();
        let before = self.figure(name, part).await.unwrap_or(0.0);
        let mut metric = match fault {
            Fault::DiskFull => {
                let stray = fill(&self.ground.state());
                let shown = self.shows(fault, before).await;
                self.live(Duration::from_millis(500 + dice.below(1_500))).await;
                fs::remove_file(stray).expect("our own file");
                shown
            }
            Fault::RecipientDown => {
                self.gate.shut(true);
                let shown = self.shows(fault, before).await;
                self.gate.shut(false);
                shown
            }
            Fault::NamesDead => {
                self.names.fall_silent(true);
                let shown = self.shows(fault, before).await;
                self.names.fall_silent(false);
                shown
            }
            Fault::DescriptorsOut => {
                let crowd = crowd(self.proxy).await;
                // While no descriptor is left, nobody can ask for the figure either: the crowd stays for a while.
                self.until_logged(logged, fault).await;
                drop(crowd);
                self.shows(fault, before).await
            }
            Fault::ClockSet => {
                let offset = ["+7200", "-3600", "+0", "+79200"];
                let now = fs::read_to_string(self.ground.path("clock")).expect("the clock");
                let others: Vec<_> = offset.into_iter().filter(|offset| *offset != now).collect();
                let place = usize::try_from(dice.below(others.len() as u64)).expect("one of them");
                fs::write(self.ground.path("clock"), others[place]).expect("written");
                self.shows(fault, before).await
            }
            Fault::Killed => {
                self.process().kill();
                self.start_over(dice).await;
                true
            }
            Fault::Stopped => {
                let status = self.process().stop().await;
                assert!(status.success(), "{status:?}: {}", self.log(logged));
                self.start_over(dice).await;
                true
            }
            Fault::Reloaded => {
                let day = 10 + dice.below(18);
                self.declare(&self.policy.replace("2023-02-21", &format!("2023-01-{day}")));
                let shown = self.shows(fault, before).await;
                self.declare(&self.policy.clone());
                shown
            }
            Fault::ReloadedFaulty => {
                self.declare(&self.policy.replace("granted", "grnated"));
                let shown = self.shows(fault, before).await;
                self.declare(&self.policy.clone());
                shown
            }
        };
        if matches!(fault, Fault::Killed | Fault::Stopped) {
            metric = self.figure(name, part).await.is_some_and(|started| started != before);
        }
        let recovered = self.until_legal_again().await;
        let log = self.is_told(fault, logged, sequence).await;
        if !metric || !log {
            eprintln!("{}: metric {metric}, log {log}\n{}", fault.as_str(), self.log(logged));
        }
        Seen { metric, log, recovered }
    }

    /// Waits until log or record name a fault; the number of lines that were left out comes with the next minute.
    async fn is_told(&self, fault: Fault, logged: usize, sequence: usize) -> bool {
        let ((line, words), begun) = (fault.words(), Instant::now());
        while begun.elapsed() < FOLDED {
            if self.is_logged(logged, line) || self.is_on_record(sequence, words) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        false
    }

    /// Whether the log says this from here on. Of more than ten like lines in a minute it gives the number, and the place.
    fn is_logged(&self, from: usize, line: &str) -> bool {
        let log = self.log(from);
        let folded =
            |log: &str| log.lines().any(|line| line.contains("like lines were left out") && line.contains("accept"));
        !line.is_empty() && (log.contains(line) || line == Fault::DescriptorsOut.words().0 && folded(&log))
    }

    /// Waits until the figure of a fault has grown.
    async fn shows(&self, fault: Fault, before: f64) -> bool {
        let (name, part) = fault.figure();
        let begun = Instant::now();
        while begun.elapsed() < SHOWN {
            if self.figure(name, part).await.is_some_and(|now| now > before) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn until_logged(&self, from: usize, fault: Fault) {
        let begun = Instant::now();
        while begun.elapsed() < CROWDED && !self.is_logged(from, fault.words().0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Writes the policy files, and has the process read them.
    fn declare(&mut self, policy: &str) {
        fs::write(self.ground.path("policies/cctv.yaml"), policy).expect("a policy");
        let id = Pid::from_raw(self.process().id()).expect("an id is not 0");
        kill_process(id, Signal::HUP).expect("our own child takes signals");
    }
}

/// Connections that say nothing, more than the process has descriptors for; those beyond wait in the listener's queue.
async fn crowd(proxy: SocketAddr) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..MANY {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(CROWD, 0)).expect("an address of loopback");
        match tokio::time::timeout(Duration::from_secs(2), socket.connect(proxy)).await {
            Ok(Ok(stream)) => crowd.push(stream),
            _ => break,
        }
    }
    crowd
}
