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

use super::credentials::CHALLENGE;
use super::page::{self, Refusal};
use crate::policy::{Language, Reason};

/// What can go wrong while a reply is sent.
pub type ReplyFault = Box<dyn std::error::Error + Send + Sync>;
/// The body of every response to a client.
pub type ReplyBody = UnsyncBoxBody<Bytes, ReplyFault>;

const PROXY_STATUS: &str = "proxy-status";

/// Makes the reply to a refused exchange.
pub fn refusal(refusal: &Refusal<'_>, pseudonym: &str, request: &HeaderMap) -> Response<ReplyBody> {
    let denial = refusal.denial;
    let preferred = page::preferred(request);
    let mut response = match wants_page(request) {
        true => html(page::of_refusal(refusal, preferred)),
        false => problem(refusal, preferred.unwrap_or(Language::En)),
    };
    *response.status_mut() = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::FORBIDDEN);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-language"));
    if let Some(value) = proxy_status(denial.reason, refusal.record, pseudonym) {
        headers.insert(PROXY_STATUS, value);
    }
    if let Some(wait) = denial.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    if denial.status == 407 {
        headers.insert(header::PROXY_AUTHENTICATE, CHALLENGE);
    }
    if ends_connection(denial.reason) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A page of ours.
fn html(page: String) -> Response<ReplyBody> {
    let mut response = Response::new(whole(page));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(policy) = HeaderValue::from_str(&page::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
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

/// RFC 9209: who answered, the error type it registers, and as extension parameters our reason and the record,
/// if there is one: an id that no log holds would send an inspector looking for it.
fn proxy_status(reason: Reason, record: Option<Uuid>, pseudonym: &str) -> Option<HeaderValue> {
    let mut list = sfv::ListSerializer::new();
    let mut item = list.bare_item(sfv::TokenRef::from_str(pseudonym).ok()?);
    item = item
        .parameter(sfv::KeyRef::from_str("error").ok()?, sfv::TokenRef::from_str(error_type(reason)).ok()?)
        .parameter(sfv::KeyRef::from_str("reason").ok()?, sfv::TokenRef::from_str(reason.as_str()).ok()?);
    if let Some(record) = record.map(|record| record.to_string()) {
        item.parameter(sfv::KeyRef::from_str("record").ok()?, sfv::StringRef::from_str(&record).ok()?);
    }
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

/// The problem of a refusal (RFC 9457), in a language: `type`, `title`, `status`, `detail`, `instance`, and our members.
fn problem(refusal: &Refusal<'_>, language: Language) -> Response<ReplyBody> {
    let (reason, record) = (refusal.denial.reason, refusal.record.map(|record| record.to_string()));
    let controller = refusal.controller;
    let body = serde_json::json!({
        "type": page::type_of(reason),
        "title": reason.sentence(language),
        "status": refusal.denial.status,
        "detail": refusal.denial.detail,
        "instance": record.as_ref().map(|record| format!("urn:uuid:{record}")),
        "reason": reason.as_str(),
        "stage": refusal.denial.stage.as_str(),
        "record": record,
        "remedy": reason.remedy().map(|remedy| remedy.sentence(language)),
        "contact": controller.and_then(|controller| controller.dpo.as_deref()),
        "rights_contact": controller.and_then(|controller| controller.rights_contact.as_deref()),
        "receipt": controller.and_then(|controller| controller.notice_receipt.as_deref()),
    });
    let mut response = Response::new(whole(format!("{body}\n")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static(language.as_str()));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Denial, Stage};

    fn made(accept: &str, reason: Reason) -> Response<ReplyBody> {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT, accept.parse().unwrap());
        let denial = Denial::new(reason, Stage::Head);
        let refused = Refusal { denial: &denial, record: Some(Uuid::nil()), destination: None, controller: None };
        refusal(&refused, "tasrih-egress-1", &request)
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
        for language in
            ["<html lang=\"ar\" dir=\"rtl\"", "id=\"ar\" lang=\"ar\" dir=\"rtl\"", "lang=\"fr\"", "lang=\"en\""]
        {
            assert!(person.contains(language), "{person}");
        }
    }

    #[tokio::test]
    async fn a_problem_is_told_in_the_readers_language() {
        let mut request = HeaderMap::new();
        request.insert(header::ACCEPT_LANGUAGE, "fr-MA".parse().unwrap());
        let denial = Denial::new(Reason::NoDeclaration, Stage::Head);
        let refused = Refusal { denial: &denial, record: Some(Uuid::nil()), destination: None, controller: None };
        let reply = refusal(&refused, "tasrih-egress-1", &request);
        assert_eq!(reply.headers()[header::CONTENT_LANGUAGE], "fr");
        assert_eq!(reply.headers()[header::VARY], "accept, accept-language");
        let problem: serde_json::Value = serde_json::from_str(&text(reply).await).unwrap();
        assert_eq!(problem["type"], "urn:tasrih:reason:no-declaration");
        assert_eq!(problem["title"], Reason::NoDeclaration.sentence(Language::Fr));
        assert_eq!(problem["remedy"], Reason::NoDeclaration.remedy().unwrap().sentence(Language::Fr));
        assert_eq!(problem["instance"], format!("urn:uuid:{}", Uuid::nil()));
        assert!(problem["contact"].is_null() && problem["receipt"].is_null());
    }

    #[tokio::test]
    async fn a_page_may_do_nothing_but_apply_its_style() {
        let page = made("text/html", Reason::NoDeclaration);
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        let page = text(page).await;
        for loading in ["<script", "<link", "<img", "src=", "style=", "@import", "url("] {
            assert!(!page.contains(loading), "{loading} in {page}");
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
