//! `keras fit`: trains a model.

use super::Outcome;
use super::convert::{Output, write};
use super::data::{self, Found, Source};
use super::files::check_writable;
use super::history::HistoryFile;
use super::model::{ModelFiles, Use, output_names};
use super::options::{Global, fraction, from_one, from_zero, seed};
use super::training::{Judgement, json, name_or_json};
use clap::Args;
use keras::training::{self, Callback, ClassWeight, Context, Logs, SampleWeight, Shuffle};
use keras::{Error, Result, random};
use serde_json::{Map, Value};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Train a model on data
#[derive(Debug, Args)]
pub(crate) struct Fit {
    #[command(flatten)]
    model: ModelFiles,
    /// The samples: one .npy file or FILE.h5:DATASET per input, NAME=FILE to say for which, or one .npz for all
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    x: Vec<Source>,
    /// The targets: likewise, per output
    #[arg(long, required = true, value_name = "[NAME=]FILE", value_parser = data::source())]
    y: Vec<Source>,
    /// Samples that are evaluated after every epoch
    #[arg(long, requires = "val_y", conflicts_with = "validation_split", value_name = "[NAME=]FILE", value_parser = data::source())]
    val_x: Vec<Source>,
    /// Their targets
    #[arg(long, requires = "val_x", value_name = "[NAME=]FILE", value_parser = data::source())]
    val_y: Vec<Source>,
    /// Keep this part of the data, the last, for evaluation after every epoch
    #[arg(long, value_name = "F", value_parser = fraction)]
    validation_split: Option<f64>,
    /// How much each sample counts, per output
    #[arg(long, value_name = "[NAME=]FILE", value_parser = data::source())]
    sample_weight: Vec<Source>,
    /// How much each class counts: {"0": 1.0, "1": 5.0}, or such a map for each output name
    #[arg(long, value_name = "JSON", value_parser = json)]
    class_weight: Option<Value>,
    /// The epoch before which training ends
    #[arg(long, value_name = "N", default_value = "1", value_parser = from_zero)]
    epochs: usize,
    /// The epoch at which training starts, counted from 0
    #[arg(long, value_name = "N", default_value = "0", value_parser = from_zero)]
    initial_epoch: usize,
    /// How many samples make one update
    #[arg(long, value_name = "N", default_value = "32", value_parser = from_one)]
    batch_size: NonZeroUsize,
    /// Take the samples in the order of the files
    #[arg(long)]
    no_shuffle: bool,
    /// Repeat a run: order of samples, dropout, initial weights
    #[arg(long, value_name = "N", value_parser = seed)]
    seed: Option<u32>,
    /// An optimizer by name, or as JSON with its settings; default rmsprop
    #[arg(long, value_name = "NAME|JSON", value_parser = name_or_json)]
    optimizer: Option<Value>,
    #[command(flatten)]
    judgement: Judgement,
    /// 0: silent, 1: a progress bar on a terminal, 2: a line per epoch
    #[arg(long, value_name = "0|1|2", default_value = "1", value_parser = verbose)]
    verbose: u8,
    /// Write losses and metrics of all epochs to this file, as JSON, after every epoch
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Save the trained model (.h5, .hdf5, .keras) or its weights (.weights.h5, .npz)
    #[arg(long, value_name = "OUT", value_parser = saved_file)]
    save: Option<PathBuf>,
}

impl Fit {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        for (option, path) in [("--history", &self.history), ("--save", &self.save)] {
            if let Some(path) = path {
                check_writable(option, path)?;
            }
        }
        // Before the model is read: its initial weights follow the seed.
        let seed = self.seed.unwrap_or_else(|| random::fresh_seed() as u32);
        random::set_seed(seed);
        let model = self.model.load(Use::Training)?;
        if self.seed.is_some() || !model.is_resumed() {
            // Whatever the file says: the seed counts, for the order of samples and for what the model draws.
            random::set_seed(seed);
            model.set_seed(random::fresh_seed())?;
        }
        let names = self.judgement.compile(&model, self.optimizer.as_ref(), &output_names(&model)?)?;
        let x = data::inputs("--x", &self.x, &model)?;
        let y = data::targets("--y", &self.y, &model, &names, &x)?;

