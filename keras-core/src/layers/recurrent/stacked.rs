//! [`StackedRNNCells`]: several cells as one.

use super::Cell;
use super::rnn::{cell_inputs, shapes};
use crate::error::{Error, Result};
use crate::layers::registry::{Read, deserialize};
use crate::layers::{Base, Build, Call, IntoLayer, Layer, LayerRef};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
use serde_json::Value;

/// Several cells as one: each one's result is the next one's input. Its states are those of the cells, in their order.
///
/// ```
/// use keras_core::layers::{GRUCell, Input, IntoLayer, LSTMCell, RNN, StackedRNNCells};
/// let cells = [LSTMCell::new(32).into_layer()?, GRUCell::new(16).into_layer()?];
/// let x = Input::new([10, 8]).tensor()?;
/// let results = RNN::new(StackedRNNCells::new(cells)).return_state(true).call_all(&x)?;
/// // The result, the LSTM's two states, the GRU's state.
/// assert_eq!(results.len(), 4);
/// assert_eq!(results[0].spec()?.shape, [None, Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct StackedRNNCells {
    base: Base,
    cells: Vec<Result<LayerRef>>,
    reverse_state_order: bool,
}

const CLASS: &str = "StackedRNNCells";

impl StackedRNNCells {
    /// The cells, first to last; what is wrong with one is an error when the layer around is called.
    pub fn new<C: IntoLayer>(cells: impl IntoIterator<Item = C>) -> Self {
        let cells = cells.into_iter().map(IntoLayer::into_layer).collect();
        Self { base: Base::default(), cells, reverse_state_order: false }
    }

    /// Whether the states of the last cell come first, as up to Keras 2.2.2; default false.
    pub fn reverse_state_order(mut self, reverse: bool) -> Self {
        self.reverse_state_order = reverse;
        self
    }

    /// The cells with their shapes, each for the result of the one before.
    fn chain(&self, step: &Spec) -> Result<Vec<Link>> {
        let mut links = Vec::with_capacity(self.cells.len());
        let mut step = step.clone();
        for cell in &self.cells {
            let layer = cell.clone()?;
            let cell = shapes(CLASS, &layer, &step)?;
            let batch = step.shape.first().copied().flatten();
            let shape: Vec<Option<usize>> =
                std::iter::once(batch).chain(cell.output.iter().copied()).collect();
            let next = Spec::new(shape, step.dtype);
            links.push(Link { layer, step: std::mem::replace(&mut step, next), cell });
        }
        if links.is_empty() {
            return Err(Error::value(CLASS, "at least one cell", "none"));
        }
        Ok(links)
    }

    /// In which order the cells' states stand.
    fn order(&self, count: usize) -> Vec<usize> {
        if self.reverse_state_order { (0..count).rev().collect() } else { (0..count).collect() }
    }
}

struct Link {
    layer: LayerRef,
    step: Spec,
    cell: Cell,
}

crate::layer_verbs!(StackedRNNCells);

impl Read for StackedRNNCells {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let wrong = |reader: &Reader<'_>| reader.wrong("cells", "a list of {class_name, config}");
        let cells = reader.value("cells").and_then(Value::as_array).ok_or_else(|| wrong(reader))?;
        let cells = cells
            .iter()
            .map(|cell| Ok(Ok(deserialize(&Config::from_value(cell).ok_or_else(|| wrong(reader))?)?)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self { base, cells, reverse_state_order: reader.boolean("reverse_state_order", false)? })
    }
}

impl Layer for StackedRNNCells {
    fn config(&self) -> Config {
        let cells: Vec<Value> = self.cells.iter().flatten().map(LayerRef::config_value).collect();
        let config = Config::new(CLASS).with("cells", cells);
        if self.reverse_state_order { config.with("reverse_state_order", true) } else { config }
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn cell(&self, step: &Spec) -> Result<Option<Cell>> {
        let links = self.chain(step)?;
        let output = links.last().map(|link| link.cell.output.clone()).unwrap_or_default();
        let constants = links.iter().any(|link| link.cell.constants);
        let order = self.order(links.len());
        let states = order.iter().filter_map(|&i| links.get(i)).flat_map(|link| link.cell.states.clone());
        Ok(Some(Cell { states: states.collect(), output, constants }))
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let step = inputs.first().ok_or_else(|| Error::value(CLASS, "an input", "none"))?;
        let links = self.chain(step)?;
        let states: usize = links.iter().map(|link| link.cell.states.len()).sum();
        let constants = inputs.get(1 + states..).unwrap_or_default();
        for (i, link) in links.iter().enumerate() {
            let constants = if link.cell.constants { constants } else { &[] };
            cx.build_child(
                &format!("cell_{i}"),
                &link.layer,
                &cell_inputs(&link.step, &link.cell, constants),
            )?;
        }
        Ok(())
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (x, rest) = inputs.split_first().ok_or_else(|| Error::value(CLASS, "an input", "none"))?;
        let links = self.chain(&x.spec()?)?;
        let count: usize = links.iter().map(|link| link.cell.states.len()).sum();
        if rest.len() < count {
            return Err(Error::value(CLASS, format!("{count} states"), rest.len().to_string()));
        }
        let (mut states, constants) = rest.split_at(count);
        let order = self.order(links.len());
        let mut own: Vec<&[Tensor]> = vec![&[]; links.len()];
        for &i in &order {
            if let (Some(link), Some(own)) = (links.get(i), own.get_mut(i)) {
                (*own, states) = states.split_at(link.cell.states.len());
            }
        }
        let mut output = x.clone();
        let mut nexts: Vec<Vec<Tensor>> = Vec::with_capacity(links.len());
        for (link, states) in links.iter().zip(own) {
            let constants = if link.cell.constants { constants } else { &[] };
            let operands: Vec<Tensor> =
                std::iter::once(&output).chain(states).chain(constants).cloned().collect();
            let mut results = cx.call_cell(&link.layer, &operands)?.into_iter();
            output = results.next().ok_or_else(|| {
                Error::value(format!("cell {}", link.layer.name()), "a result and new states", "nothing")
            })?;
            nexts.push(results.collect());
        }
        let next = order.iter().filter_map(|&i| nexts.get(i)).flatten().cloned();
        Ok(std::iter::once(output.clone()).chain(next).collect())
    }
}
