//! `keras backends`: which backends there are, what they run on, and which operations they have kernels for.

use super::operations::operations;
use super::{Outcome, output};
use clap::Args;
use keras::backend::{Lack, Runtime, registry};
use keras::config;
use keras::graph::{Op, Type};
use keras::{DType, Result};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// List the backends, their devices and operations
#[derive(Debug, Args)]
pub(crate) struct Backends {
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

/// A registered backend: open, or why it cannot be.
struct Entry {
    name: String,
    opened: Result<Arc<dyn Runtime>>,
}

impl Entry {
    fn dtypes(&self) -> Vec<&'static str> {
        let Ok(runtime) = &self.opened else { return Vec::new() };
        DType::ALL.into_iter().filter(|dtype| runtime.supports_dtype(*dtype)).map(DType::name).collect()
    }

    fn devices(&self) -> Vec<String> {
        self.opened.iter().flat_map(|runtime| runtime.devices()).collect()
    }

    /// What has no kernel of its own, with the reason.
    fn lacks(&self) -> Vec<Lack> {
        self.opened.as_ref().map(|runtime| runtime.lacks()).unwrap_or_default()
    }

    /// Every operation with `native`, `decomposed` or `host`.
    fn operations(&self, all: &[(Op, Vec<Type>)]) -> Vec<(&'static str, &'static str)> {
        let Ok(runtime) = &self.opened else { return Vec::new() };
        let support = |op, inputs: &[_]| runtime.supports(op, inputs).name();
        all.iter().map(|(op, inputs)| (op.name(), support(op, &inputs.iter().collect::<Vec<_>>()))).collect()
    }
}

impl Backends {
    pub(crate) fn run(self) -> Outcome {
        let device = config::settings()?.device.value.unwrap_or_default();
        let entries: Vec<Entry> = registry::names()
            .into_iter()
            .map(|name| Entry { opened: registry::open(&name, &device), name })
            .collect();
        let all = operations()?;
        let text = if self.json { format!("{}\n", object(&entries, &all)) } else { tables(&entries, &all) };
        Ok(output::print(&text)?)
    }
}

fn object(entries: &[Entry], all: &[(Op, Vec<Type>)]) -> Value {
    let one = |entry: &Entry| {
        let operations: Map<String, Value> =
            entry.operations(all).into_iter().map(|(op, support)| (op.to_owned(), support.into())).collect();
        let lacks: Vec<Value> = entry
            .lacks()
            .iter()
            .map(|lack| {
                json!({"operation": lack.operation, "instead": lack.instead.name(), "reason": lack.reason})
            })
            .collect();
        json!({
            "name": entry.name,
            "available": entry.opened.is_ok(),
            "reason": entry.opened.as_ref().err().map(ToString::to_string),
            "devices": entry.devices(),
            "dtypes": entry.dtypes(),
            "operations": operations,
            "lacks": lacks,
        })
    };
    json!({"default": entries.first().map(|entry| &entry.name), "backends": entries.iter().map(one).collect::<Vec<_>>()})
}

fn tables(entries: &[Entry], all: &[(Op, Vec<Type>)]) -> String {
    let mut backends = vec![["backend", "available", "devices", "element types"].map(str::to_owned).to_vec()];
    let mut operations: Vec<Vec<String>> = vec![vec!["operation".to_owned()]];
    for entry in entries {
        let available =
            entry.opened.as_ref().map_or_else(|error| format!("no: {error}"), |_| "yes".to_owned());
        backends.push(vec![
            entry.name.clone(),
            available,
            entry.devices().join(", "),
            entry.dtypes().join(", "),
        ]);
    }
    let open: Vec<&Entry> = entries.iter().filter(|entry| entry.opened.is_ok()).collect();
    for (column, entry) in open.iter().enumerate() {
        if let Some(header) = operations.first_mut() {
            header.push(entry.name.clone());
        }
        for (row, (op, support)) in entry.operations(all).into_iter().enumerate() {
            if column == 0 {
                operations.push(vec![op.to_owned()]);
            }
            if let Some(cells) = operations.get_mut(row + 1) {
                cells.push(support.to_owned());
            }
        }
    }
    let mut lacks = vec![["operation", "on", "instead", "because"].map(str::to_owned).to_vec()];
    for entry in open {
        lacks.extend(entry.lacks().iter().map(|lack| {
            [lack.operation, entry.name.as_str(), lack.instead.name(), lack.reason]
                .map(str::to_owned)
                .to_vec()
        }));
    }
    let tables: Vec<String> = [backends, operations, lacks]
        .iter()
        .filter(|rows| rows.len() > 1)
        .map(|rows| output::table(rows))
        .collect();
    tables.join("\n")
}
