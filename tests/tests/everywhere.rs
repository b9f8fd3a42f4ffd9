//! The same training on every backend that was compiled in.

#[cfg(target_os = "linux")]
use crate::choosing::{child, report};
use crate::custom_backend::example::{Log, watch};
use backend_ndarray::NdArray;
use keras::backend::{Backend, Engine, IntoRuntime, Runtime};
use keras::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// What a function makes of every backend, the default one first.
macro_rules! of_every_backend {
    ($function:path) => {
        vec![
            $function(NdArray::new().unwrap()),
            #[cfg(feature = "candle")]
            $function(backend_candle::Candle::new("cpu").unwrap()),
            #[cfg(feature = "torch")]
            $function(backend_torch::Torch::new("cpu").unwrap()),
        ]
    };
}

/// An engine of every backend, the default one first.
pub(crate) fn runtimes() -> Vec<Arc<dyn Runtime>> {
    of_every_backend!(runtime)
}

pub(crate) fn runtime<B: Backend>(backend: B) -> Arc<dyn Runtime> {
    (&Engine::new(backend).unwrap()).into_runtime()
}

/// The backend's name, and an engine of it that writes down what it is asked for.
fn watched<B: Backend>(backend: B) -> (&'static str, Arc<dyn Runtime>, Log) {
    let name = backend.name();
    let (backend, log) = watch(backend);
    (name, runtime(backend), log)
}

/// The pixels scaled to 0..1 with a channel axis, and the class numbers.
pub(crate) fn digits() -> (Array, Array) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data/digits.npz");
    let arrays = keras::npy::read_npz(&path).unwrap();
    let find = |name: &str| arrays.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let pixels: Vec<f32> = find("x").to_vec::<f32>().into_iter().map(|pixel| pixel / 16.0).collect();
    let count = find("y").len();
    (Array::from_vec(&[count, 8, 8, 1], pixels).unwrap(), find("y"))
}

/// The network of the digits example. What dropout drops follows the names of layers and the model's seed, and the weights
/// are given: two of them are the same.
pub(crate) fn convolutional(optimizer: &str) -> Sequential {
    let mut model = Sequential::new();
    let first = Conv2D::new(32, [3, 3]).padding("same").activation("relu").input_shape([8, 8, 1]);
    model.add(first.name("first")).unwrap();
    model.add(Conv2D::new(32, [3, 3]).activation("relu").name("second")).unwrap();
    model.add(MaxPooling2D::new([2, 2]).name("pool")).unwrap();
    model.add(Dropout::new(0.25).name("some")).unwrap();
    model.add(Flatten::new().name("flat")).unwrap();
    model.add(Dense::new(128).activation("relu").name("third")).unwrap();
    model.add(Dropout::new(0.5).name("half")).unwrap();
    model.add(Dense::new(10).activation("softmax").name("classes")).unwrap();
    model.set_seed(7).unwrap();
    let mut numbers = conformance::Numbers::new(9);
    let weights: Vec<Array> = model
        .get_weights()
        .unwrap()
        .iter()
        .map(|weight| {
            let shape = weight.shape();
            let fan = weight.len() / shape[shape.len() - 1] + shape[shape.len() - 1];
            let reach = if shape.len() == 1 { 0.0 } else { (6.0 / fan as f64).sqrt() };
            numbers.array_in(DType::F32, shape, -reach, reach)
        })
        .collect();
    model.set_weights(&weights).unwrap();
    model.compile(Compile::new(optimizer, "sparse_categorical_crossentropy").metrics(["accuracy"])).unwrap();
    model
}

/// Keras's `mnist_cnn`.
fn mnist_cnn() -> Sequential {
    let mut model = Sequential::new();
    model.add(Conv2D::new(32, [3, 3]).activation("relu").input_shape([28, 28, 1])).unwrap();
    model.add(Conv2D::new(64, [3, 3]).activation("relu")).unwrap();
    model.add(MaxPooling2D::new([2, 2])).unwrap();
    model.add(Dropout::new(0.25)).unwrap();
    model.add(Flatten::new()).unwrap();
    model.add(Dense::new(128).activation("relu")).unwrap();
    model.add(Dropout::new(0.5)).unwrap();
    model.add(Dense::new(10).activation("softmax")).unwrap();
    model.compile(Compile::new("adadelta", "sparse_categorical_crossentropy").metrics(["accuracy"])).unwrap();
    model
}

