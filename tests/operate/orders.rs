//! An authority's order by command, on the real process: in force, on record and kept when the command has returned,
//! whatever state the policy files are in. What left is asked of the recipient.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ground::{Ground, Listening, PLAIN, Process, TUNNEL, output, until};

impl Ground {
    /// A subcommand on this ground's state folder: its exit code, and what it said.
    async fn on_state(&self, words: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tasrih"));
        command.args(words).arg("--state").arg(self.path("state"));
        let output = output(command).await;
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(said).expect("UTF-8"))
    }

    async fn suspend(&self, reference: &str, scope: &str) -> (Option<i32>, String) {
        self.on_state(&["order", "suspend", "--authority", "CNDP", "--ref", reference, "--scope", scope]).await
    }

    async fn lift(&self, reference: &str, lifts: &str) -> (Option<i32>, String) {
        self.on_state(&["order", "lift", "--authority", "CNDP", "--ref", reference, "--lifts", lifts]).await
    }

    async fn start(&self) -> (Process, Listening) {
        let mut process = Process::spawn(self.run(), self.folder.path());
        let listening = process.ready().await;
        (process, listening)
    }

    /// The status of a frame to the recipient over plain HTTP, and why it is refused.
    async fn answer(&self, at: Listening) -> (u16, Option<String>) {
        let reply = self.client(at.proxy).send(self.frame()).await.expect("a reply");
        (reply.status, reply.proxy_status("reason"))
    }

    /// The records of orders: code, reference, what they are about, and how they came.
    fn ordered(&self) -> Vec<[String; 4]> {
        let records = self.records();
        let orders = records
            .iter()
            .filter(|record| record["metadata"]["event_code"].as_str().is_some_and(|code| code.starts_with("order-")));
        let told = |record: &Value| {
            let ours = &record["unmapped"]["transfer"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            [text(&record["metadata"]["event_code"]), text(&ours["ref"]), text(&ours["scope"]), text(&ours["means"])]
        };
        orders.map(told).collect()
    }

    /// Adds this to the policy files.
    fn also(&self, name: &str, text: &str) {
        fs::write(self.path("policies").join(name), text).expect("written");
    }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

fn suspended() -> (u16, Option<String>) {
    (403, Some("suspended-by-order".to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_holds_while_the_files_are_faulty_and_after_a_kill_until_it_is_lifted() {
    let ground = Ground::lay("PT1S").await;
    let (mut process, at) = ground.start().await;
    assert_eq!(ground.answer(at).await.0, 200);
    ground.also("colleague.yaml", "transfers: [{id: half");
    let before = ground.plain.raw_bytes();

    let (code, said) = ground.suspend("o-1", "recipient:ministry-a").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("order o-1 of CNDP is in force: it stops recipient:ministry-a; register "), "{said}");
    process.signal(Signal::KILL);
    process.ended().await;
    assert_eq!(ground.ordered(), [["order-in-force", "o-1", "recipient:ministry-a", "command"]]);

    fs::remove_file(ground.path("policies/colleague.yaml")).expect("removed");
    let (_process, at) = ground.start().await;
    assert_eq!(ground.answer(at).await, suspended());
    assert_eq!(ground.plain.raw_bytes(), before, "the recipient sees no further byte");
    assert_eq!(ground.ordered().len(), 1, "it is recorded once");
    let (_, listed) = ground.on_state(&["order", "list"]).await;
    assert!(listed.contains("CNDP o-1") && listed.contains("stops recipient:ministry-a since"), "{listed}");

    // The register that decided so is kept, with the order.
    let records = ground.records();
    let denial = records.iter().rfind(|record| record["unmapped"]["transfer"]["reason"] == "suspended-by-order");
    let id = denial.expect("the denial")["metadata"]["uid"].as_str().expect("its id").to_owned();
    let (code, said) = ground.on_state(&["explain", "--record", &id]).await;
    assert!(code == Some(0) && said.contains("denial: suspended-by-order"), "{said}");
    let policies = ground.path("policies").display().to_string();
    let target = format!("http://{PLAIN}:{}/cctv/cam1", ground.plain.address.port());
    let asked = ["explain", "--source", "127.0.0.5", "--to", &target, "--policies", &policies];
    let (code, said) = ground.on_state(&asked).await;
    assert!(code == Some(0) && said.contains("denial: suspended-by-order"), "{said}");

    // The same again changes nothing; another one under its reference is refused.
    let (code, said) = ground.suspend("o-1", "recipient:ministry-a").await;
    assert!(code == Some(0) && said.contains("in force already"), "{said}");
    let (code, said) = ground.suspend("o-1", "everything").await;
    assert!(code == Some(2) && said.contains("stops recipient:ministry-a since"), "{said}");

    let (code, said) = ground.lift("l-1", "o-2").await;
    assert!(code == Some(2) && said.contains("has no suspension `o-2`") && said.contains("`o-1`"), "{said}");
    assert_eq!(ground.answer(at).await, suspended());
    let (code, said) = ground.lift("l-1", "o-1").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ground.answer(at).await.0, 200);
    assert_eq!(ground.ordered()[1], ["order-lifted", "l-1", "recipient:ministry-a", "command"]);
    let (code, said) = ground.suspend("o-1", "recipient:ministry-a").await;
    assert!(code == Some(2) && said.contains("was lifted by `l-1`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_cuts_a_running_tunnel_and_another_scope_leaves_it_alone() {
    let ground = Ground::lay("PT1S").await;
    let (process, at) = ground.start().await;
    ground.also("colleague.yaml", "transfers: [{id: half");
    until("the fault is known", || process.log().contains("the register was refused")).await;
    let target = format!("https://{TUNNEL}:{}/", ground.tunnel.address.port()).parse().expect("a target");
    let mut inside = ground.client(at.proxy).tunnel(&target).await.expect("a reply").expect("a tunnel");
    inside.write_all(REQUEST).await.expect("written");
    until("the recipient has it", || ground.tunnel.requests().len() == 1).await;

    let (code, said) = ground.suspend("o-1", "recipient:ministry-a").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ground.answer(at).await, suspended());
    // Longer than a cut takes: what is open is judged again within a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    inside.write_all(REQUEST).await.expect("written");
    until("the tunnel goes on", || ground.tunnel.requests().len() == 2).await;

    let (code, said) = ground.suspend("o-2", "transfer:cctv-to-t").await;
    assert_eq!(code, Some(0), "{said}");
    until("the outcome is written", || ground.ends().iter().any(|end| end == "cut-order")).await;
    let received = (ground.tunnel.requests().len(), ground.tunnel.raw_bytes());
    // What is written now goes nowhere; a socket that is closed may say so with the first write or a later one.
    let _ = inside.write_all(REQUEST).await;
    let mut rest = Vec::new();
    let _ = inside.read_to_end(&mut rest).await;
    let again = ground.client(at.proxy).tunnel(&target).await.expect("a reply").expect_err("a refusal");
    assert_eq!((again.status, again.proxy_status("reason")), suspended());
    assert_eq!((ground.tunnel.requests().len(), ground.tunnel.raw_bytes()), received, "no further byte arrives");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_taken_out_of_the_files_stays_across_reload_and_restart() {
    let ground = Ground::lay("PT1S").await;
    let (mut process, at) = ground.start().await;
    ground.also("orders.yaml", "orders: [{authority: CNDP, ref: o-7, action: suspend, scope: \"country:FR\"}]\n");
    assert_eq!(ground.on_state(&["reload"]).await.0, Some(0));
    assert_eq!(ground.answer(at).await, suspended());
    assert_eq!(ground.ordered(), [["order-in-force", "o-7", "country:FR", "files"]]);

    fs::remove_file(ground.path("policies/orders.yaml")).expect("removed");
    let gone = "order `o-7` of CNDP is no longer in the files, and still stops country:FR";
    let (code, said) = ground.on_state(&["reload"]).await;
    assert!(code == Some(0) && said.contains(gone) && said.contains("order-not-in-files"), "{said}");
    assert_eq!(ground.answer(at).await, suspended());
    let policies = ground.path("policies").display().to_string();
    let (code, said) = ground.on_state(&["check", &policies, "--deny-warnings"]).await;
    assert!(code == Some(1) && said.contains(gone), "{said}");

    process.signal(Signal::TERM);
    process.ended().await;
    let (_process, at) = ground.start().await;
    assert_eq!(ground.answer(at).await, suspended());
    // Its lift, in the files, names an order that no file holds.
    ground.also("lift.yaml", "orders: [{authority: CNDP, ref: l-7, action: lift, lifts: o-7}]\n");
    let (code, said) = ground.on_state(&["reload"]).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ground.answer(at).await.0, 200);
    assert_eq!(ground.ordered()[1], ["order-lifted", "l-7", "country:FR", "files"]);
    // The lift is remembered, too.
    fs::remove_file(ground.path("policies/lift.yaml")).expect("removed");
    assert_eq!(ground.on_state(&["reload"]).await.0, Some(0));
    assert_eq!(ground.answer(at).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_the_files_does_not_wait_for_a_colleagues_fault_and_a_lift_does() {
    let ground = Ground::lay("PT1S").await;
    let (_process, at) = ground.start().await;
    let file = ground.path("policies/cctv.yaml");
    let good = fs::read_to_string(&file).expect("the policy");
    // The transfer that the order names is in a file that cannot be read at all.
    fs::write(&file, good.replace("transfers:\n", "transfers: [\n")).expect("written");
    ground
        .also("orders.yaml", "orders: [{authority: CNDP, ref: o-1, action: suspend, scope: \"transfer:cctv-to-a\"}]\n");
    assert_eq!(ground.on_state(&["reload"]).await.0, Some(1));
    assert_eq!(ground.answer(at).await, suspended());
    assert_eq!(ground.ordered(), [["order-in-force", "o-1", "transfer:cctv-to-a", "files"]]);

    ground.also("lift.yaml", "orders: [{authority: CNDP, ref: l-1, action: lift, lifts: o-1}]\n");
    assert_eq!(ground.on_state(&["reload"]).await.0, Some(1));
    assert_eq!(ground.answer(at).await, suspended());
    fs::write(&file, good).expect("written");
    assert_eq!(ground.on_state(&["reload"]).await.0, Some(0));
    assert_eq!(ground.answer(at).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_proxy_an_order_is_kept_for_the_start_and_a_scope_that_names_nothing_is_refused() {
    let ground = Ground::lay("PT1S").await;
    let (code, said) = ground.suspend("o-1", "everything").await;
    assert!(code == Some(2) && said.contains("is no state folder"), "nothing is made by a slip: {said}");
    assert!(!ground.path("state").exists());
    let (mut process, _) = ground.start().await;
    let (code, said) = ground.suspend("o-1", "transfer:cctv-to-q").await;
    assert!(code == Some(2) && said.contains("there is no transfer `cctv-to-q`"), "{said}");
    assert!(said.contains("did you mean `cctv-to-") && said.contains("--even-if-unknown"), "{said}");
    process.signal(Signal::TERM);
    process.ended().await;

    let (code, said) = ground.suspend("o-1", "source:cameras").await;
    assert!(code == Some(0) && said.contains("takes effect when one starts"), "{said}");
    let (_, listed) = ground.on_state(&["order", "list"]).await;
    assert!(listed.contains("stops source:cameras") && listed.contains("no proxy runs"), "{listed}");
    let (_process, at) = ground.start().await;
    assert_eq!(ground.answer(at).await, suspended());
    assert_eq!(ground.ordered(), [["order-in-force", "o-1", "source:cameras", "command"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_orders_keep_the_proxy_from_starting_and_what_was_put_aside_lets_it() {
    let ground = Ground::lay("PT1S").await;
    let (mut process, _) = ground.start().await;
    assert_eq!(ground.suspend("o-1", "everything").await.0, Some(0));
    process.signal(Signal::TERM);
    process.ended().await;
    let file = ground.path("state/orders");
    let whole = fs::read(&file).expect("kept");
    let cut = whole[..whole.len() - 90].to_vec();
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    for damaged in [cut, flipped] {
        fs::write(&file, damaged).expect("written");
        let output = output(ground.run()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("are damaged at line") && said.contains("restore the file from a copy"), "{said}");
    }
    // A draft that a crash left beside it is none.
    fs::write(&file, whole).expect("written");
    fs::write(ground.path("state/orders.new"), "tasrih ord").expect("written");
    let (_process, at) = ground.start().await;
    assert_eq!(ground.answer(at).await, suspended());
}
