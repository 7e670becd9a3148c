//! `mixc devices`: targets and measured peaks.

use crate::Outcome;
use crate::args::Format;
use crate::output::{print_json, print_table};
use mixc::{Device, Error};

pub fn run(format: Format) -> Result<Outcome, Error> {
    let devices = mixc::devices();
    match format {
        Format::Json => print_json(&devices),
        Format::Text => {
            let header = [
                "target",
                "compiles",
                "runs",
                "f32 GFLOP/s, 1 thread",
                "all",
                "read GB/s",
                "device",
            ];
            print_table(&header, &[3, 4, 5], devices.iter().map(row).collect());
        }
    }
    Ok(Outcome::Done)
}

fn row(device: &Device) -> Vec<String> {
    let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
    let peak = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    let note = device
        .note
        .as_ref()
        .map(|n| format!(" ({n})"))
        .unwrap_or_default();
    vec![
        device.target.clone(),
        yes(device.compiles),
        yes(device.runs),
        peak(device.peaks.map(|p| p.f32_gflops_thread)),
        peak(device.peaks.map(|p| p.f32_gflops)),
        peak(device.peaks.map(|p| p.read_gbps)),
        format!("{}{note}", device.description),
    ]
}
