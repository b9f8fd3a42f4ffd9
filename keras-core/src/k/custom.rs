//! What a user brings: [`Host`] functions, and gradients of one's own.

use super::{nth, op, op_many};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::{ByRef, CustomVjp, Graph, HostFn, Op, Type, Value};
use crate::tensor::{Spec, Tensor, Trace, TraceOptions};
use std::sync::Arc;

type Run = Arc<dyn Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync>;

/// A Rust function on host arrays in the middle of a program: for what has no tensor operation, such as decoding, sorting or
/// printing.
///
/// The operands are downloaded for it and its results uploaded. It runs once per step, and not at all when nobody needs a result;
/// without operands that change, only once ([`Host::impure`] says otherwise). It must not write variables of the step it is in.
///
/// ```
/// use keras_core::layers::{Input, Lambda};
/// use keras_core::models::Model;
/// use keras_core::tensor::{Spec, Tensor};
/// use keras_core::{Array, DType, k};
///
/// // The median of each sample, and the gradient that goes to the element that was the median.
/// fn median(row: &[f32]) -> usize {
///     let mut order: Vec<usize> = (0..row.len()).collect();
///     order.sort_by(|&a, &b| row[a].total_cmp(&row[b]));
///     order[row.len() / 2]
/// }
/// let x = Input::new([3]).tensor()?;
/// let y = Lambda::new("median", |x: &[Tensor]| {
///     k::Host::new("median", [Spec::new([None, Some(1)], DType::F32)], |operands| {
///         let rows = operands[0].as_slice::<f32>()?;
///         let medians: Vec<f32> = rows.chunks(3).map(|row| row[median(row)]).collect();
///         Ok(vec![Array::from_vec(&[medians.len(), 1], medians)?])
///     })
///     .vjp(|operands, gradients| {
///         let (rows, dy) = (operands[0].as_slice::<f32>()?, gradients[0].as_slice::<f32>()?);
///         let mut dx = vec![0.0_f32; rows.len()];
///         for (i, row) in rows.chunks(3).enumerate() {
///             dx[i * 3 + median(row)] = dy[i];
///         }
///         Ok(vec![Array::from_vec(operands[0].shape(), dx)?])
///     })
///     .call(&[&x[0]])
/// })
/// .call(&x)?;
/// let model = Model::new(&x, &y)?;
/// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
/// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
/// # model.on(&engine);
/// let x = Array::from_vec(&[2, 3], vec![3.0_f32, 1.0, 2.0, 7.0, 9.0, 8.0])?;
/// assert_eq!(model.predict(&x)?.to_vec::<f32>(), [2.0, 8.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub struct Host {
    name: String,
    outputs: Vec<Spec>,
    run: Run,
    vjp: Option<Run>,
    impure: bool,
}

impl Host {
    /// A function from arrays to one array per spec of `outputs`. An open axis of a spec is as long as the first operand's same
    /// axis. `name` stands in errors and dumps.
    pub fn new(
        name: &str,
        outputs: impl IntoIterator<Item = Spec>,
        run: impl Fn(&[Array]) -> Result<Vec<Array>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            outputs: outputs.into_iter().collect(),
            run: Arc::new(run),
            vjp: None,
            impure: false,
        }
    }

    /// Its vector-Jacobian product: from the operands and the gradients of the results to the gradients of the operands, one per
    /// operand with its shape and element type. Without it no gradient passes.
    pub fn vjp(
        mut self,
        vjp: impl Fn(&[Array], &[Array]) -> Result<Vec<Array>> + Send + Sync + 'static,
    ) -> Self {
        let results = self.outputs.len();
        self.vjp = Some(Arc::new(move |arrays: &[Array]| {
            let operands = arrays.len().saturating_sub(results);
            let (operands, gradients) = arrays.split_at_checked(operands).unwrap_or_default();
            vjp(operands, gradients)
        }));
        self
    }

    /// Runs in every step, although its operands have not changed: for printing, clocks, and other sources of its own.
    pub fn impure(mut self) -> Self {
        self.impure = true;
        self
    }

    /// Its results on these operands, in the order of the specs.
    #[track_caller]
    pub fn call(self, operands: &[&Tensor]) -> Vec<Tensor> {
        let name = self.name.clone();
        let count = self.outputs.len();
        op_many(&name, operands, count, move |graph, values| {
            let first = values.first().map(|&value| graph.shape(value).to_vec()).unwrap_or_default();
            let outputs = self
                .outputs
                .iter()
                .map(|spec| closed(&self.name, spec, &first))
                .collect::<Result<Vec<_>>>()?;
            let vjp = self.vjp.as_ref().map(|vjp| {
                let types = values.iter().map(|&value| graph.ty(value).clone()).collect();
                Arc::new(self.function(vjp, types, None))
            });
            let host = self.function(&self.run, outputs, vjp);
            let result = graph.add(Op::Host(ByRef(Arc::new(host))), values)?;
            Ok(graph.outputs_of(result))
        })
    }

    fn function(&self, run: &Run, outputs: Vec<Type>, vjp: Option<Arc<HostFn>>) -> HostFn {
        let run = Arc::clone(run);
        HostFn {
            name: self.name.clone(),
            outputs,
            impure: self.impure,
            run: Box::new(move |arrays| run(arrays)),
            vjp,
        }
    }
}

