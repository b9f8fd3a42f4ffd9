//! What losses and metrics are called in training configs: each Keras has names that another does not know.

use super::version::Writer;
use crate::error::{Error, Result};
use serde_json::Value;

/// The names of one function: all of them, and those that each Keras knows, the one to write first.
struct Names {
    all: &'static [&'static str],
    keras_2: &'static [&'static str],
    tf_keras: &'static [&'static str],
    keras_3: &'static [&'static str],
}

const CROSSENTROPY: &[&str] = &["crossentropy", "ce"];
const BINARY: &[&str] = &["binary_crossentropy", "bce", "BCE"];
const LOG_COSH: &[&str] = &["logcosh", "log_cosh"];
const HUBER: &[&str] = &["huber", "huber_loss"];
const DIVERGENCE: &[&str] = &["kl_divergence", "kullback_leibler_divergence", "kld", "KLD"];
const COSINE: &[&str] = &["cosine_similarity", "cosine_proximity", "cosine"];

const LOSSES: &[Names] = &[
    Names { all: BINARY, keras_2: &["binary_crossentropy"], tf_keras: BINARY, keras_3: BINARY },
    Names { all: LOG_COSH, keras_2: &["logcosh"], tf_keras: LOG_COSH, keras_3: &["log_cosh"] },
    Names { all: HUBER, keras_2: &["huber_loss"], tf_keras: HUBER, keras_3: &["huber"] },
    Names {
        all: DIVERGENCE,
        keras_2: &["kullback_leibler_divergence", "kld", "KLD"],
        tf_keras: DIVERGENCE,
        keras_3: &["kl_divergence", "kld", "KLD"],
    },
    Names {
        all: COSINE,
        keras_2: &["cosine_proximity", "cosine_similarity", "cosine"],
        tf_keras: &["cosine_similarity"],
        keras_3: &["cosine_similarity"],
    },
];

/// What each trains with: tf.keras 2.15 takes `kld` and `huber` at `compile`, too, and fails at the first batch.
const METRICS: &[Names] = &[
    Names { all: CROSSENTROPY, keras_2: CROSSENTROPY, tf_keras: CROSSENTROPY, keras_3: &[] },
    Names {
        all: BINARY,
        keras_2: &["binary_crossentropy"],
        tf_keras: &["binary_crossentropy"],
        keras_3: BINARY,
    },
    Names { all: LOG_COSH, keras_2: &["logcosh"], tf_keras: LOG_COSH, keras_3: &["log_cosh_error"] },
    Names { all: HUBER, keras_2: &[], tf_keras: &[], keras_3: &[] },
    Names {
        all: DIVERGENCE,
        keras_2: &["kullback_leibler_divergence"],
        tf_keras: &["kullback_leibler_divergence"],
        keras_3: &["kl_divergence"],
    },
    Names {
        all: COSINE,
        keras_2: &["cosine_proximity", "cosine_similarity", "cosine"],
        tf_keras: &["cosine_similarity", "cosine_proximity"],
        keras_3: &["cosine_similarity"],
    },
];

/// A training config with the names that a writer's Keras knows; what users registered keeps its name.
///
/// # Errors
/// If it has a metric that this Keras does not have.
pub(super) fn named_for(writer: Writer, mut config: Value) -> Result<Value> {
    let loss = Kind { title: "loss", table: LOSSES, is_custom: crate::losses::is_custom };
    let metric = Kind { title: "metric", table: METRICS, is_custom: crate::metrics::is_custom };
    for (key, kind) in [("loss", &loss), ("metrics", &metric), ("weighted_metrics", &metric)] {
        if let Some(value) = config.get_mut(key) {
            rename(value, writer, kind)?;
        }
    }
    Ok(config)
}

/// Losses or metrics.
struct Kind {
    title: &'static str,
    table: &'static [Names],
    is_custom: fn(&str) -> bool,
}

fn rename(value: &mut Value, writer: Writer, kind: &Kind) -> Result<()> {
    let Kind { title, table, is_custom } = kind;
    match value {
        Value::String(name) if is_custom(name) => {}
        Value::String(name) => {
            let names = table.iter().find(|names| names.all.contains(&name.as_str()));
            let Some(names) = names else { return Ok(()) };
            let known = match writer {
                Writer::Keras3 => names.keras_3,
                Writer::TfKeras => names.tf_keras,
                _ => names.keras_2,
            };
            match known.first() {
                Some(_) if known.contains(&name.as_str()) => {}
                Some(first) => *name = (*first).to_owned(),
                None => {
                    let what = format!("saving the {title} {name:?}");
                    return Err(Error::value(
                        what,
                        format!("a {title} of {}", writer.title()),
                        "none of them",
                    )
                    .advice("compile with another one, register your own under that name, or save without the optimizer"));
                }
            }
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| rename(item, writer, kind))?,
        Value::Object(fields) if !fields.contains_key("class_name") => {
            fields.values_mut().try_for_each(|item| rename(item, writer, kind))?;
        }
        _ => {}
    }
    Ok(())
}