        // Keras shuffles HDF5 data by whole batches: in any other order every batch would read chunks all over the file.
        let stored = self.x.iter().chain(&self.y).any(Source::is_data_set);
        let shuffle = match (self.no_shuffle, stored) {
            (true, _) => Shuffle::None,
            (false, true) => Shuffle::Batches,
            (false, false) => Shuffle::Samples,
        };
        let mut options = training::Fit::new()
            .batch_size(self.batch_size.get())
            .epochs(self.epochs)
            .initial_epoch(self.initial_epoch)
            .shuffle(shuffle)
            .verbose(if global.verbose() == 0 { 0 } else { self.verbose });
        if !self.val_x.is_empty() {
            let x = data::inputs("--val-x", &self.val_x, &model)?;
            let y = data::targets("--val-y", &self.val_y, &model, &names, &x)?;
            options = options.validation_data(x, y);
        }
        if let Some(part) = self.validation_split {
            options = options.validation_split(part);
        }
        if let Some(weights) = sample_weight(&self.sample_weight, &names)? {
            options = options.sample_weight(weights);
        }
        if let Some(weights) = &self.class_weight {
            options = options.class_weight(class_weight(weights)?);
        }
        if self.seed.is_none() && !model.is_resumed() {
            options = options.callbacks(SeedNotice { global, seed });
        }
        if let Some(path) = &self.history {
            options = options.callbacks(HistoryFile::new(path.clone()));
        }
        model.fit(x, y, options)?;

        if let Some(path) = &self.save {
            write(&model, path, None)?;
        } else {
            global.notice("nothing was saved: --save FILE.h5 keeps the trained model");
        }
        Ok(())
    }
}

/// Says the seed when training really starts, after everything that can be wrong with the data.
struct SeedNotice<'a> {
    global: &'a Global,
    seed: u32,
}

impl Callback for SeedNotice<'_> {
    fn on_train_begin(&mut self, _: &Context, _: &mut Logs) -> Result<()> {
        self.global.notice(&format!("seed {0}: --seed {0} repeats this run", self.seed));
        Ok(())
    }
}

/// The sample weights of every output that has a target; none if there are no files.
pub(crate) fn sample_weight(sources: &[Source], names: &[String]) -> Outcome<Option<SampleWeight>> {
    if sources.is_empty() {
        return Ok(None);
    }
    let found = data::read("--sample-weight", sources, names)?;
    let arrays: Vec<_> = found.iter().map(Found::array).collect::<Result<_>>()?;
    Ok(Some(SampleWeight::named(names.iter().cloned().zip(arrays))))
}

fn class_weight(value: &Value) -> Result<ClassWeight> {
    let wrong = || {
        let expected = r#"a map of class numbers to weights, {"0": 1.0, "1": 5.0}, or one such map for each output name"#;
        Error::value("--class-weight", expected, value.to_string())
            .advice("write a JSON object of classes and weights")
    };
    let one = |map: &Map<String, Value>| -> Option<Vec<(i64, f64)>> {
        map.iter().map(|(class, weight)| Some((class.parse().ok()?, weight.as_f64()?))).collect()
    };
    let map = value.as_object().ok_or_else(wrong)?;
    if map.values().any(Value::is_object) {
        let named: Option<Vec<_>> =
            map.iter().map(|(name, weights)| Some((name.clone(), one(weights.as_object()?)?))).collect();
        return Ok(ClassWeight::named(named.ok_or_else(wrong)?));
    }
    Ok(one(map).ok_or_else(wrong)?.into())
}

fn verbose(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(level) if level <= 2 => Ok(level),
        _ => Err("0, 1 or 2".to_owned()),
    }
}

fn saved_file(text: &str) -> Result<PathBuf, String> {
    Output::of(Path::new(text)).filter(|output| output.has_weights()).map(|_| PathBuf::from(text)).ok_or_else(
        || "a file .h5, .hdf5 or .keras for the model, or .weights.h5 or .npz for its weights".to_owned(),
    )
}