/// A spec whose open axes have the lengths of a shape.
fn closed(name: &str, spec: &Spec, shape: &[usize]) -> Result<Type> {
    let lens = spec.shape.iter().enumerate().map(|(axis, len)| {
        len.or_else(|| shape.get(axis).copied()).ok_or_else(|| {
            Error::shape(
                format!("host function {name}"),
                format!("a first operand with an axis {axis}, for the open axis of the result"),
                format!("{shape:?}"),
            )
        })
    });
    Ok(Type::new(lens.collect::<Result<Vec<_>>>()?, spec.dtype))
}

/// `y`, with a gradient of one's own: `vjp` makes from the gradient of `y` and the operands the gradients of the operands.
/// None flows to what `y` was computed from otherwise.
///
/// ```
/// use keras_core::{Array, k};
/// let x = k::placeholder([Some(2)], "x");
/// // Rounding whose gradient is that of the identity.
/// let y = k::custom_gradient("straight_through", &k::round(&x), &[&x], |dy, _| vec![dy.clone()]);
/// let dx = k::gradients(&k::sum(&y, &[], false), &[&x])?.remove(0).unwrap();
/// # let engine: std::sync::Arc<dyn keras_core::backend::Runtime> =
/// #     std::sync::Arc::new(keras_core::backend::Engine::new(keras_core::backend::reference::Reference)?);
/// let f = k::function([&x], [&y, &dx])?;
/// # let f = f.on(&engine);
/// let results = f.run([Array::from([0.4_f32, 1.6])])?;
/// assert_eq!(results[0].to_vec::<f32>(), [0.0, 2.0]);
/// assert_eq!(results[1].to_vec::<f32>(), [1.0, 1.0]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[track_caller]
pub fn custom_gradient(
    name: &str,
    y: &Tensor,
    operands: &[&Tensor],
    vjp: impl Fn(&Tensor, &[Tensor]) -> Vec<Tensor> + Send + Sync + 'static,
) -> Tensor {
    let named = name.to_owned();
    let vjp = Arc::new(vjp);
    let inputs: Vec<&Tensor> = std::iter::once(y).chain(operands.iter().copied()).collect();
    op(name, &inputs, move |graph, values| {
        let (vjp, named) = (Arc::clone(&vjp), named.clone());
        let within = named.clone();
        let product = move |graph: &mut Graph, dy: Value, operands: &[Value]| {
            let trace = Trace::new(TraceOptions::default());
            let fed: Vec<Value> = std::iter::once(dy).chain(operands.iter().copied()).collect();
            let inputs: Vec<Tensor> = fed.iter().map(|&value| trace.input(graph.ty(value).clone())).collect();
            let Some((dy, operands)) = inputs.split_first() else { return Ok(Vec::new()) };
            let gradients = vjp(dy, operands);
            if gradients.len() != operands.len() {
                return Err(Error::value(
                    format!("gradient of {within}"),
                    format!("{} gradients, one per operand", operands.len()),
                    gradients.len().to_string(),
                ));
            }
            let outputs =
                gradients.iter().map(|gradient| trace.lift(gradient)).collect::<Result<Vec<_>>>()?;
            trace.with_graph_mut(|graph| graph.set_outputs(outputs));
            let results = trace.with_graph(|inner| graph.inline(inner, &fed))?;
            Ok(results.into_iter().map(Some).collect())
        };
        nth(values, 0)?;
        graph.add(Op::CustomVjp(ByRef(Arc::new(CustomVjp { name: named, vjp: Box::new(product) }))), values)
    })
}
