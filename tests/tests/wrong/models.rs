//! Wrong models, compilations and runs, in the order of tests/oracle/wrong_2_3_1.py.

use super::{Row, row};
use backend_ndarray::NdArray;
use keras_core::backend::Engine;
use keras_core::layers::{Add, Conv2D, Dense, Embedding, Input, LSTM, LayerRef};
use keras_core::models::{Model, Sequential, model_from_json};
use keras_core::training::{
    ClassWeight, Compile, Data, Evaluate, Fit, Generator, PerOutput, Predict, SampleWeight,
};
use keras_core::{Array, DType, Result, Tensor};

fn zeros(shape: &[usize]) -> Array {
    Array::zeros(DType::F32, shape).unwrap()
}

fn vector() -> Tensor {
    Input::new([4]).tensor().unwrap()
}

fn named(name: &str) -> Tensor {
    Input::new([4]).name(name).tensor().unwrap()
}

fn here() -> Dense {
    Dense::new(3).name("here")
}

fn called() -> LayerRef {
    let layer = LayerRef::new(here()).unwrap();
    layer.call(vector()).unwrap();
    layer
}

fn ends() -> (Tensor, Tensor) {
    let x = named("x");
    let y = Dense::new(3).activation("softmax").name("y").call(&x).unwrap();
    (x, y)
}

fn on(model: Model) -> Model {
    model.on(&Engine::new(NdArray::with_threads(1).unwrap()).unwrap());
    model
}

fn plain() -> Model {
    let (x, y) = ends();
    on(Model::new(&x, &y).unwrap())
}

fn one() -> Model {
    compiled(plain(), Compile::new("sgd", "mse"))
}

fn compiled(model: Model, options: Compile) -> Model {
    model.compile(options).unwrap();
    model
}

fn two_outputs() -> Model {
    let x = named("x");
    let left = Dense::new(3).name("left").call(&x).unwrap();
    let right = Dense::new(2).name("right").call(&x).unwrap();
    on(Model::new(&x, [&left, &right]).unwrap())
}

fn two_inputs() -> Model {
    let (a, b) = (named("first"), named("second"));
    let y = Dense::new(3).name("y").call(Add::new().call([&a, &b]).unwrap()).unwrap();
    compiled(on(Model::new([&a, &b], &y).unwrap()), Compile::new("sgd", "mse"))
}

fn unbuilt() -> Sequential {
    let mut model = Sequential::new();
    model.add(here()).unwrap();
    model
}

/// The outcome of the last `add`.
fn added<const N: usize>(layers: [LayerRef; N]) -> Result<()> {
    let mut model = Sequential::new();
    let mut outcome = Ok(());
    for layer in layers {
        outcome.clone().unwrap();
        outcome = model.add(layer);
    }
    outcome
}

/// A model is a layer.
pub(super) fn calling() -> Vec<Row> {
    let (x, y) = ends();
    let of_other_shape = Model::named("here", &x, &y).unwrap().call(Input::new([5]).tensor().unwrap());
    vec![row(
        "model_called_on_other_shape",
        "layer here at ",
        "(None, 4)",
        "(None, 5)",
        "shapes of its inputs",
        of_other_shape,
    )]
}

