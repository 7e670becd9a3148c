//! A line chart of measurements as SVG.

use crate::Error;
use plotters::prelude::*;
use std::path::Path;

/// One line: its label and its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

/// Draws the series on logarithmic axes; both coordinates must be positive.
pub fn plot_svg(
    path: &Path,
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[Series],
) -> Result<(), Error> {
    let mut text = String::new();
    draw(&mut text, title, x_label, y_label, series).map_err(|e| Error::Write {
        path: path.into(),
        reason: e.to_string(),
    })?;
    std::fs::write(path, text).map_err(|e| Error::Write {
        path: path.into(),
        reason: e.to_string(),
    })
}

type DrawError = DrawingAreaErrorKind<std::io::Error>;

fn draw(
    out: &mut String,
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[Series],
) -> Result<(), Box<dyn std::error::Error>> {
    let (x, y) = (range(series, |p| p.0), range(series, |p| p.1));
    let area = SVGBackend::with_string(out, (900, 560)).into_drawing_area();
    let inner = || -> Result<(), DrawError> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x.log_scale(), y.log_scale())?;
        chart
            .configure_mesh()
            .x_desc(x_label)
            .y_desc(y_label)
            .light_line_style(WHITE.mix(0.0))
            .draw()?;
        for (n, line) in series.iter().enumerate() {
            let style = Palette99::pick(n).stroke_width(2);
            let drawn = chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?;
            drawn
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.4))
            .draw()?;
        area.present()
    };
    inner().map_err(|e| e.to_string().into())
}

/// The range of one coordinate with a little room; [0.5, 2] without points.
fn range(series: &[Series], coordinate: impl Fn(&(f64, f64)) -> f64) -> std::ops::Range<f64> {
    let values = || {
        series
            .iter()
            .flat_map(|s| s.points.iter().map(&coordinate))
            .filter(|v| *v > 0.0)
    };
    let lo = values().fold(f64::INFINITY, f64::min);
    let hi = values().fold(0.0, f64::max);
    if lo > hi {
        0.5..2.0
    } else {
        lo * 0.8..hi * 1.25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_names_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chart.svg");
        let line = |label: &str, k| Series {
            label: label.into(),
            points: (0..4)
                .map(|n| (1024.0 * f64::from(1 << n), k * f64::from(n + 1)))
                .collect(),
        };
        let series = [line("chunkwise", 1.0), line("recurrent", 3.0)];
        plot_svg(&path, "time of each form", "T", "milliseconds", &series).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("<svg") && text.contains("chunkwise") && text.contains("recurrent")
        );
        assert!(text.matches("<polyline").count() >= 2);
        plot_svg(&path, "empty", "T", "ms", &[]).unwrap();
    }

    #[test]
    fn an_unwritable_place_is_an_error() {
        assert!(matches!(
            plot_svg(Path::new("/no/such/dir/x.svg"), "", "", "", &[]),
            Err(Error::Write { .. })
        ));
    }
}
