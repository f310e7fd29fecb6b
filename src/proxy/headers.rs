//! Header fields on their way through: what a request may not say, what never leaves, what is added.
//!
//! Everything here is a pure function of header maps. Fields that are about one connection only (RFC 9110 §7.6.1) end
//! here in both directions; framing is written anew by hyper from the body that is really sent.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::error::Malformed;

/// Fields that belong to one connection, whether or not `Connection` names them.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Fields that would tell the recipient about the inside of the network, or that only we may write.
const NEVER_FORWARDED: [&str; 9] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
    "expect",
    "content-length",
    "personal-data-transfer",
];

/// Fields that a response may not bring in: they would be taken for ours, or would lead clients round the proxy.
const NEVER_RELAYED: [&str; 3] = ["proxy-status", "alt-svc", "personal-data-transfer"];

/// Name of the stamp (DESIGN §6).
pub const STAMP: HeaderName = HeaderName::from_static("personal-data-transfer");

/// Checks what hyper lets through and a recipient might read differently (`research/field.md` §6).
pub fn check_request(headers: &HeaderMap) -> Result<(), Malformed> {
    check_transfer_encoding(headers)?;
    check_expectation(headers)?;
    for single in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::HOST] {
        if headers.get_all(&single).iter().count() > 1 {
            return Err(Malformed::RepeatedField(single));
        }
    }
    Ok(())
}

/// Exactly one `chunked`, or nothing: every other coding is read differently by somebody (RFC 9112 §6.1).
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Malformed> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Malformed::TransferCoding),
    }
}

/// The one expectation there is (RFC 9110 §10.1.1).
fn check_expectation(headers: &HeaderMap) -> Result<(), Malformed> {
    let known = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    match headers.get_all(header::EXPECT).iter().all(known) {
        true => Ok(()),
        false => Err(Malformed::Expectation),
    }
}

/// The fields of a request that leave: the client's, less everything that ends here. `Host`, framing, `Via` and the
/// stamp are written by [`super::forward`].
pub fn of_request(client: &HeaderMap) -> HeaderMap {
    let mut kept = without(client, &[&HOP_BY_HOP, &NEVER_FORWARDED]);
    kept.remove(header::HOST);
    join_cookies(&mut kept);
    kept
}

/// HTTP/2 lets clients send a cookie in crumbs, which are one field elsewhere (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    let joined = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("values of fields and `; ` make a value");
    headers.insert(header::COOKIE, joined);
}

/// Whether the sender can read trailers of the answer (RFC 9110 §10.1.4).
pub fn reads_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"))
}

/// The trailers of an answer that reach the client: no more than its fields would.
pub fn of_trailers(upstream: &HeaderMap) -> HeaderMap {
    let mut kept = without(upstream, &[&HOP_BY_HOP, &NEVER_RELAYED]);
    for name in [header::CONTENT_LENGTH, header::HOST, header::CONTENT_ENCODING, header::CONTENT_TYPE] {
        kept.remove(name);
    }
    kept
}

/// The fields of a response that reach the client. A length that came beside a transfer coding is not believed.
pub fn of_response(upstream: &HeaderMap) -> HeaderMap {
    let mut kept = without(upstream, &[&HOP_BY_HOP, &NEVER_RELAYED]);
    if upstream.contains_key(header::TRANSFER_ENCODING) {
        kept.remove(header::CONTENT_LENGTH);
    }
    kept
}

/// Adds this proxy to `Via` (RFC 9110 §7.6.3).
pub fn add_via(headers: &mut HeaderMap, version: http::Version, pseudonym: &str) {
    let received = match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        _ => "1.1",
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{received} {pseudonym}")) {
        headers.append(header::VIA, value);
    }
}

/// Whether a request has been here before: our own pseudonym stands in its `Via`.
pub fn is_loop(headers: &HeaderMap, pseudonym: &str) -> bool {
    headers
        .get_all(header::VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|hop| hop.split_whitespace().nth(1).is_some_and(|received_by| received_by.eq_ignore_ascii_case(pseudonym)))
}

