//! Mean intersection over union.

use super::Metric;
use super::confusion::ratio;
use super::mean::{ObjectName, checked, object_config, wrong_number, wrong_states};
use crate::error::{Error, Result};
use crate::graph::{Op, SliceSpec};
use crate::k;
use crate::losses;
use crate::registry::Config;
use crate::tensor::Tensor;
use serde_json::{Value, json};

/// The mean over classes of TP/(TP + FP + FN), for targets and predictions that are class numbers. Classes that occur
/// in neither do not count.
#[derive(Debug, Clone)]
pub struct MeanIoU {
    name: ObjectName,
    num_classes: usize,
}

impl MeanIoU {
    /// For that number of classes.
    pub fn new(num_classes: usize) -> Self {
        Self { name: ObjectName::default(), num_classes }
    }

    /// The name in logs.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name.set(name.into());
        self
    }

    pub(super) fn read(config: &Config) -> Result<Self> {
        let mut reader = config.reader();
        let name = ObjectName::read(&mut reader)?;
        let num_classes = reader.required_count("num_classes")?;
        reader.only(&[
            ("ignore_class", Value::Null),
            ("sparse_y_true", json!(true)),
            ("sparse_y_pred", json!(true)),
            ("axis", json!(-1)),
        ])?;
        reader.finish()?;
        Ok(Self { name, num_classes })
    }
}

impl Metric for MeanIoU {
    fn name(&self) -> &str {
        self.name.get("MeanIoU")
    }

    fn states(&self) -> Vec<(String, Vec<usize>)> {
        vec![("total_confusion_matrix".into(), vec![self.num_classes, self.num_classes])]
    }

    fn update(
        &self,
        states: &[Tensor],
        y_true: &Tensor,
        y_pred: &Tensor,
        weight: Option<&Tensor>,
    ) -> Result<Vec<Tensor>> {
        let [matrix] = states else { return Err(wrong_number(1, states)) };
        if self.num_classes == 0 {
            return Err(Error::value("MeanIoU", "num_classes of at least 1", "0"));
        }
        let dtype = matrix.dtype()?;
        let rows =
            |x: &Tensor| k::one_hot_of(&losses::class_numbers(x, self.num_classes), self.num_classes, dtype);
        let (labels, mut predictions) = (rows(y_true), rows(y_pred));
        if let Some(weight) = weight {
            let weight = losses::align_weights(&k::cast(y_pred, dtype), weight);
            predictions = predictions * k::reshape(&weight, &[-1, 1]);
        }
        checked([matrix + k::dot(&k::permute_dimensions(&labels, &[1, 0]), &predictions)])
    }

    fn result(&self, states: &[Tensor]) -> Tensor {
        let [matrix] = states else { return wrong_states(1, states) };
        // Row by row, the place on the diagonal is one further.
        let classes = self.num_classes;
        let diagonal = k::op("diagonal", &[matrix], move |graph, values| {
            let count = classes * classes;
            let flat = graph.reshape(k::nth(values, 0)?, &[count])?;
            let places = SliceSpec { starts: vec![0], stops: vec![count], steps: vec![classes + 1] };
            graph.add(Op::Slice(places), &[flat])
        });
        let union = k::sum(matrix, &[0], false) + k::sum(matrix, &[1], false) - &diagonal;
        let zero = k::number(&union, 0.0);
        let occurs = losses::like(&k::not_equal(&union, &zero), &union);
        let shares = ratio(&diagonal, &union);
        ratio(&k::sum(&shares, &[], false), &k::sum(&occurs, &[], false))
    }

    fn config(&self) -> Value {
        object_config("MeanIoU", Metric::name(self)).with("num_classes", self.num_classes).to_value()
    }
}
