//! Data that is not in memory: HDF5 files, sequences, generators. Numbers of real Keras are in `training.rs`.

use backend_ndarray::NdArray;
use keras_core::backend::Engine;
use keras_core::layers::Dense;
use keras_core::models::Sequential;
use keras_core::output::Output;
use keras_core::saving::{File, HDF5Matrix};
use keras_core::training::{
    Batch, Column, Compile, Data, Evaluate, Fit, Generator, Predict, Sequence, Shuffle, Source,
};
use keras_core::{Array, DType, Error, Result, random};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What `tests/oracle/matrix_2_15.py` wrote by h5py.
fn matrix() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/matrix.h5").into()
}

/// Rows `start..stop` of what is in there.
fn numbers(start: usize, stop: usize, width: usize) -> Vec<f64> {
    (start * width..stop * width).map(|i| (i % 200) as f64).collect()
}

fn model(width: usize) -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(4).activation("tanh").input_shape([width])).unwrap();
    model.add(Dense::new(3).activation("softmax")).unwrap();
    model.on(&Engine::new(NdArray::new().unwrap()).unwrap());
    model.compile(Compile::new("sgd", "sparse_categorical_crossentropy").metrics(["accuracy"])).unwrap();
    let values = |shape: &[usize]| (0..shape.iter().product()).map(|i: usize| (i as f32 * 1.7).sin() / 50.0);
    let weights = model.get_weights().unwrap();
    let weights = weights.iter().map(|w| Array::from_vec(w.shape(), values(w.shape()).collect()).unwrap());
    model.set_weights(&weights.collect::<Vec<_>>()).unwrap();
    model
}

fn message(result: Result<impl Sized>) -> String {
    result.err().expect("an error").to_string()
}

#[test]
fn data_sets_of_every_number_type_are_read_row_by_row() {
    let file = File::open(matrix()).unwrap();
    for (name, dtype, width, rows) in [
        ("plain", DType::F32, 3, 100),
        ("group/chunked", DType::F64, 5, 100),
        ("types/float16", DType::F32, 3, 100),
        ("types/uint8", DType::U8, 3, 100),
        ("types/int8", DType::I64, 3, 40),
        ("types/int64", DType::I64, 3, 100),
        ("types/uint32", DType::I64, 3, 100),
        ("types/>f4", DType::F32, 3, 100),
        ("types/>i8", DType::I64, 3, 100),
        ("types/>f2", DType::F32, 3, 100),
    ] {
        let data = file.dataset(name).unwrap();
        assert_eq!((data.shape(), data.dtype()), (&[rows, width][..], dtype), "{name}");
        for (start, stop) in [(0, rows), (0, 1), (15, 33), (rows - 1, rows), (7, 7)] {
            let read = data.read(start, stop).unwrap();
            assert_eq!((read.shape(), read.dtype()), (&[stop - start, width][..], dtype), "{name}");
            assert_eq!(read.to_vec::<f64>(), numbers(start, stop, width), "{name} {start}..{stop}");
        }
    }
    let odd = file.dataset("types/bool").unwrap().read(1, 3).unwrap();
    assert_eq!(odd, Array::from([[true, false, true], [false, true, false]]));
    let labels = file.dataset("labels").unwrap();
    assert_eq!(Column::from(&labels).rows(3, 5).unwrap(), Array::from([3_i64, 4]));

    assert!(message(file.dataset("none")).contains("none"));
    assert!(message(file.dataset("group")).contains("group"));
    assert!(message(file.dataset("text")).contains("expected numbers"));
    assert!(message(file.dataset("scalar")).contains("axis of samples"));
    assert!(message(File::open("no/such.h5")).contains("no/such.h5"));
}

