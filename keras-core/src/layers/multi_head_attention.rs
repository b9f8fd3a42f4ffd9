//! `MultiHeadAttention` (tf.keras).

use super::affine::{Affine, Weighted, weight_verbs};
use super::attention::causal_mask;
use super::check::{dtype, known, positive};
use super::dropout::drop_out;
use super::registry::Read;
use super::{Arguments, Base, Build, Call, Layer, input_index, options::one_or_list};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::{RegularizerRef, RegularizerSpec};
use crate::tensor::{Spec, Tensor};
use serde_json::{Value, json};

const CLASS: &str = "MultiHeadAttention";
const MASK: &str = "attention_mask";

/// Which inputs are the value and the key: those in their order, unless arguments of the call name them.
fn places(named: impl Fn(&str) -> Option<usize>, inputs: usize) -> (Option<usize>, Option<usize>) {
    let (value, key, mask) = (named("value"), named("key"), named(MASK));
    let mut free = (1..inputs).filter(|i| ![mask, value, key].contains(&Some(*i)));
    let value = value.or_else(|| free.next());
    (value, key.or_else(|| free.next()).or(value))
}

/// Attention in several heads, each on projections of its own (Vaswani et al., 2017), called on `[query, value]` or
/// `[query, value, key]`: `(batch, steps…, features)` to the same shape, or with `output_shape` as its last axes.
///
/// Weights: `query/kernel (features, heads, key_dim)`, `key/kernel`, `value/kernel (features, heads, value_dim)`,
/// `attention_output/kernel (heads, value_dim, output…)`, and a `bias` for each. Masks of query, value and key hide
/// pairs. Arguments of the call: `use_causal_mask`, `return_attention_scores`, and `value`, `key`, `attention_mask` as
/// references to inputs.
///
/// ```
/// use keras_core::layers::{Input, MultiHeadAttention};
/// let (query, value) = (Input::new([5, 16]).tensor()?, Input::new([7, 16]).tensor()?);
/// let y = MultiHeadAttention::new(2, 8).call([&query, &value])?;
/// assert_eq!(y.spec()?.shape, [None, Some(5), Some(16)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultiHeadAttention {
    base: Base,
    heads: usize,
    key_dim: usize,
    value_dim: usize,
    dropout: f64,
    output_shape: Option<Vec<usize>>,
    attention_axes: Option<Vec<isize>>,
    affine: Affine,
}

impl MultiHeadAttention {
    /// That many heads, with queries and keys of that length.
    pub fn new(num_heads: usize, key_dim: usize) -> Self {
        Self {
            base: Base::default(),
            heads: num_heads,
            key_dim,
            value_dim: key_dim,
            dropout: 0.0,
            output_shape: None,
            attention_axes: None,
            affine: Affine::default(),
        }
    }

    /// The length of a head's values; default `key_dim`.
    pub fn value_dim(mut self, len: usize) -> Self {
        self.value_dim = len;
        self
    }

    /// The fraction of the attention's weights to drop in training; default 0.
    pub fn dropout(mut self, rate: f64) -> Self {
        self.dropout = rate;
        self
    }

    /// The last axes of the result; default: the query's last axis.
    pub fn output_shape(mut self, shape: impl Into<Vec<usize>>) -> Self {
        self.output_shape = Some(shape.into());
        self
    }

    /// The axes that attend to each other; default: all but the batch and the features.
    pub fn attention_axes(mut self, axes: impl Into<Vec<isize>>) -> Self {
        self.attention_axes = Some(axes.into());
        self
    }

    /// Whether the projections add biases; default true.
    pub fn use_bias(mut self, use_bias: bool) -> Self {
        self.affine.use_bias = use_bias;
        self
    }

    /// A penalty on the layer's results.
    pub fn activity_regularizer(mut self, regularizer: impl Into<RegularizerSpec>) -> Self {
        self.affine.activity_regularizer = regularizer.into();
        self
    }

