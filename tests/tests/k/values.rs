//! Functions that have values: every case of the fixture on Keras tensors and on traced tensors.

use crate::everywhere::runtimes;
use crate::fixtures::Fixture;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Runtime};
use keras_core::config::DataFormat;
use keras_core::graph::{Type, optimize::Passes};
use keras_core::tensor::{Phase, Trace, TraceOptions};
use keras_core::{Array, DType, Result, Spec, Tensor, k};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The arguments of a call by their names in Keras.
pub(super) struct Arguments<'a>(&'a Value);

impl Arguments<'_> {
    fn has(&self, key: &str) -> bool {
        !self.0[key].is_null()
    }

    fn flag(&self, key: &str) -> bool {
        self.0[key].as_bool().unwrap_or(false)
    }

    fn number(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap()
    }

    fn number_or(&self, key: &str, default: f64) -> f64 {
        self.0[key].as_f64().unwrap_or(default)
    }

    fn whole(&self, key: &str) -> isize {
        self.0[key].as_i64().unwrap() as isize
    }

    fn whole_or(&self, key: &str, default: isize) -> isize {
        if self.has(key) { self.whole(key) } else { default }
    }

    /// A list of numbers, or one.
    fn wholes(&self, key: &str) -> Vec<isize> {
        match &self.0[key] {
            Value::Null => Vec::new(),
            Value::Array(items) => items.iter().map(|item| item.as_i64().unwrap() as isize).collect(),
            item => vec![item.as_i64().unwrap() as isize],
        }
    }

    fn counts(&self, key: &str) -> Vec<usize> {
        self.wholes(key).into_iter().map(|number| number as usize).collect()
    }

    fn per_axis<const N: usize>(&self, key: &str) -> k::PerAxis<N> {
        let counts = self.counts(key);
        k::PerAxis(if counts.len() == N { counts.try_into().unwrap() } else { [counts[0]; N] })
    }

    fn text<'b>(&'b self, key: &str, default: &'b str) -> &'b str {
        self.0[key].as_str().unwrap_or(default)
    }

    fn format(&self) -> Option<DataFormat> {
        self.0["data_format"].as_str().map(|name| DataFormat::from_name(name).unwrap())
    }

    fn dtype(&self) -> Option<DType> {
        self.0["dtype"].as_str().map(|name| DType::from_name(name).unwrap())
    }

    fn sides(&self) -> Vec<(usize, usize)> {
        let pair = |pair: &Value| {
            let side = |i: usize| pair[i].as_u64().unwrap() as usize;
            (side(0), side(1))
        };
        match &self.0["padding"][0] {
            Value::Array(_) => self.0["padding"].as_array().unwrap().iter().map(pair).collect(),
            _ => vec![pair(&self.0["padding"])],
        }
    }

    fn conv<const N: usize>(&self) -> k::Conv<N> {
        let mut options = k::Conv::new().padding(self.text("padding", "valid"));
        if let Some(format) = self.format() {
            options = options.data_format(format);
        }
        if self.has("strides") {
            options = options.strides(self.per_axis("strides"));
        }
        if self.has("dilation_rate") {
            options = options.dilation_rate(self.per_axis("dilation_rate"));
        }
        options
    }

    fn pool<const N: usize>(&self) -> k::Pool<N> {
        let mut options = k::Pool::new().padding(self.text("padding", "valid"));
        options = options.pool_mode(self.text("pool_mode", "max"));
        if let Some(format) = self.format() {
            options = options.data_format(format);
        }
        if self.has("strides") {
            options = options.strides(self.per_axis("strides"));
        }
        options
    }

    fn output_shape(&self) -> Vec<Option<usize>> {
        let lens = self.0["output_shape"].as_array().unwrap();
        lens.iter().map(|len| len.as_u64().map(|len| len as usize)).collect()
    }
}

type Row = (&'static str, fn(&Arguments<'_>, &[Tensor]) -> Vec<Tensor>);

