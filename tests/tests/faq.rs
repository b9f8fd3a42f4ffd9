//! What Keras's FAQ promises about looking into a model, and about data that is not in memory.

use crate::fixtures::Fixture;
use backend_ndarray::NdArray;
use keras_core::backend::Engine;
use keras_core::backend::reference::Reference;
use keras_core::layers::{BatchNormalization, Dense, Dropout, Input, LayerRef};
use keras_core::models::{Model, Sequential};
use keras_core::saving::HDF5Matrix;
use keras_core::training::{Compile, Fit, Generator, Shuffle};
use keras_core::{Array, Tensor, k};

fn engine() -> Engine<NdArray> {
    Engine::new(NdArray::new().unwrap()).unwrap()
}

fn stack() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(5).activation("tanh").input_shape([3]).name("first")).unwrap();
    model.add(BatchNormalization::new().momentum(0.5)).unwrap();
    model.add(Dropout::new(0.5)).unwrap();
    model.add(Dense::new(2).name("last")).unwrap();
    model.on(&engine());
    model
}

fn samples() -> Array {
    Array::from_vec(&[4, 3], (0..12).map(|i| (i as f32 * 0.7).sin()).collect()).unwrap()
}

fn close(a: &Array, b: &Array) {
    assert_eq!(a.shape(), b.shape());
    for (a, b) in a.to_vec::<f64>().into_iter().zip(b.to_vec::<f64>()) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

/// The output of a layer, from a model that ends there, from `K.function`, and by hand from its weights.
#[test]
fn the_output_of_an_intermediate_layer() {
    let model = stack();
    let inner =
        Model::new(model.input().unwrap(), model.get_layer("first").unwrap().output().unwrap()).unwrap();
    let by_model = inner.on(&engine()).predict(samples()).unwrap();
    let f =
        k::function([&model.layers()[0].input().unwrap()], [&model.layers()[0].output().unwrap()]).unwrap();
    let by_function = f.on(&engine()).run([samples()]).unwrap().remove(0);
    assert!(by_model.same_bits(&by_function));

    let weights = model.layers()[0].get_weights().unwrap();
    let x = Tensor::constant(samples());
    let by_hand =
        k::tanh(&(k::dot(&x, &Tensor::constant(weights[0].clone())) + Tensor::constant(weights[1].clone())));
    let by_hand =
        k::function([], [&by_hand]).unwrap().on(&Engine::new(Reference).unwrap()).run([]).unwrap().remove(0);
    close(&by_model, &by_hand);
}

/// From one inner tensor to another, without the model's own input.
#[test]
fn a_function_from_an_inner_tensor() {
    let model = stack();
    let (from, to) =
        (model.layers()[0].output().unwrap(), model.get_layer("last").unwrap().output().unwrap());
    let first = k::function([&model.input().unwrap()], [&from]).unwrap().on(&engine());
    let rest = k::function([&from], [&to]).unwrap().on(&engine());
    let hidden = first.run([samples()]).unwrap().remove(0);
    close(&rest.run([hidden]).unwrap()[0], &model.predict(samples()).unwrap());
}

/// `K.function([input, K.learning_phase()], [output])`: 0 tests, 1 trains, not fed is 0, and anything else is an error.
#[test]
fn the_learning_phase_switches_dropout_and_batch_normalization() {
    let model = stack();
    let x = model.input().unwrap();
    let normalized = model.layers()[1].output().unwrap();
    let dropped = model.layers()[2].output().unwrap();
    let before = model.get_weights().unwrap();
    let f = k::function([&x, &k::learning_phase()], [&normalized, &dropped]).unwrap().on(&engine());

    let test = f.run([samples(), Array::from(0_i32)]).unwrap();
    assert!(test[0].same_bits(&test[1]), "dropout passes everything in testing");
    let unfed = k::function([&x], [&normalized]).unwrap().on(&engine()).run([samples()]).unwrap();
    assert!(unfed[0].same_bits(&test[0]));

    let train = f.run([samples(), Array::from(true)]).unwrap();
    let (normalized, dropped) = (train[0].to_vec::<f32>(), train[1].to_vec::<f32>());
    for column in 0..5 {
        let values: Vec<f32> = normalized.iter().skip(column).step_by(5).copied().collect();
        assert!(values.iter().sum::<f32>().abs() < 1e-4, "a batch is centred by its own mean: {values:?}");
    }
    let zeros = dropped.iter().filter(|&&value| value == 0.0).count();
    assert!((3..18).contains(&zeros), "{zeros} of 20 dropped at rate 0.5");
    for (dropped, normalized) in dropped.iter().zip(&normalized) {
        assert!(*dropped == 0.0 || (dropped - normalized * 2.0).abs() < 1e-5);
    }
    assert!(!f.run([samples(), Array::from(1_i32)]).unwrap()[1].same_bits(&train[1]), "a new mask every run");

    for wrong in [Array::from(2_i32), Array::from(0.5_f32), Array::from(-1_i32)] {
        let error = f.run([samples(), wrong]).unwrap_err().to_string();
        assert!(error.contains("0, 1 or a bool"), "{error}");
    }
    for (before, after) in before.iter().zip(model.get_weights().unwrap()) {
        assert!(before.same_bits(&after), "a function runs no updates of layers");
    }
}

/// Updates happen when they are given, all from the values before the run.
#[test]
fn a_function_runs_the_updates_it_is_given() {
    let (a, b) = (k::variable(Array::from(1.0_f32), "a"), k::variable(Array::from(10.0_f32), "b"));
    let step = k::placeholder([], "step");
    let swap = [(a.clone(), Tensor::variable(&b) + &step), (b.clone(), Tensor::variable(&a) * 1.0)];
    let sum = Tensor::variable(&a) + Tensor::variable(&b);
    let f = k::function([&step], [&sum]).unwrap().updates(swap).on(&engine());
    assert_eq!(f.run([Array::from(0.5_f32)]).unwrap()[0].item().unwrap(), 11.0);
    assert_eq!(
        (k::get_value(&a).unwrap().item().unwrap(), k::get_value(&b).unwrap().item().unwrap()),
        (10.5, 1.0)
    );
    assert_eq!(f.run([Array::from(0.0_f32)]).unwrap()[0].item().unwrap(), 11.5);
}

/// Gradients of an output with respect to an input and to a layer in the middle, against differences.
#[test]
fn gradients_with_respect_to_any_tensor() {
    let x = Input::new([3]).tensor().unwrap();
    let hidden = Dense::new(4).activation("tanh").call(&x).unwrap();
    let y = Dense::new(1).call(&hidden).unwrap();
    let loss = k::sum(&y, &[], false);
    let gradients = k::gradients(&loss, &[&x, &hidden]).unwrap();
    let (dx, dh) = (gradients[0].clone().unwrap(), gradients[1].clone().unwrap());
    let f = k::function([&x], [&loss, &dx, &dh]).unwrap().on(&engine());
    let base = f.run([samples()]).unwrap();
    assert_eq!(base[2].shape(), [4, 4]);
    let analytic = base[1].to_vec::<f64>();
    for i in 0..12 {
        let moved = |by: f32| {
            let mut values = samples().to_vec::<f32>();
            values[i] += by;
            f.run([Array::from_vec(&[4, 3], values).unwrap()]).unwrap()[0].item().unwrap()
        };
        let difference = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!((difference - analytic[i]).abs() < 1e-3, "{difference} {}", analytic[i]);
    }
}

#[test]
fn a_tensor_without_a_value_cannot_be_evaluated() {
    let x = k::placeholder([Some(2)], "x");
    let error = k::function([], [&(&x * 2.0)]).unwrap().on(&engine()).run([]).unwrap_err().to_string();
    assert!(error.contains("placeholder x") && error.contains("inputs"), "{error}");
}

/// A host function inside a model that trains, with its own gradient, on the default backend.
#[test]
fn a_host_function_trains() {
    use keras_core::layers::Lambda;
    use keras_core::optimizers::SGD;
    use keras_core::tensor::Spec;
    let network = |host: bool| {
        let x = Input::new([3]).tensor().unwrap();
        let hidden = Dense::new(4).kernel_initializer("ones").call(&x).unwrap();
        let square = Lambda::new("square", move |x: &[Tensor]| {
            if !host {
                return vec![k::square(&x[0])];
            }
            k::Host::new("square", [Spec::new([None, Some(4)], keras_core::DType::F32)], |x| {
                Ok(vec![Array::from_vec(x[0].shape(), x[0].to_vec::<f32>().iter().map(|x| x * x).collect())?])
            })
            .vjp(|x, dy| {
                let pairs = x[0].to_vec::<f32>().into_iter().zip(dy[0].to_vec::<f32>());
                Ok(vec![Array::from_vec(x[0].shape(), pairs.map(|(x, dy)| 2.0 * x * dy).collect())?])
            })
            .call(&[&x[0]])
        });
        let model = Model::new(&x, square.call(&hidden).unwrap()).unwrap();
        model.on(&engine()).compile(Compile::new(SGD::new().learning_rate(0.01), "mse")).unwrap();
        let y = Array::full(&[4, 4], 0.5_f32).unwrap();
        let history = model.fit(samples(), y, Fit::new().epochs(3).shuffle(false).verbose(0)).unwrap();
        (history["loss"].to_vec(), model.get_weights().unwrap())
    };
    let ((host, host_weights), (own, own_weights)) = (network(true), network(false));
    for (host, own) in host.iter().zip(&own) {
        assert!((host - own).abs() < 1e-6 * own.abs(), "{host} {own}");
    }
    close(&host_weights[0], &own_weights[0]);
    assert!(host[2] < host[0]);
}

/// "How can I freeze Keras layers?": a model trains the layers that were trainable when it was compiled.
#[test]
fn a_frozen_and_a_trainable_model_share_a_layer() {
    let keras = Fixture::load("faq_2_3_1");
    let (data, labels) = (keras.array("x"), keras.array("y"));
    let x = Input::new([32]).tensor().unwrap();
    let layer = LayerRef::new(Dense::new(32)).unwrap();
    layer.set_trainable(false);
    let y = layer.call(&x).unwrap();

    let frozen_model = Model::new(&x, &y).unwrap();
    frozen_model.on(&engine()).compile(Compile::new("rmsprop", "mse")).unwrap();

    layer.set_trainable(true);
    let trainable_model = Model::new(&x, &y).unwrap();
    trainable_model.on(&engine()).compile(Compile::new("rmsprop", "mse")).unwrap();

    let first = [keras.array("weight_0").clone(), keras.array("weight_1").clone()];
    layer.set_weights(&first).unwrap();
    let steps = [&frozen_model, &frozen_model, &trainable_model, &trainable_model, &frozen_model];
    for (step, (model, expected)) in steps.into_iter().zip(keras.array("loss").to_vec::<f64>()).enumerate() {
        let loss = model.train_on_batch(data, labels).unwrap()[0];
        assert!((loss - expected).abs() < 1e-6 * expected, "step {step}: {loss} instead of {expected}");
        for (i, found) in layer.get_weights().unwrap().iter().enumerate() {
            close(found, keras.array(&format!("after_{step}_{i}")));
            assert_eq!(found.same_bits(&first[i]), step < 2, "weight {i} after step {step}");
        }
    }
}

/// "How can I use Keras with datasets that don't fit in memory?"
#[test]
fn data_that_does_not_fit_in_memory() {
    let model = stack();
    model.compile(Compile::new("sgd", "mse")).unwrap();
    let batches = || {
        Generator::new(
            (0..).map(|i| (samples(), Array::full(&[4, 2], if i % 2 == 0 { 0.1_f32 } else { 0.2 }).unwrap())),
        )
    };
    let losses = model.train_on_batch(samples(), Array::full(&[4, 2], 0.1_f32).unwrap()).unwrap();
    assert_eq!(
        losses.len(),
        model.test_on_batch(samples(), Array::full(&[4, 2], 0.1_f32).unwrap()).unwrap().len()
    );
    let history = model.fit(batches(), (), Fit::new().steps_per_epoch(100).epochs(5).verbose(0)).unwrap();
    assert_eq!(history["loss"].len(), 5);
    assert!(history["loss"][4] < history["loss"][0]);
    let history = model.fit_generator(batches(), Fit::new().samples_per_epoch(8).verbose(0)).unwrap();
    assert_eq!(history["loss"].len(), 1);
}

/// "How can I use HDF5 inputs with Keras?"
#[test]
fn hdf5_as_input() {
    let _turn = crate::seeded(1);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/matrix.h5");
    let model = stack();
    model.compile(Compile::new("sgd", "mse")).unwrap();
    let x = HDF5Matrix::new(path, "plain").unwrap().end(64).unwrap();
    let y = HDF5Matrix::new(path, "plain").unwrap().end(64).unwrap();
    let y = y
        .normalizer(|rows| Array::from_vec(&[rows.shape()[0], 2], vec![0.5_f32; rows.shape()[0] * 2]))
        .unwrap();
    model.fit(&x, &y, Fit::new().shuffle(Shuffle::Batches).verbose(0)).unwrap();
    model.evaluate(&x, &y).unwrap();

    let file = keras::hdf5::File::open(path).unwrap();
    let predictions = model.predict(file.dataset("plain").unwrap()).unwrap();
    assert_eq!(predictions.shape(), [100, 2]);
    assert!(predictions.rows(0, 64).unwrap().same_bits(&model.predict(&x).unwrap()));
}
