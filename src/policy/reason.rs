//! The closed list of reasons: why an exchange was refused, in one word, one status and one sentence.
//!
//! The order of the variants is the order of DESIGN §5: it decides which of several failing conditions is *the* reason
//! ([`Reason::rank`]). The sentences are in `sentences.rs`; who answers with them is `proxy/`.

use std::fmt;

use super::remedies::Remedy;
use super::sentences;

/// Why an exchange was refused. Closed: a new word is added to DESIGN §5 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The request breaks HTTP, or a rule that keeps two readers of it from disagreeing.
    MalformedRequest,
    /// Request line, `Host` and SNI name different destinations.
    AmbiguousDestination,
    /// The request went through this proxy already.
    Loop,
    /// The listener wants the user's credentials.
    CredentialsRequired,
    /// The client was too slow to send what it announced.
    ClientTimeout,
    /// The client left before the decision.
    ClientClosed,
    /// No declared source matches the peer.
    SourceUnknown,
    /// An authority's order stops it.
    SuspendedByOrder,
    /// The address belongs to a class, or lies outside the networks, that may be dialled.
    AddressRefused,
    /// The host is a number in disguise (`0x7f.1`, `2130706433`).
    NumericHost,
    /// The host is declared, this port is not.
    PortNotDeclared,
    /// The host is declared for TLS, and the request is in clear.
    CleartextNotDeclared,
    /// Nothing is declared for this host.
    NoDeclaration,
    /// The destination is declared, but for other sources.
    SourceNotDeclared,
    /// The regime wants a filing or a document that the transfer has not.
    FilingMissing,
    /// The filing is a draft, filed and undecided, or reclassified.
    FilingNotGranted,
    /// The authority refused the filing.
    FilingRefused,
    /// The authority suspended the filing.
    FilingSuspended,
    /// The authority withdrew the filing.
    FilingWithdrawn,
    /// The filing's first day has not come.
    NotYetValid,
    /// The filing's last day has passed.
    Expired,
    /// The processing has no base receipt.
    ReceiptMissing,
    /// The legal basis cannot hold for the recipient's country in some regime.
    BasisImpossible,
    /// The name does not resolve: a fault of the way, not a refusal by the register.
    Unresolvable,
    /// No address answers: a fault of the way.
    Unreachable,
    /// The recipient's side failed otherwise before the record, for instance in TLS: a fault of the way.
    UpstreamFault,
    /// The server name that the client asks for is not the destination's.
    SniMismatch,
    /// Certificate or key are not the recipient's.
    TlsIdentityMismatch,
    /// Older than TLS 1.2.
    TlsTooOld,
    /// A measure that the transfer promises is not there.
    MeasureMissing,
    /// The address lies in another country than the recipient, and the transfer refuses that.
    CountryMismatch,
    /// The method is not among those declared.
    MethodNotDeclared,
    /// The path is not among those declared.
    PathNotDeclared,
    /// The content type is not among those declared.
    ContentTypeNotDeclared,
    /// What it holds cannot be read.
    Uninspectable,
    /// It holds a category that is not declared.
    CategoryNotDeclared,
    /// It holds a sensitive category, and the filing does not cover sensitive data.
    SensitiveNotAuthorised,
    /// The body is larger than declared.
    TooLarge,
    /// Sooner after the last one than declared.
    TooFrequent,
    /// The day's number of exchanges is used up.
    DayLimit,
    /// The day's volume is used up.
    VolumeLimit,
    /// The proxy has no room for another exchange.
    Busy,
    /// The decision cannot be put on record.
    RecordUnavailable,
}

/// The languages that people are answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// Arabic.
    Ar,
    /// French.
    Fr,
    /// English.
    En,
}

use Reason::*;

impl Reason {
    /// Every reason, in the order of DESIGN §5.
    pub const ALL: [Reason; 43] = [
        MalformedRequest,
        AmbiguousDestination,
        Loop,
        CredentialsRequired,
        ClientTimeout,
        ClientClosed,
        SourceUnknown,
        SuspendedByOrder,
        AddressRefused,
        NumericHost,
        PortNotDeclared,
        CleartextNotDeclared,
        NoDeclaration,
        SourceNotDeclared,
        FilingMissing,
        FilingNotGranted,
        FilingRefused,
        FilingSuspended,
        FilingWithdrawn,
        NotYetValid,
        Expired,
        ReceiptMissing,
        BasisImpossible,
        Unresolvable,
        Unreachable,
        UpstreamFault,
        SniMismatch,
        TlsIdentityMismatch,
        TlsTooOld,
        MeasureMissing,
        CountryMismatch,
        MethodNotDeclared,
        PathNotDeclared,
        ContentTypeNotDeclared,
        Uninspectable,
        CategoryNotDeclared,
        SensitiveNotAuthorised,
        TooLarge,
        TooFrequent,
        DayLimit,
        VolumeLimit,
        Busy,
        RecordUnavailable,
    ];

