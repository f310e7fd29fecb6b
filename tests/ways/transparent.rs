//! Connections that the network leads here: by REDIRECT and by TPROXY, over IPv4 and IPv6, in a network of their own.

use serde_json::Value;
use tasrih::config::{Entry, Settings};
use tokio::io::AsyncWriteExt;

use super::ground::{authority, listener, plan, plan_with};
use super::network::{GATEWAY, curl, on_the_clients_side, play, rules, run};
use super::support::{FRAME, House, reason_of};

#[test]
fn what_is_redirected_goes_where_its_name_says() {
    play("transparent::redirected");
}

#[test]
fn what_is_handed_over_goes_where_its_name_says() {
    play("transparent::handed_over");
}

#[test]
fn without_the_right_to_it_a_start_says_what_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tasrih.yaml");
    let text = "listeners: [{name: all, bind: '127.0.0.1:0', entry: transparent, tproxy: true}]\nadmin: {bind: '127.0.0.1:0'}\n";
    std::fs::write(&config, text).expect("written");
    std::fs::create_dir(folder.path().join("policies")).expect("a folder");
    let mut run = std::process::Command::new("timeout");
    run.args(["60", "setpriv", "--bounding-set=-net_admin,-net_raw", env!("CARGO_BIN_EXE_tasrih"), "run", "--config"])
        .arg(&config);
    let output = run.current_dir(folder.path()).output().expect("setpriv runs; tests/run installs it");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("`all` may not take connections to other addresses: `tproxy` wants CAP_NET_ADMIN"), "{said}");
}

/// Addresses that clients are told the recipients have; nobody is there, and nobody may be dialled there.
const TOLD: [&str; 2] = ["198.51.100.7", "2001:db8:9::7"];

