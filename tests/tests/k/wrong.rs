//! Wrong calls: each gives an error that says what was expected and what was received, and none a panic.

use keras_core::backend::reference::Reference;
use keras_core::backend::{Engine, Runtime};
use keras_core::config::DataFormat::{ChannelsFirst, ChannelsLast};
use keras_core::{Array, Result, Tensor, k};
use std::sync::Arc;

fn x(shape: &[usize]) -> Tensor {
    k::placeholder(shape.iter().map(|&len| Some(len)).collect::<Vec<_>>(), "x")
}

#[test]
fn wrong_calls_are_errors_that_say_what_fits() {
    let image = x(&[2, 5, 6, 3]);
    let conv = |kernel: &[usize], options: k::Conv<2>| k::conv2d(&image, &x(kernel), options);
    let table: Vec<(&str, Tensor, &str)> = vec![
        ("kernel of another rank", conv(&[3, 3, 3], k::Conv::new()), "a kernel of rank 4"),
        ("channels that differ", conv(&[3, 3, 4, 2], k::Conv::new()), "4"),
        ("causal", conv(&[3, 3, 3, 2], k::Conv::new().padding("causal")), "causal"),
        ("misspelt", conv(&[3, 3, 3, 2], k::Conv::new().padding("sane")), "\"same\""),
        ("no format", conv(&[3, 3, 3, 2], k::Conv::new().data_format("first")), "\"channels_first\""),
        ("no stride", conv(&[3, 3, 3, 2], k::Conv::new().strides(0)), "strides of at least 1"),
        ("both", conv(&[3, 3, 3, 2], k::Conv::new().strides(2).dilation_rate(2)), "a dilation_rate of 1"),
        ("too small", conv(&[7, 3, 3, 2], k::Conv::new()), "spatial axes of at least [7, 3]"),
        ("huge dilation", conv(&[3, 3, 3, 2], k::Conv::new().dilation_rate(usize::MAX)), ""),
        (
            "causal first",
            k::conv1d(
                &x(&[1, 2, 9]),
                &x(&[3, 2, 1]),
                k::Conv::new().padding("causal").data_format("channels_first"),
            ),
            "channels_last",
        ),
        (
            "transposed size",
            k::conv2d_transpose(
                &image,
                &x(&[3, 3, 2, 3]),
                &[None, Some(9), Some(9), Some(2)],
                k::Conv::new(),
            ),
            "takes back",
        ),
        (
            "transposed open",
            k::conv2d_transpose(&image, &x(&[3, 3, 2, 3]), &[None, None, Some(8), Some(2)], k::Conv::new()),
            "known spatial lengths",
        ),
        (
            "transposed channels",
            k::conv2d_transpose(
                &image,
                &x(&[3, 3, 2, 3]),
                &[None, Some(7), Some(8), Some(5)],
                k::Conv::new(),
            ),
            "channels",
        ),
        (
            "transposed rank",
            k::conv2d_transpose(&image, &x(&[3, 3, 2, 3]), &[Some(7), Some(8)], k::Conv::new()),
            "rank 4",
        ),
        (
            "depthwise kernel",
            k::depthwise_conv2d(&image, &x(&[3, 3, 2, 2]), k::Conv::new()),
            "(size.., 3, multiplier)",
        ),
        (
            "pointwise kernel",
            k::separable_conv2d(&image, &x(&[3, 3, 3, 2]), &x(&[1, 1, 3, 2]), k::Conv::new()),
            "(1, 1, 6, filters)",
        ),
        ("pool of nothing", k::pool2d(&image, 0, k::Pool::new()), "pool_size of at least 1"),
        ("pool mode", k::pool2d(&image, 2, k::Pool::new().pool_mode("mean")), "\"avg\""),
        (
            "local windows",
            k::local_conv2d(&image, &x(&[16, 12, 2]), 2, 2, (4, 4), ChannelsLast),
            "lie inside",
        ),
        ("local kernel", k::local_conv1d(&x(&[2, 7, 2]), &x(&[6, 2]), 3, 1), "a kernel (places"),
        (
            "local huge",
            k::local_conv2d(&image, &x(&[1, 12, 2]), 2, usize::MAX, (usize::MAX, 2), ChannelsFirst),
            "lie inside",
        ),
        ("factor 0", k::resize_images(&image, 0, 2, ChannelsLast, "nearest"), "factors of at least 1"),
        ("huge factor", k::resize_images(&image, usize::MAX / 2, 2, ChannelsLast, "nearest"), "counted"),
        ("huge factor between", k::resize_images(&image, usize::MAX / 2, 2, ChannelsLast, "bilinear"), ""),
        ("interpolation", k::resize_images(&image, 2, 2, ChannelsLast, "cubic"), "\"bilinear\""),
        ("volume", k::resize_volumes(&image, 2, 2, 2, ChannelsLast), "rank 5"),
        ("huge padding", k::spatial_2d_padding(&image, usize::MAX, None), ""),
        ("padding rank", k::temporal_padding(&image, (1, 1)), "rank 3"),
        ("repeat", k::repeat_elements(&image, usize::MAX, 1), "counted"),
        ("tile axes", k::tile(&x(&[2]), &[1, 2]), "at most 1 numbers"),
        ("tile huge", k::tile(&x(&[2]), &[usize::MAX]), "2⁵³"),
        ("slice outside", k::slice(&x(&[3, 4]), &[1, 0], &[3, 4]), "inside [3, 4]"),
        ("slice axes", k::slice(&x(&[3, 4]), &[1], &[1]), "2 axes"),
        ("slice sizes", k::slice(&x(&[3, 4]), &[1, 1], &[1, -2]), "inside"),
        ("switch shapes", k::switch(&x(&[3]), &x(&[3, 2]), &x(&[3])), "one shape"),
        ("switch axes", k::switch(&x(&[3, 2]), &x(&[3]), &x(&[3])), "at most as many axes"),
        ("bias", k::bias_add(&image, &x(&[6, 3]), None), "a bias of 1 or 3 axes"),
        ("bias length", k::bias_add(&image, &x(&[4]), None), ""),
        ("batch_dot", k::batch_dot(&x(&[2, 3]), &x(&[2, 4]), None), "one length"),
        ("arange step", k::arange(0.0, 4.0, 0.0, None), "a step other than 0"),
        ("arange NaN", k::arange(0.0, f64::NAN, 1.0, None), "finite"),
        ("arange long", k::arange(0.0, 1e12, 1.0, None), "2147483647"),
        ("constant", k::constant([1.0, 2.0], None, &[3][..]), "2"),
        ("normal", k::random_normal(&[2], 0.0, f64::INFINITY, k::Draw::new()), "finite"),
        ("statistics", k::batch_normalization(&image, &x(&[4]), &x(&[4]), None, None, -1, 1e-3), ""),
        ("axis", k::batch_normalization(&image, &x(&[3]), &x(&[3]), None, None, 4, 1e-3), "axis"),
        ("moments", k::normalize_batch_in_training(&image, Some(&x(&[5])), None, &[0, 1, 2], 1e-3).0, ""),
        (
            "target",
            k::sparse_categorical_crossentropy(&x(&[2, 2]), &x(&[2, 3]), false, -1),
            "one per prediction",
        ),
        ("crossentropy axis", k::categorical_crossentropy(&x(&[2, 2]), &x(&[2, 2]), false, 2), "axis"),
        (
            "ctc predictions",
            k::ctc_batch_cost(&x(&[2, 3]), &x(&[2, 5]), &x(&[2, 1]), &x(&[2, 1])),
            "(batch, steps, classes)",
        ),
        (
            "ctc labels",
            k::ctc_batch_cost(&x(&[3, 3]), &x(&[2, 5, 4]), &x(&[2, 1]), &x(&[2, 1])),
            "labels (2, labels)",
        ),
        (
            "ctc lengths",
            k::ctc_batch_cost(&x(&[2, 3]), &x(&[2, 5, 4]), &x(&[3, 1]), &x(&[2, 1])),
            "input_length",
        ),
        ("ctc one class", k::ctc_decode(&x(&[2, 5, 1]), &x(&[2]), None).1, "two classes"),
        (
            "no path",
            k::ctc_decode(&x(&[2, 5, 3]), &x(&[2]), k::BeamSearch::new().top_paths(0)).1,
            "at least one path",
        ),
        (
            "narrow",
            k::ctc_decode(&x(&[2, 5, 3]), &x(&[2]), k::BeamSearch::new().beam_width(1).top_paths(2)).1,
            "a beam as wide",
        ),
        ("sparse", k::ctc_label_dense_to_sparse(&x(&[3]), &x(&[3])).values, "labels (batch, labels)"),
    ];
    let said = |(name, tensor, says): &(&str, Tensor, &str)| match tensor.check() {
        Ok(_) => Some(format!("{name}: no error but {tensor:?}")),
        Err(error) => (!error.to_string().contains(says)).then(|| format!("{name}: {error}")),
    };
    let others: Vec<String> = table.iter().filter_map(said).collect();
    assert!(others.is_empty(), "{}", others.join("\n"));
}

