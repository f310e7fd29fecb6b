//! A draft declaration made of what was seen: policy YAML with everything filled in that records tell, and the rest as
//! questions in the order of the authority's form.
//!
//! `status: draft` permits nothing: what it declares is refused with `filing-not-granted` until the officer writes that
//! the authority granted it. The order of the questions is that in which form F118 is described (`research/law.md` §2.1:
//! exporter, base processing, persons, data, recipient, basis, documents, signature); the form's own labels were not
//! available, so none is quoted.

use std::collections::BTreeSet;
use std::fmt::Write;

use jiff::Timestamp;

use super::beat::Beat;
use super::shape::Shape;
use super::written::{flat, guessed, interval, network, quoted, slug, split, terms};
use super::{Flow, spoken};
use crate::register::{Id, Processing, Recipient, Register, Source};
use crate::vocabulary::{Adequacy, Country, Regime, Term, TermKind, adequacy};

/// What the officer said on the command line.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Where the recipient is established.
    pub country: Option<Country>,
    /// The processing that the transfer belongs to.
    pub processing: Option<Id>,
}

/// A draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The YAML text.
    pub text: String,
    /// What must be answered before the file loads; empty where it loads as it is.
    pub unanswered: Vec<String>,
}

/// Writes the draft of a flow, against the register that it is to join.
pub fn draft(register: &Register, flow: &Flow, shape: &Shape, answers: &Answers, now: Timestamp) -> Draft {
    Writer { register, flow, shape, answers, now, text: String::new(), unanswered: Vec::new() }.write()
}

struct Writer<'a> {
    register: &'a Register,
    flow: &'a Flow,
    shape: &'a Shape,
    answers: &'a Answers,
    now: Timestamp,
    text: String,
    unanswered: Vec<String>,
}

