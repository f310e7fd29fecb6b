//! The codes of everything that is doubtful in a register and loads all the same: a closed list, so that a code in a
//! report, a script or an editor means the same in every release. A new one is added here, with what it means.

use std::fmt;

macro_rules! lints {
    ($($(#[doc = $meaning:literal])+ $name:ident = $code:literal,)+) => {
        /// What a warning is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Lint {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Lint {
            /// Every code, in the order of the officer's page: filing, processing, recipient, protection, the rest.
            pub const ALL: &'static [Lint] = &[$(Lint::$name),+];

            /// The code as it is printed.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Lint::$name => $code,)+
                }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Lint::$name => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

lints! {
    /// A regime wants a filing, or a document with its hash, for a foreign recipient, and there is none.
    FilingMissing = "filing-missing",
    /// A granted filing ended before today.
    FilingExpired = "filing-expired",
    /// A granted filing ends within 90 days.
    FilingEndsSoon = "filing-ends-soon",
    /// A reference has not the form of the CNDP's numbers.
    ReferenceUnusual = "reference-unusual",
    /// A regime wants a legal basis for a foreign recipient, and there is none.
    BasisMissing = "basis-missing",
    /// The legal basis cannot hold for the recipient's country.
    BasisImpossible = "basis-impossible",
    /// The country is adequate only for recipients that meet a condition.
    BasisConditional = "basis-conditional",
    /// The basis is a derogation for single cases, and the transfer has a rhythm.
    DerogationRegular = "derogation-regular",
    /// The list of adequate countries inside this program is older than 180 days.
    AdequacyStale = "adequacy-stale",
    /// A document's file is missing or cannot be read.
    DocumentMissing = "document-missing",
    /// A document's file has another hash than the register says.
    DocumentDiffers = "document-differs",
    /// A processing has no base receipt.
    ReceiptMissing = "receipt-missing",
    /// The data want a prior authorisation, and the base receipt is of another kind.
    ReceiptKind = "receipt-kind",
    /// A transfer sends a category that its processing does not treat.
    CategoryOutsideProcessing = "category-outside-processing",
    /// A transfer has a purpose that its processing has not.
    PurposeOutsideProcessing = "purpose-outside-processing",
    /// A transfer is about persons whom its processing does not name.
    SubjectOutsideProcessing = "subject-outside-processing",
    /// A transfer declares sensitive data and does not say that its filing covers them.
    SensitiveNotCovered = "sensitive-not-covered",
    /// Pictures of a source are taken for a category that the transfer does not declare.
    CarriesNotCovered = "carries-not-covered",
    /// CCTV pictures are kept for more than three months.
    CctvRetention = "cctv-retention",
    /// No exchange can ever match the declaration.
    NeverMatches = "never-matches",
    /// A wildcard covers every name of an organisation's domain.
    WildcardWide = "wildcard-wide",
    /// A source's network has millions of addresses.
    NetworkWide = "network-wide",
    /// Two names look alike and are not the same.
    LookAlike = "look-alike",
    /// An allowance opens every host.
    HostAny = "host-any",
    /// A recipient's key is pinned without a spare.
    SinglePin = "single-pin",
    /// Nothing in this build enforces the measure.
    MeasureNotEnforced = "measure-not-enforced",
    /// The measure cannot be met at a destination.
    MeasureImpossible = "measure-impossible",
    /// `observe` has no last day.
    ObserveWithoutEnd = "observe-without-end",
    /// Traffic passes that nobody inspects.
    NotInspected = "not-inspected",
    /// An exception ended before today.
    ExceptionEnded = "exception-ended",
    /// What a source sends through a tunnel is refused.
    TunnelRefused = "tunnel-refused",
    /// Days are counted in UTC, because the controller has no time zone.
    TimeZoneMissing = "time-zone-missing",
    /// What is written changes nothing.
    NoEffect = "no-effect",
    /// The same value stands twice in a list.
    Repeated = "repeated",
    /// An order is lifted before its day.
    LiftBeforeOrder = "lift-before-order",
    /// An order was taken out of the files and stays in force: only a lift ends it.
    OrderNotInFiles = "order-not-in-files",
    /// An order in force names something that is not declared.
    OrderStopsNothing = "order-stops-nothing",
    /// An authority's deadline ends within 30 days, and nothing says that it is complied with.
    ComplyDueSoon = "comply-due-soon",
    /// An authority's deadline is over, and nothing says that it is complied with.
    ComplyOverdue = "comply-overdue",
    /// The key is read, and what it asks for is not built.
    NotBuilt = "not-built",
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_and_unique() {
        let mut codes: Vec<&str> = Lint::ALL.iter().map(|lint| lint.as_str()).collect();
        codes.sort_unstable();
        assert!(codes.windows(2).all(|two| two[0] != two[1]));
        for lint in Lint::ALL {
            assert!(lint.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{lint}");
            assert!(lint.meaning().ends_with('.') && !lint.meaning().starts_with(' '), "{lint}: {}", lint.meaning());
        }
    }
}
