//! Debian's Prometheus and promtool, on loopback only and in a folder that goes away.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dashboards::Query;

/// Runs promtool with this on its standard input. What it complains about fails the test.
pub fn promtool(arguments: &[&str], files: &[PathBuf], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool of Debian's package `prometheus` is installed");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}\n{}", String::from_utf8_lossy(&said));
}

/// A Prometheus that reads one proxy each second; ended when dropped.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    pub fn start(target: SocketAddr, rules: &Path) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs:\n  - {{job_name: tasrih, static_configs: [{{targets: ['{target}']}}]}}\n",
            rules.display()
        );
        fs::write(&config, text).expect("the configuration is written");
        let address = free_address();
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Debian's package `prometheus` is installed");
        Prometheus { child, address, _folder: folder }
    }

    /// The expressions of all rules, once all have been evaluated without a fault. A comparison is asked for its truth
    /// (`bool`), so that a rule that does not fire has samples too; alternatives are asked one by one.
    pub async fn rules(&self, until: Instant) -> Vec<Query> {
        let groups = loop {
            let answer = self.get("/api/v1/rules");
            let groups = answer.map(|answer| answer["data"]["groups"].as_array().cloned().unwrap_or_default());
            let groups = groups.unwrap_or_default();
            let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
            if !groups.is_empty() && rules.clone().all(|rule| rule["health"] == "ok") {
                break groups;
            }
            assert!(Instant::now() < until, "the rules are not evaluated: {groups:?}");
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        rules
            .flat_map(|rule| {
                let name = rule["name"].as_str().expect("a name");
                let query = rule["query"].as_str().expect("a query");
                let alternatives = query.split(" or ").map(truth).collect::<Vec<_>>();
                alternatives.into_iter().map(move |expression| Query { place: name.to_owned(), expression })
            })
            .collect()
    }

    /// Whether an expression gives at least one sample that is a number.
    pub async fn number(&self, expression: &str) -> Result<(), String> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(expression)));
        let answer = answer.ok_or("Prometheus does not answer")?;
        if answer["status"] != "success" {
            return Err(format!("{expression}: {}", answer["error"]));
        }
        let samples = answer["data"]["result"].as_array().into_iter().flatten();
        let mut values = samples.filter_map(|sample| sample["value"][1].as_str());
        values.any(|value| value != "NaN").then_some(()).ok_or_else(|| format!("{expression}: no sample"))
    }

    fn get(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        // HTTP/1.0, so that the answer is not chunked and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn truth(expression: &str) -> String {
    [" == ", " >= ", " <= ", " > ", " < "]
        .iter()
        .fold(expression.to_owned(), |text, operator| text.replace(operator, &format!("{operator}bool ")))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
