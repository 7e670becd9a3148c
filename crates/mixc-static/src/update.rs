//! Brings the table in a folder up to date, in parts and again after an interrupt.

use crate::table::write_whole;
use crate::{Error, Plan, Problems, Progress, Row, Table, Timing, Tools, markdown, sweep};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often what is done so far is written.
const EVERY: Duration = Duration::from_secs(15);

/// Examines what the plan covers and puts it into `static.jsonl` and `static.md` of `folder`. Kernels whose text is in
/// the table already are taken from there, unless `fresh`; rows outside of the plan stay. What was examined is written
/// from time to time, so a run that was interrupted goes on where it stopped. `say` gets a line of progress.
///
/// # Errors
/// As [`sweep`], and a table that cannot be read or written.
pub fn update(
    folder: &Path,
    tools: &Tools,
    problems: &Problems,
    plan: &Plan,
    fresh: bool,
    say: &(dyn Fn(&str) + Sync),
) -> Result<(Vec<Row>, Timing), Error> {
    std::fs::create_dir_all(folder)?;
    let path = folder.join("static.jsonl");
    let table = Table::read(&path)?;
    let known = if fresh {
        Table::default()
    } else {
        table.clone()
    };
    let file = Mutex::new(File {
        path,
        table,
        written: Instant::now(),
        failed: None,
    });
    let lock = || -> MutexGuard<'_, File> { file.lock().unwrap_or_else(|e| e.into_inner()) };
    let progress = |progress: Progress| {
        let written = lock().add(progress.rows);
        if written {
            say(&format!("{} of {}", progress.done, progress.all));
        }
    };
    let (rows, timing) = sweep(tools, problems, plan, &known, &progress)?;
    let mut file = file.into_inner().unwrap_or_else(|e| e.into_inner());
    if let Some(error) = file.failed {
        return Err(error);
    }
    file.table.replace(plan, rows.clone());
    file.table.write(&file.path)?;
    let all: Vec<Row> = file.table.rows().cloned().collect();
    let page = markdown(&all, &tools.versions(), &problems.predicted);
    write_whole(&folder.join("static.md"), &page)?;
    Ok((rows, timing))
}

/// The table's file while rows come in.
struct File {
    path: PathBuf,
    table: Table,
    written: Instant,
    failed: Option<Error>,
}

impl File {
    /// Takes rows over; true if the file was written.
    fn add(&mut self, rows: &[Row]) -> bool {
        rows.iter().for_each(|row| self.table.insert(row.clone()));
        let due = self.written.elapsed() >= EVERY && self.failed.is_none();
        if due {
            self.failed = self.table.write(&self.path).err();
            self.written = Instant::now();
        }
        due
    }
}
