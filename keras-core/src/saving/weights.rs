//! Weights from files into layers, and what became of each.

use super::Dialect;
use super::convert::{Origin, convert};
use super::h5::{Node, Stored};
use super::names::{bare, weight_names};
use super::version::Writer;
use crate::array::{Array, element_count};
use crate::backend::Variable;
use crate::error::{Error, Result};
use crate::layers::LayerRef;
use std::collections::{HashMap, HashSet};

/// Options of [`Model::load_weights`](crate::models::Model::load_weights).
///
/// ```
/// use keras_core::saving::LoadWeights;
/// let options = LoadWeights::new().by_name(true).skip_mismatch(true);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadWeights {
    pub(super) by_name: bool,
    pub(super) skip_mismatch: bool,
    /// The weights of a file's own model: its layers have the same names, whatever their order.
    pub(super) whole: bool,
}

impl LoadWeights {
    /// Keras's defaults: layers in the order of the file, every one of which has to fit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether layers are found by their names, whatever else the model has: for fine-tuning. Default false.
    pub fn by_name(mut self, by_name: bool) -> Self {
        self.by_name = by_name;
        self
    }

    /// Whether layers whose number or shapes of weights differ are left as they are instead of being errors; only by
    /// name. Default false.
    pub fn skip_mismatch(mut self, skip: bool) -> Self {
        self.skip_mismatch = skip;
        self
    }
}

/// What became of the layers of a weight file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WeightsReport {
    /// Layers of the model that have the file's weights now.
    pub loaded: Vec<String>,
    /// Layers of the file that the model does not have, or whose weights do not fit.
    pub skipped: Vec<String>,
    /// Layers of the model with weights that the file does not have.
    pub missing: Vec<String>,
}

/// A layer in a file.
pub(super) struct SavedLayer {
    pub(super) name: String,
    pub(super) weights: Vec<(String, Stored)>,
}

/// Where the weights of a file stand, and where they come from.
pub(super) struct SavedWeights {
    pub(super) layers: Vec<SavedLayer>,
    pub(super) origin: Origin,
    pub(super) what: String,
}

impl SavedWeights {
    /// Of a group that has `layer_names`; who wrote it, if that is known, counts where the group itself names no version. Weights
    /// alone that name none are Keras 1's.
    pub(super) fn read(group: &Node, what: &str, writer: Option<Writer>) -> Result<Option<Self>> {
        let Some(names) = group.names("layer_names")? else { return Ok(None) };
        let mut layers = Vec::with_capacity(names.len());
        for name in names {
            let missing =
                || Error::file(format!("weights {what}"), format!("a group for layer {name:?}"), "none");
            let layer = group.child(&name)?.ok_or_else(missing)?;
            let weights = layer.names("weight_names")?.unwrap_or_default();
            let weights = weights
                .into_iter()
                .map(|weight| layer.stored(&weight).map(|stored| (weight, stored)))
                .collect::<Result<Vec<_>>>()?;
            layers.push(SavedLayer { name, weights });
        }
        super::h5::check_together(layers.iter().flat_map(|layer| &layer.weights).map(|(_, stored)| stored))?;
        let keras_1 = match group.text("keras_version") {
            None => writer.is_none_or(|writer| writer == Writer::Keras1),
            Some(version) => Writer::of_version(version) == Some(Writer::Keras1),
        };
        let flipped = group.text("backend") == Some("theano");
        Ok(Some(Self { layers, origin: Origin { keras_1, flipped }, what: what.to_owned() }))
    }