/// The stamp: the particulars that law 09-08 art. 19 wants in every transmission, as an RFC 9651 dictionary.
///
/// Non-ASCII references go as Display Strings; `None` only where a text cannot be carried at all.
pub fn stamp(receipt: Option<&str>, filing: Option<&str>, record: &str) -> Option<HeaderValue> {
    let mut dictionary = sfv::DictSerializer::new();
    for (key, value) in [("ref", receipt), ("filing", filing), ("id", Some(record))] {
        let Some(value) = value else { continue };
        let key = sfv::KeyRef::from_str(key).ok()?;
        match sfv::StringRef::from_str(value) {
            Ok(ascii) => dictionary.bare_item(key, ascii),
            Err(_) => dictionary.bare_item(key, sfv::RefBareItem::DisplayString(value)),
        };
    }
    HeaderValue::from_str(&dictionary.finish()?).ok()
}

/// The map without the listed fields and without those that `Connection` names.
fn without(headers: &HeaderMap, lists: &[&[&str]]) -> HeaderMap {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let ends_here = |name: &HeaderName| {
        lists.iter().any(|list| list.contains(&name.as_str())) || named.iter().any(|other| other == name.as_str())
    };
    headers.iter().filter(|(name, _)| !ends_here(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn what_belongs_to_one_connection_ends_here() {
        let client = map(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("proxy-authorization", "Basic eA=="),
            ("x-forwarded-for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("personal-data-transfer", "ref=\"forged\""),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("accept", "*/*"),
            ("x-kept", "yes"),
        ]);
        let left = of_request(&client);
        let mut names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "x-kept"]);
    }

    #[test]
    fn transfer_codings_but_one_chunked_are_malformed() {
        for bad in
            [&["gzip, chunked"][..], &["chunked, chunked"], &["chunked", "chunked"], &["identity"], &[", chunked"]]
        {
            let fields: Vec<_> = bad.iter().map(|value| ("transfer-encoding", *value)).collect();
            assert_eq!(check_request(&map(&fields)), Err(Malformed::TransferCoding), "{bad:?}");
        }
        assert_eq!(check_request(&map(&[("transfer-encoding", "Chunked")])), Ok(()));
    }

    #[test]
    fn one_expectation_is_known() {
        assert_eq!(check_request(&map(&[("expect", "200-maybe")])), Err(Malformed::Expectation));
        assert_eq!(check_request(&map(&[("expect", "100-Continue")])), Ok(()));
    }

    #[test]
    fn our_own_pseudonym_in_via_is_a_loop() {
        assert!(is_loop(&map(&[("via", "1.1 other, 1.1 tasrih-egress-1 (x)")]), "tasrih-egress-1"));
        assert!(!is_loop(&map(&[("via", "1.1 tasrih-egress-10, 1.0 other")]), "tasrih-egress-1"));
    }

    #[test]
    fn the_stamp_is_a_structured_dictionary() {
        let plain = stamp(Some("D-GC-298/2022"), Some("A-GC-1/2023"), "id-1").unwrap();
        assert_eq!(plain, "ref=\"D-GC-298/2022\", filing=\"A-GC-1/2023\", id=\"id-1\"");
        let arabic = stamp(Some("تصريح"), None, "id-1").unwrap();
        assert!(arabic.to_str().unwrap().starts_with("ref=%\"%d8%aa"), "{arabic:?}");
    }

    #[test]
    fn crumbs_of_a_cookie_are_one_field() {
        let left = of_request(&map(&[("cookie", "a=b"), ("accept", "*/*"), ("cookie", "c=d"), ("cookie", "e=f")]));
        let cookies: Vec<_> = left.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=b; c=d; e=f"]);
        assert_eq!(of_request(&map(&[("cookie", "a=b; c=d")]))[header::COOKIE], "a=b; c=d");
    }

    #[test]
    fn trailers_may_not_say_what_only_heads_or_we_may() {
        let upstream = map(&[("grpc-status", "0"), ("proxy-status", "x"), ("content-length", "1"), ("trailer", "a")]);
        assert_eq!(of_trailers(&upstream), map(&[("grpc-status", "0")]));
    }

    #[test]
    fn a_response_cannot_speak_for_the_proxy_or_lead_round_it() {
        let upstream = map(&[
            ("proxy-status", "forged"),
            ("alt-svc", "h3=\":443\""),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("content-type", "text/plain"),
        ]);
        let relayed = of_response(&upstream);
        assert_eq!(relayed.len(), 1);
        assert_eq!(relayed[header::CONTENT_TYPE], "text/plain");
    }
}