macro_rules! table {
    ($($name:literal => |$a:pat_param, $x:ident| $call:expr;)*) => {
        /// One row per function; its arguments are those of the case.
        pub(super) const TABLE: &[Row] = &[$(($name, |$a, $x| ($call).into())),*];
    };
}

/// One result or several.
struct Results(Vec<Tensor>);

impl From<Results> for Vec<Tensor> {
    fn from(results: Results) -> Self {
        results.0
    }
}

fn one(tensor: Tensor) -> Results {
    Results(vec![tensor])
}

fn each(x: &[Tensor]) -> Vec<&Tensor> {
    x.iter().collect()
}

fn reduced(a: &Arguments<'_>, x: &[Tensor], reduce: fn(&Tensor, &[isize], bool) -> Tensor) -> Results {
    one(reduce(&x[0], &a.wholes("axis"), a.flag("keepdims")))
}

#[allow(clippy::unnecessary_wraps, reason = "as a step of a loop may fail")]
fn folded(total: &Tensor, row: &Tensor) -> Result<Tensor> {
    Ok(total * 0.5 + row)
}

#[allow(clippy::unnecessary_wraps, reason = "as a step of a loop may fail")]
fn running(x: &Tensor, states: &[Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
    let total = k::tanh(&(x * &states[1] + &states[0]));
    Ok((&total * 2.0, vec![total]))
}

table! {
    "abs" => |_, x| one(k::abs(&x[0]));
    "all" => |a, x| reduced(a, x, k::all);
    "any" => |a, x| reduced(a, x, k::any);
    "arange" => |a, _x| one(k::arange(a.number("start"), a.has("stop").then(|| a.number("stop")), a.number_or("step", 1.0), a.dtype()));
    "argmax" => |a, x| one(k::argmax(&x[0], a.whole_or("axis", -1)));
    "argmin" => |a, x| one(k::argmin(&x[0], a.whole_or("axis", -1)));
    "batch_dot" => |a, x| {
        let axes = match a.wholes("axes").as_slice() {
            [] => None,
            [both] => Some((*both, *both)),
            axes => Some((axes[0], axes[1])),
        };
        one(k::batch_dot(&x[0], &x[1], axes))
    };
    "batch_flatten" => |_, x| one(k::batch_flatten(&x[0]));
    "batch_normalization" => |a, x| one(k::batch_normalization(&x[0], &x[1], &x[2], x.get(3), x.get(4), a.whole_or("axis", -1), a.number_or("epsilon", 1e-3)));
    "bias_add" => |a, x| one(k::bias_add(&x[0], &x[1], a.format()));
    "binary_crossentropy" => |a, x| one(k::binary_crossentropy(&x[0], &x[1], a.flag("from_logits")));
    "cast" => |a, x| one(k::cast(&x[0], a.dtype().unwrap()));
    "categorical_crossentropy" => |a, x| one(k::categorical_crossentropy(&x[0], &x[1], a.flag("from_logits"), a.whole_or("axis", -1)));
    "clip" => |a, x| one(k::clip(&x[0], a.number("min_value"), a.number("max_value")));
    "concatenate" => |a, x| one(k::concatenate(&each(x), a.whole_or("axis", -1)));
    "constant" => |a, _x| {
        let value = match a.0["value"].as_array() {
            Some(items) => Array::from(items.iter().map(|item| item.as_f64().unwrap()).collect::<Vec<_>>()),
            None => Array::from(a.number("value")),
        };
        let shape = a.counts("shape");
        one(k::constant(value, a.dtype(), a.has("shape").then_some(shape.as_slice())))
    };
    "conv1d" => |a, x| one(k::conv1d(&x[0], &x[1], a.conv()));
    "conv2d" => |a, x| one(k::conv2d(&x[0], &x[1], a.conv()));
    "conv2d_transpose" => |a, x| one(k::conv2d_transpose(&x[0], &x[1], &a.output_shape(), a.conv()));
    "conv3d" => |a, x| one(k::conv3d(&x[0], &x[1], a.conv()));
    "conv3d_transpose" => |a, x| one(k::conv3d_transpose(&x[0], &x[1], &a.output_shape(), a.conv()));
    "cos" => |_, x| one(k::cos(&x[0]));
    "ctc_batch_cost" => |_, x| one(k::ctc_batch_cost(&x[0], &x[1], &x[2], &x[3]));
    "ctc_decode" => |a, x| {
        let beam = k::BeamSearch::new().beam_width(a.whole_or("beam_width", 100) as usize).top_paths(a.whole_or("top_paths", 1) as usize).merge_repeated(a.flag("merge_repeated"));
        let greedy = a.0["greedy"].as_bool().unwrap_or(true);
        let (mut paths, logarithms) = k::ctc_decode(&x[0], &x[1], (!greedy).then_some(beam));
        paths.push(logarithms);
        Results(paths)
    };
    "ctc_label_dense_to_sparse" => |_, x| {
        let sparse = k::ctc_label_dense_to_sparse(&x[0], &x[1]);
        let shape = k::cast(&sparse.dense_shape(), DType::I64);
        Results(vec![sparse.indices, sparse.values, shape])
    };
    "cumprod" => |a, x| one(k::cumprod(&x[0], a.whole_or("axis", 0)));
    "cumsum" => |a, x| one(k::cumsum(&x[0], a.whole_or("axis", 0)));
    "depthwise_conv2d" => |a, x| one(k::depthwise_conv2d(&x[0], &x[1], a.conv()));
    "dot" => |_, x| one(k::dot(&x[0], &x[1]));
    "elu" => |a, x| one(k::elu(&x[0], a.number_or("alpha", 1.0)));
    "equal" => |_, x| one(k::equal(&x[0], &x[1]));
    "exp" => |_, x| one(k::exp(&x[0]));
    "expand_dims" => |a, x| one(k::expand_dims(&x[0], a.whole_or("axis", -1)));
    "eye" => |a, _x| one(k::eye(a.per_axis("size"), a.dtype()));
    "flatten" => |_, x| one(k::flatten(&x[0]));
    "foldl" => |_, x| one(k::foldl(folded, &x[0], x.get(1)));
    "foldr" => |_, x| one(k::foldr(folded, &x[0], x.get(1)));
    "gather" => |_, x| one(k::gather(&x[0], &x[1]));
    "greater" => |_, x| one(k::greater(&x[0], &x[1]));
    "greater_equal" => |_, x| one(k::greater_equal(&x[0], &x[1]));
    "hard_sigmoid" => |_, x| one(k::hard_sigmoid(&x[0]));
    "identity" => |_, x| one(k::identity(&x[0]));
    "in_top_k" => |a, x| one(k::in_top_k(&x[0], &x[1], a.whole("k") as usize));
    "l2_normalize" => |a, x| one(k::l2_normalize(&x[0], a.has("axis").then(|| a.whole("axis"))));
    "less" => |_, x| one(k::less(&x[0], &x[1]));
    "less_equal" => |_, x| one(k::less_equal(&x[0], &x[1]));
    "local_conv1d" => |a, x| one(k::local_conv1d(&x[0], &x[1], a.per_axis("kernel_size"), a.per_axis("strides")));
    "local_conv2d" => |a, x| {
        let [rows, columns] = a.per_axis::<2>("output_shape").0;
        one(k::local_conv2d(&x[0], &x[1], a.per_axis("kernel_size"), a.per_axis("strides"), (rows, columns), a.format()))
    };
    "log" => |_, x| one(k::log(&x[0]));
    "logsumexp" => |a, x| reduced(a, x, k::logsumexp);
    "map_fn" => |_, x| one(k::map_fn(|row| Ok(k::sum(&k::square(row), &[], false)), &x[0]));
    "max" => |a, x| reduced(a, x, k::max);
    "maximum" => |_, x| one(k::maximum(&x[0], &x[1]));
    "mean" => |a, x| reduced(a, x, k::mean);
    "min" => |a, x| reduced(a, x, k::min);
    "minimum" => |_, x| one(k::minimum(&x[0], &x[1]));
    "normalize_batch_in_training" => |a, x| {
        let (y, mean, var) = k::normalize_batch_in_training(&x[0], x.get(1), x.get(2), &a.wholes("reduction_axes"), a.number_or("epsilon", 1e-3));
        Results(vec![y, mean, var])
    };
    "not_equal" => |_, x| one(k::not_equal(&x[0], &x[1]));
    "one_hot" => |a, x| one(k::one_hot(&x[0], a.whole("num_classes") as usize));
    "ones_like" => |a, x| one(k::ones_like(&x[0], a.dtype()));
    "permute_dimensions" => |a, x| one(k::permute_dimensions(&x[0], &a.counts("pattern")));
    "pool2d" => |a, x| one(k::pool2d(&x[0], a.per_axis("pool_size"), a.pool()));
    "pool3d" => |a, x| one(k::pool3d(&x[0], a.per_axis("pool_size"), a.pool()));
    "pow" => |a, x| one(k::pow(&x[0], a.number("a")));
    "prod" => |a, x| reduced(a, x, k::prod);
    "relu" => |a, x| one(k::relu(&x[0], a.number_or("alpha", 0.0), a.has("max_value").then(|| a.number("max_value")), a.number_or("threshold", 0.0)));
    "repeat" => |a, x| one(k::repeat(&x[0], a.whole("n") as usize));
    "repeat_elements" => |a, x| one(k::repeat_elements(&x[0], a.whole("rep") as usize, a.whole("axis")));
    "reshape" => |a, x| one(k::reshape(&x[0], &a.wholes("shape")));
    "resize_images" => |a, x| one(k::resize_images(&x[0], a.whole("height_factor") as usize, a.whole("width_factor") as usize, a.format().unwrap(), a.text("interpolation", "nearest")));
    "resize_volumes" => |a, x| one(k::resize_volumes(&x[0], a.whole("depth_factor") as usize, a.whole("height_factor") as usize, a.whole("width_factor") as usize, a.format().unwrap()));
    "reverse" => |a, x| one(k::reverse(&x[0], &a.wholes("axes")));
    "rnn" => |a, x| {
        let options = k::Rnn::new().go_backwards(a.flag("go_backwards")).unroll(a.flag("unroll")).mask(x.get(3).cloned()).constants([&x[2]]);
        let (last, outputs, states) = k::rnn(running, &x[0], &[&x[1]], options);
        Results([last, outputs].into_iter().chain(states).collect())
    };
    "round" => |_, x| one(k::round(&x[0]));
    "separable_conv1d" => |a, x| one(k::separable_conv1d(&x[0], &x[1], &x[2], a.conv()));
    "separable_conv2d" => |a, x| one(k::separable_conv2d(&x[0], &x[1], &x[2], a.conv()));
    "shape" => |_, x| one(k::shape(&x[0]));
    "sigmoid" => |_, x| one(k::sigmoid(&x[0]));
    "sign" => |_, x| one(k::sign(&x[0]));
    "sin" => |_, x| one(k::sin(&x[0]));
    "size" => |_, x| one(k::size(&x[0]));
    "slice" => |a, x| one(k::slice(&x[0], &a.counts("start"), &a.wholes("size")));
    "softmax" => |a, x| one(k::softmax(&x[0], a.whole_or("axis", -1)));
    "softplus" => |_, x| one(k::softplus(&x[0]));
    "softsign" => |_, x| one(k::softsign(&x[0]));
    "sparse_categorical_crossentropy" => |a, x| one(k::sparse_categorical_crossentropy(&x[0], &x[1], a.flag("from_logits"), a.whole_or("axis", -1)));
    "spatial_2d_padding" => |a, x| {
        let padding = if a.has("padding") { k::Sides(a.sides().try_into().unwrap()) } else { 1.into() };
        one(k::spatial_2d_padding(&x[0], padding, a.format()))
    };
    "spatial_3d_padding" => |a, x| {
        let padding = if a.has("padding") { k::Sides(a.sides().try_into().unwrap()) } else { 1.into() };
        one(k::spatial_3d_padding(&x[0], padding, a.format()))
    };
    "sqrt" => |_, x| one(k::sqrt(&x[0]));
    "square" => |_, x| one(k::square(&x[0]));
    "squeeze" => |a, x| one(k::squeeze(&x[0], a.whole("axis")));
    "stack" => |a, x| one(k::stack(&each(x), a.whole_or("axis", 0)));
    "std" => |a, x| reduced(a, x, k::std);
    "stop_gradient" => |_, x| one(k::stop_gradient(&x[0]));
    "sum" => |a, x| reduced(a, x, k::sum);
    "switch" => |_, x| one(k::switch(&x[0], &x[1], &x[2]));
    "tanh" => |_, x| one(k::tanh(&x[0]));
    "temporal_padding" => |a, x| one(k::temporal_padding(&x[0], if a.has("padding") { a.sides()[0] } else { (1, 1) }));
    "tile" => |a, x| one(k::tile(&x[0], &a.counts("n")));
    "to_dense" => |_, x| one(k::to_dense(&k::ctc_label_dense_to_sparse(&x[0], &x[1])));
    "transpose" => |_, x| one(k::transpose(&x[0]));
    "var" => |a, x| reduced(a, x, k::var);
    "zeros_like" => |a, x| one(k::zeros_like(&x[0], a.dtype()));
}

/// A case with what was recorded.
struct Case<'a> {
    name: &'a str,
    function: &'a str,
    arguments: Arguments<'a>,
    inputs: Vec<Array>,
    outputs: Vec<Array>,
    /// The weights of floating point results in the sum that is differentiated.
    signs: Vec<Option<Array>>,
    /// By input; none if gradients were not recorded.
    gradients: Option<Vec<Option<Array>>>,
    /// The inputs whose gradients were asked for; none means all.
    of: Option<&'a Vec<Value>>,
}

