//! Data options: `FILE` or `NAME=FILE`, several times; a `.npz` stands for all; `FILE.h5:PATH` is read lazily.

use super::files::Content;
use super::indices::{self, Limit};
use super::model::{input_names, numbered, output_names};
use super::{Failure, Outcome};
use keras::models::Model;
use keras::saving::HDF5Matrix;
use keras::tensor::shape_text;
use keras::training::{Column, Data};
use keras::{Array, Error, Result, Spec, npy};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file of arrays as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    name: Option<String>,
    path: PathBuf,
}

impl From<OsString> for Source {
    /// Splits at the first `=`. What is no UTF-8 has no name in front.
    fn from(text: OsString) -> Self {
        match text.to_str().and_then(|text| text.split_once('=')) {
            Some((name, path)) => Self { name: Some(name.to_owned()), path: path.into() },
            None => Self { name: None, path: text.into() },
        }
    }
}

impl Source {
    /// Whether it is a data set in an HDF5 file.
    pub(crate) fn is_data_set(&self) -> bool {
        data_set(&self.path).is_some()
    }
}

/// The type of a data option.
pub(crate) fn source() -> impl clap::builder::TypedValueParser<Value = Source> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(Source::from)
}

/// An array and where it came from.
#[derive(Debug)]
pub(crate) struct Found {
    /// The option and the file, and the key in it.
    what: String,
    /// Its shape there.
    in_file: Vec<usize>,
    pub(crate) column: Column,
}

impl Found {
    fn new(what: String, column: impl Into<Column>) -> Self {
        let column = column.into();
        Self { what, in_file: column.shape().to_vec(), column }
    }

    /// All of it in memory.
    pub(crate) fn array(&self) -> Result<Array> {
        self.column.rows(0, self.column.samples())
    }
}

/// The file and the data set of `FILE.h5:PATH`: what stands before the first colon that ends the name of a file.
fn data_set(path: &Path) -> Option<(&Path, &str)> {
    let text = path.to_str().filter(|_| !path.exists())?;
    text.match_indices(':')
        .map(|(at, _)| {
            (Path::new(text.get(..at).unwrap_or_default()), text.get(at + 1..).unwrap_or_default())
        })
        .find(|(file, _)| file.is_file())
}

/// The arrays of a data option, one for each name, in that order.
///
/// # Errors
/// Wrong usage where the option itself cannot be right; a failure where a file cannot be read, or names or their
/// number are not those of the model.
pub(crate) fn read(option: &str, sources: &[Source], names: &[String]) -> Outcome<Vec<Found>> {
    let named: Vec<&str> = sources.iter().filter_map(|source| source.name.as_deref()).collect();
    if !named.is_empty() && named.len() < sources.len() {
        return Err(Failure::Usage(
            Error::value(
                option,
                "files that all have a name in front (NAME=FILE) or none",
                format!("{} with and {} without", named.len(), sources.len() - named.len()),
            )
            .advice("name all of them, or none"),
        ));
    }
    let listed = names.join(", ");
    if let Some((_, name)) =
        named.iter().enumerate().find(|(i, name)| named.iter().take(*i).any(|other| other == *name))
    {
        return Err(Failure::Usage(
            Error::name(option, format!("every name once, of {listed}"), format!("{name} twice"))
                .advice("give each array once"),
        ));
    }
    let mut files = Vec::with_capacity(sources.len());
    for source in sources {
        let what = format!("{option} {}", source.path.display());
        if let Some((file, path)) = data_set(&source.path) {
            let content = Content::of(&what, file)?;
            if content != Content::Hdf5 {
                let expected = format!("an HDF5 file before the colon and the data set {path}");
                return Err(Error::file(what, expected, content.describe())
                    .advice("leave the colon out for a .npy or .npz file")
                    .into());
            }
            files.push((what, content, source));
            continue;
        }
        let content = Content::of(&what, &source.path)?;
        if content == Content::Hdf5 {
            let expected = "a .npy or .npz file, or an HDF5 file with the name of a data set";
            let error = Error::file(what, expected, "an HDF5 file alone");
            return Err(error.advice(format!("write {}:NAME", source.path.display())).into());
        }
        if !matches!(content, Content::Npy | Content::Zip | Content::Pipe) {
            return Err(Error::file(what, "a .npy or .npz file", content.describe())
                .advice("write one with numpy: np.save(path, x)")
                .into());
        }
        files.push((what, content, source));
    }
    if let [(what, Content::Zip, source)] = files.as_slice()
        && source.name.is_none()
    {
        return Ok(from_archive(what, npy::read_npz(&source.path)?, names)?);
    }
    if let Some((what, ..)) = files.iter().find(|(_, content, _)| *content == Content::Zip) {
        let expected =
            "a .npz file alone and without a name in front, as it stands for all arrays, or .npy files";
        return Err(Error::file(what, expected, "a .npz file beside others or under a name")
            .advice("give each array in a file .npy of its own")
            .into());
    }
    if named.is_empty() && files.len() != names.len() {
        let expected = format!("{} files, for {listed}", names.len());
        return Err(Error::value(option, expected, files.len().to_string())
            .advice("repeat the option, once for each")
            .into());
    }
    check_names(option, &named, names)?;
    let mut found = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        let file = if named.is_empty() {
            files.get(i)
        } else {
            files.iter().find(|(_, _, source)| source.name.as_ref() == Some(name))
        };
        if let Some((what, _, source)) = file {
            found.push(match data_set(&source.path) {
                Some((file, path)) => Found::new(what.clone(), HDF5Matrix::new(file, path)?),
                None => Found::new(what.clone(), npy::read_npy(&source.path)?),
            });
        }
    }
    Ok(found)
}

