//! Which source a peer is, as a table.

use std::net::IpAddr;

use tasrih::policy::Peer;
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

fn register() -> Register {
    let text = Text { name: "sources.yaml".into(), text: SOURCES.into() };
    compile(&[text]).expect("the sources are told apart").register
}
