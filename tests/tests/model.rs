//! Whole models on the default backend: memory, threads, seeds, names, and Python Keras beside us.

use backend_ndarray::NdArray;
use keras_core::backend::Engine;
use keras_core::constraints::{max_norm, min_max_norm};
use keras_core::initializers::{Constant, RandomNormal};
use keras_core::layers::{Dense, Dropout, Input, reset_names};
use keras_core::models::{Model, Sequential};
use keras_core::optimizers::SGD;
use keras_core::regularizers::l2;
use keras_core::training::{Compile, Fit};
use keras_core::{Array, config};
use std::process::Command;
use std::sync::Mutex;

fn data(samples: usize) -> (Array, Array) {
    let x: Vec<f32> = (0..samples * 20).map(|i| (i as f32 * 0.37).sin()).collect();
    let y: Vec<f32> = (0..samples * 3).map(|i| if i % 3 == (i / 3) % 3 { 1.0 } else { 0.0 }).collect();
    (Array::from_vec(&[samples, 20], x).unwrap(), Array::from_vec(&[samples, 3], y).unwrap())
}

fn network(engine: &Engine<NdArray>) -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(64).activation("relu").input_shape([20])).unwrap();
    model.add(Dropout::new(0.3)).unwrap();
    model.add(Dense::new(3).activation("softmax")).unwrap();
    model.on(engine);
    model.compile(Compile::new("adam", "categorical_crossentropy").metrics(["accuracy"])).unwrap();
    model
}

fn engine(threads: usize) -> Engine<NdArray> {
    Engine::new(NdArray::with_threads(threads).unwrap()).unwrap()
}

#[test]
fn a_seed_gives_the_same_bits_on_any_number_of_threads() {
    let (x, y) = data(200);
    let first = network(&engine(1)).get_weights().unwrap();
    let train = |threads| {
        // A stream of random numbers goes by the layer's name.
        reset_names();
        let model = network(&engine(threads));
        model.set_weights(&first).unwrap();
        model.set_seed(7).unwrap();
        model.fit(&x, &y, Fit::new().epochs(3).shuffle(false).verbose(0)).unwrap();
        model.get_weights().unwrap()
    };
    let one = train(1);
    assert_eq!(one, train(2));
    assert_eq!(one, train(7));
}

#[test]
fn steady_training_allocates_no_tensor_memory() {
    let engine = engine(2);
    let model = network(&engine);
    let (x, y) = data(32);
    for _ in 0..20 {
        model.train_on_batch(&x, &y).unwrap();
    }
    let (misses, bytes) = (engine.backend().pool_misses(), engine.backend().pool_bytes());
    for _ in 0..1000 {
        model.train_on_batch(&x, &y).unwrap();
    }
    assert_eq!(engine.backend().pool_misses(), misses);
    assert_eq!(engine.backend().pool_bytes(), bytes);
}

#[test]
fn predictions_on_eight_threads_during_fit_are_those_of_some_step() {
    let engine = engine(2);
    let input = Input::new([20]).tensor().unwrap();
    let hidden = Dense::new(16).activation("tanh").call(&input).unwrap();
    let output = Dense::new(3).activation("softmax").call(&hidden).unwrap();
    let (trained, asked) = (Model::new(&input, &output).unwrap(), Model::new(&input, &hidden).unwrap());
    trained.on(&engine);
    asked.on(&engine);
    trained.compile(Compile::new("sgd", "categorical_crossentropy")).unwrap();
    let (x, y) = data(32);
    let committed = Mutex::new(vec![asked.predict(&x).unwrap()]);
    let seen = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..50).map(|_| asked.predict(&x).unwrap()).collect::<Vec<_>>()))
            .collect();
        for _ in 0..100 {
            trained.train_on_batch(&x, &y).unwrap();
            committed.lock().unwrap().push(asked.predict(&x).unwrap());
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let committed = committed.into_inner().unwrap();
    assert!(seen.iter().all(|result| committed.contains(result)));
}

#[test]
fn models_dropped_in_a_loop_leave_no_memory() {
    let engine = engine(1);
    let (x, y) = data(8);
    let mut bytes = Vec::new();
    for i in 0..1000 {
        let model = network(&engine);
        if i % 50 == 0 {
            model.train_on_batch(&x, &y).unwrap();
            bytes.push(engine.backend().pool_bytes());
        }
    }
    assert_eq!(bytes[2], bytes[bytes.len() - 1], "{bytes:?}");
}

