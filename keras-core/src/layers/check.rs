//! Checks that layers make of their inputs, with messages in Keras's spirit.

use crate::array::DType;
use crate::error::{Error, Result};
pub(crate) use crate::k::conv_geometry::RESHAPE;
use crate::tensor::Spec;

/// The one input of a layer that takes one.
pub(crate) fn one<'a, T>(class: &str, inputs: &'a [T]) -> Result<&'a T> {
    match inputs {
        [input] => Ok(input),
        others => Err(Error::value(class, "one input", others.len().to_string())
            .advice("join several with a layer such as Concatenate, or call the layer once for each")),
    }
}

/// The spec of a layer that changes neither shape nor element type.
pub(crate) fn same_spec(class: &str, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
    Ok(Some(vec![one(class, inputs)?.clone()]))
}

/// An input of at least that many axes.
pub(crate) fn at_least_rank<'a>(class: &str, inputs: &'a [Spec], rank: usize) -> Result<&'a Spec> {
    let spec = one(class, inputs)?;
    if spec.rank() < rank {
        return Err(Error::shape(
            class,
            format!("an input of rank {rank} or more, batch first"),
            spec.to_string(),
        )
        .advice(RESHAPE));
    }
    Ok(spec)
}

/// An input of exactly that many axes.
pub(crate) fn exact_rank<'a>(class: &str, inputs: &'a [Spec], rank: usize) -> Result<&'a Spec> {
    let spec = one(class, inputs)?;
    if spec.rank() != rank {
        return Err(Error::shape(class, format!("an input of rank {rank}, batch first"), spec.to_string())
            .advice(RESHAPE));
    }
    Ok(spec)
}

/// A length that has to be known because a weight depends on it.
pub(crate) fn known(class: &str, spec: &Spec, len: Option<usize>, what: &str) -> Result<usize> {
    len.ok_or_else(|| {
        Error::shape(class, format!("an input whose {what} is known"), spec.to_string())
            .advice("say its length in the shape of the Input")
    })
}

/// An input of the element type that the layer computes in.
pub(crate) fn dtype(class: &str, spec: &Spec, dtype: DType) -> Result<()> {
    if spec.dtype == dtype {
        return Ok(());
    }
    Err(Error::dtype(class, format!("{dtype} inputs, as its weights are"), spec.to_string())
        .advice("give the Input or the layer another dtype, or convert with k::cast"))
}

/// A count of at least 1.
pub(crate) fn positive(class: &str, name: &str, count: usize) -> Result<()> {
    if count == 0 {
        return Err(Error::value(class, format!("{name} of at least 1"), "0")
            .advice(format!("give the layer a positive number of {name}")));
    }
    Ok(())
}
