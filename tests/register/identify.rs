//! Which source a peer is, as a table.

use std::net::IpAddr;

use jiff::Timestamp;
use tasrih::policy::Peer;
use tasrih::policy::credentials::{Use, use_of};
use tasrih::register::Register;
use tasrih::register::compile::{Text, compile};

const SOURCES: &str = r"
sources:
  - {id: building, networks: [10.0.0.0/8, 2001:db8::/32]}
  - {id: floor, networks: [10.20.0.0/16]}
  - {id: uploader, networks: [10.20.0.0/28]}
  - {id: uploader-proved, networks: [10.0.0.0/8], client_certificate: cctv.visa-centre.example}
  - {id: uploader-logged-in, networks: [10.20.0.0/16], client_certificate: cctv.visa-centre.example, user: cctv}
  - {id: certificate-a, client_certificate: a.visa-centre.example}
  - {id: certificate-b, client_certificate: b.visa-centre.example}
  - {id: everywhere, networks: [0.0.0.0/0]}
";

#[test]
fn more_kinds_of_proof_win_and_then_the_longest_prefix() {
    let cctv = &["cctv.visa-centre.example"][..];
    let table = [
        ("10.20.0.5", &[][..], None, Some("uploader")),
        ("10.20.0.16", &[], None, Some("floor")),
        ("10.21.0.1", &[], None, Some("building")),
        ("192.0.2.1", &[], None, Some("everywhere")),
        ("2001:db8::1", &[], None, Some("building")),
        ("2001:db9::1", &[], None, None),
        // An IPv4 peer on an IPv6 socket is the IPv4 peer.
        ("::ffff:10.20.0.5", &[], None, Some("uploader")),
        // Two kinds of proof beat a longer prefix.
        ("10.20.0.5", cctv, None, Some("uploader-proved")),
        ("10.20.0.5", &["CCTV.Visa-Centre.example"], None, Some("uploader-proved")),
        ("10.20.0.5", cctv, Some("cctv"), Some("uploader-logged-in")),
        // A user beside the certificate adds nothing where nobody asks for that user.
        ("10.20.0.5", cctv, Some("other"), Some("uploader-proved")),
        ("10.20.0.5", cctv, Some("CCTV"), Some("uploader-proved")),
        // Everything written must match: the certificate alone is not enough.
        ("192.0.2.1", cctv, Some("cctv"), Some("everywhere")),
        // One kind each: a network, however wide, comes before none.
        ("192.0.2.1", &["a.visa-centre.example"], None, Some("everywhere")),
        ("2001:db9::1", &["a.visa-centre.example"], None, Some("certificate-a")),
        // A peer that proves two sources equally is known as neither.
        ("2001:db9::1", &["a.visa-centre.example", "b.visa-centre.example"], None, None),
    ];
    let register = register();
    for (address, certificate, user, expected) in table {
        let peer = Peer {
            address: address.parse::<IpAddr>().expect("an address"),
            certificate: certificate.iter().map(|name| (*name).to_owned()).collect(),
            user: user.map(str::to_owned),
        };
        let found = register.identify(&peer).map(|source| source.id.as_str());
        assert_eq!(found, expected, "{peer:?}");
    }
}

/// Every combination of the three proofs, at one address and outside it.
#[test]
fn all_that_is_written_must_match_in_every_combination() {
    let written = [
        (true, false, false),
        (false, true, false),
        (false, false, true),
        (true, true, false),
        (true, false, true),
        (false, true, true),
        (true, true, true),
    ];
    for (network, certificate, user) in written {
        let mut source = "id: s".to_owned();
        for (is_written, key) in
            [(network, "networks: [10.9.0.0/16]"), (certificate, "client_certificate: s.example"), (user, "user: s")]
        {
            source += &if is_written { format!(", {key}") } else { String::new() };
        }
        let text = Text { name: "s.yaml".into(), text: format!("sources: [{{{source}}}]\n") };
        let register = compile(&[text]).expect("a source").register;
        for shown in 0..8_u8 {
            let (at, with, by) = (shown & 1 > 0, shown & 2 > 0, shown & 4 > 0);
            let peer = Peer {
                address: if at { "10.9.1.1" } else { "10.8.1.1" }.parse().expect("an address"),
                certificate: vec![if with { "S.example" } else { "t.example" }.to_owned()],
                user: Some(if by { "s" } else { "t" }.to_owned()),
            };
            let (rest, all) = ((!network || at) && (!certificate || with), (!user || by));
            assert_eq!(register.identify(&peer).is_some(), rest && all, "{source}: {peer:?}");
            assert_eq!(register.wants_user(peer.address, &peer.certificate), user && rest, "{source}: {peer:?}");
        }
    }
}

/// Where a password is of use, and where it is needed.
#[test]
fn a_user_is_needed_only_where_nothing_else_is_known() {
    let sources = "{id: a, networks: [10.1.0.0/16], user: u}, {id: b, networks: [10.1.5.0/24]}, {id: c, networks: [10.2.0.0/16]}, \
                   {id: d, networks: [10.3.0.0/16], user: u, client_certificate: d.example}";
    let table = [
        ("10.1.1.1", "", Use::Needed, Use::Possible),
        ("10.1.5.1", "", Use::Possible, Use::Possible),
        ("::ffff:10.1.5.1", "", Use::Possible, Use::Possible),
        ("10.2.1.1", "", Use::None, Use::None),
        ("10.3.1.1", "", Use::None, Use::None),
        ("10.3.1.1", "D.example", Use::Needed, Use::Possible),
        ("192.0.2.1", "d.example", Use::None, Use::None),
    ];
    for (mode, observes) in [("enforce", false), ("observe", true)] {
        let text =
            format!("mode: {mode}\ncontroller: {{name: C, country: MA, time_zone: UTC}}\nsources: [{sources}]\n");
        let register = compile(&[Text { name: "s.yaml".into(), text }]).expect("sources").register;
        for (address, certificate, enforced, observed) in table {
            let certificate = Some(certificate.to_owned()).filter(|name| !name.is_empty()).into_iter().collect();
            let peer = Peer { certificate, ..Peer::at(address.parse().expect("an address")) };
            let expected = if observes { observed } else { enforced };
            assert_eq!(use_of(&register, &peer, Timestamp::UNIX_EPOCH), expected, "{mode} {peer:?}");
        }
    }
}

fn register() -> Register {
    let text = Text { name: "sources.yaml".into(), text: SOURCES.into() };
    compile(&[text]).expect("the sources are told apart").register
}