impl<'a> Case<'a> {
    fn read(fixture: &Fixture, case: &'a Value) -> Self {
        let name = case["name"].as_str().unwrap();
        let find = |what: &str, i: usize| fixture.find(&format!("{name}/{what}_{i}")).cloned();
        let count = |key: &str| case[key].as_u64().unwrap() as usize;
        let outputs = count("outputs");
        let all = |what: &str, n: usize| (0..n).map(|i| find(what, i).unwrap()).collect();
        Self {
            name,
            function: case["function"].as_str().unwrap(),
            arguments: Arguments(&case["arguments"]),
            inputs: all("input", count("inputs")),
            outputs: all("output", outputs),
            signs: (0..outputs).map(|i| find("r", i)).collect(),
            gradients: case["gradients"]
                .is_array()
                .then(|| (0..count("inputs")).map(|i| find("grad", i)).collect()),
            of: case["of"].as_array(),
        }
    }

    /// Its results, and the gradients of its floating point inputs where there are any.
    fn write(
        &self,
        x: &[Tensor],
        sign: &mut dyn FnMut(&Tensor, &Array) -> Tensor,
    ) -> (Vec<Tensor>, Vec<Option<Tensor>>) {
        let row = TABLE.iter().find(|(name, _)| *name == self.function).unwrap();
        let mut outputs = row.1(&self.arguments, x);
        // Of moments, Keras's fused kernel has no gradient; they were not recorded.
        outputs.truncate(self.outputs.len());
        for output in &outputs {
            output.check().unwrap_or_else(|error| panic!("{}: {error}", self.name));
        }
        let weighed = outputs
            .iter()
            .zip(&self.signs)
            .filter_map(|(y, r)| Some(k::sum(&(y * sign(y, r.as_ref()?)), &[], false)));
        let Some(objective) = weighed.reduce(|a, b| a + b).filter(|_| self.gradients.is_some()) else {
            return (outputs, vec![None; x.len()]);
        };
        let gradients = x.iter().enumerate().map(|(i, x)| {
            let asked = self.of.is_none_or(|of| of.contains(&i.into()));
            (asked && x.dtype().unwrap().is_float())
                .then(|| k::gradients(&objective, &[x]).unwrap().remove(0))
                .flatten()
        });
        let gradients = gradients.collect();
        (outputs, gradients)
    }

