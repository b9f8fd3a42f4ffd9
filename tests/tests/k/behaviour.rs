//! Functions without a value of their own: what they did in Keras, they do here.

use crate::choosing::child;
use crate::fixtures::{Fixture, array};
use keras::layers::{Dense, Dropout, Input, LayerRef};
use keras::models::Model;
use keras::training::Output;
use keras_core::backend::Variable;
use keras_core::config::DataFormat;
use keras_core::{Array, DType, Spec, Tensor, k};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type Row = (&'static str, fn(&Value));

/// One row per function, which gets what was recorded of it.
pub(super) const TABLE: &[Row] = &[
    ("backend", |_| assert_eq!(k::backend().unwrap(), "ndarray")),
    ("batch_get_value", |want| {
        let (v, w) = (k::zeros(&[3, 2], None, "v").unwrap(), k::variable([0.5_f32], "w"));
        let got = k::batch_get_value([&v, &w]).unwrap();
        assert_eq!(json!(got.iter().map(nested).collect::<Vec<_>>()), *want);
    }),
    ("batch_set_value", |want| {
        let (v, w) = (k::ones(&[2, 2], None, "v").unwrap(), k::variable([0.5_f32], "w"));
        // All or none.
        let wrong =
            [(&v, Array::zeros(DType::F32, &[2, 2]).unwrap()), (&w, Array::zeros(DType::F32, &[2]).unwrap())];
        assert!(k::batch_set_value(wrong).is_err());
        assert_eq!(k::get_value(&v).unwrap().to_vec::<f32>(), [1.0; 4]);
        k::batch_set_value([(&v, Array::zeros(DType::F32, &[2, 2]).unwrap()), (&w, [1.0_f32].into())])
            .unwrap();
        let got = k::batch_get_value([&v, &w]).unwrap();
        assert_eq!(json!(got.iter().map(nested).collect::<Vec<_>>()), *want);
    }),
    ("cast_to_floatx", |want| {
        k::set_floatx("float64").unwrap();
        assert_eq!(json!(k::cast_to_floatx(&Array::from([1_i32, 2])).dtype().name()), *want);
        k::set_floatx("float32").unwrap();
    }),
    ("clear_session", |want| {
        k::clear_session();
        let name = || LayerRef::new(Dense::new(1)).unwrap().name().to_owned();
        let before = [name(), name()];
        k::set_learning_phase(1).unwrap();
        k::clear_session();
        assert_eq!(json!([before[0], before[1], name()]), *want);
        assert!(k::learning_phase().symbol_id().is_some(), "the phase is open again");
    }),
    ("count_params", |want| {
        assert_eq!(json!(k::count_params(&k::ones(&[2, 3], None, "v").unwrap()).unwrap()), *want);
        assert!(k::count_params(k::placeholder([None, Some(3)], "x")).is_err());
    }),
    ("dropout", dropout),
    ("dtype", |want| {
        let y = k::placeholder([Some(2)], "y");
        let double = Variable::new("v", Array::from([1.0_f64]));
        let made = [
            Input::new([3]).tensor().unwrap(),
            k::constant(1, DType::I32, None),
            k::equal(&y, &y),
            Tensor::variable(&double),
        ];
        assert_eq!(json!(made.map(|x| k::dtype(&x).unwrap().name())), *want);
    }),
    ("epsilon", |want| assert_eq!(json!(k::epsilon()), *want)),
    ("eval", |want| assert_eq!(json!(nested(&k::eval(&k::square(&[1.0_f32, -2.0].pipe())).unwrap())), *want)),
    ("floatx", |want| assert_eq!(json!(k::floatx().name()), *want)),
    ("function", |want| {
        let (x, v) = (k::placeholder([Some(2)], "x"), k::variable([3.0_f32, 4.0], "v"));
        let own = Tensor::variable(&v);
        let f = k::function([&x], [&(&x * &own)]).unwrap().updates([(v, &own + &x)]);
        let run = || nested(&f.run([[1.0_f32, 2.0].into()]).unwrap()[0]);
        assert_eq!(json!([run(), run()]), json!([want[0], want[1]]));
        assert_eq!(f.run([[1.0_f32, 2.0, 3.0].into()]).is_err(), want[2].is_string());
    }),
    ("get_uid", uids),
    ("get_value", |want| {
        assert_eq!(
            json!(nested(&k::get_value(&k::variable([[1.0_f32, 2.0], [3.0, 4.0]], "v")).unwrap())),
            *want
        );
    }),
    ("get_variable_shape", |want| {
        assert_eq!(json!(k::get_variable_shape(&k::ones(&[2, 3], None, "v").unwrap())), *want);
    }),
    ("gradients", |want| {
        let x = k::placeholder([Some(2)], "x");
        let (v, y) = (k::variable([3.0_f32, 4.0], "v"), k::variable([1.0_f32], "y"));
        let loss = k::sum(&(k::square(&x) * Tensor::variable(&v)), &[], false);
        // Keras's function above had updated it twice.
        k::set_value(&v, [5.0_f32, 8.0]).unwrap();
        let found = k::gradients(&loss, &[&x, &(&v).into(), &(&y).into()]).unwrap();
        let got: Vec<Value> = found
            .iter()
            .map(|gradient| {
                let Some(gradient) = gradient else { return Value::Null };
                let f = k::function([&x], [gradient]).unwrap();
                nested(&f.run([[1.0_f32, 2.0].into()]).unwrap()[0])
            })
            .collect();
        assert_eq!(json!(got), *want);
    }),
    ("image_data_format", |want| assert_eq!(json!(k::image_data_format().name()), *want)),
    ("in_test_phase", |want| phases(want, |x, training| k::in_test_phase(x, &-x, training))),
    ("in_train_phase", |want| phases(want, |x, training| k::in_train_phase(x, &-x, training))),
    ("int_shape", |want| assert_eq!(json!(kinds().map(|x| k::int_shape(&x).unwrap())), *want)),
    ("is_keras_tensor", |want| assert_eq!(json!(kinds().map(|x| k::is_keras_tensor(&x))), *want)),
    ("is_placeholder", |want| assert_eq!(json!(kinds().map(|x| k::is_placeholder(&x))), *want)),
    ("is_symbolic", |want| assert_eq!(json!(kinds().map(|x| k::is_symbolic(&x))), *want)),
    ("is_variable", |want| assert_eq!(json!(kinds().map(|x| k::is_variable(&x))), *want)),
    ("learning_phase", |want| {
        let phase = k::learning_phase();
        assert_eq!(json!([phase.dtype().unwrap().name(), phase.spec().unwrap().shape]), *want);
    }),
    ("moving_average_update", |want| updated(want, |v, x| k::moving_average_update(v, x, 0.75))),
    ("ndim", |want| assert_eq!(json!(kinds().map(|x| k::ndim(&x).unwrap())), *want)),
    ("normalize_data_format", |want| {
        k::set_image_data_format("channels_first").unwrap();
        let found = k::normalize_data_format(None).unwrap();
        k::set_image_data_format("channels_last").unwrap();
        let named = k::normalize_data_format("Channels_Last").unwrap();
        assert_eq!(json!([found.name(), named.name()]), json!([want[0], want[1]]));
        assert_eq!(k::normalize_data_format("last").is_err(), want[2].is_string());
    }),
    ("ones", |want| filled(want, &k::ones(&[2, 3], None, "v").unwrap())),
    ("placeholder", |want| {
        let shape = |x: &Tensor| json!(x.spec().unwrap().shape);
        let typed = k::placeholder_of(Spec::new([Some(2)], DType::I32), "x");
        let (open, ndim) = (k::placeholder([None, Some(3)], "x"), k::placeholder(vec![None; 2], "x"));
        assert_eq!(json!([shape(&open), shape(&ndim), typed.dtype().unwrap().name()]), *want);
    }),
    ("print_tensor", printed),
    ("random_binomial", |want| {
        let p = want["arguments"]["p"].as_f64().unwrap();
        drawn(want, |shape, options| k::random_binomial(shape, p, options));
    }),
    ("random_normal", |want| {
        let of = |key: &str| want["arguments"][key].as_f64().unwrap();
        drawn(want, |shape, options| k::random_normal(shape, of("mean"), of("stddev"), options));
    }),
    ("random_normal_variable", |want| {
        let of = |key: &str| want["arguments"][key].as_f64().unwrap();
        variables(want, |shape, options| {
            k::random_normal_variable(shape, of("mean"), of("scale"), options, "v").unwrap()
        });
        assert!(k::random_normal_variable(&[2], f64::NAN, 1.0, k::Draw::new(), "v").is_err());
    }),
    ("random_uniform", |want| {
        let of = |key: &str| want["arguments"][key].as_f64().unwrap();
        drawn(want, |shape, options| k::random_uniform(shape, of("minval"), of("maxval"), options));
        let whole = k::random_uniform(&[1000], 2.0, 5.0, k::Draw::new().dtype(DType::I32));
        let mut found = k::eval(&whole).unwrap().to_vec::<i32>();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [2, 3, 4]);
    }),
    ("random_uniform_variable", |want| {
        let of = |key: &str| want["arguments"][key].as_f64().unwrap();
        variables(want, |shape, options| {
            k::random_uniform_variable(shape, of("low"), of("high"), options, "v").unwrap()
        });
    }),
    ("reset_uids", uids),
    ("set_epsilon", |want| {
        k::set_epsilon(1e-3).unwrap();
        let loss = k::binary_crossentropy(&[1.0_f32].pipe(), &[0.0_f32].pipe(), false);
        let got = k::eval(&loss).unwrap().item().unwrap();
        assert_eq!(json!(k::epsilon()), want[0]);
        assert!((got - want[1][0].as_f64().unwrap()).abs() < 1e-6, "{got}");
        k::set_epsilon(1e-7).unwrap();
    }),
    ("set_floatx", |want| {
        k::set_floatx("float64").unwrap();
        let made =
            [k::placeholder([Some(2)], "x").dtype().unwrap(), k::zeros(&[2], None, "v").unwrap().dtype()];
        assert_eq!(
            json!([k::floatx().name(), made[0].name(), made[1].name()]),
            json!([want[0], want[1], want[2]])
        );
        assert_eq!(k::set_floatx("int32").is_err(), want[3].is_string());
        k::set_floatx("float32").unwrap();
    }),
    ("set_image_data_format", |want| {
        k::set_image_data_format("channels_first").unwrap();
        let x = k::placeholder([Some(1), Some(2), Some(4), Some(6)], "x");
        let pooled = k::pool2d(&x, 2, k::Pool::new()).spec().unwrap().shape;
        assert_eq!(json!([k::image_data_format().name(), pooled]), json!([want[0], want[1]]));
        assert_eq!(k::image_data_format(), DataFormat::ChannelsFirst);
        assert_eq!(k::set_image_data_format("last").is_err(), want[2].is_string());
        k::set_image_data_format("channels_last").unwrap();
    }),
    ("set_learning_phase", |want| {
        for (phase, want) in (0..2).zip(want.as_array().unwrap()) {
            k::set_learning_phase(phase).unwrap();
            let x = k::placeholder([Some(2)], "x");
            let f = k::function([&x], [&k::in_train_phase(&x, &-&x, None)]).unwrap();
            let i = Input::new([3]).tensor().unwrap();
            let model = Model::new(&i, Dropout::new(0.999_999).call(&i).unwrap()).unwrap();
            let said = k::eval(&k::learning_phase()).unwrap().item().unwrap() as u8;
            k::clear_session();
            // What was called under it keeps it.
            let predicted = model.predict(Array::full(&[1, 3], 1.0_f32).unwrap()).unwrap();
            let chosen = f.run([[1.0_f32, 2.0].into()]).unwrap();
            assert_eq!(json!([said, nested(&chosen[0]), nested(&predicted)]), *want);
            let free = k::in_train_phase(&x, &-&x, None);
            let f = k::function([&x, &k::learning_phase()], [&free]).unwrap();
            for (phase, sign) in [(false, -1.0), (true, 1.0)] {
                assert_eq!(f.run([[1.0_f32, 2.0].into(), phase.into()]).unwrap()[0].to_vec::<f32>()[0], sign);
            }
        }
        assert_eq!(k::set_learning_phase(2).is_err(), want[2].is_string());
    }),
    ("set_value", |want| {
        let v = k::variable([[1.0_f32, 2.0], [3.0, 4.0]], "v");
        k::set_value(&v, [[5.0_f32, 6.0], [7.0, 8.0]]).unwrap();
        assert_eq!(nested(&k::get_value(&v).unwrap()), want[0]);
        // Keras on TensorFlow 1 takes any shape; here that of a variable is fixed.
        assert!(k::set_value(&v, Array::zeros(DType::F32, &[3, 2]).unwrap()).is_err());
    }),
    ("truncated_normal", |want| {
        let of = |key: &str| want["arguments"][key].as_f64().unwrap();
        drawn(want, |shape, options| k::truncated_normal(shape, of("mean"), of("stddev"), options));
    }),
    ("update", |want| updated(want, |v, x| k::update(v, &(x * 2.0)))),
    ("update_add", |want| updated(want, k::update_add)),
    ("update_sub", |want| updated(want, k::update_sub)),
    ("variable", |want| {
        let (v, whole) = (k::variable([[1.0_f32, 2.0], [3.0, 4.0]], "v"), k::variable([1_i32], "v"));
        assert_eq!(json!([v.dtype().name(), nested(&v.value().unwrap()), whole.dtype().name()]), *want);
    }),
    ("zeros", |want| filled(want, &k::zeros(&[2, 3], None, "v").unwrap())),
];