    /// The number of numbers in all arrays.
    pub(super) fn elements(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.weights).map(|(_, stored)| stored.len()).sum()
    }

    /// Hands the values for each layer to `set`, layer by layer in the order of the file, and reports.
    pub(super) fn assign(
        &self,
        layers: &[LayerRef],
        options: LoadWeights,
        mut set: impl FnMut(Vec<(Variable, Array)>) -> Result<()>,
    ) -> Result<WeightsReport> {
        let mut report = WeightsReport::default();
        let mut targets: Vec<(&SavedLayer, &LayerRef)> = Vec::new();
        if options.by_name {
            let mut known: HashMap<&str, Vec<&LayerRef>> = HashMap::new();
            for layer in layers {
                known.entry(layer.name()).or_default().push(layer);
            }
            for saved in self.layers.iter().filter(|saved| !saved.weights.is_empty()) {
                match known.get(saved.name.as_str()) {
                    Some(found) => targets.extend(found.iter().map(|layer| (saved, *layer))),
                    None => report.skipped.push(saved.name.clone()),
                }
            }
        } else {
            targets = match self.named_alike(layers).filter(|_| options.whole) {
                Some(targets) => targets,
                None => self.in_order(layers)?,
            };
        }
        for (saved, layer) in targets {
            match self.values(saved, layer) {
                Ok(values) => {
                    set(values)?;
                    report.loaded.push(layer.name().to_owned());
                }
                Err(Error::Shape(_)) if options.by_name && options.skip_mismatch => {
                    report.skipped.push(saved.name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        let loaded: HashSet<&String> = report.loaded.iter().collect();
        report.missing = layers
            .iter()
            .filter(|layer| !layer.weights().is_empty() && !loaded.contains(&layer.name().to_owned()))
            .map(|layer| layer.name().to_owned())
            .collect();
        Ok(report)
    }

    /// The layers with weights by their names, if the file and the model have the same.
    fn named_alike<'a>(&'a self, layers: &'a [LayerRef]) -> Option<Vec<(&'a SavedLayer, &'a LayerRef)>> {
        let own: HashMap<&str, &LayerRef> = layers
            .iter()
            .filter(|layer| !layer.weights().is_empty())
            .map(|layer| (layer.name(), layer))
            .collect();
        let saved: Vec<&SavedLayer> = self.layers.iter().filter(|saved| !saved.weights.is_empty()).collect();
        let names: HashSet<&str> = saved.iter().map(|saved| saved.name.as_str()).collect();
        if names.len() != saved.len() || own.len() != saved.len() {
            return None;
        }
        saved.into_iter().map(|saved| Some((saved, *own.get(saved.name.as_str())?))).collect()
    }

    fn in_order<'a>(&'a self, layers: &'a [LayerRef]) -> Result<Vec<(&'a SavedLayer, &'a LayerRef)>> {
        let saved: Vec<&SavedLayer> = self.layers.iter().filter(|saved| !saved.weights.is_empty()).collect();
        let own: Vec<&LayerRef> = layers.iter().filter(|layer| !layer.weights().is_empty()).collect();
        if saved.len() != own.len() {
            let names = |names: Vec<&str>| match names.as_slice() {
                [] => "none".to_owned(),
                [first, second, third, _, ..] => format!("{} ({first}, {second}, {third}, …)", names.len()),
                names => format!("{} ({})", names.len(), names.join(", ")),
            };
            return Err(Error::shape(
                format!("weights {}", self.what),
                format!(
                    "layers with weights as the model has: {}",
                    names(own.iter().map(|l| l.name()).collect())
                ),
                names(saved.iter().map(|layer| layer.name.as_str()).collect()),
            )
            .advice("load_weights with by_name(true) takes the layers whose names agree"));
        }
        Ok(saved.into_iter().zip(own).collect())
    }

    /// The values for a layer's weights; an error of shapes if they do not fit.
    fn values(&self, saved: &SavedLayer, layer: &LayerRef) -> Result<Vec<(Variable, Array)>> {
        let variables: Vec<Variable> = layer.weights().into_iter().map(|weight| weight.variable).collect();
        let what = format!("weights {}, layer {:?}", self.what, layer.name());
        // Nothing is read that could not fit: CuDNN's biases are twice as long as plain ones.
        let (held, expected): (usize, usize) = (
            saved.weights.iter().map(|(_, stored)| stored.len()).sum(),
            variables.iter().map(|variable| element_count(variable.shape())).sum(),
        );
        let mismatch = |shapes: Vec<&[usize]>| {
            let own: Vec<String> =
                variables.iter().map(|v| format!("{} {:?}", v.name(), v.shape())).collect();
            Error::shape(
                what.clone(),
                format!("{} weights: {}", variables.len(), own.join(", ")),
                format!("{} from layer {:?} of the file: {shapes:?}", shapes.len(), saved.name),
            )
        };
        let saved_shapes = || saved.weights.iter().map(|(_, stored)| stored.shape()).collect();
        if held > expected.saturating_mul(2) {
            return Err(mismatch(saved_shapes()));
        }
        let arrays = Self::ordered(saved, layer).into_iter().map(Stored::read).collect::<Result<Vec<_>>>()?;
        let arrays = convert(layer, arrays, self.origin).map_err(|error| error.within(&what))?;
        let fits = arrays.len() == variables.len()
            && arrays.iter().zip(&variables).all(|(array, variable)| array.shape() == variable.shape());
        if !fits {
            return Err(mismatch(arrays.iter().map(Array::shape).collect()));
        }
        Ok(variables.into_iter().zip(arrays).collect())
    }

    /// The arrays in the order of the layer's weights. A nested model lists what learns first, so the order depends on
    /// what was frozen when the file was written: names say more, where they are the same.
    fn ordered<'a>(saved: &'a SavedLayer, layer: &LayerRef) -> Vec<&'a Stored> {
        let in_file = || saved.weights.iter().map(|(_, stored)| stored).collect();
        if layer.children().is_empty() {
            return in_file();
        }
        let mut by_name: HashMap<String, &Stored> = HashMap::new();
        for (name, stored) in &saved.weights {
            by_name.insert(bare(name), stored);
        }
        let own = weight_names(layer, Dialect::Keras2);
        if by_name.len() != saved.weights.len() || by_name.len() != own.len() {
            return in_file();
        }
        own.iter()
            .map(|(name, _)| by_name.get(&bare(name)).copied())
            .collect::<Option<_>>()
            .unwrap_or_else(in_file)
    }
}