    /// Compares what a run gave: results, then the gradients there are.
    fn check(&self, got: &[Array], exist: &[bool], how: &str) {
        let double = self.name.ends_with("64");
        for (i, (got, want)) in got.iter().zip(&self.outputs).enumerate() {
            let name = format!("{} on {how}, result {i}", self.name);
            let want = &self.padded(i, got, want);
            close(got, want, if double { 1e-10 } else { 1e-5 }, &name);
        }
        let mut rest = got[self.outputs.len()..].iter();
        let Some(gradients) = &self.gradients else { return };
        for (i, (want, exists)) in gradients.iter().zip(exist).enumerate() {
            let name = format!("{} on {how}, gradient of input {i}", self.name);
            match (want, exists.then(|| rest.next().unwrap())) {
                (Some(want), Some(got)) => close(got, want, if double { 1e-10 } else { 1e-4 }, &name),
                (Some(want), None) => assert!(want.to_vec::<f64>().iter().all(|&x| x == 0.0), "{name}: none"),
                (None, Some(got)) => {
                    assert!(got.to_vec::<f64>().iter().all(|&x| x == 0.0), "{name}: {got:?}");
                }
                (None, None) => {}
            }
        }
    }

    /// What is wanted in the shape of the result, where lengths that depend on values are padded here: paths with -1, the
    /// entries of a sparse matrix with 0.
    fn padded(&self, output: usize, got: &Array, want: &Array) -> Array {
        let fill = match (self.function, output) {
            ("ctc_decode", i) if i + 1 < self.outputs.len() => -1,
            ("ctc_label_dense_to_sparse", 0 | 1) => 0,
            _ => return want.clone(),
        };
        let axis = usize::from(self.function == "ctc_decode");
        let mut values = vec![fill; got.len()];
        let columns = |array: &Array| array.shape()[axis..].iter().product::<usize>().max(1);
        let rows = values.chunks_mut(columns(got));
        for (row, own) in rows.zip(want.to_vec::<i64>().chunks(columns(want))) {
            row[..own.len()].copy_from_slice(own);
        }
        if axis == 0 {
            let own = want.to_vec::<i64>();
            values[..own.len()].copy_from_slice(&own);
        }
        Array::from_vec(got.shape(), values).unwrap().cast(want.dtype())
    }

