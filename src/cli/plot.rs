//! `keras plot`: a picture of a model's layers and how they are connected.

use super::Outcome;
use super::files::check_writable;
use super::model::{ModelFiles, Use};
use super::predict::is;
use clap::Args;
use keras::utils::{PlotModel, plot_model};
use std::path::{Path, PathBuf};

/// Draw the layers of a model and how they are connected, as .svg or .png, or write them as .dot for Graphviz
#[derive(Debug, Args)]
pub(crate) struct Plot {
    #[command(flatten)]
    model: ModelFiles,
    /// Where to: .svg, .png or .dot
    #[arg(value_name = "OUT", value_parser = output_file)]
    out: PathBuf,
    /// Show the shapes that go into each layer and come out of it
    #[arg(long)]
    show_shapes: bool,
    /// Show the classes of layers without their names
    #[arg(long)]
    no_layer_names: bool,
    /// From top to bottom or from left to right
    #[arg(long, value_name = "TB|LR", default_value = "TB", value_parser = ["TB", "LR"])]
    rankdir: String,
    /// Draw models among the layers with their own layers, in a box
    #[arg(long)]
    expand_nested: bool,
    /// Dots per inch; text is 14/72 of an inch high
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = dpi)]
    dpi: u32,
}

impl Plot {
    pub(crate) fn run(self) -> Outcome {
        check_writable("OUT", &self.out)?;
        let options = PlotModel::new()
            .show_shapes(self.show_shapes)
            .show_layer_names(!self.no_layer_names)
            .rankdir(self.rankdir)
            .expand_nested(self.expand_nested)
            .dpi(self.dpi);
        Ok(plot_model(&self.model.load(Use::Inference)?, &self.out, options)?)
    }
}

fn output_file(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    match ["svg", "png", "dot"].iter().any(|extension| is(path, extension)) {
        true => Ok(path.to_owned()),
        false => Err("a file .svg, .png or .dot".to_owned()),
    }
}

fn dpi(text: &str) -> Result<u32, String> {
    let known = text.parse().ok().filter(|dpi| (1..=9600).contains(dpi));
    known.ok_or_else(|| "a whole number from 1 to 9600".to_owned())
}
