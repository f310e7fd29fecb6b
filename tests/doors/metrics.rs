//! The metrics listener: what Prometheus needs, and nothing more.

use bytes::Bytes;
use http::Request;
use tasrih::demo::uploader::Uploader;

use super::support::{Plan, UPLOADER};

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_what_prometheus_asks_for_and_is_no_way_out() {
    let house = Plan::new("schema: tasrih/1\n")
        .settings(|settings| settings.metrics = Some(([127, 0, 0, 1], 0).into()))
        .build()
        .await;
    let metrics = house.running.metrics.expect("an address");
    assert_ne!(metrics, house.running.admin);
    let ask = |method: &str, path: &str| {
        let asked = Uploader { proxy: metrics, from: UPLOADER, trust: house.trust.clone() };
        let request = Request::builder().method(method).uri(format!("http://{metrics}{path}"));
        let request = request.body(Bytes::new()).expect("a request");
        async move { asked.send(request).await.expect("an answer") }
    };
    for (path, part) in [("/metrics", "tasrih_record_available 1"), ("/healthz", "ok"), ("/readyz", "\"ready\":true")] {
        let page = ask("GET", path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(String::from_utf8_lossy(&page.body).contains(part), "{path}: {page:?}");
    }
    assert_eq!(ask("POST", "/metrics").await.status, 405);
    assert_eq!(ask("GET", "/ca.pem").await.status, 404, "only the admin listener may have it");

    // A request through the proxy to its own metrics is refused, as to its other addresses.
    let own = house.send(UPLOADER, super::support::get(format!("http://{metrics}/metrics"))).await;
    assert_eq!(own.status, 403, "{own:?}");
}