    /// On Keras tensors, through `k::function`; whether the first axes could be left open.
    fn on_keras_tensors(&self, runtime: &Arc<dyn Runtime>) -> bool {
        let made = |open: bool| -> Vec<Tensor> {
            let spec = |array: &Array| {
                let mut shape: Vec<Option<usize>> = array.shape().iter().map(|&len| Some(len)).collect();
                if let (true, Some(first)) = (open, shape.first_mut()) {
                    *first = None;
                }
                Spec::new(shape, array.dtype())
            };
            self.inputs.iter().map(|array| k::placeholder_of(spec(array), "x")).collect()
        };
        let first = self.inputs.first().and_then(|x| x.shape().first());
        let row = TABLE.iter().find(|(name, _)| *name == self.function).unwrap();
        let open = first.is_some()
            && self.inputs.iter().all(|x| x.shape().first() == first)
            && row.1(&self.arguments, &made(true)).iter().zip(&self.outputs).all(|(y, want)| {
                // A result that is open must be as long as the inputs, or it cannot be weighed.
                let open = y.spec().map(|spec| spec.shape.contains(&None));
                open.is_ok_and(|open| !open || want.shape().first() == first)
            });
        let x = made(open);
        // Fed, so that they may be as open as the results.
        let (mut inputs, mut feeds) = (x.clone(), self.inputs.clone());
        let (outputs, gradients) = self.write(&x, &mut |y, r| {
            let fed = k::placeholder_of(y.spec().unwrap(), "r");
            inputs.push(fed.clone());
            feeds.push(r.clone());
            fed
        });
        let exist: Vec<bool> = gradients.iter().map(Option::is_some).collect();
        let fetched: Vec<&Tensor> = outputs.iter().chain(gradients.iter().flatten()).collect();
        let function = k::function(&inputs, fetched).unwrap().on(runtime);
        let got = function.run(feeds).unwrap_or_else(|error| panic!("{}: {error}", self.name));
        for (y, got) in outputs.iter().zip(&got) {
            let spec = y.spec().unwrap();
            assert!(spec.accepts(got.shape()) && spec.dtype == got.dtype(), "{}: {spec}, {got:?}", self.name);
        }
        self.check(&got, &exist, &format!("Keras tensors on {}", runtime.name()));
        open
    }

