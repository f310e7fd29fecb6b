//! What `tasrih check` found in SARIF 2.1.0 (OASIS), which editors and code review read: one run, a rule for each code.

use serde_json::{Value as Json, json};

use crate::register::fault::Fault;
use crate::register::lint::Lint;

/// Rule of what must not load; faults have no code of their own.
const FAULT: &str = "fault";
/// Rule of warnings about the configuration, which have no code of their own.
const CONFIGURATION: &str = "configuration";

/// The log of one run.
pub(super) fn log<'f>(faults: impl Iterator<Item = &'f Fault>, warnings: impl Iterator<Item = &'f Fault>) -> Json {
    let faults = faults.map(|fault| result(fault, "error", FAULT));
    let warnings = warnings.map(|warning| result(warning, "warning", warning.code.map_or(CONFIGURATION, Lint::as_str)));
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "tasrih check",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules(),
            }},
            // Columns count characters, not the UTF-16 units that SARIF takes for granted.
            "columnKind": "unicodeCodePoints",
            "results": faults.chain(warnings).collect::<Vec<Json>>(),
        }],
    })
}

fn rules() -> Vec<Json> {
    let rule = |id: &str, level: &str, meaning: &str| json!({"id": id, "shortDescription": {"text": meaning}, "defaultConfiguration": {"level": level}});
    let own = [
        rule(FAULT, "error", "The file must not load as it stands."),
        rule(CONFIGURATION, "warning", "Something in the configuration is doubtful and loads all the same."),
    ];
    own.into_iter().chain(Lint::ALL.iter().map(|lint| rule(lint.as_str(), "warning", lint.meaning()))).collect()
}

fn result(fault: &Fault, level: &str, rule: &str) -> Json {
    let remedy = fault.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
    let mut location = json!({"artifactLocation": {"uri": uri(&fault.file)}});
    // What belongs to no line has no region.
    if fault.line > 0 {
        location["region"] = json!({"startLine": fault.line, "startColumn": fault.column.max(1)});
    }
    json!({
        "ruleId": rule,
        "level": level,
        "message": {"text": format!("{}{remedy}", fault.message)},
        "locations": [{"physicalLocation": location}],
    })
}

/// A path as a relative reference (RFC 3986): what is neither unreserved nor a slash is percent-encoded.
fn uri(path: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let one = |byte: u8| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    path.bytes().map(one).collect()
}
