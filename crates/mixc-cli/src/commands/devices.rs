//! `mixc devices`: targets and measured peaks.

use crate::Outcome;
use crate::args::Format;
use crate::output::{print_json, print_table};
use mixc::{Device, Error};

pub fn run(format: Format) -> Result<Outcome, Error> {
    let devices = mixc::devices();
    match format {
        Format::Json => print_json(&devices),
        Format::Text => print_text(&devices),
    }
    Ok(Outcome::Done)
}

fn print_text(devices: &[Device]) {
    let header = [
        "target",
        "compiles",
        "assembles",
        "runs",
        "f32 GFLOP/s, 1 thread",
        "all",
        "read GB/s",
        "device",
    ];
    print_table(&header, &[4, 5, 6], devices.iter().map(row).collect());
    // Targets mostly lack the same things.
    let mut notes: Vec<&str> = vec![];
    for note in devices.iter().flat_map(|d| &d.notes) {
        if !notes.contains(&note.as_str()) {
            notes.push(note);
        }
    }
    for card in mixc::gpu::cards() {
        let (major, minor) = card.cc;
        println!(
            "card {}: {}, compute capability {major}.{minor}",
            card.index, card.name
        );
    }
    notes.iter().for_each(|note| println!("note: {note}"));
}

fn row(device: &Device) -> Vec<String> {
    let yes = |b: bool| if b { "yes" } else { "no" }.to_owned();
    let peak = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"));
    let runs = match (device.runs, device.simulates) {
        (true, _) => "yes",
        (false, true) => "simulated",
        (false, false) => "no",
    };
    vec![
        device.target.clone(),
        yes(device.compiles),
        yes(device.assembles),
        runs.to_owned(),
        peak(device.peaks.map(|p| p.f32_gflops_thread)),
        peak(device.peaks.map(|p| p.f32_gflops)),
        peak(device.peaks.map(|p| p.read_gbps)),
        device.description.clone(),
    ]
}