/// Classifies a digit by its pixels as words, one after the other.
fn recurrent() -> Sequential {
    let mut model = Sequential::new();
    model.add(keras::layers::Embedding::new(2, 8).input_length(64)).unwrap();
    model.add(keras::layers::Lstm::new(16)).unwrap();
    model.add(Dense::new(10).activation("softmax")).unwrap();
    model.compile(Compile::new("adam", "sparse_categorical_crossentropy").metrics(["accuracy"])).unwrap();
    model
}

/// One epoch: losses agree to 1e-3, whatever the backend.
#[test]
fn an_epoch_of_digits_has_the_same_losses() {
    let (x, y) = digits();
    let losses = |runtime: Arc<dyn Runtime>| {
        let model = convolutional("adam");
        model.on(&runtime);
        let history =
            model.fit(&x, &y, Fit::new().epochs(1).batch_size(32).shuffle(false).verbose(0)).unwrap();
        (runtime.name(), history["loss"][0])
    };
    let all: Vec<(&str, f64)> = runtimes().into_iter().map(losses).collect();
    println!("{all:?}");
    for (name, loss) in &all {
        assert!((loss - all[0].1).abs() <= 1e-3 * all[0].1, "{name}: {all:?}");
        assert!(*loss < 0.9 * 10.0_f64.ln(), "{name} learns nothing: {loss}");
    }
}

/// The change of each weight in one step of plain gradient descent, which is its gradient.
#[test]
fn the_first_gradients_are_the_same() {
    let (x, y) = digits();
    let (x, y) = (x.rows(0, 64).unwrap(), y.rows(0, 64).unwrap());
    let gradients = |runtime: Arc<dyn Runtime>| -> Vec<Vec<f64>> {
        let model = convolutional("sgd");
        model.on(&runtime);
        let before = model.get_weights().unwrap();
        model.train_on_batch(&x, &y).unwrap();
        let after = model.get_weights().unwrap();
        let change = |(a, b): (&Array, &Array)| -> Vec<f64> {
            a.to_vec::<f64>().iter().zip(b.to_vec::<f64>()).map(|(a, b)| (a - b) / 0.01).collect()
        };
        before.iter().zip(&after).map(change).collect()
    };
    let all: Vec<_> = runtimes().into_iter().map(|runtime| (runtime.name(), gradients(runtime))).collect();
    for (name, found) in &all {
        for (i, (found, expected)) in found.iter().zip(&all[0].1).enumerate() {
            let largest = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            assert_eq!(found.len(), expected.len());
            let bound = 1e-4 * largest.max(1e-2);
            let apart = found
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b).abs())
                .find(|apart| apart.is_nan() || *apart > bound);
            assert!(apart.is_none(), "{name}, weight {i}: {apart:?} of {largest}");
        }
    }
}

