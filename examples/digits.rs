//! Handwritten digits: train a small convolutional network on the 1,797 digits of the UCI collection, watch it,
//! test it, and look at what it says.
//!
//! `cargo run --release --example digits [-- SEEDS]`: runs the seeds 0 to SEEDS−1 (default 5).
//!
//! `cargo run --release --features candle,torch --example digits -- compare`: trains an epoch on every backend that was compiled
//! in, with the same seed, and compares the losses.

use keras::backend::registry;
use keras::prelude::*;
use keras::random;
use std::path::Path;
use std::time::Instant;

const TRAIN: usize = 1437;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("compare") {
        return compare();
    }
    let seeds: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(5).max(1);
    let (images, labels) = load()?;
    println!(
        "{} images of 8 x 8 pixels; {TRAIN} to train with, {} to test with",
        labels.len(),
        labels.len() - TRAIN
    );

    let mut accuracies = Vec::new();
    let mut trained = None;
    for seed in 0..seeds {
        random::set_seed(seed);
        let model = network()?;
        if seed == 0 {
            print!("{}", model.summary()?);
        }
        let start = Instant::now();
        let history = model.fit(
            &images.rows(0, TRAIN)?,
            &labels.rows(0, TRAIN)?,
            Fit::new().epochs(25).batch_size(32).validation_split(0.1).verbose(u8::from(seed == 0)),
        )?;
        let seconds = start.elapsed().as_secs_f64();
        let scores = model.evaluate(&images.rows(TRAIN, usize::MAX)?, &labels.rows(TRAIN, usize::MAX)?)?;
        println!(
            "seed {seed}: test loss {:.4}, test accuracy {:.4}, trained in {seconds:.1} s",
            scores[0], scores[1]
        );
        accuracies.push(scores[1]);
        if seed == 0 {
            trained = Some((model, history));
        }
    }
    accuracies.sort_by(f64::total_cmp);
    println!(
        "test accuracy over {} seeds: median {:.4}, lowest {:.4}",
        accuracies.len(),
        accuracies[accuracies.len() / 2],
        accuracies[0]
    );

    if let Some((model, history)) = trained {
        show(&model, &images.rows(TRAIN, TRAIN + 5)?, &labels.rows(TRAIN, TRAIN + 5)?)?;
        #[cfg(feature = "plot")]
        {
            keras::plot::history(&history, &["accuracy", "val_accuracy", "loss", "val_loss"], "digits.svg")?;
            println!("The history is drawn in digits.svg");
        }
        #[cfg(not(feature = "plot"))]
        let _ = history;
    }
    Ok(())
}

/// The pixels scaled to 0..1 with a channel axis, and the class numbers, permuted as numpy's seed 0 does.
fn load() -> Result<(Array, Array)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/digits.npz");
    let arrays = keras::npy::read_npz(&path)?;
    let find = |name: &str| {
        let found = arrays.iter().find(|(known, _)| known == name);
        found
            .map(|(_, array)| array.clone())
            .ok_or_else(|| Error::file("digits", format!("an array {name}"), "none"))
    };
    let pixels: Vec<f32> = find("x")?.to_vec::<f32>().into_iter().map(|pixel| pixel / 16.0).collect();
    let labels = find("y")?;
    let images = Array::from_vec(&[labels.len(), 8, 8, 1], pixels)?;
    let order = random::RandomState::new(0).permutation(labels.len());
    Ok((images.take(&order)?, labels.take(&order)?))
}

fn network() -> Result<Sequential> {
    let mut model = Sequential::new();
    model.add(Conv2D::new(32, [3, 3]).padding("same").activation("relu").input_shape([8, 8, 1]))?;
    model.add(Conv2D::new(32, [3, 3]).activation("relu"))?;
    model.add(MaxPooling2D::new([2, 2]))?;
    model.add(Dropout::new(0.25))?;
    model.add(Flatten::new())?;
    model.add(Dense::new(128).activation("relu"))?;
    model.add(Dropout::new(0.5))?;
    model.add(Dense::new(10).activation("softmax"))?;
    model.compile(Compile::new(Adam::new(), "sparse_categorical_crossentropy").metrics(["accuracy"]))?;
    Ok(model)
}

/// An epoch on each backend: the losses have to agree to a thousandth.
fn compare() -> Result<()> {
    let (images, labels) = load()?;
    let mut first = None;
    let names = registry::names();
    if names.len() < 2 {
        let error = Error::value("digits compare", "several backends", names.join(", "));
        return Err(error.advice("build it with more, such as --features candle,torch"));
    }
    for name in names {
        // Layers get the same names, by which they draw the same weights and drop the same units.
        k::clear_session();
        random::set_seed(0);
        let model = network()?;
        model.on(&registry::open(&name, "")?);
        let options = Fit::new().epochs(1).batch_size(32).verbose(0);
        let history = model.fit(&images.rows(0, TRAIN)?, &labels.rows(0, TRAIN)?, options)?;
        let loss = history["loss"][0];
        let expected = *first.get_or_insert(loss);
        let apart = (loss - expected).abs() / expected;
        println!("{name}: loss {loss:.6} after an epoch, {apart:.1e} from the first backend's");
        if apart.is_nan() || apart > 1e-3 {
            return Err(Error::value("digits compare", format!("a loss of {expected}"), loss.to_string()));
        }
    }
    Ok(())
}

/// Draws images in the terminal, each with its label and what the model says.
fn show(model: &Model, images: &Array, labels: &Array) -> Result<()> {
    let probabilities = model.predict(images)?.to_vec::<f32>();
    let pixels = images.to_vec::<f32>();
    let shades = [' ', '░', '▒', '▓', '█'];
    for (i, label) in labels.to_vec::<i64>().into_iter().enumerate() {
        let row = &probabilities[i * 10..(i + 1) * 10];
        let best = (0..10).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        println!("\nlabel {label}, predicted {best} with probability {:.3}", row[best]);
        for line in pixels[i * 64..(i + 1) * 64].chunks(8) {
            let text: String = line
                .iter()
                .flat_map(|&pixel| {
                    let shade = shades[((pixel * 4.0).round() as usize).min(4)];
                    [shade, shade]
                })
                .collect();
            println!("  {text}");
        }
    }
    Ok(())
}
