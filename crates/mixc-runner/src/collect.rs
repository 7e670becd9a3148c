//! Rows as they come: progress for people, a file that is always up to date, and what the run ends with.

use crate::Event;
use mixc_launch::{DeviceInfo, Label, RESULTS_VERSION, Results, ResultsError, Row, Status};
use std::path::PathBuf;

pub struct Collector {
    pub results: Results,
    labels: Vec<Label>,
    /// Number of rows that are expected.
    total: usize,
    out: Option<PathBuf>,
    bad_input: bool,
    /// Whether rows without a verdict are what was asked for.
    unverified_is_fine: bool,
    write_error: Option<ResultsError>,
}

impl Collector {
    pub fn new(
        device: DeviceInfo,
        labels: Vec<Label>,
        total: usize,
        out: Option<PathBuf>,
        verify: bool,
    ) -> Collector {
        Collector {
            results: Results {
                version: RESULTS_VERSION,
                date: format!("{:.0}", jiff::Timestamp::now()),
                device,
                rows: vec![],
                missing: vec![],
            },
            labels,
            total,
            out,
            bad_input: false,
            unverified_is_fine: !verify,
            write_error: None,
        }
    }

    pub fn event(&mut self, event: Event) {
        match event {
            Event::Row { row, bad_input, .. } => {
                self.bad_input |= bad_input;
                self.row(*row);
            }
            Event::Start { .. } | Event::Stage { .. } | Event::Refused { .. } => (),
        }
    }

    /// A case that ended without a row.
    pub fn lost(&mut self, case: usize, reason: String) {
        let label = self.labels.get(case).cloned().unwrap_or_default();
        self.row(Row::failed(&label, Status::Failed, reason));
    }

    fn row(&mut self, row: Row) {
        eprintln!(
            "[{}/{}] {}",
            self.results.rows.len() + 1,
            self.total,
            line(&row)
        );
        self.results.rows.push(row);
        self.save();
    }

    /// Writes what there is so far, so that a run that is ended from outside leaves its rows.
    pub fn save(&mut self) {
        if let Some(path) = &self.out {
            self.write_error = self.results.write(path).err();
        }
    }

    /// The error of the last write, if it failed.
    pub fn take_write_error(&mut self) -> Option<ResultsError> {
        self.write_error.take()
    }

    /// 0 all right, 1 a case is wrong or failed, 2 the bundle is damaged, 3 the machine lacks something.
    pub fn exit_code(&self) -> u8 {
        let any = |status| self.results.rows.iter().any(|row| row.status == status);
        let unverified = any(Status::Unverified) && !self.unverified_is_fine;
        match () {
            () if self.bad_input => 2,
            () if any(Status::Wrong) || any(Status::Failed) || unverified => 1,
            () if any(Status::Unsupported) => 3,
            () => 0,
        }
    }
}

/// A row for people.
fn line(row: &Row) -> String {
    let mut words = vec![row.label.to_string() + ":"];
    words.push(
        match row.status {
            Status::Ok => "right",
            Status::Wrong => "WRONG",
            Status::Failed => "FAILED",
            Status::Unsupported => "not possible here",
            Status::Unverified => "not verified",
        }
        .into(),
    );
    if let Some(error) = row.rel_err {
        words.push(format!("(relative error {error:.2e})"));
    }
    if let Some(t) = &row.timing {
        words.push(format!(
            "{:.2} us, {:.2} to {:.2}",
            t.median_us, t.p10_us, t.p90_us
        ));
    }
    if let Some(rate) = row.tflops {
        words.push(format!("{rate:.1} TFLOP/s"));
    }
    if let Some(rate) = row.gbps {
        words.push(format!("{rate:.0} GB/s"));
    }
    if let Some(error) = &row.error {
        words.push(error.clone());
    }
    words.join(" ")
}
