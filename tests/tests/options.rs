//! Every option matters: for each key of the config of each loss, metric, optimizer, initializer, regularizer and
//! constraint, a change of its value changes what it computes. Those of layers are in `keras_layers`.

use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Variable};
use keras_core::constraints::ConstraintSpec;
use keras_core::initializers::InitializerSpec;
use keras_core::kinds::Kind;
use keras_core::layers::{Identity, Input};
use keras_core::losses::LossSpec;
use keras_core::metrics::{Metric, MetricSpec};
use keras_core::models::Model;
use keras_core::optimizers::OptimizerSpec;
use keras_core::random::Stream;
use keras_core::regularizers::RegularizerSpec;
use keras_core::tensor::{Trace, TraceOptions};
use keras_core::training::Compile;
use keras_core::{Array, DType, Result, Tensor, k};
use serde_json::{Value, json};

/// Keys that change nothing that can be computed, here and in `keras_layers`: of which classes, with the reason.
const EXCEPTIONS: [(Of, &str, &str); 13] = [
    (Of::All, "name", "a name names"),
    (Of::Metrics, "dtype", "sums are kept in the default float type"),
    (Of::Layers, "unroll", "the same arithmetic, another graph"),
    (Of::Layers, "implementation", "the same but for dropout, which `recurrent` tests"),
    (Of::Untrained, "trainable", "there is nothing to train"),
    (Of::Merges, "dtype", "it is that of weights, and of the input of a model that starts with the layer"),
    (Of::Class("LocallyConnected1D"), "padding", "Keras refuses all but \"valid\""),
    (Of::Class("LocallyConnected2D"), "padding", "Keras refuses all but \"valid\""),
    (Of::Class("RNN"), "num_constants", "it has to be as many as the layer is called on"),
    (Of::Class("StackedRNNCells"), "dtype", "its weights are those of its cells, which say their own"),
    (Of::Class("SpatialDropout1D"), "noise_shape", "Keras writes the key and computes the shape"),
    (Of::Class("SpatialDropout2D"), "noise_shape", "Keras writes the key and computes the shape"),
    (Of::Class("SpatialDropout3D"), "noise_shape", "Keras writes the key and computes the shape"),
];

/// What an exception is of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Of<'a> {
    All,
    Class(&'a str),
    Metrics,
    Layers,
    /// Layers without a weight that training moves.
    Untrained,
    /// Layers of several inputs without weights.
    Merges,
}

/// Whether a key of what is all of these need not matter.
pub(crate) fn is_exception(of: &[Of], key: &str) -> bool {
    EXCEPTIONS
        .iter()
        .any(|(which, exception, _)| *exception == key && (*which == Of::All || of.contains(which)))
}

#[test]
fn exceptions_are_few() {
    assert!(EXCEPTIONS.len() < 20);
}

/// Another value for a key.
fn changed(key: &str, value: &Value) -> Value {
    match (key, value) {
        ("reduction", value) => json!(if value == "sum" { "none" } else { "sum" }),
        ("mode", value) => json!(if value == "fan_in" { "fan_out" } else { "fan_in" }),
        ("distribution", value) => json!(if value == "uniform" { "normal" } else { "uniform" }),
        ("seed", _) => json!(17),
        // Beyond what clips: of clipped gradients many optimizers know no scale.
        ("clipnorm" | "clipvalue", _) => json!(100.0),
        ("thresholds", _) => json!([0.3]),
        ("k" | "top_k", _) => json!(2),
        ("class_id", _) => json!(1),
        ("num_classes" | "num_thresholds", _) => json!(5),
        ("curve", _) => json!("PR"),
        ("summation_method", _) => json!("majoring"),
        ("axis", value) => json!(i32::from(*value == json!(0))),
        (_, Value::Bool(value)) => json!(!value),
        (_, value) => {
            json!(value.as_f64().unwrap_or_else(|| panic!("no other value for {key}: {value}")) * 0.5 + 0.125)
        }
    }
}

fn matters(
    kind: &str,
    bases: &[Value],
    canonical: impl Fn(&Value) -> Value,
    observe: impl Fn(&Value) -> Result<String>,
) {
    let (mut failures, mut options) = (Vec::new(), 0);
    for base in bases {
        let base = canonical(base);
        let first = observe(&base).unwrap_or_else(|error| panic!("{base}: {error}"));
        assert_eq!(first, observe(&base).unwrap(), "{base} is not the same twice");
        for (key, value) in base["config"].as_object().unwrap() {
            if is_exception(if kind == "metrics" { &[Of::Metrics] } else { &[] }, key) {
                continue;
            }
            options += 1;
            let mut other = base.clone();
            other["config"][key] = changed(key, value);
            // An error is no difference: it does not show that the value is used.
            if observe(&other).map_or(true, |seen| seen == first) {
                failures.push(format!("{}.{key} = {}", base["class_name"], other["config"][key]));
            }
        }
    }
    assert!(options > 0, "no options");
    assert!(
        failures.is_empty(),
        "{kind}: {} of {options} change nothing: {}",
        failures.len(),
        failures.join(", ")
    );
}

