//! The guard of an exchange: it sees to it that the exchange ends on record, whatever happens to its future.
//!
//! A future on the data path may be dropped at every await, because the client left or the process stops. What must be
//! written then is written by [`Guard::drop`]: before the decision a `client-closed` denial, after it the outcome. The
//! reservations of an exchange that never gets so far give themselves back (`policy::Reservations`).

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, Response};
use tokio::runtime::Handle;
use tokio::time::{sleep, sleep_until};
use uuid::Uuid;

use super::account::Account;
use super::page::Refusal;
use super::progress::Progress;
use super::reply::{self, ReplyBody};
use super::request::Door;
use super::{Corridor, stopped};
use crate::audit::Recorded;
use crate::flow::Sighting;
use crate::metrics::{Carriage, Direction, Open};
use crate::policy::{CandidateKind, Decision, Denial, End, EntryPoint, Reason, Reservations, Sent, Stage, Verdict};
use crate::record::{DecisionRecord, OutcomeRecord};
use crate::register::{Id, Register};

/// How often an exchange that is held or under way is judged again. Half a second leaves the other half of the second
/// within which an order is obeyed.
pub(super) const JUDGED_AGAIN: Duration = Duration::from_millis(500);

/// Holds what is known of an exchange and its duty to be recorded.
pub struct Guard {
    corridor: Arc<Corridor>,
    /// What is known of the exchange; every stage adds to it.
    pub account: Account,
    began: Instant,
    state: State,
}

enum State {
    /// Nothing is decided.
    Judging,
    /// Let through and on record.
    Sending(Box<Sending>),
    /// Nothing is owed any more.
    Over,
}

/// An exchange whose bytes may leave.
struct Sending {
    recorded: Recorded,
    verdict: Arc<Verdict>,
    reservations: Reservations,
    progress: Arc<Progress>,
    since: Instant,
    status: Option<u16>,
    _open: Open,
}

impl Guard {
    /// Takes charge of an exchange that begins now.
    pub fn begin(corridor: &Arc<Corridor>, door: &Door) -> Guard {
        let (account, began) = (Account::open(corridor, door), Instant::now());
        Guard { corridor: corridor.clone(), account, began, state: State::Judging }
    }

    /// The register that this exchange is decided on.
    pub fn register(&self) -> &Arc<Register> {
        self.account.register()
    }

    /// The id of the exchange and of its decision record.
    pub fn id(&self) -> Uuid {
        self.account.exchange().id
    }

    /// Records the refusal, durably, and makes the reply.
    pub async fn refuse(mut self, denial: Denial, request: &HeaderMap) -> Response<ReplyBody> {
        let (denial, record) = self.deny(denial).await;
        reply::refusal(&self.told(&denial, record), &self.corridor.pseudonym, request)
    }

    /// What a client is told of a denial.
    pub fn told<'a>(&'a self, denial: &'a Denial, record: Option<Uuid>) -> Refusal<'a> {
        let destination = self.account.exchange().destination.as_ref();
        Refusal { denial, record, destination, controller: self.register().controller.as_ref() }
    }

    /// Records a refusal that needs no reply any more.
    pub async fn note(mut self, denial: Denial) {
        self.deny(denial).await;
    }

    /// Records a refusal that is answered by less than a reply, and gives the reason that is answered.
    pub async fn refuse_in_a_word(mut self, denial: Denial) -> Reason {
        self.deny(denial).await.0.reason
    }

    /// Nothing was asked through this guard: nothing is owed.
    pub fn stand_down(mut self) {
        self.state = State::Over;
    }

    /// Gives back what is answered: the denial with the id of the record that stands for it, if there is one.
    async fn deny(&mut self, denial: Denial) -> (Denial, Option<Uuid>) {
        let owed = Owed::of(self, denial);
        // A task of its own writes and counts it: what happens to this future does not matter any more.
        self.state = State::Over;
        let written = tokio::spawn(owed.write()).await;
        written.unwrap_or_else(|_| (record_unavailable("the proxy ended before the record".to_owned()), None))
    }

