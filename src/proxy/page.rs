//! What people read: the page of a refusal, and the page that lists all reasons.
//!
//! Three languages stand below each other, the reader's own first: a page that hides one behind a script would hide it
//! from somebody. It asks for nothing from elsewhere, carries no script, and its style is allowed by its digest alone.
//! Everything that comes from outside is escaped.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::words::{STEPS, WORDS, Words};
use crate::destination::Destination;
use crate::policy::{Denial, Language, Reason, Remedy};
use crate::register::Controller;

/// A refusal, as its reply tells it.
pub struct Refusal<'a> {
    /// What was refused and why.
    pub denial: &'a Denial,
    /// Id of the record that stands for it; `None` where it could not be recorded, which is then the reason.
    pub record: Option<Uuid>,
    /// Where it was to go, if that was understood.
    pub destination: Option<&'a Destination>,
    /// Who runs the proxy.
    pub controller: Option<&'a Controller>,
}

const STYLE: &str = include_str!("page.css");

/// The page may do nothing but apply this one style.
pub static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
});

/// The language that a reader prefers among ours (RFC 9110 §12.5.4); `None` where none is asked for.
pub fn preferred(request: &HeaderMap) -> Option<Language> {
    let wanted = request.get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let mut best: Option<(f32, Language)> = None;
    for range in wanted.split(',') {
        let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse().ok()).unwrap_or(0.0);
        let primary = tag.trim().split('-').next().unwrap_or_default().to_ascii_lowercase();
        let language = Language::ALL.into_iter().find(|language| language.as_str() == primary);
        if let Some(language) = language.filter(|_| weight > best.map_or(0.0, |(weight, _)| weight)) {
            best = Some((weight, language));
        }
    }
    best.map(|(_, language)| language)
}

/// Our languages, the preferred one first.
fn in_order(first: Option<Language>) -> impl Iterator<Item = &'static Words> {
    let first = first.unwrap_or(Language::Ar);
    let is_first = move |words: &&Words| words.language == first;
    WORDS.iter().filter(is_first).chain(WORDS.iter().filter(move |words| !is_first(words)))
}

/// The page of a refusal.
pub fn of_refusal(refusal: &Refusal<'_>, preferred: Option<Language>) -> String {
    let sections: String = in_order(preferred).map(|words| section(words, refusal)).collect();
    let first = in_order(preferred).next().map_or("", |words| words.title);
    let links: String = in_order(preferred).map(link).collect();
    let body = format!("<nav>{links}</nav><main>{sections}</main>");
    document(&format!("{} · {first}", refusal.denial.status), preferred.unwrap_or(Language::Ar), &body)
}

fn document(title: &str, language: Language, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"{tag}\" dir=\"{direction}\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title}\
         </title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        tag = language.as_str(),
        direction = direction(language),
        title = escape(title),
    )
}

fn link(words: &Words) -> String {
    let tag = words.language.as_str();
    format!("<a href=\"#{tag}\" lang=\"{tag}\">{}</a>", words.name)
}

fn direction(language: Language) -> &'static str {
    match language {
        Language::Ar => "rtl",
        Language::Fr | Language::En => "ltr",
    }
}

fn section(words: &Words, refusal: &Refusal<'_>) -> String {
    let (tag, direction) = (words.language.as_str(), direction(words.language));
    let reason = refusal.denial.reason;
    let mut text = format!(
        "<section id=\"{tag}\" lang=\"{tag}\" dir=\"{direction}\"><h2>{}</h2><p class=\"why\">{}</p>",
        words.title,
        escape(reason.sentence(words.language)),
    );
    if let Some(remedy) = reason.remedy() {
        let _ = write!(text, "<h3>{}</h3><p>{}</p>", words.remedy, escape(remedy.sentence(words.language)));
        if remedy.is_a_declaration() {
            text.push_str(&steps(words));
        }
    }
    let _ = write!(text, "<dl>{}</dl></section>", rows(words, refusal));
    text
}

/// How a transfer comes to be declared.
fn steps(words: &Words) -> String {
    let items: String = STEPS.iter().map(|step| format!("<li>{}</li>", step.in_language(words.language))).collect();
    format!("<h3>{}</h3><ol>{items}</ol>", words.declare)
}

