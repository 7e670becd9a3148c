//! What is known to be wanting and accepted: kernels that spill, and forms without machine code. Everything else of
//! the kind fails the tests, and so does an entry that accepts more than there is.

use crate::Row;

/// An entry of the file with the sizes. Of mixer, form, architecture and element type, what is not given means all.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    pub mixer: Option<String>,
    pub form: Option<String>,
    pub target: Option<String>,
    pub dtype: Option<String>,
    /// The most bytes a thread that the stores and loads of a spill have together.
    #[serde(default)]
    pub bytes: u32,
    pub reason: String,
}

impl Accepted {
    fn is_about(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, own: &String| wanted.as_ref().is_none_or(|w| w == own);
        is(&self.mixer, &row.mixer)
            && is(&self.form, &row.form)
            && is(&self.target, &row.target)
            && is(&self.dtype, &row.dtype)
    }
}

/// The rows with stack or spills that no entry accepts.
pub fn spilling<'r>(
    rows: impl IntoIterator<Item = &'r Row>,
    accepted: &[Accepted],
) -> Vec<&'r Row> {
    let has_stack = |row: &Row| row.machine.as_ref().is_some_and(|m| m.stack > 0);
    let is_accepted = |row: &Row| {
        let mut entries = accepted.iter();
        entries.any(|a| a.is_about(row) && row.spilled() <= a.bytes)
    };
    let rows = rows.into_iter();
    rows.filter(|r| (r.spilled() > 0 || has_stack(r)) && !is_accepted(r))
        .collect()
}

/// The rows without machine code that no entry accepts. Only too much shared memory can be accepted.
pub fn without_code<'r>(
    rows: impl IntoIterator<Item = &'r Row>,
    accepted: &[Accepted],
) -> Vec<&'r Row> {
    let is_accepted = |row: &Row| accepted.iter().any(|a| a.is_about(row)) && is_too_large(row);
    let rows = rows.into_iter();
    rows.filter(|r| r.machine.is_none() && !is_accepted(r))
        .collect()
}

/// Whether a form has no kernels because no tile fits in the shared memory of the architecture.
fn is_too_large(row: &Row) -> bool {
    let error = row.error.as_deref().unwrap_or("");
    error.starts_with("lowering: ") && error.contains(" bytes of shared memory and ")
}

/// The entries for spills of which no kernel spills as much.
pub fn unreached_spills<'a>(rows: &[Row], accepted: &'a [Accepted]) -> Vec<&'a Accepted> {
    let reached = |a: &Accepted| {
        rows.iter()
            .any(|r| a.is_about(r) && r.spilled() == a.bytes && a.bytes > 0)
    };
    accepted.iter().filter(|a| !reached(a)).collect()
}

/// The entries for forms without machine code that all have some.
pub fn unneeded<'a>(rows: &[Row], accepted: &'a [Accepted]) -> Vec<&'a Accepted> {
    let needed = |a: &Accepted| rows.iter().any(|r| a.is_about(r) && is_too_large(r));
    accepted.iter().filter(|a| !needed(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dtype: &str, spilled: u32) -> Row {
        let machine = format!(
            r#"{{"threads":32,"stages":1,"registers":7,"shared":0,"stack":{spilled},"spill_stores":0,
                "spill_loads":{spilled},"blocks":1,"warps":1,"bound":"","units":{{}},"instructions":1}}"#
        );
        Row {
            dtype: dtype.into(),
            form: "chunkwise".into(),
            machine: serde_json::from_str(&machine).unwrap(),
            ..Row::default()
        }
    }

    fn accepted(bytes: u32) -> Accepted {
        Accepted {
            dtype: Some("f32".into()),
            target: None,
            mixer: None,
            form: Some("chunkwise".into()),
            bytes,
            reason: "it is known".into(),
        }
    }

    #[test]
    fn a_spill_is_accepted_up_to_its_bytes_and_in_its_type() {
        let rows = [row("f32", 8), row("f32", 9), row("bf16", 8), row("bf16", 0)];
        assert_eq!(spilling(&rows, &[accepted(8)]), [&rows[1], &rows[2]]);
        assert_eq!(spilling(&rows, &[]).len(), 3);
        assert!(unreached_spills(&rows, &[accepted(8)]).is_empty());
        assert_eq!(unreached_spills(&rows, &[accepted(12)]).len(), 1);
    }

    #[test]
    fn only_too_much_shared_memory_excuses_missing_machine_code() {
        let failed = |error: &str| Row {
            machine: None,
            error: Some(error.into()),
            ..row("f32", 0)
        };
        let rows = [
            failed("lowering: kernel k needs 9 bytes of shared memory and sm_80 has 8 a block"),
            failed("assembly: out of memory"),
            row("f32", 0),
        ];
        assert_eq!(without_code(&rows, &[accepted(0)]), [&rows[1]]);
        assert_eq!(without_code(&rows, &[]).len(), 2);
        assert!(unneeded(&rows, &[accepted(0)]).is_empty());
        assert_eq!(unneeded(&rows[1..], &[accepted(0)]).len(), 1);
    }
}
