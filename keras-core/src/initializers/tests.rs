//! Initializers against their formulas.

use super::*;

fn stream() -> Stream {
    Stream::new(7, 11, 0)
}

fn drawn(initializer: &dyn Initializer, shape: &[usize]) -> Vec<f32> {
    initializer.init(shape, DType::F32, &stream()).unwrap().to_vec()
}

/// Mean, variance, smallest and largest.
fn moments(values: &[f64]) -> (f64, f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    (mean, variance, low, high)
}

/// What is stated of an initializer's numbers: their mean, their variance, how far from the mean they may lie.
type Stated = (f64, f64, Option<f64>);

/// A million draws: the mean within 5 of its standard errors, the variance within 1 %, the bounds kept, and reached
/// to within 1 %. Without bounds, some lie beyond 4 standard deviations.
fn check(initializer: &dyn Initializer, shape: &[usize], dtype: DType, (mean, variance, bound): Stated) {
    let name = format!("{} {shape:?} {}", initializer.config().to_value(), dtype.name());
    let made = initializer.init(shape, dtype, &Stream::new(7, stream_id(&name, 0, ""), 0)).unwrap();
    assert_eq!((made.len(), made.shape(), made.dtype()), (1_000_000, shape, dtype), "{name}");
    let (m, v, low, high) = moments(&made.to_vec::<f64>());
    assert!((m - mean).abs() < 5.0 * variance.sqrt() / 1000.0, "{name}: mean {m} instead of {mean}");
    assert!((v / variance - 1.0).abs() < 0.01, "{name}: variance {v} instead of {variance}");
    if let Some(bound) = bound {
        let (below, above) = ((mean - low) / bound, (high - mean) / bound);
        assert!(below <= 1.000_001 && above <= 1.000_001, "{name}: {low} to {high}");
        assert!(below > 0.99 && above > 0.99, "{name}: {low} to {high}");
    } else {
        let far = 4.0 * variance.sqrt();
        assert!(mean - low > far && high - mean > far, "{name}: {low} to {high}");
    }
}

/// What is stated of scaled numbers of that variance.
fn scaled(distribution: ScalingDistribution, variance: f64) -> Stated {
    let bound = match distribution {
        ScalingDistribution::Uniform => Some((3.0 * variance).sqrt()),
        ScalingDistribution::Normal => Some(2.0 * variance.sqrt() / TRUNCATED_DEVIATION),
        ScalingDistribution::UntruncatedNormal => None,
    };
    (0.0, variance, bound)
}

/// Shapes of a million elements with the numbers of inputs and of outputs per unit: of (window…, in, out) those
/// times the window, of one axis the root of its length.
const SHAPES: [(&[usize], f64, f64); 5] = [
    (&[1_000_000], 1000.0, 1000.0),
    (&[500, 2000], 500.0, 2000.0),
    (&[5, 400, 500], 2000.0, 2500.0),
    (&[5, 4, 200, 250], 4000.0, 5000.0),
    (&[2, 5, 4, 100, 250], 4000.0, 10_000.0),
];

#[test]
fn a_million_scaled_draws_have_the_variance_of_their_fan() {
    use ScalingDistribution::{Normal, Uniform, UntruncatedNormal};
    for (shape, inputs, outputs) in SHAPES {
        let modes = [
            (FanMode::FanIn, inputs),
            (FanMode::FanOut, outputs),
            (FanMode::FanAvg, f64::midpoint(inputs, outputs)),
        ];
        for (mode, fan) in modes {
            for distribution in [Uniform, Normal, UntruncatedNormal] {
                let made = VarianceScaling::new().scale(1.5).mode(mode).distribution(distribution);
                let stated = scaled(distribution, 1.5 / fan);
                check(&made, shape, DType::F32, stated);
                if shape.len() == 4 {
                    check(&made, shape, DType::F64, stated);
                }
            }
        }
    }
    // Of a kernel of 20 cells, 200 inputs and 250 outputs.
    for (name, distribution, variance) in [
        ("glorot_uniform", Uniform, 1.0 / 4500.0),
        ("glorot_normal", Normal, 1.0 / 4500.0),
        ("he_uniform", Uniform, 2.0 / 4000.0),
        ("he_normal", Normal, 2.0 / 4000.0),
        ("lecun_uniform", Uniform, 1.0 / 4000.0),
        ("lecun_normal", Normal, 1.0 / 4000.0),
    ] {
        check(&*get(name).unwrap(), &[5, 4, 200, 250], DType::F32, scaled(distribution, variance));
    }
    let truncated = Config::new("VarianceScaling").with("distribution", "truncated_normal");
    assert_eq!(deserialize(&truncated.to_value()).unwrap().config(), VarianceScaling::new().config());
}