    /// The axes that attend, from 0.
    fn axes_in(&self, rank: usize) -> Result<Vec<usize>> {
        let Some(axes) = &self.attention_axes else { return Ok((1..rank.saturating_sub(1)).collect()) };
        let found: Vec<usize> = axes.iter().filter_map(|&axis| k::axis_of(axis, rank).ok()).collect();
        let inner = found.iter().all(|&axis| axis > 0 && axis + 1 < rank);
        if found.len() != axes.len() || found.is_empty() || !inner {
            let expected = format!("attention_axes between the batch and the features of rank {rank}");
            return Err(Error::value(CLASS, expected, format!("{axes:?}")));
        }
        Ok(found)
    }

    /// A projection `(…, features)` to `(…, heads, len)`.
    fn project(&self, cx: &Call, name: &str, x: &Tensor, len: usize) -> Result<Tensor> {
        let kernel = cx.weight(&format!("{name}/kernel"))?;
        let flat = k::reshape(&kernel, &[-1, (self.heads * len) as isize]);
        let mut shape: Vec<isize> = x.shape()?.into_iter().map(|len| len as isize).collect();
        shape.pop();
        shape.extend([self.heads as isize, len as isize]);
        let mut y = k::reshape(&k::dot(x, &flat), &shape);
        if self.affine.use_bias {
            y = y + cx.weight(&format!("{name}/bias"))?;
        }
        Ok(y)
    }
}

crate::layer_verbs!(MultiHeadAttention);
weight_verbs!([] MultiHeadAttention, affine.kernel, "the kernels", "glorot_uniform", kernel_initializer, kernel_regularizer, kernel_constraint);
weight_verbs!([] MultiHeadAttention, affine.bias, "the biases", "zeros", bias_initializer, bias_regularizer, bias_constraint);

/// Moves the attending axes together: `(batch, others…, attending…, heads, len)` to `(rows, heads, steps, len)`.
fn fold(x: &Tensor, axes: &[usize]) -> Result<(Tensor, Vec<usize>, Vec<usize>)> {
    let shape = x.shape()?;
    let free: Vec<usize> = (0..shape.len().saturating_sub(2)).filter(|axis| !axes.contains(axis)).collect();
    let lens = |axes: &[usize]| axes.iter().filter_map(|&axis| shape.get(axis)).copied().collect::<Vec<_>>();
    let (rows, steps) = (lens(&free), lens(axes));
    let order: Vec<usize> =
        free.into_iter().chain(axes.iter().copied()).chain([shape.len() - 2, shape.len() - 1]).collect();
    let moved = k::permute_dimensions(x, &order);
    let count = |lens: &[usize]| lens.iter().product::<usize>() as isize;
    let tail = |i: usize| shape.get(shape.len() - i).copied().unwrap_or_default() as isize;
    let folded = k::reshape(&moved, &[count(&rows), count(&steps), tail(2), tail(1)]);
    Ok((k::permute_dimensions(&folded, &[0, 2, 1, 3]), rows, steps))
}

fn lens(lists: &[&[usize]]) -> Vec<isize> {
    lists.iter().flat_map(|list| list.iter()).map(|&len| len as isize).collect()
}

impl Read for MultiHeadAttention {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let key_dim = reader.required_count("key_dim")?;
        let shape = |reader: &mut Reader<'_>| -> Result<Option<Vec<usize>>> {
            if reader.value("output_shape").is_none() {
                return Ok(None);
            }
            let lens = reader.integers("output_shape", &[])?.into_iter().map(usize::try_from).collect();
            let lens: Result<Vec<usize>, _> = lens;
            lens.map(Some).map_err(|_| reader.wrong("output_shape", "a list of lengths"))
        };
        let attention_axes = match reader.value("attention_axes") {
            Some(_) => Some(reader.integers("attention_axes", &[])?),
            None => None,
        };
        // What tf.keras built the layer for; here the first call says it.
        reader.ignore(&["query_shape", "key_shape", "value_shape"]);
        Ok(Self {
            base,
            heads: reader.required_count("num_heads")?,
            key_dim,
            value_dim: reader.count("value_dim", key_dim)?,
            dropout: reader.float("dropout", 0.0)?,
            output_shape: shape(reader)?,
            attention_axes: attention_axes.map(|axes| axes.into_iter().map(|axis| axis as isize).collect()),
            affine: Affine {
                use_bias: reader.boolean("use_bias", true)?,
                kernel: Weighted::read(reader, "kernel", Weighted::new("glorot_uniform"))?,
                bias: Weighted::read(reader, "bias", Weighted::new("zeros"))?,
                activity_regularizer: RegularizerSpec::read(
                    reader,
                    "activity_regularizer",
                    RegularizerSpec::default(),
                )?,
                ..Affine::default()
            },
        })
    }
}

