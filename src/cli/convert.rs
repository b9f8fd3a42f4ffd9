//! `keras convert`: a model from one kind of file to another.

use super::files::check_writable;
use super::model::{ModelFiles, Use};
use super::options::Global;
use super::predict::is;
use super::{Failure, Outcome};
use clap::{Args, ValueEnum};
use keras::atomic::write_atomically;
use keras::models::Model;
use keras::saving::{Dialect, Save};
use keras::{Array, Error, Result, npy};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write a model to another kind of file, by its name: .h5, .hdf5, .keras, .json, .yaml, .weights.h5, .npz
#[derive(Debug, Args)]
pub(crate) struct Convert {
    #[command(flatten)]
    model: ModelFiles,
    /// Where to: a whole model, its architecture alone, or its weights alone
    #[arg(value_name = "OUT", value_parser = output_file)]
    out: PathBuf,
    /// Whose files it shall be like; default: as the model came, else keras2
    #[arg(long, value_name = "DIALECT")]
    dialect: Option<DialectName>,
}

/// A dialect of whole models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DialectName {
    /// What Keras 2.3.1 writes: no archives
    Keras2,
    /// What tf.keras 2.15 writes
    Tfkeras,
}

impl Convert {
    pub(crate) fn run(self, _: &Global) -> Outcome {
        check_writable("OUT", &self.out)?;
        let output = Output::of(&self.out);
        let fits = match self.dialect {
            None => true,
            Some(DialectName::Keras2) => !matches!(output, Some(Output::Archive | Output::Arrays)),
            Some(DialectName::Tfkeras) => output != Some(Output::Arrays),
        };
        if !fits {
            let error = Error::value(
                "command line",
                "--dialect for a file .h5, .hdf5, .weights.h5, .json or .yaml, tfkeras also for .keras",
                self.out.display().to_string(),
            )
            .advice("leave --dialect out, or write another kind of file");
            return Err(Failure::Usage(error));
        }
        let dialect = self.dialect.map(|name| match name {
            DialectName::Keras2 => Dialect::Keras2,
            DialectName::Tfkeras => Dialect::TfKeras,
        });
        if let (Some(Output::Arrays), Some(arrays)) = (output, self.model.weights_alone()?) {
            return Ok(write_arrays(&arrays, &self.out)?);
        }
        let whole = matches!(output, Some(Output::Hdf5 | Output::Archive));
        let purpose = if whole { Use::Training } else { Use::Inference };
        let needs = output.is_some_and(Output::has_weights);
        let model = if needs { self.model.load_trained(purpose)? } else { self.model.load(purpose)? };
        Ok(write(&model, &self.out, dialect)?)
    }
}

/// The kinds of files that a model is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Hdf5,
    Archive,
    TreeWeights,
    Arrays,
    Json,
    Yaml,
}

impl Output {
    /// By the name of the file.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let tree = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".weights.h5"));
        let kinds = [
            ("h5", Self::Hdf5),
            ("hdf5", Self::Hdf5),
            ("keras", Self::Archive),
            ("npz", Self::Arrays),
            ("json", Self::Json),
            ("yaml", Self::Yaml),
            ("yml", Self::Yaml),
        ];
        if tree {
            return Some(Self::TreeWeights);
        }
        kinds.iter().find(|(extension, _)| is(path, extension)).map(|(_, kind)| *kind)
    }

    /// Whether it holds weights.
    pub(crate) fn has_weights(self) -> bool {
        !matches!(self, Self::Json | Self::Yaml)
    }
}

fn output_file(text: &str) -> Result<PathBuf, String> {
    Output::of(Path::new(text))
        .map(|_| PathBuf::from(text))
        .ok_or_else(|| "a file .h5, .hdf5, .keras, .json, .yaml, .yml, .weights.h5 or .npz".to_owned())
}

/// `arr_0`, `arr_1`, … as numpy's `savez` names them.
fn write_arrays(arrays: &[Array], path: &Path) -> Result<()> {
    let named = arrays.iter().enumerate().map(|(i, array)| (format!("arr_{i}"), array));
    npy::write_npz(path, named, false)
}

/// Writes a model to a file of the kind that its name says.
pub(crate) fn write(model: &Model, path: &Path, dialect: Option<Dialect>) -> Result<()> {
    let text = |text: String| {
        write_atomically(path, |file| {
            let failed = |error: std::io::Error| {
                Error::file(format!("writing {}", path.display()), "a disk that takes it", error.to_string())
                    .advice("free some space, or write elsewhere")
            };
            file.write_all(text.as_bytes()).map_err(failed)
        })
    };
    match Output::of(path) {
        Some(Output::Hdf5 | Output::Archive) => {
            let options = dialect.map_or_else(Save::new, |dialect| Save::new().dialect(dialect));
            model.save_with(path, options)
        }
        Some(Output::TreeWeights) => model.save_weights_in(path, dialect),
        Some(Output::Arrays) => write_arrays(&model.get_weights()?, path),
        Some(Output::Json) => text(model.to_json_in(dialect)?),
        Some(Output::Yaml) => text(model.to_yaml_in(dialect)?),
        None => Err(Error::value("writing a model", "a name that says its kind", path.display().to_string())
            .advice("end it with .h5, .keras, .json, .yaml, .weights.h5 or .npz")),
    }
}
