//! MODEL and `--weights`: the one place where the command line reads models.

use super::files::Content;
use clap::Args;
use keras::backend::Variable;
use keras::models::Model;
use keras::saving::{
    Load, LoadWeights, is_layers_model, load_model_with, model_from_json, model_from_yaml, read_weights,
};
use keras::{Array, Error, Result, npy};
use std::path::{Path, PathBuf};

/// A model on the command line.
#[derive(Debug, Args)]
pub(crate) struct ModelFiles {
    /// The model: a whole model (.h5, .keras, model.json of TensorFlow.js), or JSON or YAML of its architecture, as this library or Keras wrote it
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Its weights: HDF5 (.h5), or a .npz of `np.savez(path, *model.get_weights())` or with weight names as keys
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// What a model is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Its losses, metrics and optimizer count.
    Training,
    /// Whatever it was compiled with: unknown losses are no matter.
    Inference,
}

impl ModelFiles {
    /// The model; where no file has its weights, they are fresh.
    ///
    /// # Errors
    /// If a file cannot be read, is not of an accepted kind, or the weights do not fit the model.
    pub(crate) fn load(&self, purpose: Use) -> Result<Model> {
        Ok(self.read(purpose)?.0)
    }

    /// The model with the weights that it learned; an error if no file has them.
    pub(crate) fn load_trained(&self, purpose: Use) -> Result<Model> {
        let (model, trained) = self.read(purpose)?;
        let weightless = || model.as_layer().is_ok() && model.weights().is_empty();
        if !trained && !weightless() {
            let what = format!("model {}", self.model.display());
            return Err(Error::state(what, "the weights of the model", "its architecture alone")
                .advice("give its weights with --weights FILE, .h5 or .npz"));
        }
        Ok(model)
    }

    /// The weights of a file of Keras 2 that holds nothing else, which take no model to be read; none of another.
    pub(crate) fn weights_alone(&self) -> Result<Option<Vec<Array>>> {
        let what = format!("model {}", self.model.display());
        if self.weights.is_some() || Content::of(&what, &self.model)? != Content::Hdf5 {
            return Ok(None);
        }
        let found = read_weights(&self.model)?;
        Ok(found.map(|arrays| arrays.into_iter().map(|(_, array)| array).collect()))
    }

    /// The model, and whether a file has its weights.
    fn read(&self, purpose: Use) -> Result<(Model, bool)> {
        let (model, whole) = read_model(&self.model, purpose)?;
        if let Some(path) = &self.weights {
            load_weights(&model, path)?;
        }
        Ok((model, whole || self.weights.is_some()))
    }
}

/// A model, and whether the file has its weights.
fn read_model(path: &Path, purpose: Use) -> Result<(Model, bool)> {
    let what = format!("model {}", path.display());
    let options = Load::new().compile(purpose == Use::Training);
    let text = || {
        std::fs::read_to_string(path).map_err(|error| {
            Error::file(&what, "a readable text file", super::files::reason(&error))
                .advice("check the path, and that it is UTF-8")
        })
    };
    match Content::of(&what, path)? {
        Content::Hdf5 | Content::Zip => Ok((load_model_with(path, &options)?, true)),
        // Some editors put a byte order mark in front.
        Content::Json | Content::Pipe => {
            let text = text()?;
            if is_layers_model(&text) {
                return Ok((load_model_with(path, &options)?, true));
            }
            let model = model_from_json(text.trim_start_matches('\u{FEFF}'));
            Ok((model.map_err(|error| error.within(what))?, false))
        }
        Content::Yaml => Ok((model_from_yaml(&text()?).map_err(|error| error.within(what))?, false)),
        other => Err(Error::file(
            what,
            "a model: HDF5, .keras, JSON, YAML or model.json of TensorFlow.js",
            other.describe(),
        )
        .advice("save one with model.save or model.to_json")),
    }
}