impl Writer<'_> {
    fn write(mut self) -> Draft {
        let beat = self.flow.beat();
        let source = self.register.sources.iter().find(|source| source.id.as_str() == self.flow.source).cloned();
        let recipient = self
            .flow
            .recipient
            .as_ref()
            .and_then(|id| self.register.recipients.iter().find(|one| one.id.as_str() == id).cloned());
        let processing = self.processing(source.as_deref());
        self.head(beat.as_ref());
        let from = self.source(source.as_deref());
        let categories = self.categories(source.as_deref(), processing.as_deref());
        let processed = self.processing_entry(processing.as_deref(), &categories);
        let to = self.recipient(recipient.as_deref());
        self.transfer(&from, &to, &processed, &categories, processing.as_deref(), recipient.as_deref(), beat.as_ref());
        Draft { text: self.text, unanswered: self.unanswered }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn ask(&mut self, question: &str) {
        let _ = writeln!(self.text, "    # ? {question}");
    }

    fn head(&mut self, beat: Option<&Beat>) {
        let flow = self.flow;
        let zone = self.register.time_zone();
        let day = |time: Timestamp| zone.to_datetime(time).strftime("%Y-%m-%d %H:%M").to_string();
        let every = beat.map_or("without a period".to_owned(), |beat| {
            format!("every {} (jitter {:.0} %)", spoken(beat.period), beat.jitter * 100.0)
        });
        self.line(&format!("# Draft of a transfer, made on {} from flow {}.", day(self.now), flow.id));
        self.line(&format!(
            "# Seen: {} from {} to {}, {every}, {} bytes, first {}, last {}.",
            match flow.count {
                1 => "1 exchange".to_owned(),
                count => format!("{count} exchanges"),
            },
            flow.source,
            flow.destination,
            flow.bytes,
            day(flow.first),
            day(flow.last)
        ));
        self.line(
            "# As a draft it permits nothing. Lines with `# ?` are questions; what they ask for is not in the records.",
        );
        self.line("# The order is that of the request to the authority (transfer abroad, form F118 of the CNDP).");
        self.line("");
    }

    /// 1, the exporter's system: what is declared, or an entry for the address.
    fn source(&mut self, source: Option<&Source>) -> String {
        self.line("# 1. Who sends.");
        if let Some(controller) = &self.register.controller {
            let text = format!("#    Controller: {} ({}).", flat(&controller.name), controller.country.as_str());
            self.line(&text);
        } else {
            self.unanswered.push("who the controller is: no policy file names one".to_owned());
        }
        if let Some(source) = source {
            let text = format!("#    System: {}, which is declared.", source.id);
            self.line(&text);
            self.line("");
            return source.id.to_string();
        }
        let id = self.unused("source", &self.flow.source.clone());
        self.line("sources:");
        self.line(&format!("  - id: {id}"));
        self.ask("What is this system called? label: {fr: …, ar: …, en: …}");
        let networks: Vec<String> = self.flow.peers.iter().map(|peer| network(peer)).collect();
        let networks = if networks.is_empty() { vec![network(&self.flow.source)] } else { networks };
        self.line(&format!(
            "    networks: [{}]",
            networks.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ")
        ));
        if !self.shape.users.is_empty() {
            let users = flat(&self.shape.users.iter().cloned().collect::<Vec<_>>().join(", "));
            self.ask(&format!("It proved these users: {users}. Is the system known by one of them? user: …"));
        }
        self.ask("What do its images and videos show? carries: […]");
        self.line("");
        id
    }

    /// The processing that is most likely meant: as said; else what other transfers of the source belong to; else the only
    /// one that there is.
    fn processing(&self, source: Option<&Source>) -> Option<std::sync::Arc<Processing>> {
        let register = self.register;
        if let Some(id) = &self.answers.processing {
            return register.processings.get(id).cloned();
        }
        let fits = |processing: &&std::sync::Arc<Processing>| {
            let seen = self.flow.categories.iter().filter_map(|one| Term::parse(one, TermKind::DataCategory).ok());
            seen.into_iter().all(|seen| processing.data_categories.iter().any(|declared| declared.covers(&seen)))
        };
        let of_source: BTreeSet<&Id> = source
            .into_iter()
            .flat_map(|source| register.transfers.iter().filter(|transfer| transfer.from.includes(&source.id)))
            .map(|transfer| &transfer.processing.id)
            .collect();
        let related = register.processings.values().filter(|one| of_source.contains(&one.id)).find(fits);
        let only = register.processings.values().next().filter(|_| register.processings.len() == 1);
        related.or(only.filter(fits)).cloned()
    }

    fn categories(&self, source: Option<&Source>, processing: Option<&Processing>) -> Vec<String> {
        let known = |text: &String| Term::parse(text, TermKind::DataCategory).is_ok();
        let seen: Vec<String> = self.flow.categories.iter().filter(|one| known(one)).cloned().collect();
        let carried = || source.map(|source| source.carries.iter().map(ToString::to_string).collect::<Vec<_>>());
        let declared = || processing.map(|one| one.data_categories.iter().map(ToString::to_string).collect::<Vec<_>>());
        [Some(seen), carried(), declared()].into_iter().flatten().find(|list| !list.is_empty()).unwrap_or_default()
    }

    /// 2, the base processing: what is declared, or an entry without a receipt.
    fn processing_entry(&mut self, processing: Option<&Processing>, categories: &[String]) -> String {
        self.line("# 2. The processing that the data come from, with its receipt: the authority decides on a transfer only if it has one.");
        if let Some(processing) = processing {
            let receipt = processing.receipt.as_ref().map_or("which has NO receipt yet".to_owned(), |receipt| {
                format!("receipt {} of {}", flat(&receipt.reference), flat(&receipt.authority))
            });
            self.line(&format!("#    {}, {receipt}. Is it the right one?", processing.id));
            self.line("");
            return processing.id.to_string();
        }
        let id = self.unused("processing", &format!("processing-of-{}", self.flow.source));
        self.line("processing:");
        self.line(&format!("  - id: {id}"));
        self.ask("What is it called? label: {fr: …, ar: …, en: …}");
        self.ask("What is it for? dpv:Purpose is no answer; `tasrih check` names the nearest term of a wrong one.");
        self.line("    purposes: [dpv:Purpose]");
        let list = if categories.is_empty() { ANY_DATA.to_owned() } else { categories.join(", ") };
        self.line(&format!("    data_categories: [{list}]"));
        self.ask("Whose data are they? data_subjects: [dpv:Visitor, dpv:Employee, …]");
        self.ask("How long are they kept? retention: P3M");
        self.ask("Under which receipt? receipt: {kind: declaration, authority: CNDP, ref: D-…, date: …}");
        self.line("");
        id
    }

    /// 3, the recipient: what is declared, or an entry for the host.
    fn recipient(&mut self, recipient: Option<&Recipient>) -> String {
        self.line("# 3. Who receives, and in which country.");
        let (host, port) = split(&self.flow.destination);
        if let Some(recipient) = recipient {
            let text =
                format!("#    {}: {}, {}; declared.", recipient.id, flat(&recipient.name), recipient.country.as_str());
            self.line(&text);
            if !recipient.endpoints.iter().any(|endpoint| endpoint.port == port) {
                let text = format!(
                    "#    ? Port {port} is not among its destinations: add it to the entry of {}.",
                    recipient.id
                );
                self.line(&text);
            }
            self.line("");
            return recipient.id.to_string();
        }
        let id = self.unused("recipient", &host);
        self.line("recipients:");
        self.line(&format!("  - id: {id}"));
        self.ask("Which legal person is it? The name as the authority is to know it.");
        self.line(&format!("    name: {}", quoted(&format!("{host} (to be named)"))));
        self.ask("What kind of body? kind: dpv:GovernmentalOrganisation");
        self.country(&host);
        self.ask("Whom does one write to there? contact: …");
        let is_clear = self.shape.scheme.as_deref() == Some("http");
        self.line("    destinations:");
        self.line(&format!("      - host: {}", quoted(&host)));
        self.line(&format!("        port: {port}"));
        if is_clear {
            self.line("        scheme: http                       # as seen: nothing protects it on the way");
        }
        if self.shape.is_tunnel {
            self.line("        # It was seen as a tunnel, which cannot be read. Must it stay one? interception: never");
        }
        self.line("");
        id
    }

    fn country(&mut self, host: &str) {
        if let Some(country) = self.answers.country {
            self.line(&format!("    country: {}", country.as_str()));
        } else if let Some(country) = guessed(host, self.shape.country.as_deref()) {
            self.line(&format!(
                "    country: {}                            # ? guessed: where is it established?",
                country.as_str()
            ));
        } else {
            self.ask("Where is it established? Two letters; the file does not load before: country: FR");
            self.unanswered.push("the recipient's country (or give --country)".to_owned());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is one of the entries that the transfer ties together")]
    fn transfer(
        &mut self,
        from: &str,
        to: &str,
        processed: &str,
        categories: &[String],
        processing: Option<&Processing>,
        recipient: Option<&Recipient>,
        beat: Option<&Beat>,
    ) {
        let id = self.unused("transfer", &format!("{from}-to-{to}"));
        self.line("transfers:");
        self.line(&format!("  - id: {id}"));
        self.line(&format!("    processing: {processed}"));
        self.line(&format!("    from: [{from}]"));
        self.line(&format!("    to: {to}"));
        self.ask("Is the controller one, or does it send for another? role: dpv:DataController, dpv:DataProcessor");
        self.line("    # 4. For what, and whose data.");
        let purposes = terms(processing.map(|one| one.purposes.as_slice()), "dpv:Purpose");
        self.line(&format!("    purposes: [{purposes}]"));
        match processing.filter(|one| !one.data_subjects.is_empty()) {
            Some(one) => self.line(&format!(
                "    data_subjects: [{}]           # ? all of them?",
                terms(Some(&one.data_subjects), "")
            )),
            None => self.ask("data_subjects: [dpv:Visitor, …]"),
        }
        self.line("    # 5. Which data.");
        let list = if categories.is_empty() { ANY_DATA.to_owned() } else { categories.join(", ") };
        let origin =
            if self.flow.categories.is_empty() { "# ? nothing was read: which are they?" } else { "# as seen" };
        self.line(&format!("    data_categories: [{list}]    {origin}"));
        self.ask("Are there sensitive data among them (law 09-08 art. 1 (3))? sensitive: true");
        self.basis(recipient.map(|one| one.country).or(self.answers.country));
        self.seen_limits(beat);
        self.line("    # 8. How it is protected and how long it is kept.");
        if self.shape.scheme.as_deref() != Some("http") {
            self.line("    measures: [dpv:EncryptionInTransfer]   # as seen: TLS");
        }
        self.ask("How long do both sides keep it? retention: {exporter: P3M, recipient: P3M}");
        self.ask("May the recipient pass it on, and who works for it? onward: forbidden");
        self.line("    # 9. What it can be shown with: contract or clauses, consent, the decision relied on.");
        self.ask("documents: [{title: …, date: …, sha256: \"…\", file: documents/…}]");
        self.filing();
    }

    fn basis(&mut self, country: Option<Country>) {
        let regimes = self.regimes();
        self.line("    # 6. Which law applies, and which article it rests on.");
        self.line(&format!("    regimes: [{}]", regimes.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ")));
        for regime in regimes {
            let standing = country.map(|country| {
                let word = match adequacy::is_adequate(regime, country) {
                    Adequacy::Adequate => "is on the list",
                    Adequacy::Conditional => "is on the list under a condition",
                    Adequacy::NotListed => "is NOT on the list: an exception or safeguards are needed",
                    Adequacy::Unknown => "could not be found on a list",
                };
                format!(" {} {word} ({}, data of {}).", country.as_str(), regime.as_str(), adequacy::compiled())
            });
            let example = regime.adequacy_basis();
            self.ask(&format!("legal_basis: {{{}: {example}}}{}", regime.as_str(), standing.unwrap_or_default()));
        }
    }

    /// The regimes of the other transfers; without any, that of the controller's country.
    fn regimes(&self) -> Vec<Regime> {
        let declared: BTreeSet<Regime> =
            self.register.transfers.iter().flat_map(|transfer| transfer.regimes.iter().copied()).collect();
        let home = self.register.controller.as_ref().map(|controller| controller.country);
        let of_home =
            || Regime::ALL.into_iter().filter(|regime| home.is_some_and(|home| adequacy::is_domestic(*regime, home)));
        let regimes: Vec<Regime> =
            if declared.is_empty() { of_home().collect() } else { declared.into_iter().collect() };
        if regimes.is_empty() { vec![Regime::Ma0908] } else { regimes }
    }

    /// 7, requests, frequency and volume as they were seen.
    fn seen_limits(&mut self, beat: Option<&Beat>) {
        self.line("    # 7. How often and how much, as seen. Declare no more than is needed.");
        if self.shape.is_tunnel {
            self.ask("A tunnel allows only limits: {max_bytes_per_day: …, max_duration: …}");
            return;
        }
        let list = |set: &BTreeSet<String>| set.iter().map(|one| quoted(one)).collect::<Vec<_>>().join(", ");
        let shape = self.shape;
        let mut requests = Vec::new();
        if !shape.methods.is_empty() {
            requests.push(format!("methods: [{}]", list(&shape.methods)));
            requests.push(format!("paths: [{}]", list(&shape.paths)));
        }
        if !shape.content_types.is_empty() {
            requests.push(format!("content_types: [{}]", list(&shape.content_types)));
        }
        match requests.is_empty() {
            false => self.line(&format!("    requests: {{{}}}", requests.join(", "))),
            true => self.ask("It was refused before a request was seen. requests: {methods: [POST], paths: [/…], content_types: […]}"),
        }
        let mut limits = Vec::new();
        if let Some(seconds) = beat.map(|beat| interval(beat.period)).filter(|seconds| *seconds > 0) {
            limits.push(format!("min_interval: PT{seconds}S"));
            limits.push(format!("max_per_day: {}", 86_400_u64.div_ceil(seconds)));
        }
        if shape.largest > 0 {
            limits.push(format!("max_body: {}KiB", shape.largest.div_ceil(1024).next_power_of_two()));
        }
        match limits.is_empty() {
            false => self.line(&format!("    limits: {{{}}}", limits.join(", "))),
            true => {
                self.ask("limits: {min_interval: PT5M, max_per_day: 288, max_body: 2MiB, max_bytes_per_day: 512MiB}");
            }
        }
    }

    fn filing(&mut self) {
        let authority = self
            .register
            .transfers
            .iter()
            .find_map(|transfer| transfer.filing.as_ref())
            .map_or("CNDP", |filing| &filing.authority);
        let authority = quoted(authority);
        self.line("    # 10. What is sent to the authority, and signed by the legal representative. When it is sent: status: filed and");
        self.line("    #     filed: DATE. When it is granted: status: granted, ref, decided, valid_from, valid_until.");
        self.line("    filing:");
        self.line(&format!("      authority: {authority}"));
        self.line("      form: F118");
        self.line("      status: draft");
    }

    /// An id made of `text` that no entry of the kind has yet.
    fn unused(&self, kind: &str, text: &str) -> String {
        let id = slug(text);
        let taken = |id: &str| match kind {
            "source" => self.register.sources.iter().any(|one| one.id.as_str() == id),
            "recipient" => self.register.recipients.iter().any(|one| one.id.as_str() == id),
            "processing" => self.register.processings.keys().any(|one| one.as_str() == id),
            _ => self.register.transfers.iter().any(|one| one.id.as_str() == id),
        };
        let numbered = (2..).map(|number| format!("{id}-{number}"));
        std::iter::once(id.clone()).chain(numbered).find(|id| !taken(id)).unwrap_or_default()
    }
}

/// Stands where nothing was read: the widest term, which no officer will leave.
const ANY_DATA: &str = "dpv:PersonalData";