/// The arrays of a `.npz`: its keys are `arr_0`, … in order, or the names.
fn from_archive(what: &str, entries: Vec<(String, Array)>, names: &[String]) -> Result<Vec<Found>> {
    let keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    if let Some(arrays) = numbered(&entries) {
        if arrays.len() != names.len() {
            let expected = format!("{} arrays, for {}", names.len(), names.join(", "));
            return Err(Error::value(what, expected, arrays.len().to_string())
                .advice("write one array for each: np.savez(path, *x)"));
        }
        let label = |i| format!("{what}, array arr_{i}");
        return Ok(arrays.into_iter().enumerate().map(|(i, array)| Found::new(label(i), array)).collect());
    }
    check_names(what, &keys, names)?;
    let find = |name: &String| {
        let (key, array) = entries.iter().find(|(key, _)| key == name)?;
        Some(Found::new(format!("{what}, array {key}"), array.clone()))
    };
    Ok(names.iter().filter_map(find).collect())
}

/// An error if a name is missing or there is one too many. No names at all are fine.
fn check_names(what: &str, given: &[&str], names: &[String]) -> Result<()> {
    let missing =
        names.iter().find(|name| !given.contains(&name.as_str())).map(|name| format!("none for {name}"));
    let extra =
        given.iter().find(|name| !names.iter().any(|known| known == *name)).map(|name| (*name).to_owned());
    match extra.or(missing) {
        Some(received) if !given.is_empty() => {
            Err(Error::name(what, format!("the names {}", names.join(", ")), received)
                .advice("give one array under each name: NAME=FILE"))
        }
        _ => Ok(()),
    }
}

/// The arrays for a model's inputs, checked against them.
pub(crate) fn inputs(option: &str, sources: &[Source], model: &Model) -> Outcome<Vec<Column>> {
    let names = input_names(model)?;
    let found = read(option, sources, &names)?;
    // A model that is not built yet takes the shape of its data.
    let tensors = model.inputs().unwrap_or_default();
    let limits = indices::limits(model);
    let mut arrays = Vec::with_capacity(found.len());
    for (i, (found, name)) in found.into_iter().zip(&names).enumerate() {
        let mut found = with_features(found)?;
        if let Some(tensor) = tensors.get(i) {
            found = checked(found, name, &tensor.spec()?)?;
        }
        for limit in limits.get(i).into_iter().flatten() {
            check_indices(&found, limit)?;
        }
        arrays.push(found.column);
    }
    check_samples(option, &arrays, &names)?;
    Ok(arrays)
}

/// The arrays for the outputs `names` of a model, checked as far as losses do not. `inputs` belong to them.
pub(crate) fn targets(
    option: &str,
    sources: &[Source],
    model: &Model,
    names: &[String],
    inputs: &[Column],
) -> Outcome<Data> {
    let samples = inputs.first().map_or(0, Column::samples);
    let found = read(option, sources, names)?;
    let outputs: Vec<_> = output_names(model)?.into_iter().zip(model.outputs().unwrap_or_default()).collect();
    let mut columns = Vec::with_capacity(found.len());
    for (found, name) in found.into_iter().zip(names) {
        let found = with_features(found)?;
        if let Some((_, tensor)) = outputs.iter().find(|(output, _)| output == name) {
            check_target(&found, name, &tensor.spec()?, samples)?;
        }
        columns.push(found.column);
    }
    Ok(columns.into())
}

/// An error if it is the target of one sample without the axis that counts them.
fn check_target(found: &Found, name: &str, spec: &Spec, samples: usize) -> Result<()> {
    let own = spec.shape.get(1..).unwrap_or_default();
    // A class number stands for a last axis, with or without an axis of its own.
    let labels = own.split_last().map(|(_, rest)| rest).unwrap_or_default();
    let of_one = fits(own, &found.in_file) || (!labels.is_empty() && fits(labels, &found.in_file));
    let given = found.column.shape().get(1..).unwrap_or_default();
    let is_target = fits(own, given)
        || fits(labels, given)
        || given.split_last().is_some_and(|(last, rest)| *last == 1 && fits(labels, rest));
    if of_one && !(is_target && found.column.samples() == samples) {
        let expected = format!("shape {} for the target of {name}", batch_text(own));
        return Err(missing_samples(found, expected));
    }
    Ok(())
}

