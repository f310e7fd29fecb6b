//! A network made for one test: a client, and a gateway on which the proxy runs, each in a namespace of the kernel's own,
//! with a cable between them. Whatever the client dials is led to the gateway.

use std::process::{Command, Output, Stdio};

/// The addresses of the gateway and of its client.
pub const GATEWAY: [&str; 2] = ["10.9.0.1", "fd09::1"];
pub const CLIENT: [&str; 2] = ["10.9.0.2", "fd09::2"];

/// Says to the processes inside which network is theirs.
const NAME: &str = "TASRIH_TEST_NETWORK";

/// Two namespaces, gone when dropped.
struct Network(String);

impl Network {
    fn make() -> Network {
        let network = Network(format!("tasrih-{}", std::process::id()));
        let (gateway, client) = (network.gateway(), network.client());
        run(&format!("ip netns add {gateway}"));
        run(&format!("ip netns add {client}"));
        run(&format!("ip -n {gateway} link add inside type veth peer name outside netns {client}"));
        for (namespace, link, [four, six]) in [(&gateway, "inside", GATEWAY), (&client, "outside", CLIENT)] {
            run(&format!("ip -n {namespace} address add {four}/24 dev {link}"));
            run(&format!("ip -n {namespace} address add {six}/64 dev {link} nodad"));
            run(&format!("ip -n {namespace} link set {link} up"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        run(&format!("ip -n {client} route add default via {}", GATEWAY[0]));
        run(&format!("ip -n {client} -6 route add default via {}", GATEWAY[1]));
        network
    }

    fn gateway(&self) -> String {
        format!("{}-gateway", self.0)
    }

    fn client(&self) -> String {
        client_of(&self.0)
    }
}

fn client_of(network: &str) -> String {
    format!("{network}-client")
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [self.gateway(), self.client()] {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).status();
        }
    }
}

/// Runs a test of this program, which is ignored otherwise, on the gateway of a network of its own.
pub fn play(test: &str) {
    let network = Network::make();
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", &network.gateway()]).arg(std::env::current_exe().expect("this program"));
    inside.args(["--exact", test, "--ignored", "--nocapture"]).env(NAME, &network.0);
    let output = inside.output().expect("ip runs; tests/run installs it, and runs as root");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// Inside: rules of nftables on the gateway.
pub fn rules(text: &str) {
    let mut nft = Command::new("nft");
    let mut child = nft.args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft runs; tests/run installs it");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), text.as_bytes()).expect("written");
    assert!(child.wait().expect("it ends").success(), "{text}");
}

/// Inside: a command on the gateway.
pub fn run(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().expect("a command")).args(words).output().expect("it runs");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Inside: curl on the client's side.
pub async fn curl(arguments: &[&str]) -> Output {
    let fixed = ["-sS", "--max-time", "20", "--noproxy", "*"];
    on_the_clients_side("curl", &[&fixed[..], arguments].concat()).await
}

/// Inside: a command on the client's side.
pub async fn on_the_clients_side(name: &str, arguments: &[&str]) -> Output {
    let client = client_of(&std::env::var(NAME).expect("started by `play`"));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &client, name]).args(arguments);
    let done = tokio::task::spawn_blocking(move || command.output()).await.expect("a task");
    done.expect("ip runs; tests/run installs it")
}