    /// The word that records, metrics, `Proxy-Status` and policy cases use.
    pub fn as_str(self) -> &'static str {
        match self {
            MalformedRequest => "malformed-request",
            AmbiguousDestination => "ambiguous-destination",
            Loop => "loop",
            CredentialsRequired => "credentials-required",
            ClientTimeout => "client-timeout",
            ClientClosed => "client-closed",
            SourceUnknown => "source-unknown",
            SuspendedByOrder => "suspended-by-order",
            AddressRefused => "address-refused",
            NumericHost => "numeric-host",
            PortNotDeclared => "port-not-declared",
            CleartextNotDeclared => "cleartext-not-declared",
            NoDeclaration => "no-declaration",
            SourceNotDeclared => "source-not-declared",
            FilingMissing => "filing-missing",
            FilingNotGranted => "filing-not-granted",
            FilingRefused => "filing-refused",
            FilingSuspended => "filing-suspended",
            FilingWithdrawn => "filing-withdrawn",
            NotYetValid => "not-yet-valid",
            Expired => "expired",
            ReceiptMissing => "receipt-missing",
            BasisImpossible => "basis-impossible",
            Unresolvable => "unresolvable",
            Unreachable => "unreachable",
            UpstreamFault => "upstream-fault",
            SniMismatch => "sni-mismatch",
            TlsIdentityMismatch => "tls-identity-mismatch",
            TlsTooOld => "tls-too-old",
            MeasureMissing => "measure-missing",
            CountryMismatch => "country-mismatch",
            MethodNotDeclared => "method-not-declared",
            PathNotDeclared => "path-not-declared",
            ContentTypeNotDeclared => "content-type-not-declared",
            Uninspectable => "uninspectable",
            CategoryNotDeclared => "category-not-declared",
            SensitiveNotAuthorised => "sensitive-not-authorised",
            TooLarge => "too-large",
            TooFrequent => "too-frequent",
            DayLimit => "day-limit",
            VolumeLimit => "volume-limit",
            Busy => "busy",
            RecordUnavailable => "record-unavailable",
        }
    }

    /// Reads a reason's word; `None` where it is none of them.
    pub fn parse(word: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// The place in the list of DESIGN §5, from 0: of several failing conditions the lowest is the reason.
    pub fn rank(self) -> usize {
        self as usize
    }

    /// The HTTP status of a refusal for this reason (DESIGN §6).
    ///
    /// Three refusals differ by their cause and say so with [`super::Denial::with_status`]: an unknown transfer coding
    /// (501) and an expectation that is not `100-continue` (417) of `malformed-request`, a chain or name fault (502) of
    /// `tls-identity-mismatch`, and a time-out (504) on the recipient's side. To a client that left nothing is answered.
    pub fn status(self) -> u16 {
        match self {
            MalformedRequest => 400,
            CredentialsRequired => 407,
            ClientTimeout => 408,
            TooLarge => 413,
            TooFrequent | DayLimit | VolumeLimit => 429,
            Unresolvable | Unreachable | UpstreamFault => 502,
            Busy | RecordUnavailable => 503,
            AmbiguousDestination
            | Loop
            | ClientClosed
            | SourceUnknown
            | SuspendedByOrder
            | AddressRefused
            | NumericHost
            | PortNotDeclared
            | CleartextNotDeclared
            | NoDeclaration
            | SourceNotDeclared
            | FilingMissing
            | FilingNotGranted
            | FilingRefused
            | FilingSuspended
            | FilingWithdrawn
            | NotYetValid
            | Expired
            | ReceiptMissing
            | BasisImpossible
            | SniMismatch
            | TlsIdentityMismatch
            | TlsTooOld
            | MeasureMissing
            | CountryMismatch
            | MethodNotDeclared
            | PathNotDeclared
            | ContentTypeNotDeclared
            | Uninspectable
            | CategoryNotDeclared
            | SensitiveNotAuthorised => 403,
        }
    }

    /// Whether `observe` lets an exchange through in spite of it: numbers 2, 5-8 and 10-13 of DESIGN §5, and of 4 the
    /// undeclared port and cleartext. Never orders, addresses, TLS identity, and nothing of promise 2.
    pub fn is_lifted_by_observe(self) -> bool {
        match self {
            SourceUnknown
            | PortNotDeclared
            | CleartextNotDeclared
            | NoDeclaration
            | SourceNotDeclared
            | FilingMissing
            | FilingNotGranted
            | FilingRefused
            | FilingSuspended
            | FilingWithdrawn
            | NotYetValid
            | Expired
            | ReceiptMissing
            | BasisImpossible
            | MethodNotDeclared
            | PathNotDeclared
            | ContentTypeNotDeclared
            | Uninspectable
            | CategoryNotDeclared
            | SensitiveNotAuthorised
            | TooLarge
            | TooFrequent
            | DayLimit
            | VolumeLimit => true,
            MalformedRequest | AmbiguousDestination | Loop | CredentialsRequired | ClientTimeout | ClientClosed
            | SuspendedByOrder | AddressRefused | NumericHost | Unresolvable | Unreachable | UpstreamFault
            | SniMismatch | TlsIdentityMismatch | TlsTooOld | MeasureMissing | CountryMismatch | Busy
            | RecordUnavailable => false,
        }
    }

    /// Whether the way to the recipient failed: a denial that is never counted as a refusal by the register.
    pub fn is_fault_of_the_way(self) -> bool {
        matches!(self, Unresolvable | Unreachable | UpstreamFault)
    }

    /// What was refused and why, in one sentence for people. Names no value that was found.
    pub fn sentence(self, language: Language) -> &'static str {
        sentences::of(self).in_language(language)
    }

    /// What can be done about it; `None` where nobody is answered.
    pub fn remedy(self) -> Option<Remedy> {
        Remedy::of(self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Remedy {
    /// What can be done, in one sentence for people.
    pub fn sentence(self, language: Language) -> &'static str {
        self.texts().in_language(language)
    }
}

impl Language {
    /// Every language, in the order in which a page shows them.
    pub const ALL: [Language; 3] = [Language::Ar, Language::Fr, Language::En];

    /// The BCP 47 tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Language::Ar => "ar",
            Language::Fr => "fr",
            Language::En => "en",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_every_reason_in_its_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.rank(), place, "{reason}");
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
        }
        assert_eq!(Reason::parse("no-such-reason"), None);
    }

    #[test]
    fn each_sentence_is_one_sentence_of_its_own() {
        for language in Language::ALL {
            let mut seen = std::collections::BTreeSet::new();
            for reason in Reason::ALL {
                let sentence = reason.sentence(language);
                assert!(sentence.ends_with('.') && sentence.matches(". ").count() == 0, "{reason} {sentence}");
                assert!(seen.insert(sentence), "{reason} shares its sentence: {sentence}");
            }
        }
    }

    #[test]
    fn each_remedy_is_one_sentence_that_no_other_has() {
        for language in Language::ALL {
            let mut seen = std::collections::BTreeMap::new();
            for remedy in Reason::ALL.into_iter().filter_map(Reason::remedy) {
                let sentence = remedy.sentence(language);
                assert!(sentence.ends_with('.') && sentence.matches(". ").count() == 0, "{remedy:?} {sentence}");
                let first = seen.insert(sentence, remedy).unwrap_or(remedy);
                assert_eq!(first, remedy, "two remedies share a sentence: {sentence}");
            }
        }
        assert_eq!(ClientClosed.remedy(), None, "nobody is there to be told");
        assert!(NoDeclaration.remedy().is_some_and(Remedy::is_a_declaration));
        assert!(!SuspendedByOrder.remedy().is_some_and(Remedy::is_a_declaration), "an order is not declared away");
    }

    #[test]
    fn observe_lifts_no_order_address_or_identity() {
        for reason in
            [SuspendedByOrder, AddressRefused, NumericHost, SniMismatch, TlsIdentityMismatch, RecordUnavailable]
        {
            assert!(!reason.is_lifted_by_observe(), "{reason}");
        }
    }
}
