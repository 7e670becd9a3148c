//! MLIR's diagnostics as text.

use melior::Context;
use melior::diagnostic::{Diagnostic, DiagnosticSeverity};
use std::sync::{Arc, Mutex};

/// Runs `step` and returns its result; where there is none, what was reported meanwhile: one line
/// for each error and note, `line:column: message`, and below an error the line of `source`.
pub fn collect<T>(
    context: &Context,
    source: &str,
    step: impl FnOnce() -> Option<T>,
) -> Result<T, String> {
    let lines = Arc::new(Mutex::new(vec![]));
    let (kept, text) = (lines.clone(), source.to_string());
    let handler = context.attach_diagnostic_handler(move |diagnostic| {
        let mut lines = kept.lock().unwrap_or_else(|e| e.into_inner());
        describe(&diagnostic, &text, &mut lines);
        true
    });
    let result = step();
    context.detach_diagnostic_handler(handler);
    result.ok_or_else(|| {
        let lines = lines.lock().unwrap_or_else(|e| e.into_inner());
        if lines.is_empty() {
            return "MLIR failed and gave no reason".to_string();
        }
        lines.join("\n")
    })
}

fn describe(diagnostic: &Diagnostic<'_>, source: &str, lines: &mut Vec<String>) {
    let location = diagnostic.location().to_string();
    let place = line_and_column(&location);
    let shown = place.map_or(location, |(line, column)| format!("{line}:{column}"));
    let kind = match diagnostic.severity() {
        DiagnosticSeverity::Error => "error",
        DiagnosticSeverity::Warning => "warning",
        DiagnosticSeverity::Note => "note",
        DiagnosticSeverity::Remark => "remark",
    };
    lines.push(format!("{shown}: {kind}: {diagnostic}"));
    let quoted = place.and_then(|(line, _)| source.lines().nth(line.checked_sub(1)?));
    if let (Some(quoted), DiagnosticSeverity::Error) = (quoted, diagnostic.severity()) {
        lines.push(format!("    {}", quoted.trim()));
    }
    for index in 0..diagnostic.note_count() {
        if let Ok(note) = diagnostic.note(index) {
            describe(&note, source, lines);
        }
    }
}

/// The numbers of `loc("name":3:14)`, from 1; `None` for the other kinds of location.
fn line_and_column(location: &str) -> Option<(usize, usize)> {
    let inner = location.strip_prefix("loc(\"")?.strip_suffix(')')?;
    let (rest, column) = inner.rsplit_once(':')?;
    let (_, line) = rest.rsplit_once(':')?;
    Some((line.parse().ok()?, column.parse().ok()?))
}