    /// On traced tensors, as inside a layer.
    fn on_traced_tensors(&self, runtime: &Arc<dyn Runtime>) {
        let trace = Trace::new(TraceOptions { phase: Phase::Train, ..TraceOptions::default() });
        let x: Vec<Tensor> =
            self.inputs.iter().map(|array| trace.input(Type::new(array.shape(), array.dtype()))).collect();
        let (outputs, gradients) = self.write(&x, &mut |_, r| Tensor::constant(r.clone()));
        let exist: Vec<bool> = gradients.iter().map(Option::is_some).collect();
        let values: Vec<_> =
            outputs.iter().chain(gradients.iter().flatten()).map(|y| trace.lift(y).unwrap()).collect();
        trace.with_graph_mut(|graph| graph.set_outputs(values));
        let program = trace.with_graph(|graph| runtime.compile(graph, Passes::default())).unwrap();
        self.check(&program.run(&self.inputs).unwrap(), &exist, "traced tensors");
    }
}

/// Relative to the number, or to the largest of all where it is small: sums of terms that cancel are as exact as these.
fn close(got: &Array, want: &Array, tolerance: f64, name: &str) {
    assert_eq!((got.shape(), got.dtype()), (want.shape(), want.dtype()), "{name}");
    let (got, want) = (got.to_vec::<f64>(), want.to_vec::<f64>());
    let largest = want.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        let scale = w.abs().max(largest * 0.1);
        assert!(
            g == w || (g - w).abs() <= tolerance * scale,
            "{name}, element {i}: expected {w}, received {g}"
        );
    }
}

#[test]
fn values_and_gradients_are_keras_s() {
    let fixture = Fixture::load("k_2_3_1");
    let (runtimes, reference) = (runtimes(), Arc::new(Engine::new(Reference).unwrap()) as Arc<dyn Runtime>);
    let (mut open, mut failed) = (0, Vec::new());
    for case in fixture.cases() {
        let case = Case::read(&fixture, case);
        let run = || {
            case.on_traced_tensors(&reference);
            runtimes.iter().map(|runtime| case.on_keras_tensors(runtime)).fold(false, |_, open| open)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(opened) => open += usize::from(opened),
            Err(_) => failed.push(case.name.to_owned()),
        }
    }
    assert!(failed.is_empty(), "{} cases fail, for the reasons above: {failed:#?}", failed.len());
    let cases = fixture.cases().len();
    assert!(cases >= 600 && open >= 300, "{cases} cases, {open} with an open axis");
}