pub(super) fn building() -> Vec<Row> {
    let layer = |dense: Dense| LayerRef::new(dense).unwrap();
    let (x, y) = ends();
    let names = {
        let x = vector();
        let y = here().call(here().call(&x).unwrap()).unwrap();
        Model::new(&x, &y)
    };
    let states = LayerRef::new(LSTM::new(3).return_state(true).input_shape([5, 4]).name("here")).unwrap();
    let conv = LayerRef::new(Conv2D::new(3, 3).name("here")).unwrap();
    let of_layer = r#"{"class_name": "Sequential", "config": {"name": "m", "layers": [{"class_name": "Desne", "config": {"name": "here", "units": 3}}]}}"#;
    let of_model = r#"{"class_name": "Sequental", "config": {"name": "m", "layers": []}}"#;
    vec![
        row(
            "model_disconnected",
            "model",
            "every input that its outputs need",
            "the graph disconnected",
            "name that tensor",
            Model::new(vector(), here().call(vector()).unwrap()),
        ),
        row("model_input_twice", "model", "once", "x", "second one out", Model::new([&x, &x], &y)),
        row("model_names_twice", "model", "unique", "the name \"here\" used 2 times", "another name", names),
        row(
            "sequential_names_twice",
            "model",
            "unique",
            "the name \"here\" used 2 times",
            "another name",
            added([layer(here().input_shape([4])), layer(here())]),
        ),
        row("sequential_several_outputs", "here", "a single output", "3", "functional API", added([states])),
        row(
            "sequential_shapes",
            "here",
            "rank 4",
            "(None, 3)",
            "Input another shape",
            added([layer(Dense::new(3).input_shape([4])), conv]),
        ),
        row(
            "config_of_model",
            "model",
            "Sequential",
            "\"Sequental\"",
            "\"Sequential\"",
            model_from_json(of_model),
        ),
        row(
            "config_of_model_layer",
            "here",
            "Dense",
            "\"Desne\"",
            "layers::register",
            model_from_json(of_layer),
        ),
    ]
}

pub(super) fn compiling() -> Vec<Row> {
    let one = |options: Compile| plain().compile(options);
    let two = |options: Compile| two_outputs().compile(options);
    let mse = || Compile::new("sgd", "mse");
    let mae = || vec!["mae".into()];
    vec![
        row(
            "optimizer_name",
            "optimizer",
            "such as adam",
            "\"adma\"",
            "optimizers::register",
            one(Compile::new("adma", "mse")),
        ),
        row(
            "loss_name",
            "loss",
            "such as mse",
            "\"mes\"",
            "losses::register",
            one(Compile::new("sgd", "mes")),
        ),
        row(
            "metric_name",
            "metric",
            "such as accuracy",
            "\"acuracy\"",
            "metrics::register",
            one(mse().metrics(["acuracy"])),
        ),
        row("loss_missing", "compile", "loss", "none", "Model::add_loss", one(Compile::new("sgd", ()))),
        row(
            "losses_number",
            "compile, loss",
            "2 entries, one per output: left, right",
            "1",
            "by output name",
            two(Compile::new("sgd", ["mse"])),
        ),
        row(
            "losses_output_name",
            "compile, loss",
            "one of left, right",
            "\"rihgt\"",
            "\"right\"",
            two(Compile::new("sgd", [("left", "mse"), ("rihgt", "mse")])),
        ),
        row(
            "loss_weights_number",
            "compile, loss_weights",
            "2 entries",
            "1",
            "by output name",
            two(mse().loss_weights([1.0])),
        ),
        row(
            "loss_weights_output_name",
            "compile, loss_weights",
            "one of left, right",
            "\"rihgt\"",
            "\"right\"",
            two(mse().loss_weights_named([("rihgt", 1.0)])),
        ),
        row(
            "metrics_number",
            "compile, metrics",
            "2 entries",
            "1",
            "by output name",
            two(mse().metrics_per_output(PerOutput::List(vec![Some(mae())]))),
        ),
        row(
            "metrics_output_name",
            "compile, metrics",
            "one of left, right",
            "\"rihgt\"",
            "\"right\"",
            two(mse().metrics_per_output(PerOutput::Named(vec![("rihgt".into(), mae())]))),
        ),
        row(
            "sample_weight_mode_number",
            "compile, sample_weight_mode",
            "2 entries",
            "1",
            "by output name",
            two(mse().sample_weight_mode([None])),
        ),
        row(
            "sample_weight_mode_output_name",
            "compile, sample_weight_mode",
            "one of left, right",
            "\"rihgt\"",
            "\"right\"",
            two(mse().sample_weight_mode([("rihgt", "temporal")])),
        ),
        row(
            "sample_weight_mode_name",
            "compile, sample_weight_mode",
            "temporal",
            "\"temporla\"",
            "\"temporal\"",
            one(mse().sample_weight_mode("temporla")),
        ),
    ]
}