impl Layer for MultiHeadAttention {
    fn config(&self) -> Config {
        let affine = &self.affine;
        Config::new(CLASS)
            .with("num_heads", self.heads)
            .with("key_dim", self.key_dim)
            .with("value_dim", self.value_dim)
            .with("dropout", self.dropout)
            .with("use_bias", affine.use_bias)
            .with("output_shape", json!(self.output_shape))
            .with("attention_axes", self.attention_axes.as_deref().map_or(Value::Null, one_or_list))
            .with("kernel_initializer", affine.kernel.initializer.to_value())
            .with("bias_initializer", affine.bias.initializer.to_value())
            .with("kernel_regularizer", affine.kernel.regularizer.to_value())
            .with("bias_regularizer", affine.bias.regularizer.to_value())
            .with("activity_regularizer", affine.activity_regularizer.to_value())
            .with("kernel_constraint", affine.kernel.constraint.to_value())
            .with("bias_constraint", affine.bias.constraint.to_value())
    }

    /// tf.keras builds the layer from these when it reads it.
    fn built_config(&self, config: Config, inputs: &[Spec]) -> Config {
        let shape =
            |i: usize| json!(inputs.get(i).or(inputs.get(1)).or(inputs.first()).map(|spec| &spec.shape));
        config.with("query_shape", shape(0)).with("key_shape", shape(2)).with("value_shape", shape(1))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        for (name, value) in
            [("num_heads", self.heads), ("key_dim", self.key_dim), ("value_dim", self.value_dim)]
        {
            positive(CLASS, name, value)?;
        }
        self.affine.activity_regularizer.resolve_if_any()?;
        let query = inputs.first().ok_or_else(|| Error::value(CLASS, "a query and a value", "nothing"))?;
        let value = inputs.get(1).unwrap_or(query);
        let key = inputs.get(2).unwrap_or(value);
        self.axes_in(query.rank())?;
        let features = |spec: &Spec| {
            dtype(CLASS, spec, cx.dtype())?;
            if spec.rank() < 3 {
                let expected = "inputs of rank 3 or more: (batch, steps.., features)";
                return Err(Error::shape(CLASS, expected, spec.to_string()));
            }
            known(CLASS, spec, spec.shape.last().copied().flatten(), "last axis")
        };
        let out = self.output_shape.clone().map_or_else(|| features(query).map(|len| vec![len]), Ok)?;
        let lens = [
            (features(query)?, self.key_dim),
            (features(key)?, self.key_dim),
            (features(value)?, self.value_dim),
        ];
        for (name, (features, len)) in ["query", "key", "value"].into_iter().zip(lens) {
            self.affine.kernel.add(cx, &format!("{name}/kernel"), [features, self.heads, len])?;
            if self.affine.use_bias {
                self.affine.bias.add(cx, &format!("{name}/bias"), [self.heads, len])?;
            }
        }
        let mut kernel = vec![self.heads, self.value_dim];
        kernel.extend(&out);
        self.affine.kernel.add(cx, "attention_output/kernel", kernel)?;
        if self.affine.use_bias {
            self.affine.bias.add(cx, "attention_output/bias", out)?;
        }
        Ok(())
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let (value_at, key_at) = places(|name| cx.input_of(name), inputs.len());
        let mask_at = cx.input_of(MASK);
        let input = |at: Option<usize>, name: &str| {
            at.and_then(|at| inputs.get(at)).ok_or_else(|| {
                Error::value(CLASS, "[query, value] or [query, value, key]", format!("no {name}"))
            })
        };
        let (query, value, key) =
            (input(Some(0), "query")?, input(value_at, "value")?, input(key_at, "key")?);
        let axes = self.axes_in(query.rank()?)?;

        let mut mask = mask_at.and_then(|at| inputs.get(at)).map(|mask| k::cast(mask, crate::DType::Bool));
        let steps = |x: &Tensor| Ok::<_, Error>(x.shape()?.get(1).copied().unwrap_or_default());
        let mut hidden: Vec<Tensor> = Vec::new();
        hidden.extend(cx.mask(0).map(|mask| k::expand_dims(mask, -1)));
        for at in [value_at, key_at].into_iter().flatten() {
            hidden.extend(cx.mask(at).map(|mask| k::expand_dims(mask, -2)));
        }
        if cx.flag("use_causal_mask") {
            hidden.push(k::expand_dims(&causal_mask(steps(query)?, steps(value)?)?, 0));
        }
        for one in hidden {
            mask = Some(mask.map_or_else(|| one.clone(), |mask| k::logical_and(&mask, &one)));
        }

        let (q, rows, queries) = fold(&self.project(cx, "query", query, self.key_dim)?, &axes)?;
        let (keys, _, others) = fold(&self.project(cx, "key", key, self.key_dim)?, &axes)?;
        let (values, _, _) = fold(&self.project(cx, "value", value, self.value_dim)?, &axes)?;
        let scaled = q * (1.0 / (self.key_dim as f64).sqrt());
        let mut scores = k::matmul(&scaled, &k::permute_dimensions(&keys, &[0, 1, 3, 2]));
        let wide = lens(&[&rows, &[self.heads], &queries, &others]);
        if let Some(mut mask) = mask {
            // The mask has the shape of the scores without the heads; missing axes go where those are.
            let at = -2 * axes.len() as isize - 1;
            for _ in mask.rank()?..wide.len() {
                mask = k::expand_dims(&mask, at);
            }
            let hidden = (1.0 - k::cast(&mask, scores.dtype()?)) * -1e9;
            let own = lens(&[&scores.shape()?]);
            scores = k::reshape(&(k::reshape(&scores, &wide) + hidden), &own);
        }
        let weights = k::softmax(&scores, -1);
        let dropped = drop_out(cx, &weights, self.dropout, None, &weights.shape()?)?;
        let heads = k::permute_dimensions(&k::matmul(&dropped, &values), &[0, 2, 1, 3]);

        // Back to the query's order of axes.
        let free: Vec<usize> = (0..query.rank()? - 1).filter(|axis| !axes.contains(axis)).collect();
        let heads = k::reshape(&heads, &lens(&[&rows, &queries, &[self.heads * self.value_dim]]));
        let placed: Vec<usize> = free.into_iter().chain(axes.iter().copied()).collect();
        let mut order: Vec<usize> = (0..placed.len()).collect();
        order.sort_unstable_by_key(|&i| placed.get(i).copied());
        order.push(placed.len());
        let heads = k::permute_dimensions(&heads, &order);
        let kernel = cx.weight("attention_output/kernel")?;
        let out: Vec<usize> = kernel.shape()?.into_iter().skip(2).collect();
        let flat = k::reshape(&kernel, &[(self.heads * self.value_dim) as isize, -1]);
        let mut shape = heads.shape()?;
        shape.pop();
        let mut y = k::reshape(&k::dot(&heads, &flat), &lens(&[&shape, &out]));
        if self.affine.use_bias {
            y = y + cx.weight("attention_output/bias")?;
        }
        let scores = k::reshape(&weights, &wide);
        Ok(if cx.flag("return_attention_scores") { vec![y, scores] } else { vec![y] })
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }

    fn takes_argument(&self, name: &str) -> bool {
        ["value", "key", MASK, "use_causal_mask", "return_attention_scores"].contains(&name)
    }

    fn operands(&self, arguments: &Arguments, inputs: usize) -> Vec<usize> {
        let named = |name: &str| arguments.get(name).and_then(input_index);
        let (value, key) = places(named, inputs);
        [Some(0), value, key.filter(|_| key != value)].into_iter().flatten().collect()
    }

    /// The mask of the query.
    fn compute_mask(&self, cx: &mut Call, _: &[Tensor], outputs: &[Tensor]) -> Result<Vec<Option<Tensor>>> {
        let mut masks = vec![None; outputs.len()];
        if let Some(first) = masks.first_mut() {
            *first = cx.mask(0).cloned();
        }
        Ok(masks)
    }
}