#[test]
fn a_million_draws_have_the_stated_mean_variance_and_bounds() {
    let truncated = |stddev: f64| (stddev * TRUNCATED_DEVIATION).powi(2);
    let drawn: [(InitializerRef, Stated); 6] = [
        (InitializerRef::new(RandomNormal::new()), (0.0, 0.0025, None)),
        (InitializerRef::new(RandomNormal::new().mean(1.0).stddev(0.5)), (1.0, 0.25, None)),
        (InitializerRef::new(RandomUniform::new()), (0.0, 0.01 / 12.0, Some(0.05))),
        (InitializerRef::new(RandomUniform::new().minval(-1.0).maxval(3.0)), (1.0, 16.0 / 12.0, Some(2.0))),
        (InitializerRef::new(TruncatedNormal::new()), (0.0, truncated(0.05), Some(0.1))),
        (
            InitializerRef::new(TruncatedNormal::new().mean(-1.0).stddev(0.5)),
            (-1.0, truncated(0.5), Some(1.0)),
        ),
    ];
    for (initializer, stated) in &drawn {
        for dtype in [DType::F32, DType::F64] {
            check(&**initializer, &[500, 2000], dtype, *stated);
        }
    }
    // Columns, or rows, of that many numbers whose squares add up to 4.
    let orthogonal: [(&[usize], f64); 3] =
        [(&[200_000, 5], 2e5), (&[2, 5, 100_000], 1e5), (&[40, 50, 20, 5, 5], 2e5)];
    for (shape, length) in orthogonal {
        check(&Orthogonal::new().gain(2.0), shape, DType::F32, (0.0, 4.0 / length, None));
    }
}

#[test]
fn a_million_constants_are_what_they_are_said_to_be() {
    let constants: [(InitializerRef, f64); 3] = [
        (InitializerRef::new(Zeros), 0.0),
        (InitializerRef::new(Ones), 1.0),
        (InitializerRef::new(Constant::new(-2.5)), -2.5),
    ];
    let all = |initializer: &dyn Initializer, shape: &[usize], wanted: &dyn Fn(usize) -> f64| {
        for dtype in [DType::F32, DType::F64] {
            let made = initializer.init(shape, dtype, &stream()).unwrap();
            assert_eq!((made.shape(), made.dtype()), (shape, dtype));
            let right = made.to_vec::<f64>().iter().enumerate().all(|(i, &x)| x == wanted(i));
            assert!(right, "{} {shape:?}", initializer.config().to_value());
        }
    };
    for (initializer, value) in &constants {
        for (shape, _, _) in SHAPES {
            all(&**initializer, shape, &|_| *value);
        }
    }
    for [rows, columns] in [[1000, 1000], [500, 2000], [2000, 500]] {
        let wanted = |i: usize| if i / columns == i % columns { 2.0 } else { 0.0 };
        all(&Identity { gain: 2.0 }, &[rows, columns], &wanted);
    }
}