pub(super) fn running() -> Vec<Row> {
    [parts(), fits(), others(), generators()].into_iter().flatten().collect()
}

/// States, weights and tensors of layers and models.
fn parts() -> Vec<Row> {
    let stateful = || LSTM::new(3).stateful(true).name("here");
    let built = || {
        let layer = LayerRef::new(stateful()).unwrap();
        layer.call(Input::new([5, 4]).batch_size(3).tensor().unwrap()).unwrap();
        layer
    };
    let stateful_model = || {
        let x = Input::new([5, 4]).batch_size(3).tensor().unwrap();
        one_of(on(Model::new(&x, stateful().call(&x).unwrap()).unwrap()))
    };
    let stateless = || {
        let layer = LayerRef::new(LSTM::new(3).name("here")).unwrap();
        layer.call(Input::new([5, 4]).tensor().unwrap()).unwrap();
        layer
    };
    let uncalled = || LayerRef::new(here()).unwrap();
    let once = LayerRef::new(here()).unwrap();
    let twice = LayerRef::new(here()).unwrap();
    // A call lasts as long as its tensors.
    let _kept = [&once, &twice, &twice].map(|layer| layer.call(vector()).unwrap());
    let three = Predict::new().batch_size(3);
    vec![
        row(
            "reset_states_of_no_states",
            "here",
            "stateful",
            "no states",
            "stateful(true)",
            stateless().reset_states(),
        ),
        row(
            "reset_states_unbuilt",
            "here",
            "a built layer",
            "batch size",
            "first layer a batch_size",
            LayerRef::new(stateful()).unwrap().reset_states(),
        ),
        row(
            "reset_states_number",
            "here",
            "2 states",
            "1",
            "LayerRef::states",
            built().reset_states_to(&[zeros(&[3, 3])]),
        ),
        row(
            "reset_states_shape",
            "here",
            "[3, 3]",
            "[2, 3]",
            "layer's batch size",
            built().reset_states_to(&[zeros(&[3, 3]), zeros(&[2, 3])]),
        ),
        row(
            "stateful_predict_batch",
            "stateful layer here",
            "a batch size of 3",
            "4",
            "fill batches",
            stateful_model().predict_all(zeros(&[4, 5, 4]), &Predict::new().batch_size(4)),
        ),
        row(
            "stateful_predict_samples",
            "stateful layer here",
            "a batch size of 3",
            "5",
            "fill batches",
            stateful_model().predict_all(zeros(&[5, 5, 4]), &three),
        ),
        row(
            "stateful_fit_samples",
            "stateful layer here",
            "a batch size of 3",
            "5",
            "fill batches",
            stateful_model().fit(zeros(&[5, 5, 4]), zeros(&[5, 3]), Fit::new().batch_size(3).verbose(0)),
        ),
        row("set_weights_number", "here", "2", "1", "get_weights", called().set_weights(&[zeros(&[4, 3])])),
        row(
            "set_weights_shape",
            "here",
            "[4, 3]",
            "[4, 2]",
            "get_weights",
            called().set_weights(&[zeros(&[4, 2]), zeros(&[3])]),
        ),
        row(
            "output_of_uncalled",
            "here",
            "an output",
            "never called",
            "add it to a model",
            uncalled().output(),
        ),
        row(
            "output_of_two_calls",
            "here",
            "one output",
            "2 inbound nodes",
            "get_output_at(node_index)",
            twice.output(),
        ),
        row(
            "output_at_beyond",
            "here",
            "a call number 3",
            "1 calls",
            "counted from 0",
            once.get_output_at(3),
        ),
        row(
            "count_params_unbuilt",
            "here",
            "a built layer",
            "without weights",
            "an input shape",
            uncalled().count_params(),
        ),
        row("model_layer_name", "get_layer", "one of x, y", "\"yy\"", "\"y\"", plain().get_layer("yy")),
        row("model_layer_index", "get_layer", "below 2", "7", "Model::layers", plain().get_layer_at(7)),
        row("sequential_pop_empty", "model", "layer", "none", "add layers", Sequential::new().pop()),
        row(
            "sequential_get_weights_unbuilt",
            "model",
            "a built model",
            "not yet been built",
            "input_shape",
            unbuilt().get_weights(),
        ),
        row(
            "sequential_summary_unbuilt",
            "model",
            "a built model",
            "not yet been built",
            "input_shape",
            unbuilt().summary(),
        ),
        row(
            "model_set_weights_number",
            "set_weights",
            "2",
            "1",
            "get_weights",
            plain().set_weights(&[zeros(&[4, 3])]),
        ),
        row(
            "model_set_weights_shape",
            "set_weights of model",
            "[4, 3] for y/kernel",
            "[4, 2]",
            "get_weights",
            plain().set_weights(&[zeros(&[4, 2]), zeros(&[3])]),
        ),
    ]
}

