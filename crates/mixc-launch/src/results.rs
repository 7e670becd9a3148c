//! What was measured, as JSON that later runs and other programs can be put beside.

use crate::Label;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of the format.
pub const RESULTS_VERSION: u32 = 1;

/// Measurements of one run on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub version: u32,
    /// UTC, RFC 3339.
    pub date: String,
    pub device: DeviceInfo,
    pub rows: Vec<Row>,
    /// Programs that were to be measured beside and are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// The device and what drives it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    pub name: String,
    /// Compute capability, e.g. "9.0".
    pub cc: String,
    /// Version of the kernel driver where known, e.g. "570.86.15".
    #[serde(default)]
    pub driver: Option<String>,
    /// Newest CUDA version that the driver knows, e.g. "12.8".
    #[serde(default)]
    pub cuda: Option<String>,
    #[serde(default)]
    pub sms: u32,
    pub memory_bytes: u64,
    #[serde(default)]
    pub l2_bytes: u64,
    /// Clocks in MHz by name, as read after the measurements.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub clocks_mhz: std::collections::BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Right, and timed unless that was not asked for.
    Ok,
    /// The results are wrong.
    Wrong,
    /// It did not run to its end.
    Failed,
    /// The machine cannot run it.
    Unsupported,
    /// It ran, and nothing says whether its results are right.
    Unverified,
}

/// One case, or one peer on the same problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub label: Label,
    pub ok: bool,
    pub status: Status,
    /// Largest over the outputs; null where it was not compared or is not finite.
    #[serde(default)]
    pub rel_err: Option<f64>,
    #[serde(default)]
    pub max_abs_err: Option<f64>,
    #[serde(flatten)]
    pub timing: Option<Timing>,
    #[serde(default)]
    pub tflops: Option<f64>,
    #[serde(default)]
    pub gbps: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Row {
    /// A case without results.
    pub fn failed(label: &Label, status: Status, error: impl Into<String>) -> Row {
        Row {
            label: label.clone(),
            ok: false,
            status,
            rel_err: None,
            max_abs_err: None,
            timing: None,
            tflops: None,
            gbps: None,
            error: Some(error.into()),
        }
    }
}

/// Microseconds of one run of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    pub median_us: f64,
    pub p10_us: f64,
    pub p90_us: f64,
    /// Median absolute deviation from the median.
    pub mad_us: f64,
    /// Number of samples.
    pub samples: usize,
    /// Runs that one sample is the mean of.
    pub runs_per_sample: usize,
}

impl Timing {
    /// From samples in microseconds; None if there are none or one is not a number.
    pub fn of(samples: &[f64], runs_per_sample: usize) -> Option<Timing> {
        if samples.is_empty() || samples.iter().any(|s| s.is_nan()) {
            return None;
        }
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = quantile(&sorted, 0.5);
        let mut deviations: Vec<f64> = sorted.iter().map(|s| (s - median).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        Some(Timing {
            median_us: median,
            p10_us: quantile(&sorted, 0.1),
            p90_us: quantile(&sorted, 0.9),
            mad_us: quantile(&deviations, 0.5),
            samples: samples.len(),
            runs_per_sample,
        })
    }

    /// Rate for `count` units of work a run, in 10^`exponent` units a second; None for no time or no work.
    pub fn rate(&self, count: u64, exponent: i32) -> Option<f64> {
        let rate = count as f64 / (self.median_us * 1e-6) / 10f64.powi(exponent);
        (count > 0 && rate.is_finite()).then_some(rate)
    }
}

/// By linear interpolation between the neighbours in rank (Hyndman & Fan 1996, type 7).
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let rank = q * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    below + (above - below) * rank.fract()
}

/// Something to compare with that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    pub name: String,
    pub reason: String,
}

/// Why results cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("cannot read {path}: {reason}")]
    Read { path: PathBuf, reason: String },
    #[error("cannot write {path}: {reason}")]
    Write { path: PathBuf, reason: String },
    #[error(
        "{path} has results of version {found}; this program knows versions up to {RESULTS_VERSION}"
    )]
    Newer { path: PathBuf, found: u64 },
}

impl Results {
    pub fn read(path: &Path) -> Result<Results, ResultsError> {
        let failed = |reason: String| ResultsError::Read {
            path: path.into(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        let value: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
        match value.get("version").and_then(serde_json::Value::as_u64) {
            Some(found) if found > RESULTS_VERSION.into() => Err(ResultsError::Newer {
                path: path.into(),
                found,
            }),
            _ => serde_json::from_value(value).map_err(|e| failed(e.to_string())),
        }
    }

    /// Writes the results, replacing the file in one step.
    pub fn write(&self, path: &Path) -> Result<(), ResultsError> {
        let failed = |reason: String| ResultsError::Write {
            path: path.into(),
            reason,
        };
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(e.to_string()))?;
        let part = path.with_extension(format!("part{}", std::process::id()));
        let written =
            std::fs::write(&part, text + "\n").and_then(|()| std::fs::rename(&part, path));
        written.map_err(|e| {
            // The half-written file is of no use to anyone.
            let _ = std::fs::remove_file(&part);
            failed(e.to_string())
        })
    }
}
