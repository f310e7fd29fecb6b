//! What a user name and a password may be, and the one form in which each is compared.
//!
//! Two keyboards may write one letter in two ways; RFC 8265 says how both become one. Names follow its
//! `UsernameCasePreserved`: NFC, no spaces, no control characters; case counts. Passwords follow its `OpaqueString`: NFC,
//! every space is U+0020, no control characters. A colon ends a name in RFC 7617, so that no name has one.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// Longest name, in bytes.
pub const LONGEST_NAME: usize = 64;
/// Shortest password that is set, in characters.
pub const SHORTEST_PASSWORD: usize = 12;
/// Longest password, in bytes. Argon2 takes more; nobody types more.
pub const LONGEST_PASSWORD: usize = 256;

/// The name of a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

/// A password as it is compared. Shown to nobody.
pub struct Password(String);

/// Why a text is no name or no password. Never quotes a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it means")]
pub enum WordFault {
    #[error("the user name is empty")]
    EmptyName,
    #[error("the user name `{0}` has more than {LONGEST_NAME} bytes")]
    LongName(String),
    #[error("the user name `{0}` has a colon, which ends a name in HTTP (RFC 7617)")]
    ColonInName(String),
    #[error("the user name `{}` has a space or a control character", .0.escape_debug())]
    OddName(String),
    #[error("the user name `{0}` begins with `#`, as a comment does")]
    NameOfComment(String),
    #[error("the password is empty")]
    EmptyPassword,
    #[error("the password has fewer than {SHORTEST_PASSWORD} characters")]
    ShortPassword,
    #[error("the password has more than {LONGEST_PASSWORD} bytes")]
    LongPassword,
    #[error("the password has a control character")]
    OddPassword,
    #[error("the password holds the user's name")]
    NameInPassword,
}

impl UserName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`WordFault`].
    pub fn parse(text: &str) -> Result<UserName, WordFault> {
        if text.len() > 4 * LONGEST_NAME {
            return Err(WordFault::LongName(text.chars().take(LONGEST_NAME).collect()));
        }
        let name: String = text.nfc().collect();
        if name.is_empty() {
            Err(WordFault::EmptyName)
        } else if name.contains(':') {
            Err(WordFault::ColonInName(name))
        } else if name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
            Err(WordFault::OddName(name))
        } else if name.starts_with('#') {
            Err(WordFault::NameOfComment(name))
        } else if name.len() > LONGEST_NAME {
            Err(WordFault::LongName(name))
        } else {
            Ok(UserName(name))
        }
    }

    /// As it is compared and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Password {
    /// A password that somebody gives in order to be let in: any that could have been set, by whatever tool.
    ///
    /// # Errors
    /// [`WordFault`].
    pub fn given(text: &str) -> Result<Password, WordFault> {
        if text.len() > 4 * LONGEST_PASSWORD {
            return Err(WordFault::LongPassword);
        }
        let spaced =
            text.chars().map(|letter| if letter.is_whitespace() && !letter.is_control() { ' ' } else { letter });
        let password: String = spaced.nfc().collect();
        if password.is_empty() {
            Err(WordFault::EmptyPassword)
        } else if password.contains(char::is_control) {
            Err(WordFault::OddPassword)
        } else if password.len() > LONGEST_PASSWORD {
            Err(WordFault::LongPassword)
        } else {
            Ok(Password(password))
        }
    }

    /// A password that is to be set for a user.
    ///
    /// # Errors
    /// [`WordFault`]; also for one that is easily guessed.
    pub fn new(text: &str, user: &UserName) -> Result<Password, WordFault> {
        let password = Password::given(text)?;
        if password.0.chars().count() < SHORTEST_PASSWORD {
            return Err(WordFault::ShortPassword);
        }
        // A name of a letter or two is in every password.
        let holds_name = password.0.to_lowercase().contains(&user.0.to_lowercase());
        if holds_name && user.0.chars().count() > 3 { Err(WordFault::NameInPassword) } else { Ok(password) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_and_no_colon_space_or_control_character() {
        let same = ["Rene\u{301}", "Ren\u{e9}"].map(|text| UserName::parse(text).expect("a name"));
        assert_eq!(same[0], same[1]);
        assert_ne!(UserName::parse("amal"), UserName::parse("Amal"), "case counts");
        assert!(UserName::parse("تصريح@visa-centre.example").is_ok());
        let fault = |text: &str| UserName::parse(text).expect_err("no name");
        assert_eq!(fault(""), WordFault::EmptyName);
        assert_eq!(fault("a:b"), WordFault::ColonInName("a:b".into()));
        for odd in ["a b", " a", "a\u{a0}b", "a\tb", "a\u{7f}", "a\nb:$argon2id"] {
            assert!(matches!(fault(odd), WordFault::OddName(_) | WordFault::ColonInName(_)), "{odd:?}");
        }
        assert!(matches!(fault("#a"), WordFault::NameOfComment(_)));
        assert!(matches!(fault(&"a".repeat(65)), WordFault::LongName(_)));
        assert!(matches!(fault(&"a".repeat(1 << 20)), WordFault::LongName(name) if name.len() == 64));
        assert!(UserName::parse(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_password_has_one_form_and_is_shown_nowhere() {
        let same =
            ["mot de passe\u{301}", "mot\u{a0}de\u{2003}pass\u{e9}"].map(|text| Password::given(text).expect("one"));
        assert_eq!(same[0].as_bytes(), same[1].as_bytes());
        assert_eq!(format!("{:?}", same[0]), "Password(…)");
        let user = UserName::parse("amal").expect("a name");
        let fault = |text: &str| Password::new(text, &user).expect_err("refused");
        assert_eq!(fault(""), WordFault::EmptyPassword);
        assert_eq!(fault("elevenchars"), WordFault::ShortPassword);
        assert_eq!(fault("with a\ttabulator"), WordFault::OddPassword);
        assert_eq!(fault("hello Amal 1987"), WordFault::NameInPassword);
        assert_eq!(fault(&"x".repeat(257)), WordFault::LongPassword);
        assert!(Password::new("twelve chars", &user).is_ok());
        let letters = "كلمة السر هنا";
        assert!(letters.chars().count() >= SHORTEST_PASSWORD && Password::new(letters, &user).is_ok());
    }
}
