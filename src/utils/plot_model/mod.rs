//! [`plot_model`] and [`model_to_dot`]: the graph of a model's layers as a picture or as text for Graphviz.
//!
//! `graph` says what is drawn, `dot` writes it down, `layout` says where it stands, `drawing` makes shapes of it, which `svg`
//! and `png` write.

mod dot;
mod drawing;
mod font;
mod graph;
mod layout;
mod png;
mod svg;

use drawing::Drawing;
use graph::ModelGraph;
use keras_core::atomic::write_atomically;
use keras_core::models::Model;
use keras_core::{Error, Result};
use std::io::Write;
use std::path::Path;

/// How a model is drawn: the options of Keras's `plot_model`.
#[derive(Debug, Clone)]
pub struct PlotModel {
    show_shapes: bool,
    show_layer_names: bool,
    rankdir: String,
    expand_nested: bool,
    dpi: u32,
}

impl Default for PlotModel {
    fn default() -> Self {
        Self {
            show_shapes: false,
            show_layer_names: true,
            rankdir: "TB".into(),
            expand_nested: false,
            dpi: 96,
        }
    }
}

impl PlotModel {
    /// Names without shapes, from top to bottom, nested models as one box, 96 dots per inch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether each box says the shapes that go in and come out; default false.
    pub fn show_shapes(mut self, show_shapes: bool) -> Self {
        self.show_shapes = show_shapes;
        self
    }

    /// Whether each box says the name of the layer, or its class alone; default true.
    pub fn show_layer_names(mut self, show_layer_names: bool) -> Self {
        self.show_layer_names = show_layer_names;
        self
    }

    /// `"TB"`, from top to bottom (the default), or `"LR"`, from left to right.
    pub fn rankdir(mut self, rankdir: impl Into<String>) -> Self {
        self.rankdir = rankdir.into();
        self
    }

    /// Whether models among the layers are drawn with their own layers, in a box; default false.
    pub fn expand_nested(mut self, expand_nested: bool) -> Self {
        self.expand_nested = expand_nested;
        self
    }

    /// Dots per inch, where text is 14/72 of an inch high; default 96.
    pub fn dpi(mut self, dpi: u32) -> Self {
        self.dpi = dpi;
        self
    }

    fn left_to_right(&self) -> Result<bool> {
        match self.rankdir.as_str() {
            "TB" => Ok(false),
            "LR" => Ok(true),
            other => Err(Error::value("rankdir of plot_model", "\"TB\" or \"LR\"", format!("{other:?}"))),
        }
    }
}

/// Draws a model into a file: by its extension SVG, PNG (also without extension), or text for Graphviz (`.dot`), which need
/// not be installed. Keras's `plot_model`, which draws boxes and edges as this does, but with Graphviz.
///
/// The file is written atomically. Drawing takes time about in proportion to the number of layers and connections.
///
/// ```no_run
/// use keras::prelude::*;
/// use keras::utils::{PlotModel, plot_model};
///
/// let mut model = Sequential::new();
/// model.add(Dense::new(16).activation("relu").input_shape([4]))?;
/// model.add(Dense::new(1).activation("sigmoid"))?;
/// plot_model(&model, "model.svg", PlotModel::new().show_shapes(true))?;
/// # Ok::<(), keras::Error>(())
/// ```
///
/// # Errors
/// If the model has not been built, an option has no meaning, the extension is another, the picture would be too large, or the
/// file cannot be written.
pub fn plot_model(model: &Model, to_file: impl AsRef<Path>, options: PlotModel) -> Result<()> {
    let path = to_file.as_ref();
    let doing = || format!("plot of model {} to {}", model.name(), path.display());
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let failed = |error: std::io::Error| Error::file(doing(), "a disk that takes it", error.to_string());
    match extension.as_deref() {
        Some("dot") => {
            let text = model_to_dot(model, options)?;
            write_atomically(path, |file| file.write_all(text.as_bytes()).map_err(failed))
        }
        Some("svg") => {
            let text = svg::text(&draw(model, &options)?, options.dpi);
            write_atomically(path, |file| file.write_all(text.as_bytes()).map_err(failed))
        }
        Some("png") | None => {
            let drawing = draw(model, &options)?;
            let size = png::Size::of(&drawing, options.dpi).map_err(|error| error.within(doing()))?;
            write_atomically(path, |file| png::write(&drawing, &size, file).map_err(failed))
        }
        Some(other) => Err(Error::value(doing(), "a file .svg, .png or .dot", format!(".{other}"))),
    }
}

/// The graph of a model's layers in the language of Graphviz, with the nodes, labels, clusters and edges of Keras's
/// `model_to_dot`.
///
/// ```
/// use keras::prelude::*;
/// use keras::utils::{PlotModel, model_to_dot};
///
/// let mut model = Sequential::new();
/// model.add(Dense::new(1).input_shape([4]).name("line"))?;
/// assert!(model_to_dot(&model, PlotModel::new())?.contains("[label=\"line: Dense\"]"));
/// # Ok::<(), keras::Error>(())
/// ```
///
/// # Errors
/// If the model has not been built, or an option has no meaning.
pub fn model_to_dot(model: &Model, options: PlotModel) -> Result<String> {
    options.left_to_right()?;
    check_dpi(options.dpi)?;
    Ok(dot::text(&ModelGraph::of(model, &options)?, &options))
}

fn draw(model: &Model, options: &PlotModel) -> Result<Drawing> {
    let left_to_right = options.left_to_right()?;
    check_dpi(options.dpi)?;
    Drawing::of(&ModelGraph::of(model, options)?, left_to_right).map_err(|layout::TooLarge| {
        Error::value(
            format!("plot of model {}", model.name()),
            "connections that can be drawn one beside the other",
            "more or longer ones",
        )
        .advice("write a .dot file")
    })
}

fn check_dpi(dpi: u32) -> Result<()> {
    if (1..=9600).contains(&dpi) {
        return Ok(());
    }
    Err(Error::value("dpi of plot_model", "1 to 9600 dots per inch", dpi.to_string()))
}
