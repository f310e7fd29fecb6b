//! Replies that the proxy makes itself.
//!
//! Each says what was refused and why, with the record's id and whom to ask: `Proxy-Status` (RFC 9209) for every
//! reader, problem+json (RFC 9457) for machines, a page in Arabic, French and English for people. None says what was
//! found in a body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use uuid::Uuid;

use crate::policy::{Denial, Language, Reason};
use crate::register::Controller;

/// What can go wrong while a reply is sent.
pub type ReplyFault = Box<dyn std::error::Error + Send + Sync>;
/// The body of every response to a client.
pub type ReplyBody = UnsyncBoxBody<Bytes, ReplyFault>;

const PROXY_STATUS: &str = "proxy-status";

/// Makes the reply to a refused exchange.
pub fn refusal(
    denial: &Denial,
    record: Uuid,
    pseudonym: &str,
    controller: Option<&Controller>,
    request: &HeaderMap,
) -> Response<ReplyBody> {
    let reason = denial.reason;
    let page = wants_page(request);
    let body = match page {
        true => page_of(denial, record, controller),
        false => problem_of(denial, record, controller),
    };
    let mut response = Response::new(whole(body));
    *response.status_mut() = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::FORBIDDEN);
    let kind = if page { "text/html; charset=utf-8" } else { "application/problem+json" };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if page {
        let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    }
    if let Some(value) = proxy_status(reason, record, pseudonym) {
        headers.insert(PROXY_STATUS, value);
    }
    if let Some(wait) = denial.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    if ends_connection(reason) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Rounded up: who comes back a part of a second too early is refused again.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The answer to a CONNECT that is let in.
pub fn connected() -> Response<ReplyBody> {
    Response::new(empty())
}

/// The same response, with the connection closed after it.
pub fn last(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A status and nothing else.
pub fn bare(status: StatusCode) -> Response<ReplyBody> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// A body of nothing.
pub fn empty() -> ReplyBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there already.
pub fn whole(body: impl Into<Bytes>) -> ReplyBody {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// After these the bytes that follow cannot be trusted to be a request.
fn ends_connection(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::MalformedRequest | Reason::AmbiguousDestination | Reason::NumericHost | Reason::ClientTimeout
    )
}

/// RFC 9209: who answered, the error type it registers, and as extension parameters our reason and the record.
fn proxy_status(reason: Reason, record: Uuid, pseudonym: &str) -> Option<HeaderValue> {
    let mut list = sfv::ListSerializer::new();
    let record = record.to_string();
    list.bare_item(sfv::TokenRef::from_str(pseudonym).ok()?)
        .parameter(sfv::KeyRef::from_str("error").ok()?, sfv::TokenRef::from_str(error_type(reason)).ok()?)
        .parameter(sfv::KeyRef::from_str("reason").ok()?, sfv::TokenRef::from_str(reason.as_str()).ok()?)
        .parameter(sfv::KeyRef::from_str("record").ok()?, sfv::StringRef::from_str(&record).ok()?);
    HeaderValue::from_str(&list.finish()?).ok()
}

/// The registered error type (RFC 9209 §2.3) nearest to a reason.
fn error_type(reason: Reason) -> &'static str {
    match reason {
        Reason::MalformedRequest | Reason::AmbiguousDestination | Reason::ClientClosed | Reason::ClientTimeout => {
            "http_request_error"
        }
        Reason::Loop => "proxy_loop_detected",
        Reason::Busy => "connection_limit_reached",
        Reason::RecordUnavailable => "proxy_internal_error",
        Reason::AddressRefused => "destination_ip_prohibited",
        Reason::Unresolvable => "dns_error",
        Reason::Unreachable => "destination_unavailable",
        Reason::UpstreamFault => "http_response_incomplete",
        Reason::TlsIdentityMismatch => "tls_certificate_error",
        Reason::TlsTooOld => "tls_protocol_error",
        _ => "http_request_denied",
    }
}

fn wants_page(request: &HeaderMap) -> bool {
    let accept = request.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|range| range.trim().to_ascii_lowercase().starts_with("text/html"))
}

fn problem_of(denial: &Denial, record: Uuid, controller: Option<&Controller>) -> String {
    let reason = denial.reason;
    let contact = controller.and_then(|controller| controller.dpo.as_deref());
    serde_json::json!({
        "type": format!("urn:tasrih:reason:{}", reason.as_str()),
        "title": reason.sentence(Language::En),
        "status": denial.status,
        "detail": denial.detail,
        "instance": format!("urn:uuid:{record}"),
        "reason": reason.as_str(),
        "stage": denial.stage.as_str(),
        "record": record.to_string(),
        "contact": contact,
    })
    .to_string()
        + "\n"
}

struct Words {
    language: Language,
    tag: &'static str,
    direction: &'static str,
    title: &'static str,
    reason: &'static str,
    record: &'static str,
    contact: &'static str,
    receipt: &'static str,
}

