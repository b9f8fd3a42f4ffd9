//! `keras config`: the settings in force and who said them.

use super::options::Global;
use super::{Outcome, output};
use clap::Args;
use keras::backend::registry;
use keras::config::{Origin, settings};
use serde_json::{Map, Value, json};

/// Show the effective settings and where each came from
#[derive(Debug, Args)]
pub(crate) struct Config {
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// A setting as it is shown.
struct Row {
    name: &'static str,
    value: Value,
    origin: Origin,
}

impl Config {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let settings = settings()?;
        let backend = registry::chosen(&settings);
        let (threads, said) = global.threads(backend.as_deref().unwrap_or_default())?;
        let row = |name, value: Value, origin| Row { name, value, origin };
        let rows = [
            row("backend", json!(backend), settings.backend.origin),
            row("device", json!(settings.device.value), settings.device.origin),
            row("floatx", json!(settings.floatx.value.name()), settings.floatx.origin),
            row("epsilon", json!(settings.epsilon.value), settings.epsilon.origin),
            row(
                "image_data_format",
                json!(settings.image_data_format.value.name()),
                settings.image_data_format.origin,
            ),
            row("threads", json!(threads), said),
        ];
        let home = settings.home.display().to_string();
        let text = if self.json {
            let mut object: Map<String, Value> =
                rows.into_iter().map(|row| (row.name.to_owned(), described(&row))).collect();
            object.insert("home".to_owned(), json!(home));
            format!("{}\n", Value::Object(object))
        } else {
            let mut table = vec![["setting", "value", "from"].map(str::to_owned).to_vec()];
            table.extend(
                rows.iter().map(|row| vec![row.name.to_owned(), shown(&row.value), row.origin.to_string()]),
            );
            format!("{}\nKeras's directory: {home}\n", output::table(&table))
        };
        Ok(output::print(&text)?)
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "chosen by the backend".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `{"value", "origin", "source"}`: the source is the variable or the file, else null.
fn described(row: &Row) -> Value {
    let (origin, source) = match &row.origin {
        Origin::Code => ("code", None),
        Origin::CommandLine => ("command line", None),
        Origin::Environment(variable) => ("environment", Some((*variable).to_owned())),
        Origin::File(path) => ("file", Some(path.display().to_string())),
        Origin::Default => ("default", None),
    };
    json!({"value": row.value, "origin": origin, "source": source})
}