/// A literal of an array.
trait Pipe {
    fn pipe(self) -> Tensor;
}

impl<T: Into<Array>> Pipe for T {
    fn pipe(self) -> Tensor {
        Tensor::constant(self)
    }
}

/// An array as nested lists.
fn nested(x: &Array) -> Value {
    fn lists(shape: &[usize], values: &[f64]) -> Value {
        match shape.split_first() {
            None => json!(values[0]),
            Some((&len, inner)) => {
                let size = values.len() / len.max(1);
                (0..len).map(|i| lists(inner, &values[i * size..(i + 1) * size])).collect()
            }
        }
    }
    lists(x.shape(), &x.to_vec::<f64>())
}

/// A tensor of each kind, in the order of the fixture.
fn kinds() -> [Tensor; 7] {
    let (x, y) = (Input::new([3]).tensor().unwrap(), k::placeholder([Some(2), Some(3)], "y"));
    let dense = Dense::new(2).call(&x).unwrap();
    let v = k::ones(&[2, 3], None, "v").unwrap();
    let (sum, square) = (&x + 1.0, k::square(&y));
    [x, dense, y, Tensor::variable(&v), k::constant(1.0, None, None), sum, square]
}

fn uids(want: &Value) {
    k::reset_uids();
    let before = [k::get_uid("a"), k::get_uid("b"), k::get_uid("a")];
    k::reset_uids();
    assert_eq!(json!([before[0], before[1], before[2], k::get_uid("a")]), *want);
}