/// What is added to a contraction element by element is no bias, however few axes fusion makes of it.
#[test]
fn a_contraction_plus_anything_has_the_same_values() {
    let array = |shape: &[usize]| {
        let count: usize = shape.iter().product();
        Array::from_vec(shape, (0..count).map(|i| (i as f32 * 0.7).sin()).collect()).unwrap()
    };
    type Sum = (&'static str, [&'static [usize]; 3], fn(&Tensor, &Tensor) -> Tensor);
    let sums: [Sum; 4] = [
        ("conv", [&[2, 5, 6, 3], &[3, 3, 3, 4], &[5, 6, 4]], |x, w| {
            k::conv2d(x, w, k::Conv::new().padding("same"))
        }),
        ("conv of one image", [&[1, 5, 6, 3], &[3, 3, 3, 4], &[1, 6, 4]], |x, w| {
            k::conv2d(x, w, k::Conv::new().padding("same"))
        }),
        ("matmul", [&[3, 5], &[5, 4], &[3, 4]], k::dot),
        ("batch_dot", [&[2, 3, 5], &[2, 5, 4], &[3, 4]], |x, y| k::batch_dot(x, y, (2, 1))),
    ];
    for (what, shapes, contract) in sums {
        let arrays = shapes.map(array);
        let inputs = shapes.map(|shape| Input::new(&shape[1..]).batch_size(shape[0]).tensor().unwrap());
        let [a, b, added] = &inputs;
        let sum = k::relu(&(contract(a, b) + added), 0.0, None, 0.0);
        let results: Vec<(&str, Array)> = runtimes()
            .iter()
            .map(|runtime| {
                let function = k::function(&inputs, [&sum]).unwrap().on(runtime);
                (runtime.name(), function.run(arrays.clone()).unwrap().remove(0))
            })
            .collect();
        for (name, found) in &results {
            for (found, expected) in found.to_vec::<f32>().iter().zip(results[0].1.to_vec::<f32>()) {
                assert!((found - expected).abs() < 1e-5, "{what} on {name}: {found}, {expected}");
            }
        }
    }
}

/// Weights that are drawn and what dropout drops have the same bits on every backend.
#[test]
fn random_numbers_have_the_same_bits() {
    let drawn = |runtime: Arc<dyn Runtime>| -> Vec<Vec<u32>> {
        let _turn = crate::seeded(5);
        let mut model = Sequential::new();
        model.add(Dense::new(7).input_shape([5]).kernel_initializer("orthogonal").name("weights")).unwrap();
        model.add(Dense::new(6).kernel_initializer("truncated_normal").name("more")).unwrap();
        model.add(Dropout::new(0.4).name("some")).unwrap();
        model.on(&runtime);
        model.set_seed(11).unwrap();
        let ones = Array::full(&[4, 6], 1.0_f32).unwrap();
        let x = Input::new([6]).tensor().unwrap();
        let dropout = model.layers()[2].clone();
        let kept = Model::new(
            &x,
            dropout
                .call_with(&x, serde_json::Map::from_iter([("training".to_owned(), true.into())]))
                .unwrap(),
        )
        .unwrap();
        kept.on(&runtime);
        kept.set_seed(11).unwrap();
        // By way of the device.
        let weights: Vec<Tensor> =
            model.weights().iter().map(|weight| Tensor::variable(&weight.variable)).collect();
        let mut arrays = k::function([], &weights).unwrap().on(&runtime).run([]).unwrap();
        arrays.push(kept.predict(ones).unwrap());
        assert!(
            arrays[4].to_vec::<f32>().contains(&0.0) && arrays[4].to_vec::<f32>().iter().any(|x| *x > 1.0)
        );
        arrays.iter().map(|array| array.to_vec::<f32>().into_iter().map(f32::to_bits).collect()).collect()
    };
    let all: Vec<_> = runtimes().into_iter().map(|runtime| (runtime.name(), drawn(runtime))).collect();
    for (name, found) in &all {
        assert_eq!(found, &all[0].1, "{name}");
    }
}