/// Everything that training does to arrays, it does to files: the same bits.
#[test]
fn files_train_evaluate_and_predict_as_arrays_do() {
    let file = File::open(matrix()).unwrap();
    let chunked = file.dataset("group/chunked").unwrap();
    let classes = |array: Array| {
        let values = array.to_vec::<i64>().into_iter().map(|value| value % 3).collect();
        Array::from_vec(array.shape(), values)
    };
    let x = HDF5Matrix::from(chunked.clone()).start(3).unwrap().end(90).unwrap();
    let y = HDF5Matrix::new(matrix(), "labels").unwrap().start(3).unwrap().end(90).unwrap();
    let y = y.normalizer(classes).unwrap();
    let arrays = (Column::from(&x).rows(0, 87).unwrap(), Column::from(&y).rows(0, 87).unwrap());
    assert_eq!(arrays.0.to_vec::<f64>(), numbers(3, 90, 5));

    let run = |x: Data, y: Data, options: Fit<'_>| {
        let model = model(5);
        let _turn = crate::seeded(3);
        let history = model.fit(&x, &y, options.batch_size(10).epochs(3).verbose(0)).unwrap();
        let scores = model.evaluate(&x, &y).unwrap();
        (history.history.clone(), scores, model.predict(&x).unwrap(), model.get_weights().unwrap())
    };
    let options: [fn() -> Fit<'static>; 5] = [
        Fit::new,
        || Fit::new().shuffle(Shuffle::Batches),
        || Fit::new().shuffle(false).workers(0),
        || Fit::new().validation_split(0.3).workers(3).max_queue_size(2),
        || Fit::new().class_weight([(0, 1.0), (1, 2.0), (2, 0.5)]),
    ];
    for (i, options) in options.into_iter().enumerate() {
        let of_files = run((&x).into(), (&y).into(), options());
        let of_arrays = run((&arrays.0).into(), (&arrays.1).into(), options());
        assert_eq!(of_files.0, of_arrays.0, "history {i}");
        assert_eq!(of_files.1, of_arrays.1, "scores {i}");
        assert!(of_files.2.same_bits(&of_arrays.2), "prediction {i}");
        assert!(of_files.3.iter().zip(&of_arrays.3).all(|(a, b)| a.same_bits(b)), "weights {i}");
    }
    // The open data set as it is.
    let whole = model(5).predict(&chunked).unwrap();
    assert!(whole.same_bits(&model(5).predict(chunked.read(0, 100).unwrap()).unwrap()));
}

#[test]
fn a_matrix_says_what_does_not_fit() {
    let matrix = || HDF5Matrix::new(matrix(), "plain").unwrap();
    assert!(message(matrix().end(101)).contains("within its 100 samples"));
    assert!(message(matrix().end(5).unwrap().start(6)).contains("6..5"));
    let wide = matrix().normalizer(|array| Array::concatenate(&[array.clone(), array])).unwrap();
    assert!(message(Column::from(&wide).rows(0, 10)).contains("from the source"));
    let error = message(model(5).fit(matrix(), Array::from(vec![0_i32; 100]), Fit::new()));
    assert!(error.contains("(5,)") && error.contains("(3,)"), "{error}");
    assert!(message(model(3).fit(matrix(), Array::from(vec![0_i32; 99]), Fit::new())).contains("99"));
}

/// A source that notes who reads it and how far, and fails at a row.
struct Watched {
    fails: usize,
    read: Arc<AtomicUsize>,
    threads: Arc<Mutex<HashSet<String>>>,
}

impl Source for Watched {
    fn shape(&self) -> &[usize] {
        &[100, 3]
    }

    fn dtype(&self) -> DType {
        DType::F32
    }

    fn read(&self, start: usize, stop: usize) -> Result<Array> {
        self.threads.lock().unwrap().insert(std::thread::current().name().unwrap_or_default().to_owned());
        if stop > self.fails {
            return Err(Error::value("reading a tape", "a whole one", "a knot"));
        }
        self.read.fetch_max(stop, Ordering::SeqCst);
        Array::from_vec(&[stop - start, 3], vec![0.5_f32; 3 * (stop - start)])
    }
}

