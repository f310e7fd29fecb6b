//! The tables of keys. A comment is what an editor shows for the key.

use super::Kind::*;
use super::Shape::*;
use super::{Key, Table};
use crate::vocabulary::TermKind;

macro_rules! table {
    ($(#[doc = $meaning:literal])+ $table:ident { $($(#[doc = $says:literal])+ $required:ident $name:literal: $shape:expr,)+ }) => {
        $(#[doc = $meaning])+
        pub static $table: Table = Table {
            meaning: concat!($($meaning),+),
            keys: &[$(Key {
                name: $name,
                meaning: concat!($($says),+),
                required: required!($required),
                shape: $shape,
            }),+],
        };
    };
}

macro_rules! required {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

table! {
    /// Policy files of Tasrih. All *.yaml of a folder are read together as one register, and any file may hold any key.
    FILE {
        /// The form of the file; may be left out.
        optional "schema": One(Word(&["tasrih/1"])),
        /// What becomes of what is not declared, where neither source nor transfer says it: `enforce` (default) refuses,
        /// `observe` lets it pass and records it as would-deny.
        optional "mode": OneOrMap(Word(&["enforce", "observe"]), &MODE),
        /// Who runs the proxy and answers for the data. A register has one.
        optional "controller": Map(&CONTROLLER),
        /// How long records are kept. Read, and not built yet.
        optional "retention": One(Period),
        /// Categories of your own. Not built yet.
        optional "categories": NotBuilt,
        /// Declared treatments of personal data, each with its receipt.
        optional "processing": Entries(&PROCESSING),
        /// Internal systems that send.
        optional "sources": Entries(&SOURCE),
        /// Legal persons who receive.
        optional "recipients": Entries(&RECIPIENT),
        /// Declared permissions: these sources may send these categories to this recipient, under this filing.
        optional "transfers": Entries(&TRANSFER),
        /// Destinations opened for traffic in which no personal data is found: updates, time, licences.
        optional "allowances": Entries(&ALLOWANCE),
        /// What an authority ordered; it beats everything, from the moment it is read.
        optional "orders": Entries(&ORDER),
        /// What was told to the authority after a change (law 09-08 art. 15).
        optional "notifications": Entries(&NOTIFICATION),
    }
}

table! {
    /// A mode with its end.
    MODE {
        /// `observe` lets pass what is not declared and records it as would-deny; `enforce` refuses it.
        required "is": One(Word(&["enforce", "observe"])),
        /// Last day of an `observe`, in the controller's time zone; from the next day on it is `enforce`.
        optional "until": One(Date),
    }
}

table! {
    /// The organisation that runs the proxy and answers for the data.
    CONTROLLER {
        /// As the authority knows it.
        required "name": One(Text),
        /// Its number in a public register.
        optional "id": Map(&CONTROLLER_ID),
        /// Where it is established; a recipient there is not abroad.
        required "country": One(Country),
        /// Its postal address.
        optional "address": One(Text),
        /// IANA name, such as Africa/Casablanca: days, limits and validity are counted in it. Without it in UTC.
        optional "time_zone": One(TimeZone),
        /// Address of the data-protection officer, shown on refusals.
        optional "dpo": One(Text),
        /// Where persons exercise their rights.
        optional "rights_contact": One(Text),
        /// The notice of the proxy's own processing.
        optional "notice": Map(&NOTICE),
    }
}

table! {
    /// The controller's number in a public register.
    CONTROLLER_ID {
        /// Which register, such as ma-ice.
        required "scheme": One(Text),
        /// The number, in quotes: leading zeros count.
        required "value": One(Text),
    }
}

table! {
    /// The notice of the proxy's own processing, at the foot of the refusal page.
    NOTICE {
        /// Reference of its receipt.
        required "receipt": One(Text),
    }
}

table! {
    /// A name for people.
    LABEL {
        /// Arabic.
        optional "ar": One(Text),
        /// French.
        optional "fr": One(Text),
        /// English.
        optional "en": One(Text),
        /// Standard Moroccan Tamazight.
        optional "zgh": One(Text),
    }
}

table! {
    /// A declared treatment of personal data.
    PROCESSING {
        /// Lower-case letters, digits and hyphens; unique among processings.
        required "id": One(Id),
        /// Its name for people.
        optional "label": Map(&LABEL),
        /// What it is for.
        required "purposes": List(Term(TermKind::Purpose)),
        /// What it treats; declaring a category declares those below it.
        required "data_categories": List(Term(TermKind::DataCategory)),
        /// Whom the data are about.
        optional "data_subjects": List(Term(TermKind::DataSubject)),
        /// How long the data are kept; CCTV pictures at most P3M (deliberation 350-2013).
        optional "retention": One(Period),
        /// What the authority gave back. Without it every transfer of this processing is refused (art. 19).
        optional "receipt": Map(&RECEIPT),
    }
}

table! {
    /// What an authority gave back for a processing.
    RECEIPT {
        /// What was asked for: a declaration (art. 15, form F211), a simplified one (art. 16, F214), or an authorisation
        /// (art. 12, F112 and F113), which sensitive data and national identity numbers want.
        required "kind": One(Word(&["declaration", "simplified-declaration", "authorisation"])),
        /// Who gave it, such as CNDP.
        required "authority": One(Text),
        /// Its number as it stands on the receipt, such as D-GC-298/2022. Stamped on every request (art. 19).
        required "ref": One(Text),
        /// Its day; the processing may start then.
        optional "date": One(Date),
    }
}

table! {
    /// An internal system that sends. All that is written of networks, certificate and user must match.
    SOURCE {
        /// Lower-case letters, digits and hyphens; unique among sources; never `any`.
        required "id": One(Id),
        /// Its name for people.
        optional "label": Map(&LABEL),
        /// Where it connects from, in CIDR form; the longest prefix wins.
        optional "networks": List(Network),
        /// Subject alternative name of its client certificate.
        optional "client_certificate": One(Text),
        /// Name that it logs in with.
        optional "user": One(Text),
        /// Categories presumed of every image and video that it sends; without it pd:Picture.
        optional "carries": List(Term(TermKind::DataCategory)),
        /// Whether its connections may be decrypted: `required` never passes unread, `allowed` (default) unless the
        /// destination says never, `never` passes as a tunnel.
        optional "interception": One(Word(&["required", "allowed", "never"])),
        /// `inside` shows the refusal page inside an intercepted connection: for networks of people.
        optional "refusals": One(Word(&["inside"])),
        /// Overrides the register's mode for this source; the strictest of source and transfer holds.
        optional "mode": OneOrMap(Word(&["enforce", "observe"]), &MODE),
    }
}

table! {
    /// A legal person who receives.
    RECIPIENT {
        /// Lower-case letters, digits and hyphens; unique among recipients.
        required "id": One(Id),
        /// As declared to the authority.
        required "name": One(Text),
        /// What kind of body it is.
        optional "kind": One(Term(TermKind::OrganisationKind)),
        /// Where it is established.
        required "country": One(Country),
        /// Whom to write to there.
        optional "contact": One(Text),
        /// Where it receives. A destination belongs to one recipient.
        required "destinations": Maps(&DESTINATION),
    }
}

table! {
    /// A host and port where a recipient receives, or that an allowance opens.
    DESTINATION {
        /// An exact name or address, or *.suffix: one or more labels below it, never the suffix itself. In an allowance
        /// also any. Names beyond ASCII in their A-label form (xn--…).
        required "host": One(Host),
        /// `https` (default), or `http` where data may go in the clear; then write the port too.
        optional "scheme": One(Word(&["https", "http"])),
        /// TCP port; 443 where none is written.
        optional "port": One(Port),
        /// SHA-256 of the recipient's public key (subject public key info) in base64; write a spare key's too.
        optional "tls_spki_sha256": List(Pin),
        /// Addresses that the name may resolve to. Narrows, and never opens a refused class of addresses.
        optional "networks": List(Network),
        /// Whether connections to it may be decrypted; `never` passes as a tunnel, without paths, intervals and stamp.
        optional "interception": One(Word(&["required", "allowed", "never"])),
        /// `tcp`: another protocol than HTTP, relayed unread; then write the port too. Without a name (an address that a
        /// client dials) it is known by its networks.
        optional "protocol": One(Word(&["tcp"])),
        /// Encrypted Client Hello. Not built yet.
        optional "ech": NotBuilt,
        /// A certificate shown to the recipient. Not built yet.
        optional "client_identity": NotBuilt,
        /// A parent proxy. Not built yet.
        optional "via": NotBuilt,
    }
}

table! {
    /// A declared permission: these sources may send these categories to this recipient, under this filing.
    TRANSFER {
        /// Lower-case letters, digits and hyphens; unique among transfers.
        required "id": One(Id),
        /// The processing whose data are sent.
        required "processing": One(Id),
        /// The sources that may send; `any` stands for every declared one.
        required "from": List(IdOrAny),
        /// The recipient.
        required "to": One(Id),
        /// What the controller is in this transfer.
        optional "role": One(Term(TermKind::Role)),
        /// The laws that apply; all must be met.
        required "regimes": List(Regime),
        /// The article that the transfer rests on in each regime, such as {ma-09-08: ma-0908:A43}.
        optional "legal_basis": Map(&LEGAL_BASIS),
        /// What it is for; within the purposes of the processing.
        required "purposes": List(Term(TermKind::Purpose)),
        /// What may be found in what is sent; anything else is refused.
        required "data_categories": List(Term(TermKind::DataCategory)),
        /// Whom the data are about.
        optional "data_subjects": List(Term(TermKind::DataSubject)),
        /// Whether the filing covers sensitive data (law 09-08 art. 1 (3)).
        optional "sensitive": One(Boolean),
        /// What was sent to the authority. Nothing leaves unless it is granted and valid today.
        optional "filing": Map(&FILING),
        /// Which requests are covered; what is left out restricts nothing.
        optional "requests": Map(&REQUESTS),
        /// How much and how often.
        optional "limits": Map(&LIMITS),
        /// What protects the data; dpv:EncryptionInTransfer is enforced.
        optional "measures": List(Term(TermKind::Measure)),
        /// How long each side keeps what was sent.
        optional "retention": Map(&RETENTION),
        /// Whether the recipient may pass it on, as agreed.
        optional "onward": One(Text),
        /// The papers behind it: decision, clauses, consent form.
        optional "documents": Maps(&DOCUMENT),
        /// A body that cannot be read: `refuse` (default), or `presumed` to be what the source carries.
        optional "unreadable": One(Word(&["refuse", "presumed"])),
        /// A recipient's address in another country: `alarm` (default) or `refuse`.
        optional "country_mismatch": One(Word(&["alarm", "refuse"])),
        /// `none` where the recipient rejects the header field with the references.
        optional "stamp": One(Word(&["none"])),
        /// Overrides the register's mode for this transfer.
        optional "mode": OneOrMap(Word(&["enforce", "observe"]), &MODE),
        /// When a body is judged: `whole` before any byte leaves; `stream` is not built and works as `whole`.
        optional "hold": One(Word(&["whole", "stream"])),
        /// From which likelihood on a finding counts. Read, and not built yet.
        optional "likelihood": One(Word(&["possible", "likely", "very-likely"])),
        /// How many findings of a category are let pass. Read, and not built yet.
        optional "thresholds": Counts,
    }
}

table! {
    /// The article that a transfer rests on, for each of its regimes.
    LEGAL_BASIS {
        /// Morocco, law 09-08: art. 43 for a listed state, art. 44 otherwise.
        optional "ma-09-08": One(Term(TermKind::LegalBasis)),
        /// European Union and EEA, GDPR: art. 45 adequacy, 46 safeguards, 49 derogations for single cases.
        optional "eu-gdpr": One(Term(TermKind::LegalBasis)),
        /// United Kingdom, UK GDPR: art. 45A, 46, 49.
        optional "uk-gdpr": One(Term(TermKind::LegalBasis)),
        /// Tunisia, organic law 2004-63.
        optional "tn-2004-63": One(Term(TermKind::LegalBasis)),
        /// Algeria, law 18-07.
        optional "dz-18-07": One(Term(TermKind::LegalBasis)),
        /// Senegal, law 2008-12.
        optional "sn-2008-12": One(Term(TermKind::LegalBasis)),
        /// Egypt, law 151/2020.
        optional "eg-151-2020": One(Term(TermKind::LegalBasis)),
    }
}

table! {
    /// What was sent to the authority for a transfer.
    FILING {
        /// To whom, such as CNDP.
        required "authority": One(Text),
        /// On which form, such as F118.
        optional "form": One(Text),
        /// What the authority calls it; stamped on every request.
        optional "ref": One(Text),
        /// Where it stands. Only `granted` lets data leave.
        required "status": One(Word(&["draft", "filed", "reclassified", "granted", "refused", "suspended", "withdrawn"])),
        /// Day on which it was sent.
        optional "filed": One(Date),
        /// Day of the decision.
        optional "decided": One(Date),
        /// First day, in the controller's time zone.
        optional "valid_from": One(Date),
        /// Last day; without it there is no end.
        optional "valid_until": One(Date),
    }
}

table! {
    /// Which requests are covered.
    REQUESTS {
        /// Request methods in upper case.
        optional "methods": List(Method),
        /// Paths: * within one segment, ** for any number of segments.
        optional "paths": List(Path),
        /// Media types, such as image/jpeg or image/*.
        optional "content_types": List(ContentType),
    }
}

table! {
    /// How much and how often, all sources of the transfer together.
    LIMITS {
        /// One exchange in this time on the long run, such as PT5M.
        optional "min_interval": One(Duration),
        /// How much earlier one may come; a tenth of the interval where it is not written.
        optional "tolerance": One(Duration),
        /// Exchanges in a calendar day.
        optional "max_per_day": One(Count(1)),
        /// Largest body, such as 2MiB.
        optional "max_body": One(Size),
        /// Bytes in a calendar day.
        optional "max_bytes_per_day": One(Size),
        /// How often the same body may come again after a failure.
        optional "retries": One(Count(0)),
        /// `source` counts each source by itself.
        optional "per": One(Word(&["transfer", "source"])),
        /// Longest life of a tunnel; one hour where it is not written.
        optional "max_duration": One(Duration),
    }
}

table! {
    /// How long each side keeps what was sent.
    RETENTION {
        /// The controller.
        optional "exporter": One(Period),
        /// The recipient.
        optional "recipient": One(Period),
    }
}

table! {
    /// A paper behind a transfer.
    DOCUMENT {
        /// What it is.
        required "title": One(Text),
        /// Its day.
        optional "date": One(Date),
        /// Its SHA-256 in hex, as sha256sum prints it.
        optional "sha256": One(Hash),
        /// Where a copy lies; the path begins at the folder of the policy files.
        optional "file": One(Text),
    }
}

table! {
    /// Destinations opened for traffic in which no personal data is found. What cannot be read is refused.
    ALLOWANCE {
        /// Lower-case letters, digits and hyphens; unique among allowances.
        required "id": One(Id),
        /// What is opened.
        required "to": Maps(&DESTINATION),
        /// For which sources; `any` stands for every declared one.
        required "from": List(IdOrAny),
        /// What it is for.
        optional "note": One(Text),
        /// Which requests are covered; what is left out restricts nothing.
        optional "requests": Map(&REQUESTS),
        /// How much and how often.
        optional "limits": Map(&LIMITS),
        /// Overrides the register's mode for this allowance.
        optional "mode": OneOrMap(Word(&["enforce", "observe"]), &MODE),
        /// Lets tunnels pass unread, for clients that cannot be intercepted; counted apart everywhere.
        optional "unread": Map(&UNREAD),
        /// `relaxed` is not built and works as `strict`: nothing leaves before its record is durable.
        optional "durability": One(Word(&["strict", "relaxed"])),
    }
}

table! {
    /// The exception for clients that cannot be intercepted, such as updaters that pin a certificate.
    UNREAD {
        /// Most bytes from the client in one tunnel.
        required "max_bytes_up": One(Size),
        /// Longest life of one tunnel.
        required "max_duration": One(Duration),
        /// Why it cannot be intercepted.
        required "reason": One(Text),
        /// Last day of the exception.
        required "until": One(Date),
    }
}

table! {
    /// An authority's instruction.
    ORDER {
        /// Who ordered it, such as CNDP.
        required "authority": One(Text),
        /// What the authority calls it; unique for that authority.
        required "ref": One(Text),
        /// Its day, for information: it works from the moment it is read.
        optional "date": One(Date),
        /// `suspend` stops its scope, `comply` is a deadline, `lift` ends a suspension, `complied` answers a deadline.
        required "action": One(Word(&["suspend", "comply", "lift", "complied"])),
        /// What a suspension covers: transfer:ID, recipient:ID, source:ID, country:CC or everything.
        optional "scope": One(Scope),
        /// Day by which a `comply` wants to be met.
        optional "due": One(Date),
        /// What is to be done, or was said.
        optional "note": One(Text),
        /// Reference of the suspension that a `lift` ends.
        optional "lifts": One(Text),
        /// Reference of the `comply` that a `complied` answers.
        optional "answers": One(Text),
    }
}

table! {
    /// What was told to the authority after a change.
    NOTIFICATION {
        /// What changed.
        required "change": One(Text),
        /// Who was told.
        required "authority": One(Text),
        /// The day on which it was told.
        required "date": One(Date),
        /// What the authority calls it.
        optional "ref": One(Text),
    }
}