fn one_of(model: Model) -> Model {
    compiled(model, Compile::new("sgd", "mse"))
}

fn x() -> Array {
    zeros(&[8, 4])
}

fn y() -> Array {
    zeros(&[8, 3])
}

fn fit_with(model: &Model, x: impl Into<Data>, y: impl Into<Data>, options: Fit<'_>) -> Result<()> {
    model.fit(x, y, options.verbose(0)).map(drop)
}

fn fit(model: &Model, x: impl Into<Data>, y: impl Into<Data>) -> Result<()> {
    fit_with(model, x, y, Fit::new())
}

fn fits() -> Vec<Row> {
    let with = |options: Fit<'static>| fit_with(&one(), x(), y(), options);
    let two = || one_of(two_outputs());
    let categorical = || compiled(plain(), Compile::new("sgd", "categorical_crossentropy"));
    let sparse = || compiled(plain(), Compile::new("sgd", "sparse_categorical_crossentropy"));
    let temporal = compiled(plain(), Compile::new("sgd", "mse").sample_weight_mode("temporal"));
    let classes = Array::from([[1.0_f32, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
    let weighted = |weight: Array| with(Fit::new().sample_weight(weight));
    let right = || zeros(&[8, 2]);
    let mut steps = Sequential::new();
    steps.add(Dense::new(3).input_shape([5, 4])).unwrap();
    let steps = one_of(on(steps.model().clone()));
    let mut table = Sequential::new();
    table.add(Embedding::new(3, 2).input_length(2).name("here")).unwrap();
    let table = one_of(on(table.model().clone()));
    let per_class: [(i64, f64); 2] = [(0, 1.0), (1, 2.0)];
    vec![
        row(
            "fit_before_compile",
            "fit",
            "a compiled model",
            "never compiled",
            "compile()",
            fit(&plain(), x(), y()),
        ),
        row(
            "fit_input_shape",
            "input",
            "x to have shape (4,)",
            "(5,)",
            "shape of a sample",
            fit(&one(), zeros(&[8, 5]), y()),
        ),
        row(
            "fit_input_rank",
            "input",
            "x to have shape (4,)",
            "(2, 4)",
            "shape of a sample",
            fit(&one(), zeros(&[8, 2, 4]), y()),
        ),
        row(
            "fit_one_sample_flat",
            "input",
            "x to have shape (4,)",
            "(1,)",
            "shape of a sample",
            fit(&one(), zeros(&[4]), y()),
        ),
        row(
            "fit_target_shape",
            "target y",
            "(None, 3)",
            "[8, 4]",
            "reshape the targets",
            fit(&one(), x(), zeros(&[8, 4])),
        ),
        row(
            "fit_target_rank",
            "target y",
            "(None, 3)",
            "[8, 2, 3]",
            "reshape the targets",
            fit(&one(), x(), zeros(&[8, 2, 3])),
        ),
        row(
            "fit_classes_for_categories",
            "target y",
            "(None, 3)",
            "[8, 1]",
            "to_categorical",
            fit(&categorical(), x(), zeros(&[8, 1])),
        ),
        row(
            "fit_samples",
            "checking y",
            "the same number of samples",
            "4",
            "same samples, in the same order",
            fit(&one(), x(), zeros(&[4, 3])),
        ),
        row(
            "fit_input_samples",
            "checking input",
            "the same number of samples",
            "4",
            "same samples, in the same order",
            fit(&two_inputs(), [x(), zeros(&[4, 4])], y()),
        ),
        row(
            "fit_inputs_number",
            "input",
            "2 arrays, for first, second",
            "1",
            "one array for each",
            fit(&two_inputs(), [x()], y()),
        ),
        row(
            "fit_too_many_inputs",
            "input",
            "1 arrays, for x",
            "2",
            "one array for each",
            fit(&one(), [x(), x()], y()),
        ),
        row(
            "fit_targets_number",
            "target",
            "2 arrays, for left, right",
            "1",
            "one array for each",
            fit(&two(), x(), [y()]),
        ),
        row(
            "fit_input_name",
            "input",
            "first, second",
            "secnod",
            "\"second\"",
            fit(&two_inputs(), [("first", x()), ("secnod", x())], y()),
        ),
        row(
            "fit_target_name",
            "target",
            "left, right",
            "rihgt",
            "\"right\"",
            fit(&two(), x(), [("left", y()), ("rihgt", right())]),
        ),
        row(
            "fit_without_targets",
            "target",
            "1 arrays, for y",
            "0",
            "one array for each",
            fit(&one(), x(), ()),
        ),
        row(
            "fit_no_samples",
            "checking data",
            "at least one sample",
            "none",
            "same samples, in the same order",
            fit(&one(), zeros(&[0, 4]), zeros(&[0, 3])),
        ),
        row(
            "fit_batch_size",
            "fit",
            "a batch size of at least 1",
            "0",
            "the default",
            with(Fit::new().batch_size(0)),
        ),
        row(
            "fit_batch_size_and_steps",
            "fit",
            "a batch size or a number of steps",
            "2 steps",
            "the default",
            with(Fit::new().batch_size(4).steps_per_epoch(2)),
        ),
        row(
            "fit_validation_split",
            "fit",
            "less than 1",
            "1",
            "fraction that is kept",
            with(Fit::new().validation_split(1.0)),
        ),
        row(
            "fit_validation_freq",
            "fit",
            "validation_freq",
            "0",
            "every epoch",
            with(Fit::new().validation_freq(0).validation_data(x(), y())),
        ),
        row(
            "fit_validation_shape",
            "target y",
            "(None, 3)",
            "[8, 2]",
            "reshape the targets",
            with(Fit::new().validation_data(x(), right())),
        ),
        row(
            "fit_validation_samples",
            "checking y",
            "the same number of samples",
            "4",
            "same samples, in the same order",
            with(Fit::new().validation_data(x(), zeros(&[4, 3]))),
        ),
        row(
            "fit_sample_weight_number",
            "sample_weight",
            "[8]",
            "[4]",
            "each sample of the data",
            weighted(zeros(&[4])),
        ),
        row(
            "fit_sample_weight_rank",
            "sample_weight",
            "[8]",
            "[8, 3]",
            "\"temporal\"",
            weighted(zeros(&[8, 3])),
        ),
        row(
            "fit_temporal_target_rank",
            "sample_weight",
            "at least three axes",
            "[8, 3]",
            "sample_weight_mode",
            fit_with(&temporal, x(), y(), Fit::new().sample_weight(zeros(&[8, 3]))),
        ),
        row(
            "fit_sample_weight_several_outputs",
            "sample_weight",
            "by output name",
            "without a name",
            "(\"output\", weights)",
            fit_with(&two(), x(), [y(), right()], Fit::new().sample_weight(SampleWeight::from(zeros(&[8])))),
        ),
        row(
            "fit_class_weight_missing",
            "class_weight",
            "a weight for every class",
            "2",
            "name them too",
            fit_with(
                &categorical(),
                zeros(&[4, 4]),
                classes,
                Fit::new().class_weight(ClassWeight::from(per_class)),
            ),
        ),
        row(
            "fit_class_weight_rank",
            "class_weight",
            "one or two axes",
            "[8, 5, 3]",
            "use sample_weight",
            fit_with(&steps, zeros(&[8, 5, 4]), zeros(&[8, 5, 3]), Fit::new().class_weight([(0, 1.0)])),
        ),
        row(
            "fit_index_beyond_table",
            "here",
            "from 0 to 2",
            "3",
            "3 rows",
            fit(&table, Array::full(&[2, 2], 3_i32).unwrap(), zeros(&[2, 2, 2])),
        ),
        row(
            "fit_sparse_class_beyond",
            "target y",
            "from 0 to 2",
            "3",
            "unit for each",
            fit(&sparse(), x(), Array::full(&[8, 1], 3.0_f32).unwrap()),
        ),
    ]
}

fn others() -> Vec<Row> {
    let right = || zeros(&[8, 2]);
    vec![
        row(
            "evaluate_before_compile",
            "evaluate",
            "a compiled model",
            "never compiled",
            "compile()",
            plain().evaluate(x(), y()),
        ),
        row(
            "train_on_batch_before_compile",
            "train_on_batch",
            "a compiled model",
            "never compiled",
            "compile()",
            plain().train_on_batch(x(), y()),
        ),
        row(
            "predict_input_shape",
            "input",
            "x to have shape (4,)",
            "(5,)",
            "shape of a sample",
            one().predict(zeros(&[8, 5])),
        ),
        row(
            "predict_inputs_number",
            "input",
            "2 arrays, for first, second",
            "1",
            "one array for each",
            two_inputs().predict([x()]),
        ),
        row(
            "predict_batch_size",
            "predict",
            "a batch size of at least 1",
            "0",
            "the default",
            one().predict_all(x(), &Predict::new().batch_size(0)),
        ),
        row(
            "evaluate_samples",
            "checking y",
            "the same number of samples",
            "4",
            "same samples, in the same order",
            one().evaluate_with(x(), zeros(&[4, 3]), Evaluate::new().verbose(0)),
        ),
        row(
            "evaluate_target_shape",
            "target y",
            "(None, 3)",
            "[8, 2]",
            "reshape the targets",
            one().evaluate_with(x(), right(), Evaluate::new().verbose(0)),
        ),
        row(
            "train_on_batch_samples",
            "checking y",
            "the same number of samples",
            "4",
            "same samples, in the same order",
            one().train_on_batch(x(), zeros(&[4, 3])),
        ),
        row(
            "test_on_batch_input_shape",
            "input",
            "x to have shape (4,)",
            "(5,)",
            "shape of a sample",
            one().test_on_batch(zeros(&[8, 5]), y()),
        ),
    ]
}

fn generators() -> Vec<Row> {
    let pairs = |n: usize| Generator::new((0..n).map(|_| (x(), y())));
    let bare = Generator::new((0..3).map(|_| keras_core::training::Batch::inputs(x())));
    let steps = |n: usize| Fit::new().steps_per_epoch(n);
    vec![
        row(
            "generator_batch",
            "target",
            "y",
            "0",
            "one array for each",
            fit_with(&one(), bare, (), steps(1)),
        ),
        row(
            "generator_with_targets",
            "fit",
            "from a generator alone",
            "y",
            "(x, y, weights)",
            fit_with(&one(), pairs(3), y(), steps(1)),
        ),
        row(
            "generator_without_steps",
            "fit",
            "a number of steps",
            "none",
            "steps, samples",
            fit(&one(), pairs(3), ()),
        ),
        row(
            "generator_validation_split",
            "fit",
            "validation_data beside",
            "0.5",
            "validation_data",
            fit_with(&one(), pairs(3), (), steps(1).validation_split(0.5)),
        ),
        row("generator_ends", "fit", "3", "1", "ask for fewer", fit_with(&one(), pairs(1), (), steps(3))),
    ]
}