#[test]
fn a_thread_reads_ahead_as_far_as_it_may_and_its_error_ends_the_run() {
    let (read, threads) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(HashSet::new())));
    let watched = |fails| Column::source(Watched { fails, read: read.clone(), threads: threads.clone() });
    let model = model(3);
    let farthest = Arc::new(AtomicUsize::new(0));
    let (seen, far) = (read.clone(), farthest.clone());
    let callback = keras_core::callbacks::LambdaCallback::new().on_batch_end(move |_, batch, _| {
        // The queue, the one that is being put in, and the one that is being made.
        far.fetch_max(seen.load(Ordering::SeqCst) / 5 - batch, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_millis(5));
        Ok(())
    });
    let options = Fit::new().batch_size(5).shuffle(false).max_queue_size(3).verbose(0);
    model.fit(watched(100), Array::from(vec![0_i32; 100]), options.callbacks(callback)).unwrap();
    let farthest = farthest.load(Ordering::SeqCst);
    assert!((4..=6).contains(&farthest), "{farthest} batches ahead");
    assert_eq!(*threads.lock().unwrap(), HashSet::from(["keras-read".to_owned()]));
    for error in [
        message(model.predict(watched(40))),
        message(model.evaluate(watched(40), Array::from(vec![0_i32; 100]))),
        message(model.fit(watched(40), Array::from(vec![0_i32; 100]), Fit::new().shuffle(false).verbose(0))),
    ] {
        assert!(error.contains("reading a tape"), "{error}");
    }
}

/// Ten samples in batches of two; notes which batches were asked for, pass by pass.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<Vec<usize>>>>);

impl Noted {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(vec![Vec::new()])))
    }

    fn passes(&self) -> Vec<Vec<usize>> {
        self.0.lock().unwrap().clone()
    }
}

impl Sequence for Noted {
    fn len(&self) -> usize {
        5
    }

    fn get(&self, index: usize) -> Result<Batch> {
        self.0.lock().unwrap().last_mut().unwrap().push(index);
        let x = Array::full(&[2, 3], index as f32).unwrap();
        Ok((x, Array::from([0_i32, 1])).into())
    }

    fn on_epoch_end(&mut self) {
        self.0.lock().unwrap().push(Vec::new());
    }
}