/// 1-D is (n, 1), as in Keras.
fn with_features(found: Found) -> Result<Found> {
    if found.column.rank() == 0 {
        return Err(Error::shape(found.what, "an array whose first axis counts samples", "a single number")
            .advice("reshape it to (samples, features)"));
    }
    Ok(Found { column: found.column.column()?, ..found })
}

/// The array, if its samples have the input's shape.
fn checked(found: Found, name: &str, spec: &Spec) -> Result<Found> {
    let (own, given) = (spec.shape.get(1..).unwrap_or_default(), found.column.shape());
    if fits(own, given.get(1..).unwrap_or_default()) {
        return Ok(found);
    }
    let expected = format!("shape {} for the input {name}", batch_text(own));
    if fits(own, &found.in_file) {
        return Err(missing_samples(&found, expected));
    }
    let error = Error::shape(found.what, expected, format!("shape {}", tuple(&found.in_file)));
    Err(match reshaped(own, given) {
        Some(shape) => error.advice(format!("reshape it to {}", tuple(&shape))),
        None => error.advice("give every sample the shape that the model was made for"),
    })
}

/// Whether lengths are those of a shape.
fn fits(own: &[Option<usize>], given: &[usize]) -> bool {
    own.len() == given.len() && own.iter().zip(given).all(|(own, len)| own.is_none_or(|own| own == *len))
}

/// The shape of a batch of such samples.
fn batch_text(own: &[Option<usize>]) -> String {
    shape_text(own).replacen('(', "(samples, ", 1).replace(",)", ")")
}

/// The error of one sample where a batch belongs.
fn missing_samples(found: &Found, expected: String) -> Error {
    let batch: Vec<usize> = std::iter::once(1).chain(found.in_file.iter().copied()).collect();
    Error::shape(&found.what, expected, format!("shape {}", tuple(&found.in_file)))
        .advice(format!("the axis of samples is missing: reshape it to {}", tuple(&batch)))
}

/// The shape that gives every sample the input's own, where the numbers per sample are as many.
fn reshaped(own: &[Option<usize>], given: &[usize]) -> Option<Vec<usize>> {
    let (&samples, rest) = given.split_first()?;
    let fixed: Vec<usize> = own.iter().copied().collect::<Option<_>>()?;
    (fixed.iter().product::<usize>() == rest.iter().product::<usize>())
        .then(|| std::iter::once(samples).chain(fixed).collect())
}

/// A shape as Python prints it.
fn tuple(shape: &[usize]) -> String {
    shape_text(&shape.iter().map(|&len| Some(len)).collect::<Vec<_>>())
}

/// Indices of an embedding must be whole and in range: the model would otherwise round or refuse them further in.
fn check_indices(found: &Found, limit: &Limit) -> Result<()> {
    let wrong = |value: &f64| value.fract() != 0.0 || !(0.0..limit.count as f64).contains(value);
    // Of a data set in a file never more than this is in memory.
    let at_once = 1024;
    for start in (0..found.column.samples()).step_by(at_once) {
        let rows = found.column.rows(start, start + at_once)?;
        let values = rows.to_vec::<f64>();
        let Some(at) = values.iter().position(wrong) else { continue };
        let mut place = position(rows.shape(), at);
        if let Some(sample) = place.first_mut() {
            *sample += start;
        }
        return Err(Error::value(
            &found.what,
            format!(
                "whole numbers from 0 to {}, indices of the Embedding {}",
                limit.count.saturating_sub(1),
                limit.layer
            ),
            format!("{} at {}", values.get(at).copied().unwrap_or_default(), tuple(&place)),
        )
        .advice("encode the data again, or make input_dim larger"));
    }
    Ok(())
}

/// Where element `at` stands.
fn position(shape: &[usize], mut at: usize) -> Vec<usize> {
    let mut position: Vec<usize> = Vec::with_capacity(shape.len());
    for &len in shape.iter().rev() {
        position.push(at % len.max(1));
        at /= len.max(1);
    }
    position.reverse();
    position
}

/// An error unless all arrays have one number of samples, and some.
fn check_samples(option: &str, columns: &[Column], names: &[String]) -> Result<()> {
    let counts: Vec<usize> = columns.iter().map(Column::samples).collect();
    if counts.contains(&0) {
        return Err(Error::value(option, "at least one sample", "none").advice("give a file with rows"));
    }
    match counts.iter().zip(names).find(|(count, _)| Some(*count) != counts.first()) {
        None => Ok(()),
        Some((count, name)) => {
            let first = counts.first().copied().unwrap_or_default();
            Err(Error::shape(
                option,
                format!("as many samples for {name} as for the first, {first}"),
                count.to_string(),
            )
            .advice("give every array one row per sample"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_the_first_equals_sign() {
        let source = |text: &str| Source::from(OsString::from(text));
        assert_eq!(source("a.npy"), Source { name: None, path: "a.npy".into() });
        assert_eq!(source("x=a=b.npy"), Source { name: Some("x".into()), path: "a=b.npy".into() });
    }

    #[test]
    fn positions_count_row_by_row() {
        assert_eq!(position(&[2, 3], 4), [1, 1]);
        assert_eq!(position(&[5], 3), [3]);
    }
}
