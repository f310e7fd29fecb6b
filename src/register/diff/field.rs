//! The fields of entries, and what a change of one comes to.

/// Whether more or less may leave than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Neither.
    #[default]
    Neutral,
    /// Less.
    Narrowed,
    /// More.
    Widened,
    /// More of one thing and less of another.
    Both,
}

impl Effect {
    /// Two effects together.
    pub fn and(self, other: Effect) -> Effect {
        match (self, other) {
            (Effect::Neutral, one) | (one, Effect::Neutral) => one,
            (one, two) if one == two => one,
            _ => Effect::Both,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Neutral => "changed",
            Effect::Narrowed => "narrowed",
            Effect::Widened => "widened",
            Effect::Both => "widened and narrowed",
        }
    }

    /// Whether more may leave.
    pub fn widens(self) -> bool {
        matches!(self, Effect::Widened | Effect::Both)
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Which.
    pub field: Field,
    /// What only the older register has.
    pub old: Vec<String>,
    /// What only the newer register has.
    pub new: Vec<String>,
    /// It is a list: what is old went, what is new came. Else the old value became the new one.
    pub is_list: bool,
    /// Whether more or less may leave.
    pub effect: Effect,
    /// It protects less than before.
    pub weakens: bool,
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident $word:literal $declared:literal $protects:literal)*) => {
        /// A field of an entry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field { $($(#[$doc])* $name,)* }

        impl Field {
            /// What the officer calls it.
            pub fn as_str(self) -> &'static str {
                match self { $(Field::$name => $word,)* }
            }

            /// Whether article 15 of law 09-08 has it among what is declared, so that a change is notified.
            pub fn is_declared(self) -> bool {
                match self { $(Field::$name => $declared,)* }
            }

            /// Whether it protects what leaves, so that less of it weakens.
            pub fn protects(self) -> bool {
                match self { $(Field::$name => $protects,)* }
            }
        }
    };
}

fields! {
    /// Names of persons and things.
    Name "name" true false
    /// Postal address (art. 15 (a)).
    Address "address" true false
    /// Where it is established.
    Country "country" true false
    /// Time zone of days and validity.
    TimeZone "time zone" false false
    /// Data-protection officer.
    Dpo "data-protection officer" false false
    /// Where rights are exercised (art. 15 (g)).
    RightsContact "contact for rights" true false
    /// Receipt of the proxy's own processing.
    Notice "receipt of the notice" false false
    /// What a recipient is.
    BodyKind "kind of body" true false
    /// Whom to write to.
    Contact "contact" false false
    /// Labels for people.
    Label "label" false false
    /// The processing of a transfer.
    Processing "processing" true false
    /// Who sends.
    Sources "sources" false false
    /// Who receives (art. 15 (d)).
    Recipient "recipient" true false
    /// Hosts and ports.
    Destinations "destinations" true false
    /// Pins of the recipient's key.
    Pins "pinned keys" false true
    /// Addresses that names may resolve to.
    Addresses "addresses of destinations" false true
    /// Networks of a source.
    Networks "networks" false false
    /// Proof of a source.
    Certificate "client certificate" false true
    /// Proof of a source.
    User "user" false true
    /// What its images are taken for.
    Carries "what its images show" false false
    /// Where refusals are shown.
    Refusals "where refusals are shown" false false
    /// Role of the controller.
    Role "role" true false
    /// Laws that apply.
    Regimes "regimes" true true
    /// Legal basis.
    Basis "legal basis" true false
    /// Purposes (art. 15 (b)).
    Purposes "purposes" true false
    /// Categories of data (art. 15 (c)).
    Categories "categories of data" true false
    /// Categories of persons (art. 15 (c)).
    Subjects "persons concerned" true false
    /// Sensitive data.
    Sensitive "sensitive data" true false
    /// Where the filing stands.
    FilingStatus "filing" false false
    /// What the filing is called.
    FilingReference "reference of the filing" false false
    /// First day.
    ValidFrom "valid from" false false
    /// Last day.
    ValidUntil "valid until" false false
    /// Base receipt.
    Receipt "receipt" false false
    /// Methods.
    Methods "methods" false false
    /// Paths.
    Paths "paths" false false
    /// Content types.
    ContentTypes "content types" false false
    /// Rate.
    Interval "shortest interval" false false
    /// How early.
    Tolerance "tolerance of the interval" false false
    /// Number a day.
    PerDay "exchanges a day" false false
    /// Size of a body.
    Body "largest body" false false
    /// Volume a day.
    BytesPerDay "bytes a day" false false
    /// Repetitions.
    Retries "retries" false false
    /// Who shares the limits.
    Per "limits are counted" false false
    /// Life of a tunnel.
    Duration "longest tunnel" false false
    /// Measures (art. 15 (h)).
    Measures "measures" true true
    /// Retention (art. 15 (f)).
    RetentionHere "kept here" true false
    /// Retention at the recipient.
    RetentionThere "kept by the recipient" true false
    /// Passing on (art. 15 (i)).
    Onward "passing on" true false
    /// Documents.
    Documents "documents" false true
    /// Whether bodies are read.
    Interception "interception" false true
    /// What cannot be read.
    Unreadable "what cannot be read" false true
    /// Another country.
    CountryMismatch "an address in another country" false true
    /// The stamp.
    Stamp "stamp" false true
    /// Enforce or observe.
    Mode "mode" false true
    /// What an allowance is for.
    Note "note" false false
    /// Tunnels unread.
    Unread "tunnels unread" false true
    /// What an order does.
    Order "what it orders" false false
}
