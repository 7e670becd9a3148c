//! The table of results as a file, which is also what is known about kernels that were examined before.

use crate::hash::digest;
use crate::{Error, Key, Machine, Plan, Row, to_lines};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

/// Rows by [`Row::key`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    rows: BTreeMap<OwnKey, Row>,
}

type OwnKey = (String, String, String, String, String, usize);

fn owned((mixer, shape, form, dtype, target, index): Key) -> OwnKey {
    let text = str::to_owned;
    (
        text(mixer),
        text(shape),
        text(form),
        text(dtype),
        text(target),
        index,
    )
}

impl Table {
    /// # Errors
    /// If the file is there and cannot be read, or a line is not a row.
    pub fn read(path: &Path) -> Result<Table, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(e.into()),
        };
        let mut table = Table::default();
        for (n, line) in text.lines().enumerate() {
            let row: Row = serde_json::from_str(line).map_err(|e| Error::Table {
                file: path.display().to_string(),
                line: n + 1,
                what: e.to_string(),
            })?;
            table.insert(row);
        }
        Ok(table)
    }

    /// Writes the file anew; whoever reads it at the same time sees the old or the new one.
    ///
    /// # Errors
    /// If the folder cannot be written to.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_whole(path, &to_lines(self.rows()))
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    pub fn get(&self, row: &Row) -> Option<&Row> {
        self.rows.get(&owned(row.key()))
    }

    /// Replaces a row with the same key.
    pub fn insert(&mut self, row: Row) {
        self.rows.insert(owned(row.key()), row);
    }

    pub fn remove(&mut self, row: &Row) {
        self.rows.remove(&owned(row.key()));
    }

    /// Puts `rows` in the place of all that `plan` covers: what it covers and they do not have is no more.
    pub fn replace(&mut self, plan: &Plan, rows: Vec<Row>) {
        let shapes: BTreeSet<(String, String)> = rows
            .iter()
            .map(|r| (r.mixer.clone(), r.shape.clone()))
            .collect();
        self.rows.retain(|_, row| !plan.covers(row, &shapes));
        rows.into_iter().for_each(|row| self.insert(row));
    }

    /// The machine code of the same kernel, if it was made from the same text with the same tools.
    pub fn known(&self, row: &Row) -> Option<&Machine> {
        let known = self.get(row)?;
        let same = !row.hash.is_empty() && known.hash == row.hash && known.tools == row.tools;
        known.machine.as_ref().filter(|_| same)
    }

    /// The same rows, as if `tools` had made them.
    pub fn made_with(mut self, tools: &str) -> Table {
        for row in self.rows.values_mut().filter(|r| !r.tools.is_empty()) {
            tools.clone_into(&mut row.tools);
        }
        self
    }

    /// About `count` rows with machine code. Which ones follows from all hashes together, so it is the same for the
    /// same table, and another choice after every change of any kernel.
    pub fn sample(&self, count: usize) -> Vec<Row> {
        let hashes: Vec<&str> = self.rows().map(|r| r.hash.as_str()).collect();
        let turn = digest(&hashes);
        let made = self.rows().filter(|r| r.machine.is_some());
        let mut ranked: Vec<(String, &Row)> =
            made.map(|r| (digest(&[&turn, &r.hash]), r)).collect();
        ranked.sort_by(|a, b| a.0.cmp(&b.0));
        let chosen = ranked.into_iter().take(count);
        chosen.map(|(_, row)| row.clone()).collect()
    }
}

/// Writes beside the file, then takes its place.
///
/// # Errors
/// If the folder cannot be written to.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(text.as_bytes())?;
    // Temporary files are the owner's alone; this one is for all who may read the folder.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let all = std::fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(all)?;
    }
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mixer: &str, dtype: &str, hash: &str) -> Row {
        let text = format!(
            r#"{{"mixer":"{mixer}","form":"f","shape":"B=1","target":"sm_80","dtype":"{dtype}","index":0,
                "kernel":"k","template":"t","knobs":{{}},"hash":"{hash}","tools":"ptxas 1","machine":{{"threads":32,
                "stages":1,"registers":7,"shared":0,"stack":0,"spill_stores":0,"spill_loads":0,"blocks":1,"warps":1,
                "bound":"","units":{{}},"instructions":1}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn table(rows: &[Row]) -> Table {
        let mut table = Table::default();
        rows.iter().for_each(|r| table.insert(r.clone()));
        table
    }

    #[test]
    fn a_kernel_is_known_by_its_text_and_its_tools() {
        let table = table(&[row("m", "f32", "12")]);
        assert!(table.known(&row("m", "f32", "12")).is_some());
        let unknown = [
            row("m", "f32", "13"),
            row("m", "bf16", "12"),
            row("n", "f32", "12"),
        ];
        assert!(unknown.iter().all(|r| table.known(r).is_none()));
        let newer = Row {
            tools: "ptxas 2".into(),
            ..row("m", "f32", "12")
        };
        assert!(table.known(&newer).is_none());
        assert!(table.made_with("ptxas 2").known(&newer).is_some());
        let nothing = row("m", "f32", "");
        assert!(
            self::table(std::slice::from_ref(&nothing))
                .known(&nothing)
                .is_none()
        );
    }

    #[test]
    fn a_part_replaces_what_it_covers_and_nothing_else() {
        let old = [
            row("a", "f32", "1"),
            row("a", "bf16", "2"),
            row("b", "f32", "3"),
        ];
        let mut table = table(&old);
        let plan = Plan {
            dtypes: vec![mixc_ir::DType::F32],
            ..Plan::default()
        };
        // `b` is no more.
        table.replace(&plan, vec![row("a", "f32", "4")]);
        let left: Vec<&str> = table.rows().map(|r| r.hash.as_str()).collect();
        assert_eq!(left, ["2", "4"]);
    }

    #[test]
    fn the_first_shape_of_a_mixer_leaves_the_others() {
        let other = Row {
            shape: "B=2".into(),
            ..row("a", "f32", "2")
        };
        let mut table = table(&[row("a", "f32", "1"), other]);
        let plan = Plan {
            first_shape: true,
            ..Plan::default()
        };
        table.replace(&plan, vec![row("a", "f32", "3")]);
        let left: Vec<&str> = table.rows().map(|r| r.hash.as_str()).collect();
        assert_eq!(left, ["3", "2"]);
    }

    #[test]
    fn a_sample_is_the_same_until_a_kernel_changes() {
        let rows: Vec<Row> = (0..200)
            .map(|n| row(&format!("m{n}"), "f32", &format!("{n}")))
            .collect();
        let names =
            |t: &Table| -> BTreeSet<String> { t.sample(20).into_iter().map(|r| r.mixer).collect() };
        let mut table = table(&rows);
        let first = names(&table);
        assert_eq!((first.len(), &first), (20, &names(&table)));
        table.insert(row("m3", "f32", "other"));
        assert_ne!(names(&table), first);
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_mistakes_name_their_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("static.jsonl");
        assert_eq!(Table::read(&path).unwrap(), Table::default());
        let table = table(&[row("a", "f32", "1"), row("b", "f32", "2")]);
        table.write(&path).unwrap();
        assert_eq!(Table::read(&path).unwrap(), table);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "{}\n").unwrap();
        let error = Table::read(&path).unwrap_err().to_string();
        assert!(error.contains("static.jsonl:3"), "{error}");
    }
}