const WORDS: [Words; 3] = [
    Words {
        language: Language::Ar,
        tag: "ar",
        direction: "rtl",
        title: "لم يُسمح بهذا الإرسال",
        reason: "السبب",
        record: "رقم السجل",
        contact: "للاستفسار",
        receipt: "وصل التصريح بهذه المعالجة",
    },
    Words {
        language: Language::Fr,
        tag: "fr",
        direction: "ltr",
        title: "Cet envoi n’a pas été autorisé",
        reason: "Motif",
        record: "Numéro d’enregistrement",
        contact: "À qui s’adresser",
        receipt: "Récépissé du présent traitement",
    },
    Words {
        language: Language::En,
        tag: "en",
        direction: "ltr",
        title: "This transfer was not allowed",
        reason: "Reason",
        record: "Record",
        contact: "Whom to ask",
        receipt: "Receipt of this processing",
    },
];

const STYLE: &str = "body{font:16px/1.6 system-ui,sans-serif;margin:0;background:#f4f2ee;color:#1d1d1b}\
main{max-width:44rem;margin:2rem auto;padding:0 1rem}\
section{background:#fff;border-inline-start:4px solid #8a1c1c;border-radius:4px;padding:1rem 1.5rem;margin:1rem 0}\
h2{font-size:1.2rem;margin:.2rem 0}dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.6rem 0 0}\
dt{color:#5c5850}dd{margin:0;overflow-wrap:anywhere}code{font-size:.9em}\
@media(prefers-color-scheme:dark){body{background:#191817;color:#eceae6}section{background:#252322}dt{color:#a8a49c}}\
@media(max-width:40rem){dl{grid-template-columns:1fr}}";

fn page_of(denial: &Denial, record: Uuid, controller: Option<&Controller>) -> String {
    let sections: String = WORDS.iter().map(|words| section(words, denial.reason, record, controller)).collect();
    format!(
        "<!doctype html>\n<html lang=\"ar\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Tasrih · {status}</title><style>{STYLE}</style></head><body><main>\
         {sections}</main></body></html>\n",
        status = denial.status,
    )
}

fn section(words: &Words, reason: Reason, record: Uuid, controller: Option<&Controller>) -> String {
    let row = |name: &str, value: &str| format!("<dt>{name}</dt><dd>{value}</dd>");
    let known = |value: Option<&String>, name: &str| value.map_or(String::new(), |value| row(name, &escape(value)));
    let word = format!("<code dir=\"ltr\">{}</code>", reason.as_str());
    let id = format!("<code dir=\"ltr\">{record}</code>");
    format!(
        "<section lang=\"{tag}\" dir=\"{direction}\"><h2>{title}</h2><p>{sentence}</p><dl>{why}{which}{whom}{receipt}</dl></section>",
        tag = words.tag,
        direction = words.direction,
        title = words.title,
        sentence = escape(reason.sentence(words.language)),
        why = row(words.reason, &word),
        which = row(words.record, &id),
        whom = known(controller.and_then(|controller| controller.dpo.as_ref()), words.contact),
        receipt = known(controller.and_then(|controller| controller.notice_receipt.as_ref()), words.receipt),
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Stage;

    fn made(accept: &str, reason: Reason) -> Response<ReplyBody> {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT, accept.parse().unwrap());
        refusal(&Denial::new(reason, Stage::Head), Uuid::nil(), "tasrih-egress-1", None, &request)
    }

    async fn text(response: Response<ReplyBody>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn machines_get_a_problem_and_people_a_page() {
        let machine = made("*/*", Reason::NoDeclaration);
        assert_eq!(machine.status(), 403);
        assert_eq!(
            machine.headers()[PROXY_STATUS],
            "tasrih-egress-1;error=http_request_denied;reason=no-declaration;\
             record=\"00000000-0000-0000-0000-000000000000\""
        );
        let problem: serde_json::Value = serde_json::from_str(&text(machine).await).unwrap();
        assert_eq!(problem["reason"], "no-declaration");
        assert_eq!(problem["status"], 403);

        let person = text(made("text/html,*/*;q=0.8", Reason::NoDeclaration)).await;
        for language in ["lang=\"ar\" dir=\"rtl\"", "lang=\"fr\"", "lang=\"en\""] {
            assert!(person.contains(language), "{person}");
        }
    }

    #[test]
    fn nobody_is_told_to_come_back_too_early() {
        for (wait, told) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (299_999, 300)] {
            assert_eq!(whole_seconds(Duration::from_millis(wait)), told, "{wait} ms");
        }
    }

    #[test]
    fn a_connection_that_cannot_be_understood_is_closed() {
        assert_eq!(made("*/*", Reason::MalformedRequest).headers()[header::CONNECTION], "close");
        assert!(!made("*/*", Reason::TooFrequent).headers().contains_key(header::CONNECTION));
    }
}
