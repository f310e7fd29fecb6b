//! Why a text is not a host or an authority, in words that help whoever wrote it.

/// Why a text is not a host or an authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Nothing where a host should be.
    #[error("the host is empty")]
    Empty,
    /// The name is over 253 bytes.
    #[error("host name of {0} bytes is too long, at most 253 are possible")]
    TooLong(usize),
    /// Two dots in a row, or one at the start.
    #[error("`{0}` has an empty label, look for a dot too many")]
    EmptyLabel(String),
    /// A label over 63 bytes.
    #[error("label `{0}` is too long, at most 63 bytes are possible")]
    LabelTooLong(String),
    /// A label that begins or ends with a hyphen.
    #[error("label `{0}` begins or ends with a hyphen")]
    LabelHyphen(String),
    /// A character that no host has.
    #[error("`{text}` has the character {character:?}, a host has letters, digits, `-`, `_` and `.` only")]
    Character {
        /// The host as written.
        text: String,
        /// The first character that does not belong.
        character: char,
    },
    /// A name beyond ASCII, with its A-label form where there is one.
    #[error("`{text}` has characters beyond ascii, {}", match a_label {
        Some(a_label) => format!("write `{a_label}` if that is the name meant"),
        None => "which no host name can stand for".to_owned(),
    })]
    NotAscii {
        /// The host as written.
        text: String,
        /// What IDNA makes of it.
        a_label: Option<String>,
    },
    /// An `xn--` label that does not decode, or not to something that encodes to it again.
    #[error("label `{0}` begins with `xn--` but is no valid international label")]
    BadALabel(String),
    /// A name that some resolver reads as an IPv4 address.
    #[error("`{0}` looks like a number, write an ipv4 address as four decimal numbers without leading zeros")]
    NumericLooking(String),
    /// An address literal where only a name will do.
    #[error("`{0}` is an address, only a name is possible here")]
    NotAName(String),
    /// Brackets around anything but an IPv6 address.
    #[error("`{0}` is no ipv6 address, only those stand in brackets")]
    NotIpv6(String),
    /// An IPv6 address without brackets.
    #[error("`{0}` is an ipv6 address without brackets, write `[{0}]`")]
    Unbracketed(String),
    /// `user@host`; never stripped.
    #[error("`{0}` has user information before an `@`, leave it out")]
    UserInfo(String),
    /// A colon with nothing behind it.
    #[error("`{0}` ends with a colon, name the port or leave the colon out")]
    EmptyPort(String),
    /// A port that is not a decimal number from 1 to 65535 without sign or leading zero.
    #[error("port `{0}` is not a number from 1 to 65535 without sign and leading zeros")]
    BadPort(String),
    /// `*` where only a register's whole first label may have it.
    #[error("`{0}` has a `*` that is not a whole first label, write `*.name`, or `any` for every host")]
    Wildcard(String),
    /// A register's wildcard under an address.
    #[error("`{0}` puts a wildcard before an address, name the address alone")]
    WildcardAddress(String),
}

impl HostFault {
    /// Whether the text was refused because it looks like a number (`numeric-host`).
    pub fn is_numeric(&self) -> bool {
        matches!(self, HostFault::NumericLooking(_))
    }
}