#[test]
fn a_sequence_gives_every_batch_once_per_pass() {
    for workers in [0, 1] {
        let noted = Noted::new();
        let model = model(3);
        let _turn = crate::seeded(5);
        let history =
            model.fit_generator(noted.clone(), Fit::new().epochs(3).workers(workers).verbose(0)).unwrap();
        assert_eq!(history["loss"].len(), 3);
        let passes = noted.passes();
        assert_eq!(passes.len(), 4);
        let mut orders = passes[..3].to_vec();
        // A seed gives the order of numpy's shuffle, a fresh one per pass.
        random::set_seed(5);
        for order in &orders {
            let mut expected: Vec<usize> = (0..5).collect();
            random::with_order(|random| random.shuffle(&mut expected));
            assert_eq!(*order, expected);
        }
        orders.iter_mut().for_each(|order| order.sort_unstable());
        assert_eq!(orders, vec![vec![0, 1, 2, 3, 4]; 3]);
    }
    // Evaluation and prediction are never shuffled; more threads give the same order.
    let model = model(3);
    let predict = |workers| model.predict_generator(Noted::new(), &Predict::new().workers(workers)).unwrap();
    assert_eq!(predict(1)[0].shape(), [10, 3]);
    assert!(predict(3)[0].same_bits(&predict(0)[0]));
    let scores = model.evaluate_generator(Noted::new(), Evaluate::new().verbose(0).workers(2)).unwrap();
    let all =
        Array::concatenate(&(0..5).map(|i| Array::full(&[2, 3], i as f32).unwrap()).collect::<Vec<_>>())
            .unwrap();
    let direct = model.evaluate(all, Array::from([0_i32, 1].repeat(5))).unwrap();
    for (a, b) in scores.iter().zip(direct) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

fn pairs(count: usize) -> Generator {
    Generator::new(
        (0..count).map(|i| (Array::full(&[4, 3], i as f32).unwrap(), Array::from([0_i32, 1, 2, 0]))),
    )
}

#[test]
fn a_generator_goes_on_where_the_run_before_ended() {
    let model = model(3);
    let data = Data::from(pairs(6));
    model.fit(&data, (), Fit::new().steps_per_epoch(2).epochs(2).verbose(0)).unwrap();
    let rest = model.predict_generator(&data, &Predict::new().steps(2)).unwrap();
    let expected =
        Array::concatenate(&[Array::full(&[4, 3], 4.0_f32).unwrap(), Array::full(&[4, 3], 5.0_f32).unwrap()])
            .unwrap();
    assert!(rest[0].same_bits(&model.predict(expected).unwrap()));
    let error = message(model.predict_generator(&data, &Predict::new().steps(1)));
    assert!(error.contains("1 batches") && error.contains("end after 0"), "{error}");
}

#[test]
fn an_epoch_of_samples_ends_with_the_batch_that_reaches_them() {
    let model = model(3);
    let said = Arc::new(Mutex::new(Vec::new()));
    let fit = |samples| {
        let options = Fit::new().samples_per_epoch(samples).epochs(3).verbose(0);
        let history = Output::Writer(said.clone()).during(|| model.fit(pairs(100), (), options).unwrap());
        (history["loss"].len(), String::from_utf8(said.lock().unwrap().clone()).unwrap())
    };
    assert_eq!(fit(8), (3, String::new()));
    let (epochs, said) = fit(9);
    assert_eq!((epochs, said.matches("more than `samples_per_epoch`").count()), (3, 1), "{said}");
}

#[test]
fn what_does_not_go_with_a_generator_is_an_error() {
    let model = model(3);
    let y = Array::from([0_i32; 4]);
    let fit = |options: Fit<'_>| message(model.fit(pairs(9), (), options.verbose(0)));
    let steps = || Fit::new().steps_per_epoch(1);
    assert!(fit(Fit::new()).contains("a number of steps"));
    assert!(fit(steps().samples_per_epoch(4)).contains("1 steps and 4 samples"));
    assert!(fit(steps().batch_size(4)).contains("batch size"));
    assert!(fit(Fit::new().samples_per_epoch(4).batch_size(4)).contains("batch size"));
    assert!(fit(steps().validation_split(0.5)).contains("validation_split"));
    assert!(fit(steps().sample_weight(y.clone())).contains("sample_weight"));
    assert!(fit(steps().validation_data(pairs(9), ())).contains("validation data"));
    assert!(fit(steps().validation_steps(3).validation_data(pairs(2), ())).contains("end after 2"));
    assert!(fit(steps().validation_steps(3).validation_data(&y, &y)).contains("validation_steps"));
    assert!(message(model.fit(pairs(9), &y, steps())).contains("generator alone"));
    assert!(message(model.fit(&y, &y, Fit::new().samples_per_epoch(4))).contains("samples_per_epoch"));
    assert!(message(model.evaluate(pairs(9), ())).contains("a number of steps"));
    assert!(message(model.train_on_batch(pairs(9), ())).contains("arrays"));
    let broken = Generator::fallible(std::iter::once(Err(Error::value("reading", "a", "b"))));
    assert!(message(model.fit(broken, (), steps().verbose(0))).contains("reading"));
    let empty = Generator::new(std::iter::once((
        Array::zeros(DType::F32, &[0, 3]).unwrap(),
        Array::from(Vec::<i32>::new()),
    )));
    assert!(message(model.fit(empty, (), steps().verbose(0))).contains("at least one sample"));
}

/// A model without an input shape takes that of the first batch, which is not lost.
#[test]
fn a_model_is_built_from_the_first_batch() {
    let mut model = Sequential::new();
    model.add(Dense::new(3).activation("softmax")).unwrap();
    model.on(&Engine::new(NdArray::new().unwrap()).unwrap());
    model.compile(Compile::new("sgd", "sparse_categorical_crossentropy")).unwrap();
    model.fit(pairs(2), (), Fit::new().steps_per_epoch(2).verbose(0)).unwrap();
    assert_eq!(model.get_weights().unwrap()[0].shape(), [3, 3]);
}
