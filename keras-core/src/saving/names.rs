//! The names under which a layer's weights stand in files.

use super::Dialect;
use crate::backend::VariableId;
use crate::layers::{LayerRef, Weight};
use std::collections::HashMap;

/// The weights of a layer in the order of files (those that learn first), each under its name in a dialect.
pub(super) fn weight_names(layer: &LayerRef, dialect: Dialect) -> Vec<(String, Weight)> {
    let mut scopes = Scopes { dialect, paths: HashMap::new(), taken: HashMap::new() };
    scopes.collect(layer, layer.name());
    let mut paths = scopes.paths;
    let mut taken: HashMap<String, usize> = HashMap::new();
    layer
        .weights()
        .into_iter()
        .map(|weight| {
            let path =
                paths.remove(&weight.variable.id()).unwrap_or_else(|| weight.variable.name().to_owned());
            // As TensorFlow makes repeated names unique.
            let count = taken.entry(path.clone()).or_insert(0);
            let name = if *count == 0 { format!("{path}:0") } else { format!("{path}_{count}:0") };
            *count += 1;
            (name, weight)
        })
        .collect()
}

/// The scopes of layers inside layers.
struct Scopes {
    dialect: Dialect,
    paths: HashMap<VariableId, String>,
    /// How many layers of a model have a name: models inside may hold layers of the same names.
    taken: HashMap<String, usize>,
}

impl Scopes {
    /// Names the weights of a layer and of those inside, in the order of the layers: what is frozen changes no name.
    fn collect(&mut self, layer: &LayerRef, scope: &str) {
        let class = layer.class_name();
        if let Ok(weights) = layer.own_weights() {
            let cell = if self.dialect == Dialect::TfKeras { cell_of(&class) } else { None };
            let scope = cell.map_or_else(|| scope.to_owned(), |cell| format!("{scope}/{cell}"));
            for weight in weights.iter() {
                self.paths.insert(weight.variable.id(), format!("{scope}/{}", weight.name));
            }
        }
        for child in layer.children() {
            // A model's layers were built on their own, a wrapped layer within its wrapper.
            let inner = if child.definition().is_model() {
                child.name().to_owned()
            } else if layer.definition().is_model() {
                let weights = child.weights();
                if weights.iter().all(|weight| self.paths.contains_key(&weight.variable.id())) {
                    // Without weights, or shared with a model that has named them.
                    continue;
                }
                self.unique(child.name())
            } else if class == "Bidirectional"
                || self.dialect == Dialect::TfKeras && matches!(class.as_str(), "RNN" | "StackedRNNCells")
            {
                format!("{scope}/{}", child.name())
            } else {
                scope.to_owned()
            };
            self.collect(&child, &inner);
        }
    }

    /// As TensorFlow makes repeated scopes unique.
    fn unique(&mut self, name: &str) -> String {
        let count = self.taken.entry(name.to_owned()).or_insert(0);
        *count += 1;
        if *count == 1 { name.to_owned() } else { format!("{name}_{}", *count - 1) }
    }
}

/// The scope of the cell that a recurrent layer of tf.keras has.
fn cell_of(class: &str) -> Option<&'static str> {
    Some(match class {
        "LSTM" => "lstm_cell",
        "GRU" => "gru_cell",
        "SimpleRNN" => "simple_rnn_cell",
        _ => return None,
    })
}

/// A name without what versions put around it: the output's number, the scope of a recurrent layer's cell.
pub(super) fn bare(name: &str) -> String {
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    let parts: Vec<&str> = name.split('/').filter(|part| !is_cell(part)).collect();
    parts.join("/")
}

fn is_cell(part: &str) -> bool {
    let part = part.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_');
    matches!(
        part,
        "lstm_cell"
            | "gru_cell"
            | "simple_rnn_cell"
            | "conv_lst_m2d_cell"
            | "conv_lstm2d_cell"
            | "conv_lstm_cell"
    )
}