/// A model that moves after every step, from each backend to each other, its optimizer's state with it, learns what one does that
/// stays; a file of one backend holds the same bits on another.
#[test]
fn a_model_moves_between_all_backends() {
    let (x, y) = digits();
    let (x, y) = (x.rows(0, 32).unwrap(), y.rows(0, 32).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.h5");
    let runtimes = runtimes();
    let losses = |on: &dyn Fn(usize) -> Arc<dyn Runtime>| -> Vec<f64> {
        let model = convolutional("adam");
        let step = |step: usize| {
            model.on(on(step));
            model.train_on_batch(&x, &y).unwrap()[0]
        };
        let losses = (0..6).map(step).collect();
        model.save(&file).unwrap();
        let again = load_model(&file).unwrap();
        again.on(on(6));
        assert_eq!(again.get_weights().unwrap(), model.get_weights().unwrap());
        let state = |model: &Model| model.optimizer().unwrap().get_weights().unwrap();
        assert_eq!(state(&again), state(&model));
        losses
    };
    let stayed = losses(&|_| Arc::clone(&runtimes[0]));
    assert!(stayed[5] < stayed[0], "{stayed:?}");
    // 0 1 2 0 1 2, then 0 2 1 0 2 1: every pair in both directions.
    for stride in 1..runtimes.len().max(2) {
        let moved = losses(&|step| Arc::clone(&runtimes[step * stride % runtimes.len()]));
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-4 * b.abs();
        assert!(moved.len() == stayed.len() && moved.iter().zip(&stayed).all(close), "{moved:?} {stayed:?}");
    }
}

/// Models on different backends share a layer: what one learns the others compute with, whatever they computed before.
#[test]
fn models_on_all_backends_share_a_layer() {
    let layer = LayerRef::new(Conv2D::new(4, [3, 3]).activation("tanh")).unwrap();
    let data = |side: usize, channels: usize| {
        let values = (0..8 * side * side * channels).map(|i| (0.9 * i as f32).sin()).collect::<Vec<f32>>();
        Array::from_vec(&[8, side, side, channels], values).unwrap()
    };
    let (x, y) = (data(6, 3), data(4, 4));
    let models = runtimes().into_iter().map(|runtime| {
        let x = Input::new([6, 6, 3]).tensor().unwrap();
        let model = Model::new(&x, layer.call(&x).unwrap()).unwrap();
        model.compile(Compile::new("sgd", "mse")).unwrap();
        model.on(&runtime);
        model
    });
    let models: Vec<Model> = models.collect();
    let predictions = || models.iter().map(|model| model.predict(&x).unwrap().to_vec::<f32>());
    for learner in &models {
        // What predictions keep prepared of the kernel is out of date after the step.
        let before: Vec<Vec<f32>> = predictions().collect();
        learner.train_on_batch(&x, &y).unwrap();
        let after: Vec<Vec<f32>> = predictions().collect();
        for (values, old) in after.iter().zip(&before) {
            let apart = |others: &[f32]| {
                values.iter().zip(others).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
            };
            assert!(apart(&after[0]) < 1e-5 && apart(old) > 1e-4, "{} {}", apart(&after[0]), apart(old));
        }
    }
}

/// Data goes in, losses come out, dropout brings its bits: nothing else passes between host and device in a step.
#[test]
fn training_steps_copy_nothing_to_the_host_on_their_way() {
    let (x, y) = digits();
    let (x, y) = (x.rows(0, 32).unwrap(), y.rows(0, 32).unwrap());
    let words: Vec<i32> = x.to_vec::<f32>().into_iter().map(|pixel| i32::from(pixel > 0.5)).collect();
    let (words, large) =
        (Array::from_vec(&[32, 64], words).unwrap(), Array::full(&[4, 28, 28, 1], 0.5_f32).unwrap());
    let few = y.rows(0, 4).unwrap();
    for (name, runtime, log) in of_every_backend!(watched) {
        for (what, model, x, y) in [
            ("digits", convolutional("adam"), &x, &y),
            ("mnist_cnn", mnist_cnn(), &large, &few),
            ("LSTM", recurrent(), &words, &y),
        ] {
            model.on(&runtime);
            let batch = y.len() / 4;
            // Arrays that went up and down in an epoch of so many steps.
            let copies = |steps: usize| {
                let counts = || {
                    let log = log.lock().unwrap();
                    ["upload", "download"].map(|method| log.get(method).copied().unwrap_or(0))
                };
                let ([up, down], rows) = (counts(), steps * batch);
                let fit = Fit::new().batch_size(batch).shuffle(false).verbose(0);
                model.fit(x.rows(0, rows).unwrap(), y.rows(0, rows).unwrap(), fit).unwrap();
                let now = counts();
                [now[0] - up, now[1] - down]
            };
            copies(1);
            let before = runtime.host_copies();
            let ([up, down], more) = (copies(1), copies(4));
            assert_eq!(
                more,
                [up + 3 * 2, down + 3 * 2],
                "{what} on {name}: samples, targets; loss, accuracy"
            );
            assert_eq!(runtime.host_copies() - before, 0, "{what} on {name}");
        }
    }
}

/// What does pass on the way is counted: a function of the host on every backend, and what candle leaves to the host.
#[test]
fn copies_to_the_host_are_counted() {
    for runtime in runtimes() {
        let x = k::placeholder([Some(2)], "x");
        let host = k::Host::new("half", [Spec::new([Some(2)], DType::F32)], |operands| {
            let halves: Vec<f32> = operands[0].to_vec::<f32>().into_iter().map(|x| x / 2.0).collect();
            Ok(vec![Array::from(halves)])
        });
        let y = k::exp(&host.call(&[&k::exp(&x)])[0]);
        let program = k::function([&x], [&y]).unwrap().on(&runtime);
        for runs in 1..3 {
            program.run([Array::from([0.0_f32, 0.0])]).unwrap();
            assert_eq!(runtime.host_copies(), 2 * runs, "{}: there and back", runtime.name());
        }
    }
    #[cfg(feature = "candle")]
    {
        use keras::backend::Support;
        use keras::graph::{Graph, Type, Unary, optimize::Passes};
        let candle = runtime(backend_candle::Candle::new("cpu").unwrap());
        let host = |lack: &keras::backend::Lack| (lack.operation, lack.instead) == ("atan", Support::Host);
        assert!(candle.lacks().iter().any(host));
        let mut g = Graph::new();
        let x = g.input(Type::new([2], DType::F32));
        let y = g.unary(Unary::Atan, x).unwrap();
        g.set_outputs([y]);
        candle.compile(&g, Passes::default()).unwrap().run(&[Array::from([0.0_f32, 1.0])]).unwrap();
        assert!(candle.host_copies() > 0);
    }
}

/// Bytes of this process that are in memory.
#[cfg(target_os = "linux")]
pub(crate) fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// A process of its own, in which nothing else allocates: 900 steps after the first 100, with predictions between them, leave
/// its memory as it is. Tensors are so large that one of them lost in every step would take many times the slack.
#[cfg(target_os = "linux")]
#[test]
fn a_thousand_steps_leave_the_memory_flat() {
    const SLACK: u64 = 4 << 20;
    // One thread: those of three libraries would wait for each other.
    let variables = [("KERAS_NUM_THREADS", "1"), ("RAYON_NUM_THREADS", "1")];
    let Some(lines) = child("everywhere::a_thousand_steps_leave_the_memory_flat", "{}", &variables) else {
        let x = Array::full(&[64, 16, 16, 1], 0.5_f32).unwrap();
        let y = Array::from((0..64).map(|i| i % 4).collect::<Vec<i64>>());
        for runtime in runtimes() {
            let mut model = Sequential::new();
            let first = Conv2D::new(8, [3, 3]).strides([2, 2]).activation("relu");
            model.add(first.input_shape([16, 16, 1])).unwrap();
            model.add(BatchNormalization::new()).unwrap();
            model.add(MaxPooling2D::new([2, 2])).unwrap();
            model.add(Dropout::new(0.25)).unwrap();
            model.add(Reshape::new([2, 36])).unwrap();
            model.add(Lstm::new(64)).unwrap();
            model.add(Dense::new(4).activation("softmax")).unwrap();
            model.compile(Compile::new("adam", "sparse_categorical_crossentropy")).unwrap();
            model.on(&runtime);
            let steps = |count| {
                for step in 0..count {
                    model.train_on_batch(&x, &y).unwrap();
                    if step % 4 == 0 {
                        model.predict(&x).unwrap();
                    }
                }
            };
            steps(100);
            let before = resident();
            steps(900);
            report(&format!("{} {}", runtime.name(), resident().saturating_sub(before)));
        }
        return;
    };
    assert_eq!(lines.len(), runtimes().len(), "{lines:?}");
    for line in &lines {
        let grown: u64 = line.split_once(' ').unwrap().1.parse().unwrap();
        assert!(grown < SLACK, "{lines:?}");
    }
}