fn phases(want: &Value, choose: fn(&Tensor, Option<bool>) -> Tensor) {
    let x = k::placeholder([Some(2)], "x");
    let feed = Array::from([1.0_f32, 2.0]);
    let f = k::function([&x, &k::learning_phase()], [&choose(&x, None)]).unwrap();
    let mut got: Vec<Value> =
        [0, 1].map(|phase| nested(&f.run([feed.clone(), Array::from(phase)]).unwrap()[0])).into();
    for training in [true, false] {
        let f = k::function([&x], [&choose(&x, Some(training))]).unwrap();
        got.push(nested(&f.run([feed.clone()]).unwrap()[0]));
    }
    assert_eq!(json!(got), *want);
}

fn updated(want: &Value, update: fn(&Variable, &Tensor) -> (Variable, Tensor)) {
    let (v, x) = (k::variable([1.0_f32, 2.0], "v"), k::placeholder([Some(2)], "x"));
    let f = k::function([&x], [&(&x * 2.0)]).unwrap().updates([update(&v, &x)]);
    for want in want.as_array().unwrap() {
        let got = f.run([[4.0_f32, -1.0].into()]).unwrap();
        assert_eq!(json!([nested(&got[0]), nested(&v.value().unwrap())]), *want);
    }
}

fn filled(want: &Value, made: &Variable) {
    let tensor = Tensor::variable(made);
    let got = json!([k::is_variable(&tensor), made.dtype().name(), nested(&made.value().unwrap())]);
    assert_eq!(got, *want);
}