fn listens_everywhere(settings: &mut Settings, entry: Entry, tproxy: bool) {
    listener(settings, entry);
    let last = settings.listeners.last_mut().expect("one was added");
    last.bind = "[::]:0".parse().expect("an address");
    last.tproxy = tproxy;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a network of its own, by the test above"]
async fn redirected() {
    for entries in [[Entry::Transparent; 2], [Entry::TransparentHttp, Entry::TransparentTls]] {
        let plan = plan().settings(move |settings| {
            for entry in entries {
                listens_everywhere(settings, entry, false);
            }
        });
        let house = plan.build().await;
        let [clear, tls] = [1, 2].map(|place| house.running.proxies[place].port());
        let ports = |host: &str| house.recipient(host).address.port();
        let [plain, undeclared] = ["plain.example", "undeclared.example"].map(ports);
        let over_tls = format!("{}, {}", ports("tls.example"), ports("tunnel.example"));
        rules(&format!(
            "flush ruleset\ntable inet nat {{ chain prerouting {{ type nat hook prerouting priority -100;\n\
             iifname \"inside\" tcp dport {{ {plain}, {undeclared} }} redirect to :{clear}\n\
             iifname \"inside\" tcp dport {{ {over_tls} }} redirect to :{tls}\n}}\n}}\n"
        ));
        check(&house, [clear, tls]).await;
        if entries[0] != entries[1] {
            // Each reads what it is for, and nothing else.
            let in_tls = house.base("https", "plain.example");
            let (status, record) = asks(&house, &in_tls, TOLD[0], &["-k"]).await;
            assert_eq!((status, reason_of(&record)), (0, "malformed-request"));
            let in_clear = house.base("http", "tls.example");
            let (status, record) = asks(&house, &in_clear, TOLD[0], &[]).await;
            assert_eq!((status, reason_of(&record)), (0, "uninspectable"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a network of its own, by the test above"]
async fn handed_over() {
    let house = plan().settings(|settings| listens_everywhere(settings, Entry::Transparent, true)).build().await;
    let port = house.running.proxies[1].port();
    rules(&format!(
        "table inet mangle {{ chain prerouting {{ type filter hook prerouting priority -150;\n\
         iifname \"inside\" meta nfproto ipv4 ip daddr {} tcp dport != 0 meta mark set 1 tproxy ip to :{port} accept\n\
         iifname \"inside\" meta nfproto ipv6 ip6 daddr {} tcp dport != 0 meta mark set 1 tproxy ip6 to :{port} accept\n}}\n}}\n",
        TOLD[0], TOLD[1]
    ));
    for (family, everything) in [("-4", "0.0.0.0/0"), ("-6", "::/0")] {
        run(&format!("ip {family} rule add fwmark 1 lookup 100"));
        run(&format!("ip {family} route add local {everything} dev lo table 100"));
    }
    check(&house, [port, port]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run in a network of its own, by the test below"]
async fn nameless() {
    run("ip address add 10.9.1.1/32 dev lo");
    let machine = tokio::net::TcpListener::bind("10.9.1.1:0").await.expect("a port");
    let address = machine.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = machine.accept().await {
            let _ = stream.write_all(b"SSH-2.0-machine\r\n").await;
        }
    });
    let plan = plan_with(address).settings(|settings| {
        listens_everywhere(settings, Entry::Transparent, false);
        settings.internal_destinations.push("10.9.1.0/24".parse().expect("a network"));
    });
    let house = plan.build().await;
    rules(&format!(
        "table inet nat {{ chain prerouting {{ type nat hook prerouting priority -100;\n\
         iifname \"inside\" tcp dport != 0 redirect to :{}\n}}\n}}\n",
        house.running.proxies[1].port()
    ));
    // Its own network, and the same port at an address that nobody declared.
    for (told, port, printed, reason) in [
        ("10.9.1.1", address.port(), "SSH-2.0-machine\r\n", "permit"),
        ("10.9.1.1", 2222, "", "port-not-declared"),
        ("9.9.9.9", address.port(), "", "no-declaration"),
    ] {
        let before = house.decisions().len();
        // To the declared machine the client says nothing: it waits to be spoken to.
        let say = if reason == "permit" { ":" } else { "echo hello >&3" };
        let script = format!("exec 3<>/dev/tcp/{told}/{port}; {say}; timeout 10 head -c 17 <&3");
        let output = on_the_clients_side("bash", &["-c", &script]).await;
        let decisions = house.until_decisions(before + 1).await;
        assert_eq!(reason_of(&decisions[before]), reason, "{output:?} {:#}", decisions[before]);
        assert!(String::from_utf8_lossy(&output.stdout).starts_with(printed), "{output:?}");
    }
    let permitted = &house.decisions()[0];
    assert_eq!(
        (&permitted["unmapped"]["transfer"]["transfer"], &permitted["unmapped"]["transfer"]["protocol"]),
        (&"machine".into(), &"ssh".into())
    );
    assert_eq!(permitted["dst_endpoint"]["ip"], "10.9.1.1");
}

#[test]
fn what_tells_no_name_is_known_by_its_network_and_port() {
    play("transparent::nameless");
}

/// What a client's curl says of a request: status, or 0 where there is no reply.
async fn asks(house: &House, url: &str, told: &str, more: &[&str]) -> (u16, Value) {
    let host = url.split("//").nth(1).and_then(|rest| rest.split('/').next()).expect("a host");
    let (ca, resolve) = (authority(house), format!("{host}:{told}"));
    let before = house.decisions().len();
    let fixed = ["-o", "/dev/null", "-w", "%{http_code}", "--cacert", &ca, url];
    let is_named = host.ends_with(|end: char| end.is_ascii_digit()) && host.contains(".example:");
    let by_name: &[&str] = if is_named { &["--resolve", &resolve] } else { &[] };
    let output = curl(&[&fixed[..], by_name, more].concat()).await;
    let status = String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0);
    let decisions = house.until_decisions(before + 1).await;
    assert_eq!(decisions.len(), before + 1, "{url} {output:?}");
    (status, decisions[before].clone())
}

async fn check(house: &House, listeners: [u16; 2]) {
    let at = |scheme: &str, host: &str| house.base(scheme, host) + "/cctv/cam1";
    let frame = house.folder.path().join("frame.jpg");
    std::fs::write(&frame, FRAME).expect("written");
    let data = format!("@{}", frame.display());
    let post = ["-H", "Content-Type: image/jpeg", "--data-binary", &data];
    for told in TOLD {
        let shown = if told.contains(':') { format!("[{told}]") } else { told.to_owned() };
        // The address is a lie: what is dialled is what the name means to us.
        for (scheme, host) in [("https", "tls.example"), ("http", "plain.example")] {
            let (status, record) = asks(house, &at(scheme, host), told, &post).await;
            assert_eq!((status, reason_of(&record)), (200, "permit"), "{host} {told} {record:#}");
            let ours = &record["unmapped"]["transfer"];
            let dialled = house.recipient(host).address;
            assert_eq!((&ours["entry"], &ours["source"]), (&"transparent".into(), &"uploader".into()));
            assert_eq!(ours["redirected_from"], format!("{shown}:{}", dialled.port()));
            assert_eq!(record["dst_endpoint"]["ip"], dialled.ip().to_string());
            assert_eq!(house.recipient(host).requests().last().expect("it arrived").body, FRAME);
        }
        // A tunnel: curl trusts the recipient's own authority.
        let (status, record) = asks(house, &at("https", "tunnel.example"), told, &["-k"]).await;
        assert_eq!((status, reason_of(&record), &record["class_uid"]), (200, "permit", &4001.into()), "{record:#}");

        let of_tls = house.recipient("tls.example").address.port();
        let undeclared = format!("https://evil.example:{of_tls}/");
        let (status, record) = asks(house, &undeclared, told, &[]).await;
        assert_eq!((status, reason_of(&record)), (0, "no-declaration"));
        let (status, record) = asks(house, &at("http", "undeclared.example"), told, &post).await;
        assert_eq!((status, reason_of(&record)), (403, "no-declaration"));
        // Without a name, and with a name that the port contradicts.
        let nameless = format!("https://{shown}:{of_tls}/");
        let (status, record) = asks(house, &nameless, told, &["-k"]).await;
        assert_eq!((status, reason_of(&record)), (0, "sni-mismatch"), "{record:#}");
        for host in ["Host: plain.example", "Host: 192.0.2.9"] {
            let (status, record) = asks(house, &at("http", "plain.example"), told, &["-H", host]).await;
            assert_eq!((status, reason_of(&record)), (403, "ambiguous-destination"), "{host}");
        }
        // What the listener of a proxy would hand out belongs to somebody else here.
        let (status, record) = asks(house, &(house.base("http", "undeclared.example") + "/ca.pem"), told, &[]).await;
        assert_eq!((status, reason_of(&record)), (403, "no-declaration"));
    }
    // Straight to the listener: to go on would lead back to it.
    for address in [GATEWAY[0].to_owned(), format!("[{}]", GATEWAY[1])] {
        let (status, record) = asks(house, &format!("http://{address}:{}/", listeners[0]), &address, &[]).await;
        assert_eq!((status, reason_of(&record)), (403, "loop"));
        let (status, record) = asks(house, &format!("https://{address}:{}/", listeners[1]), &address, &["-k"]).await;
        assert_eq!((status, reason_of(&record)), (0, "loop"));
    }
    assert_eq!(house.recipient("undeclared.example").connections(), 0);
}