    /// Records the decision to let through. Only after this may a byte leave.
    ///
    /// # Errors
    /// `record-unavailable`: the record cannot be written, so nothing may leave.
    pub async fn permit(&mut self, verdict: Verdict) -> Result<(), Denial> {
        // Who leaves while waiting here has left before the decision, which is made after the wait.
        let place = match self.corridor.audit.place().await {
            Ok(place) => place,
            Err(unavailable) => return Err(verdict.denial(record_unavailable(unavailable.to_string()))),
        };
        let mut verdict = self.on_register_in_force(verdict)?;
        if let Err(lost) = self.account.proofs().check(&self.corridor.users) {
            return Err(verdict.denial(lost.into()));
        }
        // The body may have taken long: what was valid at its head may not be any more.
        if let Err(end) = verdict.recheck(self.register(), self.corridor.now()) {
            return Err(verdict.denial(Denial::new(reason_of(end), Stage::Record)));
        }
        let decision = self.account.decision(&verdict, self.corridor.now());
        let transfer = verdict.transfer().map(|transfer| transfer.id.clone());
        // If this future is dropped now, the writer closes what it has recorded.
        self.state = State::Over;
        let (outcome, reason) = (decision.decision, decision.reason);
        let sighting = Sighting::of_record(&decision);
        let asked = Instant::now();
        let recorded = match self.corridor.audit.permit_in(place, decision).await {
            Ok(recorded) => {
                self.corridor.metrics.record_committed(asked.elapsed());
                recorded
            }
            Err(unavailable) => {
                self.state = State::Judging;
                return Err(verdict.denial(record_unavailable(unavailable.to_string())));
            }
        };
        self.corridor.seen(sighting.as_ref());
        self.count(outcome, reason, transfer.as_ref());
        // A tunnel has no findings; what is relayed unread is counted where it is opened.
        if verdict.findings().unread.is_some() {
            self.corridor.metrics.not_inspected(Carriage::Request);
        }
        self.state = State::Sending(Box::new(Sending {
            recorded,
            reservations: verdict.take_reservations(),
            verdict: Arc::new(verdict),
            progress: Arc::default(),
            since: Instant::now(),
            status: None,
            _open: self.corridor.metrics.exchange_opened(),
        }));
        Ok(())
    }

    /// A register that was loaded while the exchange was judged decides it anew (DESIGN §4).
    fn on_register_in_force(&mut self, verdict: Verdict) -> Result<Verdict, Denial> {
        let corridor = &self.corridor;
        let register = corridor.register.load_full();
        if Arc::ptr_eq(&register, verdict.register()) {
            return Ok(verdict);
        }
        self.account.decided_on(register.clone());
        verdict.anew(&register, &corridor.addresses, &mut corridor.ledger(), corridor.now())
    }

    /// What was decided, once it is on record.
    pub fn verdict(&self) -> Option<&Arc<Verdict>> {
        match &self.state {
            State::Sending(sending) => Some(&sending.verdict),
            State::Judging | State::Over => None,
        }
    }

    /// Ends when the exchange may not go on: the proxy stops, its longest time is over, or it is judged again, as each
    /// second, and an order or the end of a validity cuts it (DESIGN §5 "Clock").
    pub fn cut(&self) -> impl Future<Output = End> + Send + use<> {
        let (verdict, corridor, proofs) =
            (self.verdict().cloned(), self.corridor.clone(), self.account.proofs().clone());
        // A tunnel has the time that its declaration gives it.
        let is_request = self.account.exchange().request.is_some();
        let until = (self.began + corridor.limits.longest_exchange).into();
        async move {
            let Some(verdict) = verdict else { return pending().await };
            let mut halt = corridor.halt.clone();
            loop {
                tokio::select! {
                    () = sleep(JUDGED_AGAIN) => {}
                    () = stopped(&mut halt) => return End::Shutdown,
                    () = sleep_until(until), if is_request => return End::CutLimit,
                }
                // Who asks is not who was let in any more: the register has nothing for whoever it is now.
                if proofs.check(&corridor.users).is_err() {
                    return End::CutRegister;
                }
                if let Err(end) = verdict.recheck(&corridor.register.load(), corridor.now()) {
                    return end;
                }
            }
        }
    }

    /// Hands the duty on: what is left behind owes nothing.
    pub fn hand_over(&mut self) -> Guard {
        let state = std::mem::replace(&mut self.state, State::Over);
        Guard { corridor: self.corridor.clone(), account: self.account.clone(), began: self.began, state }
    }

    /// The proof that the decision is on record, and the counter of what leaves. `None` before [`Guard::permit`].
    pub fn sending(&self) -> Option<(&Recorded, Arc<Progress>)> {
        match &self.state {
            State::Sending(sending) => Some((&sending.recorded, sending.progress.clone())),
            State::Judging | State::Over => None,
        }
    }

    /// Notes the status of the recipient's answer.
    pub fn answered(&mut self, status: u16) {
        if let State::Sending(sending) = &mut self.state {
            sending.status = Some(status);
        }
    }

    /// Charges bytes of a tunnel before they leave; false where the day's volume has no room for them.
    pub fn draw(&mut self, bytes: u64) -> bool {
        match &mut self.state {
            State::Sending(sending) => self.corridor.ledger().draw(&mut sending.reservations, bytes),
            State::Judging | State::Over => false,
        }
    }