#[test]
fn names_count_per_prefix_and_are_unique_in_a_model() {
    std::thread::spawn(|| {
        reset_names();
        let x = Input::new([4]).tensor().unwrap();
        let a = Dense::new(2).call(&x).unwrap();
        let b = Dense::new(2).name("dense_1").call(&a).unwrap();
        let error = Model::new(&x, &b).unwrap_err().to_string();
        assert!(error.contains("the name \"dense_1\" used 2 times"), "{error}");
        reset_names();
        assert_eq!(Model::new(&x, &a).unwrap().name(), "model_1");
    })
    .join()
    .unwrap();
}

#[test]
fn a_sequential_without_an_input_shape_is_built_from_data() {
    let mut model = Sequential::new();
    model.add(Dense::new(3).activation("softmax")).unwrap();
    model.on(&engine(1));
    assert!(model.get_weights().unwrap_err().to_string().contains("not yet been built"));
    model.compile(Compile::new("sgd", "categorical_crossentropy")).unwrap();
    let (x, y) = data(8);
    model.fit(&x, &y, Fit::new().shuffle(false).verbose(0)).unwrap();
    assert_eq!(model.count_params().unwrap(), 63);
}

#[test]
fn wrong_use_says_what_was_expected_and_received() {
    let model = network(&engine(1));
    let (x, y) = data(8);
    let fit = |x: &Array, y: &Array, options: Fit<'static>| {
        model.fit(x, y, options.verbose(0)).unwrap_err().to_string()
    };
    let narrow = Array::full(&[8, 19], 0.0_f32).unwrap();
    for (error, part) in [
        (fit(&narrow, &y, Fit::new()), "(20,)"),
        (fit(&x, &x, Fit::new()), "the shape of the output"),
        (fit(&x, &y, Fit::new().batch_size(0)), "a batch size of at least 1"),
        (fit(&x, &y, Fit::new().validation_split(1.0)), "less than 1"),
        (fit(&x, &y.rows(0, 4).unwrap(), Fit::new()), "the same number of samples"),
        (fit(&x.rows(0, 0).unwrap(), &y.rows(0, 0).unwrap(), Fit::new()), "at least one sample"),
        (
            Dense::new(2).activation("rulu").call(Input::new([2]).tensor().unwrap()).unwrap_err().to_string(),
            "relu",
        ),
        (model.get_layer("none").unwrap_err().to_string(), "one of dense"),
        (Sequential::new().fit(&x, &y, Fit::new()).unwrap_err().to_string(), "at least one layer"),
    ] {
        assert!(error.contains("expected") && error.contains("received") && error.contains(part), "{error}");
    }
}

#[test]
fn numbers_that_are_none_are_errors() {
    let engine = engine(1);
    let (x, y) = data(8);
    let nan = f64::NAN;
    let fit = |layer: Dense, optimizer: SGD| {
        let mut model = Sequential::new();
        model.add(layer.input_shape([20]))?;
        model.on(&engine);
        model.compile(Compile::new(optimizer, "mse"))?;
        model.fit(&x, &y, Fit::new().verbose(0))
    };
    let dense = || Dense::new(3);
    for (result, part) in [
        (fit(dense().kernel_regularizer(l2(nan)), SGD::new()), "l2"),
        (fit(dense().kernel_constraint(max_norm(nan)), SGD::new()), "max_value"),
        (fit(dense().kernel_constraint(min_max_norm(0.0, 1.0).rate(nan)), SGD::new()), "rate"),
        (fit(dense().kernel_initializer(RandomNormal::new().mean(nan)), SGD::new()), "mean"),
        (fit(dense().bias_initializer(Constant::new(f64::INFINITY)), SGD::new()), "value"),
        (fit(dense(), SGD::new().learning_rate(nan)), "learning_rate"),
        (fit(dense(), SGD::new().momentum(nan)), "momentum"),
        (fit(dense(), SGD::new().clipnorm(nan)), "clipnorm"),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains(&format!("expected a finite {part}")) && error.contains("received"),
            "{error}"
        );
    }
}

#[test]
#[ignore = "needs Keras 2.3.1: cargo xtask test --all"]
fn python_keras_starts_on_the_file_we_create() {
    let oracles =
        std::env::var("KERAS_ORACLE_DIR").expect("KERAS_ORACLE_DIR says where the environments are");
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("keras.json"), config::Settings::default_file_contents()).unwrap();
    let output = Command::new(std::path::Path::new(&oracles).join("keras-2.3.1/bin/python"))
        .args(["-c", "import keras; print(keras.backend.floatx(), keras.backend.backend(), keras.backend.image_data_format())"])
        .env("KERAS_HOME", home.path())
        .env_remove("KERAS_BACKEND")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("float32 tensorflow channels_last"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