fn load_weights(model: &Model, path: &Path) -> Result<()> {
    let what = format!("weights {}", path.display());
    let content = Content::of(&what, path)?;
    model.as_layer().map_err(|error| error.within(&what))?;
    if content == Content::Hdf5 {
        return model.load_weights(path, LoadWeights::new()).map(|_| ());
    }
    if content != Content::Zip {
        return Err(Error::file(what, "an HDF5 or .npz file", content.describe())
            .advice("`np.savez(path, *model.get_weights())` writes one"));
    }
    let variables: Vec<Variable> = model.weights().into_iter().map(|weight| weight.variable).collect();
    let arrays = in_order(&what, npy::read_npz(path)?, &variables)?;
    let mut values = Vec::with_capacity(arrays.len());
    for (variable, array) in variables.iter().zip(arrays) {
        if variable.shape() != array.shape() {
            return Err(Error::shape(
                what,
                format!("shape {:?} for {}", variable.shape(), variable.name()),
                format!("{:?}", array.shape()),
            )
            .advice("take weights of this architecture"));
        }
        values.push(array.cast(variable.dtype()));
    }
    model.set_weights(&values).map_err(|error| error.within(what))
}

/// The arrays in the order of the variables, found by number (`arr_0`, …) or by name.
fn in_order(what: &str, entries: Vec<(String, Array)>, variables: &[Variable]) -> Result<Vec<Array>> {
    let names = || {
        let names: Vec<&str> = variables.iter().map(Variable::name).collect();
        match names.as_slice() {
            [first, second, third, _, ..] => format!("{first}, {second}, {third}, …"),
            all => all.join(", "),
        }
    };
    if entries.len() != variables.len() {
        let expected = format!("{} arrays, for {}", variables.len(), names());
        return Err(Error::file(what, expected, entries.len().to_string())
            .advice("`np.savez(path, *model.get_weights())` writes them all"));
    }
    if let Some(arrays) = numbered(&entries) {
        return Ok(arrays);
    }
    variables
        .iter()
        .map(|variable| {
            let name = variable.name();
            let found = entries.iter().find(|(key, _)| key == name || key.strip_suffix(":0") == Some(name));
            found.map(|(_, array)| array.clone()).ok_or_else(|| {
                let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).take(3).collect();
                let expected = format!("the keys arr_0, arr_1, … or the names of the weights: {}", names());
                Error::name(what, expected, format!("no {name} among {}, …", keys.join(", ")))
                    .advice("`np.savez(path, *model.get_weights())` writes them in order")
            })
        })
        .collect()
}

/// The arrays `arr_0`, `arr_1`, … by number; none if the keys are others.
pub(crate) fn numbered(entries: &[(String, Array)]) -> Option<Vec<Array>> {
    (0..entries.len())
        .map(|i| {
            let key = format!("arr_{i}");
            entries.iter().find(|(name, _)| *name == key).map(|(_, array)| array.clone())
        })
        .collect()
}

/// The names of a model's inputs; of one that is not built yet, that of the input which building it makes.
pub(crate) fn input_names(model: &Model) -> Result<Vec<String>> {
    match (model.as_layer(), model.layers().first()) {
        (Err(_), Some(first)) => Ok(vec![format!("{}_input", first.name())]),
        _ => model.input_names(),
    }
}

/// The names of a model's outputs as they are told apart in files: repeats get `_1`, `_2`.
pub(crate) fn output_names(model: &Model) -> Result<Vec<String>> {
    let names = match (model.as_layer(), model.layers().last()) {
        (Err(_), Some(last)) => vec![last.name().to_owned()],
        _ => model.output_names()?,
    };
    Ok(distinct(&names))
}

fn distinct(names: &[String]) -> Vec<String> {
    let mut taken: Vec<String> = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let mut entry = name.clone();
        let mut count = 0;
        while taken.contains(&entry) || (count > 0 && names.get(i + 1..).unwrap_or_default().contains(&entry))
        {
            count += 1;
            entry = format!("{name}_{count}");
        }
        taken.push(entry);
    }
    taken
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn repeated_outputs_are_told_apart() {
        let distinct = |names: &[&str]| distinct(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(distinct(&["a", "b", "a", "a"]), ["a", "b", "a_1", "a_2"]);
        assert_eq!(distinct(&["a", "a", "a_1"]), ["a", "a_2", "a_1"]);
    }
}
