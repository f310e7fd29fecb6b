//! The Grafana dashboards as files: their queries, and the conventions that each keeps.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::folder;

/// The dashboards; links and alerts name these ids, so that they must not change.
const UIDS: [&str; 4] = ["tasrih-capacity", "tasrih-data-path", "tasrih-declarations", "tasrih-evidence"];

/// A query and where it stands.
pub struct Query {
    pub place: String,
    pub expression: String,
}

/// Every dashboard, in the order of [`UIDS`].
pub fn all() -> Vec<Value> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .expect("dashboards/ can be read")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    assert_eq!(names, UIDS, "a dashboard's file is named after its uid");
    let load = |name: &String| super::read(&format!("{name}.json"));
    names.iter().map(|name| serde_json::from_str(&load(name)).expect("JSON")).collect()
}

/// The queries of all panels and annotations, with the variables replaced by what shows everything.
pub fn queries(dashboard: &Value) -> Vec<Query> {
    let uid = text(&dashboard["uid"]);
    let panels = panels(dashboard).flat_map(|panel| {
        let title = text(&panel["title"]);
        array(&panel["targets"]).map(move |target| (title, text(&target["expr"])))
    });
    panels.map(|(title, expr)| Query { place: format!("{uid}, {title}"), expression: filled(expr) }).collect()
}

fn filled(expression: &str) -> String {
    expression.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "20s")
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    array(&dashboard["panels"]).filter(|panel| panel["type"] != "row")
}

/// What a dashboard does against the conventions.
pub fn faults(dashboard: &Value) -> Vec<String> {
    let uid = text(&dashboard["uid"]);
    let mut faults = Vec::new();
    let mut wants = |place: &str, holds: bool, what: &str| {
        if !holds {
            faults.push(format!("{uid}, {place}: {what}"));
        }
    };
    wants("dashboard", UIDS.contains(&uid), "its uid is not one of those that links name");
    wants("dashboard", !text(&dashboard["description"]).is_empty(), "no description says whom it is for");
    wants("dashboard", array(&dashboard["tags"]).any(|tag| tag == "tasrih"), "the tag `tasrih` joins all of ours");
    wants("dashboard", dashboard["id"].is_null(), "an id belongs to one Grafana");
    let variables: Vec<&str> =
        array(&dashboard["templating"]["list"]).map(|variable| text(&variable["name"])).collect();
    wants("dashboard", variables == ["datasource", "job", "instance"], "its variables are datasource, job, instance");
    let ids: BTreeSet<i64> = array(&dashboard["panels"]).filter_map(|panel| panel["id"].as_i64()).collect();
    wants("dashboard", ids.len() == array(&dashboard["panels"]).count(), "two panels have one id");
    for panel in panels(dashboard) {
        let title = text(&panel["title"]);
        wants(title, !title.is_empty(), "no title");
        wants(title, text(&panel["description"]).len() > 20, "no description");
        wants(title, !text(&panel["fieldConfig"]["defaults"]["unit"]).is_empty(), "no unit");
        wants(title, text(&panel["datasource"]["uid"]) == "${datasource}", "its data source is not the variable");
        wants(title, array(&panel["targets"]).count() > 0, "no query");
        wants(title, fits(&panel["gridPos"]), "it does not stand on the grid");
        for target in array(&panel["targets"]) {
            let expr = text(&target["expr"]);
            wants(title, text(&target["datasource"]["uid"]) == "${datasource}", "a query with another data source");
            wants(
                title,
                !expr.contains('[') || expr.contains("[$__rate_interval]"),
                "a range that does not follow the zoom",
            );
            let selects = expr.contains("job=~\"$job\",instance=~\"$instance\"");
            wants(title, selects, "a query that does not follow job and node");
        }
    }
    faults
}

fn fits(grid: &Value) -> bool {
    let place = |key: &str| grid[key].as_u64().unwrap_or(99);
    place("x") + place("w") <= 24 && place("h") > 0 && place("y") < 1000
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