fn printed(want: &Value) {
    for want in want.as_array().unwrap() {
        let dtype = DType::from_name(want["dtype"].as_str().unwrap()).unwrap();
        let x = array(&want["x"], dtype);
        let fed = k::placeholder_of(
            Spec::new(x.shape().iter().map(|&len| Some(len)).collect::<Vec<_>>(), dtype),
            "x",
        );
        let printed = k::print_tensor(&fed, "x is");
        let f = k::function([&fed], [&printed]).unwrap();
        let text = Arc::new(Mutex::new(Vec::new()));
        let result = Output::Writer(text.clone()).during(|| f.run([x.clone()]).unwrap().remove(0));
        assert_eq!(json!(String::from_utf8(text.lock().unwrap().clone()).unwrap()), want["text"]);
        assert_eq!(result, x);
    }
    // It prints in every run, and passes gradients on.
    let x = k::placeholder([Some(2)], "x");
    let loss = k::sum(&k::square(&k::print_tensor(&x, "x")), &[], false);
    let gradient = k::gradients(&loss, &[&x]).unwrap().remove(0).unwrap();
    let f = k::function([&x], [&loss, &gradient]).unwrap();
    let text = Arc::new(Mutex::new(Vec::new()));
    Output::Writer(text.clone()).during(|| {
        for _ in 0..2 {
            assert_eq!(f.run([[1.0_f32, -2.0].into()]).unwrap()[1].to_vec::<f32>(), [2.0, -4.0]);
        }
    });
    assert_eq!(String::from_utf8(text.lock().unwrap().clone()).unwrap(), "x [1 -2]\nx [1 -2]\n");
}