#[test]
fn fans_follow_keras() {
    assert_eq!(fans(&[3, 5]), (3.0, 5.0));
    assert_eq!(fans(&[7, 3, 5]), (21.0, 35.0));
    assert_eq!(fans(&[3, 3, 16, 32]), (144.0, 288.0));
    assert_eq!(fans(&[2, 3, 4, 5, 6]), (120.0, 144.0));
    assert_eq!(fans(&[9]), (3.0, 3.0));
    assert_eq!(fans(&[]), (1.0, 1.0));
}

#[test]
fn orthogonal_rows_or_columns_are_orthonormal() {
    // Each rank with more rows than columns and with fewer; the last three are of a million elements.
    let shapes: [&[usize]; 12] = [
        &[40, 40],
        &[30, 50],
        &[50, 30],
        &[4, 10, 20],
        &[2, 3, 20],
        &[3, 3, 5, 20],
        &[2, 2, 4, 20],
        &[2, 3, 2, 4, 20],
        &[1, 2, 2, 3, 20],
        &[200_000, 5],
        &[2, 5, 100_000],
        &[40, 50, 20, 5, 5],
    ];
    let precisions = [(DType::F64, 1e-11), (DType::F32, 1e-5)];
    for (shape, (dtype, tolerance)) in shapes.iter().flat_map(|&shape| precisions.map(|with| (shape, with))) {
        let made = Orthogonal::new().gain(2.0).init(shape, dtype, &stream()).unwrap();
        let columns = *shape.last().unwrap();
        let rows = made.len() / columns;
        let values = made.to_vec::<f64>();
        let vector = |i: usize| -> Vec<f64> {
            if rows < columns {
                values[i * columns..(i + 1) * columns].to_vec()
            } else {
                (0..rows).map(|row| values[row * columns + i]).collect()
            }
        };
        for i in 0..rows.min(columns) {
            for j in 0..=i {
                let product: f64 = vector(i).iter().zip(vector(j)).map(|(x, y)| x * y).sum();
                let wanted = if i == j { 4.0 } else { 0.0 };
                assert!((product - wanted).abs() < tolerance, "{shape:?}: {i}, {j}: {product}");
            }
        }
    }
    assert!(Orthogonal::new().init(&[3], DType::F32, &stream()).is_err());
}

#[test]
fn a_seed_of_its_own_decides_alone() {
    let seeded = glorot_uniform().seed(3);
    let one = seeded.init(&[4, 4], DType::F32, &Stream::new(1, 1, 0)).unwrap();
    let other = seeded.init(&[4, 4], DType::F32, &Stream::new(2, 2, 0)).unwrap();
    assert!(one.same_bits(&other));
    assert!(!one.same_bits(&glorot_uniform().seed(4).init(&[4, 4], DType::F32, &stream()).unwrap()));
    let free = glorot_uniform();
    let first = free.init(&[4, 4], DType::F32, &Stream::new(1, 1, 0)).unwrap();
    assert!(!first.same_bits(&free.init(&[4, 4], DType::F32, &Stream::new(2, 1, 0)).unwrap()));
}

#[test]
fn identity_is_cut_or_padded() {
    assert_eq!(drawn(&Identity { gain: 2.0 }, &[2, 3]), [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    assert!(Identity::default().init(&[2], DType::F32, &stream()).is_err());
}

#[test]
fn empty_weights_and_wrong_arguments() {
    for name in ["zeros", "glorot_uniform", "orthogonal", "random_normal", "identity"] {
        let made = get(name).unwrap().init(&[0, 3], DType::F32, &stream()).unwrap();
        assert_eq!(made.shape(), [0, 3]);
    }
    assert!(glorot_uniform().init(&[2, 2], DType::I32, &stream()).is_err());
    let config = |key: &str, value: serde_json::Value| {
        deserialize(&Config::new("VarianceScaling").with(key, value).to_value())
    };
    assert!(config("mode", "fan_sideways".into()).unwrap_err().to_string().contains("fan_avg"));
    assert!(config("scale", (-1.0).into()).is_err());
    assert!(config("sale", 1.0.into()).is_err());
    assert!(get("glorot").unwrap_err().to_string().contains("glorot_uniform"));
}
