//! Curves of a training history.

use keras_core::callbacks::History;
use keras_core::{Error, Result};
use plotters::prelude::*;
use std::io::Write;
use std::path::Path;

/// Draws the named curves of a history over its epochs into an SVG file, 800 × 480 pixels.
///
/// # Errors
/// If a name is not in the history, or the file cannot be written.
///
/// ```no_run
/// # fn run(history: &keras::callbacks::History) -> keras::Result<()> {
/// keras::plot::history(history, &["accuracy", "val_accuracy"], "history.svg")
/// # }
/// ```
pub fn history(history: &History, names: &[&str], path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let doing = || format!("plot {}", path.display());
    let mut curves: Vec<(&str, &[f64])> = Vec::with_capacity(names.len());
    for name in names {
        let curve = history
            .history
            .get(name)
            .ok_or_else(|| Error::unknown("plot of a history", name, history.history.keys()))?;
        curves.push((name, curve));
    }
    let finite =
        || curves.iter().flat_map(|(_, curve)| curve.iter().copied()).filter(|value| value.is_finite());
    let (low, high) =
        finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    let (low, high) = if low.is_finite() && low < high { (low, high) } else { (low.min(0.0), high.max(1.0)) };
    let margin = (high - low) * 0.05;
    let epochs = curves.iter().map(|(_, curve)| curve.len()).max().unwrap_or(0).max(2);
    let mut text = String::new();
    draw(&mut text, &curves, epochs, (low - margin, high + margin))
        .map_err(|error| Error::file(doing(), "a drawing", error.to_string()))?;
    keras_core::atomic::write_atomically(path, |file| {
        file.write_all(text.as_bytes())
            .map_err(|error| Error::file(doing(), "a file to write", error.to_string()))
    })
}

fn draw(
    text: &mut String,
    curves: &[(&str, &[f64])],
    epochs: usize,
    (low, high): (f64, f64),
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(text, (800, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(1.0..epochs as f64, low..high)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .light_line_style(WHITE.mix(0.0))
        .draw()?;
    for (i, (name, curve)) in curves.iter().enumerate() {
        let color = Palette99::pick(i).to_rgba();
        let points = curve
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_finite())
            .map(|(i, &v)| (i as f64 + 1.0, v));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label((*name).to_owned())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}