/// Mean, deviation and range of 20000 numbers are what was recorded, within what chance allows.
fn statistics(want: &Value, got: &Array) {
    let values = got.to_vec::<f64>();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let of = |key: &str| want[key].as_f64().unwrap();
    // Five standard errors of the difference of two means.
    let error = 5.0 * of("std") * (2.0 / n).sqrt();
    assert!((mean - of("mean")).abs() < error, "mean {mean}, {want}");
    assert!((deviation - of("std")).abs() < error, "deviation {deviation}, {want}");
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    let reach = of("high") - of("low");
    assert!(
        (low - of("low")).abs() < 0.3 * reach && (high - of("high")).abs() < 0.3 * reach,
        "{low}..{high}, {want}"
    );
    assert_eq!(json!(got.dtype().name()), want["dtype"]);
}

fn drawn(want: &Value, draw: impl Fn(&[usize], k::Draw) -> Tensor) {
    let shape = [2000, 10];
    let seeded = |seed: i64| draw(&shape, k::Draw::new().seed(seed));
    let f = k::function([], [&seeded(1), &seeded(1), &seeded(2), &draw(&shape, k::Draw::new())]).unwrap();
    let (first, second) = (f.run([]).unwrap(), f.run([]).unwrap());
    statistics(want, &first[0]);
    statistics(want, &first[3]);
    let same = [first[0] == first[1], first[0] == first[2], first[0] == second[0]];
    assert_eq!(json!(same), json!([want["same_seed"], want["other_seed"], want["again"]]));
    assert_ne!(first[3], second[3]);
    // Another function, and another process, begins with the same numbers.
    let again = k::function([], [&seeded(1)]).unwrap();
    assert_eq!(again.run([]).unwrap()[0], first[0]);
    assert_eq!(again.run([]).unwrap()[0], second[0]);
    // Without a seed they follow the process's.
    let unseeded = || k::function([], [&draw(&shape, k::Draw::new())]).unwrap().run([]).unwrap().remove(0);
    let turn = crate::seeded(1);
    let one = unseeded();
    drop(turn);
    let _turn = crate::seeded(1);
    assert_eq!(unseeded(), one);
    assert_ne!(unseeded(), one);
    let double = k::eval(&draw(&shape, k::Draw::new().dtype(DType::F64))).unwrap();
    assert_eq!(double.dtype(), DType::F64);
    assert!(draw(&[2], k::Draw::new().dtype(DType::F32)).spec().unwrap().accepts(&[2]));
}