    /// Writes the outcome; nothing is handed over after it. Does nothing, and says so, where none is owed.
    pub fn close(&mut self, end: End) -> bool {
        let State::Sending(sending) = std::mem::replace(&mut self.state, State::Over) else { return false };
        // What is dropped because the proxy stops was not left by its client.
        let end = if end == End::ClientClosed && self.corridor.is_halted() { End::Shutdown } else { end };
        let Sending { recorded, verdict, reservations, progress, since, status, .. } = *sending;
        let (bytes, bytes_in) = (progress.close(), progress.received());
        let content_left = bytes > 0 || progress.is_begun();
        let outcome = OutcomeRecord {
            status,
            bytes_out: bytes,
            bytes_in,
            content_left,
            duration: since.elapsed(),
            ..recorded.outcome(end)
        };
        let time = outcome.time;
        let answered_2xx = status.is_some_and(|status| (200..300).contains(&status)) && end == End::Answered;
        self.corridor.ledger().settle(reservations, Sent { bytes, content_left, answered_2xx, time });
        self.corridor.metrics.moved(Direction::Out, bytes);
        self.corridor.metrics.moved(Direction::In, bytes_in);
        let is_request = self.account.exchange().request.is_some();
        let carriage = if is_request { Carriage::Request } else { Carriage::Tunnel };
        self.corridor.metrics.ended(end, carriage, self.began.elapsed());
        let well = answered_2xx || (carriage == Carriage::Tunnel && end == End::Answered);
        if let Some(transfer) = verdict.transfer().filter(|_| well || !end.is_from_outside()) {
            self.corridor.metrics.transfer_went(&transfer.id, well);
        }
        self.corridor.audit.close(recorded, outcome);
        true
    }

    fn count(&self, decision: Decision, reason: Option<Reason>, transfer: Option<&Id>) {
        self.corridor.metrics.decided(decision, reason, self.account.exchange().entry);
        if let Some(transfer) = transfer {
            self.corridor.metrics.transfer_decided(transfer, decision, self.corridor.now());
        }
    }
}

/// Why an exchange is refused that would be cut if it were under way.
pub(super) fn reason_of(end: End) -> Reason {
    match end {
        End::CutOrder => Reason::SuspendedByOrder,
        End::CutExpiry => Reason::Expired,
        End::Shutdown => Reason::Busy,
        End::CutLimit => Reason::UpstreamFault,
        _ => Reason::NoDeclaration,
    }
}

/// The transfer that came furthest: it is the one whose condition gave the reason.
fn furthest(denial: &Denial) -> Option<&Id> {
    let transfers = denial.candidates.iter().filter(|candidate| candidate.kind == CandidateKind::Transfer);
    transfers.filter(|candidate| candidate.failed.first() == Some(&denial.reason)).map(|candidate| &candidate.id).next()
}

/// The transfer that would have been used, where not its own conditions refused but the way, a full spool or the record.
fn on_the_way(denial: &Denial) -> Option<&Id> {
    let ours = denial.reason.is_fault_of_the_way() || matches!(denial.reason, Reason::Busy | Reason::RecordUnavailable);
    let transfers = denial.candidates.iter().filter(|candidate| candidate.kind == CandidateKind::Transfer);
    transfers.filter(|candidate| ours && candidate.failed.is_empty()).map(|candidate| &candidate.id).next()
}

fn record_unavailable(detail: String) -> Denial {
    Denial::new(Reason::RecordUnavailable, Stage::Record).with_detail(detail)
}

impl Drop for Guard {
    fn drop(&mut self) {
        match &self.state {
            State::Over => {}
            State::Sending(_) => {
                self.close(End::ClientClosed);
            }
            State::Judging => self.client_left(),
        }
    }
}

impl Guard {
    /// The client left before the decision: one record, written by a task of its own because this one is ending.
    fn client_left(&mut self) {
        let detail = match self.corridor.is_halted() {
            true => "the proxy stopped before the decision",
            false => "the client closed its connection before the decision",
        };
        let left = Denial::new(Reason::ClientClosed, Stage::Head).with_detail(detail);
        let owed = Owed::of(self, left);
        self.state = State::Over;
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(owed.write());
        }
    }
}

/// A denial that is not on record yet. It holds the corridor and not only the log: while someone does, a stop waits.
struct Owed {
    corridor: Arc<Corridor>,
    entry: EntryPoint,
    denial: Denial,
    record: DecisionRecord,
}

impl Owed {
    fn of(guard: &Guard, denial: Denial) -> Owed {
        let record = guard.account.denial(&denial, guard.corridor.now());
        let entry = guard.account.exchange().entry;
        Owed { corridor: guard.corridor.clone(), entry, denial, record }
    }

    /// Puts it on record, and counts what is answered: where the record fails, that is the reason.
    async fn write(self) -> (Denial, Option<Uuid>) {
        let Owed { corridor, entry, denial, record } = self;
        let metrics = &corridor.metrics;
        if let Some(transfer) = furthest(&denial).or_else(|| on_the_way(&denial)) {
            metrics.transfer_went(transfer, false);
        }
        let (asked, transfer) = (Instant::now(), furthest(&denial).cloned());
        let sighting = Sighting::of_record(&record);
        let (answered, id) = match corridor.audit.deny(record).await {
            Ok(id) => {
                metrics.record_committed(asked.elapsed());
                corridor.seen(sighting.as_ref());
                (denial, Some(id))
            }
            Err(unavailable) => {
                tracing::debug!(%unavailable, reason = denial.reason.as_str(), "a denial could not be recorded");
                (record_unavailable(unavailable.to_string()), None)
            }
        };
        metrics.decided(Decision::Denial, Some(answered.reason), entry);
        if let Some(transfer) = transfer {
            metrics.transfer_decided(&transfer, Decision::Denial, corridor.now());
        }
        (answered, id)
    }
}