/// What operations on constants amount to.
fn values(write: impl Fn(&Trace) -> Result<Vec<Tensor>>) -> Result<Vec<Vec<f64>>> {
    let trace = Trace::new(TraceOptions::default());
    let outputs = write(&trace)?;
    let outputs = outputs.iter().map(|output| trace.lift(output)).collect::<Result<Vec<_>>>()?;
    trace.with_graph_mut(|graph| graph.set_outputs(outputs));
    let program = trace.with_graph(|graph| Engine::new(Reference)?.compile(graph))?;
    Ok(program.run(&[])?.iter().map(Array::to_vec).collect())
}

/// A constant as a value of the trace.
fn literal(trace: &Trace, array: &Array) -> Result<Tensor> {
    Ok(trace.tensor(trace.lift(&Tensor::constant(array.clone()))?))
}

/// Values on both sides of 0, up to 2.
fn ramp(shape: &[usize]) -> Array {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| ((i * 37 % 101) as f32 / 25.0) - 2.0).collect();
    Array::from_vec(shape, values).unwrap()
}

fn of(class: &str, config: Value) -> Value {
    json!({"class_name": class, "config": config})
}

#[test]
fn options_of_regularizers_matter() {
    let spec = |value: &Value| RegularizerSpec::from(value);
    matters(
        "regularizers",
        &[of("L1L2", json!({"l1": 0.5, "l2": 0.375}))],
        |value| spec(value).to_value(),
        |value| {
            let regularizer = spec(value).resolve()?;
            let found = values(|trace| Ok(vec![regularizer.call(&literal(trace, &ramp(&[3, 4]))?)]))?;
            Ok(format!("{found:?}"))
        },
    );
}

#[test]
fn options_of_constraints_matter() {
    let spec = |value: &Value| ConstraintSpec::from(value);
    let bases = [
        of("MaxNorm", json!({"max_value": 1.0, "axis": 0})),
        of("UnitNorm", json!({"axis": 0})),
        of("MinMaxNorm", json!({"min_value": 0.5, "max_value": 1.0, "rate": 0.5, "axis": 0})),
    ];
    // Norms above the largest do not show the smallest, and the other way round.
    let observe = |value: &Value| {
        let constraint = spec(value).resolve()?;
        let found = values(|trace| {
            let weights = literal(trace, &ramp(&[3, 4]))?;
            Ok(vec![constraint.call(&weights), constraint.call(&(weights * 0.01))])
        })?;
        Ok(format!("{found:?}"))
    };
    matters("constraints", &bases, |value| spec(value).to_value(), observe);
}

#[test]
fn options_of_initializers_matter() {
    let spec = |value: &Value| InitializerSpec::from(value);
    let bases = [
        of("Constant", json!({"value": 0.5})),
        of("RandomNormal", json!({})),
        of("RandomUniform", json!({})),
        of("TruncatedNormal", json!({})),
        of("VarianceScaling", json!({})),
        of("Orthogonal", json!({})),
        of("Identity", json!({})),
    ];
    matters(
        "initializers",
        &bases,
        |value| spec(value).to_value(),
        |value| {
            let made = spec(value).resolve()?.init(&[6, 4], DType::F32, &Stream::new(1, 2, 0));
            let square = spec(value).resolve()?.init(&[4, 4], DType::F32, &Stream::new(1, 2, 0));
            Ok(format!(
                "{:?} {:?}",
                made.map(|made| made.to_vec::<f64>()),
                square.map(|made| made.to_vec::<f64>())
            ))
        },
    );
}

#[test]
fn options_of_optimizers_matter() {
    let observe = |value: &Value| {
        let weights = [Variable::new("w", ramp(&[3, 2]))];
        let state = OptimizerSpec::from(value).build(&weights)?;
        let trace = Trace::new(TraceOptions::default());
        let w = trace.tensor(trace.lift(&Tensor::variable(&weights[0]))?);
        let loss = k::sum(&k::square(&w), &[], false);
        let gradients: Vec<Tensor> = k::gradients(&loss, &[&w])?.into_iter().flatten().collect();
        let updates = state.updates(&weights, &gradients, &[])?;
        let updates =
            updates.into_iter().map(|(v, x)| Ok((v, trace.lift(&x)?))).collect::<Result<Vec<_>>>()?;
        trace.with_graph_mut(|graph| graph.set_updates(updates));
        let step = trace.with_graph(|graph| Engine::new(Reference)?.compile(graph))?;
        for _ in 0..4 {
            step.run(&[])?;
        }
        Ok(format!("{:?}", weights[0].value()?.to_vec::<f64>()))
    };
    let own = |class: &str| match class {
        "SGD" => json!({"learning_rate": 0.1, "momentum": 0.5}),
        "Adadelta" => json!({"learning_rate": 1.0, "epsilon": 0.5}),
        "Adam" => json!({"learning_rate": 0.3, "beta_2": 0.1, "epsilon": 0.01}),
        _ => json!({"learning_rate": 0.1}),
    };
    let classes = ["SGD", "RMSprop", "Adagrad", "Adadelta", "Adam", "Adamax", "Nadam"];
    let bases = classes.into_iter().flat_map(|class| {
        ["clipnorm", "clipvalue"].map(|clip| {
            let mut config = own(class);
            config[clip] = json!(0.5);
            of(class, config)
        })
    });
    let bases: Vec<Value> = bases.collect();
    let canonical = |value: &Value| {
        let state = OptimizerSpec::from(value).build(&[]).unwrap();
        state.config().unwrap().to_value()
    };
    matters("optimizers", &bases, canonical, observe);
}