fn variables(want: &Value, make: impl Fn(&[usize], k::Draw) -> Variable) {
    let value = |options: k::Draw| make(&[2000, 10], options).value().unwrap();
    let (one, same, other) = [1, 1, 2].map(|seed| value(k::Draw::new().seed(seed))).into();
    statistics(want, &one);
    assert_eq!(
        json!([one == same, one == other, true]),
        json!([want["same_seed"], want["other_seed"], want["variable"]])
    );
    assert_ne!(value(k::Draw::new()), value(k::Draw::new()));
}

fn dropout(want: &Value) {
    let x = k::placeholder([Some(1000), Some(20)], "x");
    let seeded = k::dropout(&x, 0.3, None, 1);
    let rows = k::dropout(&x, 0.3, Some(&[1000, 1]), 2);
    let free = k::dropout(&x, 0.3, None, None);
    let gradient = k::gradients(&k::sum(&seeded, &[], false), &[&x]).unwrap().remove(0).unwrap();
    let fetched = [&seeded, &k::dropout(&x, 0.3, None, 1), &rows, &free, &gradient];
    let f = k::function([&x], fetched).unwrap();
    let feed = Array::full(&[1000, 20], 1.0_f32).unwrap();
    let (got, again) = (f.run([feed.clone()]).unwrap(), f.run([feed]).unwrap());
    for (i, got) in got.iter().enumerate().filter(|(i, _)| *i != 2) {
        let values = got.to_vec::<f32>();
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 20000.0;
        // Five standard errors of the mean of numbers that are 1/0.7 with probability 0.7.
        assert!((mean - 1.0).abs() < 5.0 * (0.3_f64 / 0.7 / 20000.0).sqrt(), "result {i}: mean {mean}");
        let known: Vec<f32> =
            want["values"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert!(values.iter().all(|x| known.contains(x)), "result {i}");
    }
    assert_eq!(json!(got[0] == got[1]), want["same_seed"]);
    assert_eq!(got[0], got[4], "a gradient goes where an element stayed");
    let alike = got[2].to_vec::<f32>().chunks(20).all(|row| row.iter().all(|x| *x == row[0]));
    assert_eq!(json!(alike), want["rows"]);
    assert!(got[0] != again[0] && got[3] != again[3] && got[0] != got[3]);
    for level in [1.0, -0.1, f64::NAN] {
        assert!(k::dropout(&x, level, None, None).check().is_err(), "level {level}");
    }
    assert!(k::dropout(&x, 0.5, Some(&[3, 1]), None).check().is_err());
}

/// In a process of its own: some of them change the settings of a process.
#[test]
fn behaviour_is_keras_s() {
    if child("k::behaviour::behaviour_is_keras_s", "{}", &[]).is_some() {
        return;
    }
    let fixture = Fixture::load("k_2_3_1");
    for (name, check) in TABLE {
        println!("{name}");
        check(&fixture.json["behaviour"][name]);
    }
}
