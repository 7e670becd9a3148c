//! Which spills are accepted. Every other one fails the tests.

use crate::Row;

/// Spills of a kind of kernel that are known and stay, with the reason: an entry of the file with the sizes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedSpill {
    pub dtype: String,
    /// Each of these: all if it is not given.
    pub target: Option<String>,
    pub mixer: Option<String>,
    pub form: Option<String>,
    /// The most bytes a thread that stores and loads together may have.
    pub bytes: u32,
    pub reason: String,
}

impl AcceptedSpill {
    fn is_about(&self, row: &Row) -> bool {
        let is = |wanted: &Option<String>, own: &String| wanted.as_ref().is_none_or(|w| w == own);
        self.dtype == row.dtype
            && is(&self.target, &row.target)
            && is(&self.mixer, &row.mixer)
            && is(&self.form, &row.form)
    }
}

/// The rows with stack or spills that no entry accepts.
pub fn not_accepted<'r>(
    rows: impl IntoIterator<Item = &'r Row>,
    accepted: &[AcceptedSpill],
) -> Vec<&'r Row> {
    let has_stack = |row: &&Row| row.machine.as_ref().is_some_and(|m| m.stack > 0);
    let is_accepted = |row: &Row| {
        accepted
            .iter()
            .any(|a| a.is_about(row) && row.spilled() <= a.bytes)
    };
    let rows = rows.into_iter().filter(|r| r.spilled() > 0 || has_stack(r));
    rows.filter(|r| !is_accepted(r)).collect()
}

/// The entries that say more than there is: no kernel spills as much.
pub fn not_needed<'a>(rows: &[Row], accepted: &'a [AcceptedSpill]) -> Vec<&'a AcceptedSpill> {
    let reached = |a: &&AcceptedSpill| rows.iter().any(|r| a.is_about(r) && r.spilled() == a.bytes);
    accepted.iter().filter(|a| !reached(a)).collect()
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

    fn accepted(bytes: u32) -> AcceptedSpill {
        AcceptedSpill {
            dtype: "f32".into(),
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
        let found = not_accepted(&rows, &[accepted(8)]);
        assert_eq!(found, [&rows[1], &rows[2]]);
        assert_eq!(not_accepted(&rows, &[]).len(), 3);
    }

    #[test]
    fn an_entry_that_says_more_than_there_is_is_named() {
        let rows = [row("f32", 8)];
        assert!(not_needed(&rows, &[accepted(8)]).is_empty());
        assert_eq!(not_needed(&rows, &[accepted(12)]).len(), 1);
    }
}