fn rows(words: &Words, refusal: &Refusal<'_>) -> String {
    let row = |name: &str, value: &str| format!("<dt>{name}</dt><dd>{value}</dd>");
    let code = |value: &str| format!("<code dir=\"ltr\">{}</code>", escape(value));
    let record = refusal.record.map(|record| record.to_string());
    let mut text = String::new();
    if let Some(destination) = refusal.destination {
        text += &row(words.destination, &code(&destination.to_string()));
    }
    text += &row(words.reason, &code(refusal.denial.reason.as_str()));
    text += &record.as_ref().map_or(String::new(), |record| row(words.record, &code(record)));
    if let Some(controller) = refusal.controller {
        text += &row(words.controller, &format!("<bdi>{}</bdi>", escape(&controller.name)));
        for (name, address) in [(words.officer, &controller.dpo), (words.rights, &controller.rights_contact)] {
            text += &address.as_ref().map_or(String::new(), |address| row(name, &contact(address, record.as_deref())));
        }
        text += &controller.notice_receipt.as_ref().map_or(String::new(), |receipt| row(words.receipt, &code(receipt)));
    }
    text
}

/// An address to write to, with the record in the subject; what is no mail address is shown as it stands.
fn contact(address: &str, record: Option<&str>) -> String {
    let shown = format!("<bdi>{}</bdi>", escape(address));
    let is_mail =
        address.contains('@') && address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_+".contains(&byte));
    match is_mail {
        true => format!("<a href=\"mailto:{address}?subject=Tasrih%20{}\">{shown}</a>", record.unwrap_or_default()),
        false => shown,
    }
}

/// The page of all reasons: what each means, and what can be done; the `type` of a problem names its place.
pub fn of_reasons() -> String {
    let sections: String = Reason::ALL.into_iter().map(reason_section).collect();
    document("Tasrih", Language::En, &format!("<main>{sections}</main>"))
}

fn reason_section(reason: Reason) -> String {
    let word = reason.as_str();
    let mut text = format!(
        "<section id=\"{word}\" class=\"each\"><h2><code>{word}</code> <small>{}</small></h2><p class=\"type\"><code>{}</code></p>",
        reason.status(),
        type_of(reason)
    );
    for language in [Language::En, Language::Fr, Language::Ar] {
        let remedy = reason.remedy().map_or("", |remedy: Remedy| remedy.sentence(language));
        let _ = write!(
            text,
            "<p lang=\"{}\" dir=\"{}\">{} {}</p>",
            language.as_str(),
            direction(language),
            escape(reason.sentence(language)),
            escape(remedy)
        );
    }
    text + "</section>"
}

/// The `type` of a problem: stable, the same at every installation, and explained by its page of reasons.
pub fn type_of(reason: Reason) -> String {
    format!("urn:tasrih:reason:{}", reason.as_str())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Option<Language> {
        preferred(&HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, text.parse().expect("a value"))]))
    }

    #[test]
    fn a_reader_gets_the_language_that_is_preferred_most() {
        for (text, language) in [
            ("fr-MA,fr;q=0.9,en;q=0.8", Some(Language::Fr)),
            ("de, ar-MA;q=0.5, en;q=0.4", Some(Language::Ar)),
            ("en;q=0.2, ar;q=0.7", Some(Language::Ar)),
            ("en;q=0, fr;q=nothing", None),
            ("de", None),
        ] {
            assert_eq!(wanted(text), language, "{text}");
        }
    }

    #[test]
    fn the_preferred_language_stands_first_and_none_is_left_out() {
        for first in Language::ALL {
            let order: Vec<Language> = in_order(Some(first)).map(|words| words.language).collect();
            assert_eq!((order[0], order.len()), (first, 3));
        }
    }

    #[test]
    fn what_comes_from_outside_is_text_and_nothing_else() {
        assert_eq!(escape("<b a='x' b=\"y\">&"), "&lt;b a=&#39;x&#39; b=&quot;y&quot;&gt;&amp;");
        assert_eq!(contact("javascript:alert(1)@x", Some("r")), "<bdi>javascript:alert(1)@x</bdi>");
        assert!(contact("dpo@visa-centre.example", Some("r")).starts_with("<a href=\"mailto:dpo@visa-centre.example?"));
    }

    #[test]
    fn every_reason_has_its_place_on_the_page_of_reasons() {
        let page = of_reasons();
        for reason in Reason::ALL {
            assert!(page.contains(&format!("id=\"{reason}\"")) && page.contains(&type_of(reason)), "{reason}");
        }
    }
}