/// Four samples of three classes: what is true, one-hot, and what is predicted.
fn classes() -> (Array, Array) {
    let y = Array::from([[1.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]);
    let p = Array::from([[0.7_f32, 0.2, 0.1], [0.32, 0.28, 0.4], [0.1, 0.34, 0.56], [0.1, 0.6, 0.3]]);
    (y, p)
}

#[test]
fn options_of_losses_matter() {
    let spec = |value: &Value| LossSpec::from(value);
    let names = [
        "MeanSquaredError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredLogarithmicError",
        "BinaryCrossentropy",
        "CategoricalCrossentropy",
        "SparseCategoricalCrossentropy",
        "Hinge",
        "SquaredHinge",
        "CategoricalHinge",
        "Poisson",
        "LogCosh",
        "KLDivergence",
        "Huber",
    ];
    matters(
        "losses",
        &names.map(|name| of(name, json!({}))),
        |value| spec(value).to_value(),
        |value| {
            let loss = spec(value).resolve()?;
            let (y, p) = classes();
            let sparse = Array::from([[0.0_f32], [1.0], [2.0], [1.0]]);
            let y = if value["class_name"] == "SparseCategoricalCrossentropy" { sparse } else { y };
            let p = Array::from_vec(p.shape(), p.to_vec::<f64>().iter().map(|p| 3.0 * p).collect())?
                .cast(DType::F32);
            let found = values(|trace| Ok(vec![loss.call(&literal(trace, &y)?, &literal(trace, &p)?)]))?;
            let x = Input::new([3]).tensor()?;
            let model = Model::new(&x, Identity::new().call(&x)?)?;
            model.on(&Engine::new(Reference)?);
            model.compile(Compile::new("sgd", spec(value)))?;
            Ok(format!("{found:?} {:?}", model.test_on_batch(p, y)?))
        },
    );
}

#[test]
fn options_of_metrics_matter() {
    let own = |class: &str| match class {
        "TopKCategoricalAccuracy" | "SparseTopKCategoricalAccuracy" => json!({"k": 1}),
        "SensitivityAtSpecificity" => json!({"specificity": 0.9}),
        "SpecificityAtSensitivity" => json!({"sensitivity": 0.75}),
        "MeanIoU" => json!({"num_classes": 3}),
        _ => json!({}),
    };
    // Functions have no options: their names are in lower case.
    let classes_of_metrics = <dyn Metric as Kind>::registry().names();
    let classes_of_metrics = classes_of_metrics.filter(|name| name.starts_with(char::is_uppercase));
    let bases: Vec<Value> = classes_of_metrics.map(|class| of(class, own(class))).collect();
    assert!(bases.len() >= 33, "{} metrics", bases.len());
    let spec = |value: &Value| MetricSpec::from(value);
    let canonical = |value: &Value| {
        let mut value = spec(value).to_value();
        // Given thresholds leave no choice of their number.
        if value["class_name"] == "AUC" {
            value["config"]["thresholds"] = Value::Null;
        }
        value
    };
    matters("metrics", &bases, canonical, |value| {
        let metric = spec(value).resolve()?;
        let mut y = classes().0;
        // Of the true ones one comes second, below ½ and as likely as a false one.
        let mut p =
            Array::from([[0.7_f32, 0.2, 0.1], [0.45, 0.35, 0.2], [0.1, 0.34, 0.56], [0.1, 0.6, 0.35]]);
        let class = value["class_name"].as_str().unwrap();
        if class.starts_with("Sparse") || class == "MeanIoU" {
            y = Array::from([[0.0_f32], [1.0], [2.0], [1.0]]);
        }
        if class == "SparseCategoricalCrossentropy" {
            // As many samples as classes: either axis may be that of the classes.
            (y, p) = (Array::from([0.0_f32, 1.0, 2.0]), p.rows(0, 3)?);
        }
        if class == "MeanIoU" {
            p = Array::from([[0.0_f32], [1.0], [1.0], [2.0]]);
        }
        let found = values(|trace| {
            let zeros =
                metric.states().into_iter().map(|(_, shape)| Array::zeros(DType::F32, &shape).unwrap());
            let states = zeros.map(|zeros| literal(trace, &zeros)).collect::<Result<Vec<_>>>()?;
            let mut next = metric.update(&states, &literal(trace, &y)?, &literal(trace, &p)?, None)?;
            next.push(metric.result(&next));
            Ok(next)
        })?;
        Ok(format!("{found:?}"))
    });
}