fn run(outputs: &[&Tensor]) -> Result<Vec<Array>> {
    let runtime: Arc<dyn Runtime> = Arc::new(Engine::new(Reference)?);
    k::function([], outputs.iter().copied())?.on(runtime).run([])
}

#[test]
fn labels_that_predictions_cannot_give_cost_infinitely_and_others_are_errors() {
    let predictions = Tensor::constant(
        Array::from_vec(&[2, 2, 3], vec![0.5_f32, 0.3, 0.2, 0.4, 0.4, 0.2, 0.1, 0.1, 0.8, 0.2, 0.2, 0.6])
            .unwrap(),
    );
    let cost = |labels: [[i32; 2]; 2], lengths: [[i32; 1]; 2]| {
        let steps = Tensor::constant([[2_i32], [2]]);
        k::ctc_batch_cost(&Tensor::constant(labels), &predictions, &steps, &Tensor::constant(lengths))
    };
    // Two equal labels need a blank between them, for which two steps have no room; no label is two blanks.
    let y = cost([[0, 0], [9, 9]], [[2], [0]]);
    let gradient = k::gradients(&k::sum(&y, &[], false), &[&predictions]).unwrap().remove(0).unwrap();
    let got = run(&[&y, &gradient]).unwrap();
    let costs = got[0].to_vec::<f32>();
    assert_eq!(costs[0], f32::INFINITY);
    assert!((costs[1] + (0.8_f32 * 0.6).ln()).abs() < 1e-5, "{costs:?}");
    let slopes = got[1].to_vec::<f32>();
    assert!(slopes[..6].iter().all(|&slope| slope == 0.0), "{slopes:?}");
    // Of probabilities that are normalised once more, 1 is added to the blank's slope and to every other's.
    assert!((slopes[8] - (1.0 - 1.0 / 0.8)).abs() < 1e-4, "{slopes:?}");
    // The blank ends the labels, so that these are one label.
    let ended = run(&[&cost([[0, 2], [0, 1]], [[2], [1]])]).unwrap()[0].to_vec::<f32>();
    let one = run(&[&cost([[0, 0], [0, 0]], [[1], [1]])]).unwrap()[0].to_vec::<f32>();
    assert_eq!(ended, one);
    for labels in [[[-1, 0], [0, 0]], [[2, 0], [0, 0]]] {
        assert!(run(&[&cost(labels, [[2], [1]])]).is_err(), "{labels:?}");
    }
}

#[test]
fn a_beam_without_enough_paths_is_an_error_when_it_runs() {
    let certain = Tensor::constant(Array::from_vec(&[1, 1, 2], vec![0.5_f32, 0.5]).unwrap());
    let decode = |paths: usize| {
        let beam = k::BeamSearch::new().beam_width(9).top_paths(paths);
        let (paths, logarithms) = k::ctc_decode(&certain, &Tensor::constant([1_i32]), beam);
        run(&paths.iter().chain([&logarithms]).collect::<Vec<_>>())
    };
    assert_eq!(decode(2).unwrap()[2].to_vec::<f32>().len(), 2);
    let error = decode(3).unwrap_err().to_string();
    assert!(error.contains("3 paths for sample 0") && error.contains("top_paths"), "{error}");
}
