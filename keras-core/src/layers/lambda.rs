//! `Lambda`: a Rust function as a layer.

use super::registry::Read;
use super::{Base, Build, Call, Layer, Outputs, ShapeArgument, read_shape};
use crate::error::{Error, Result};
use crate::registry::{Config, Reader, warn_once};
use crate::tensor::record::probe;
use crate::tensor::{Spec, Tensor, shape_text};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The arguments of a `Lambda`, as its config has them.
pub type Arguments = Map<String, Value>;

type Function = Arc<dyn Fn(&[Tensor], &Arguments) -> Vec<Tensor> + Send + Sync>;
type MaskFunction = Arc<dyn Fn(&[Tensor], &[Option<Tensor>]) -> Option<Tensor> + Send + Sync>;

static FUNCTIONS: RwLock<BTreeMap<String, Function>> = RwLock::new(BTreeMap::new());

fn registered(name: &str) -> Option<Function> {
    FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
}

/// Makes a function known, so that files can name it: inputs and saved arguments to one tensor or several.
///
/// A file never brings code. A `Lambda` that Python saved under a function's name finds the function of that name here;
/// one saved as Python bytecode, which has no name, finds the one registered under its layer's name (`lambda_1`).
///
/// ```
/// use keras_core::layers::{self, Input, Lambda};
/// use keras_core::{Tensor, k};
/// layers::register_lambda("scaled", |x: &[Tensor], arguments| {
///     let factor = arguments.get("factor").and_then(|factor| factor.as_f64()).unwrap_or(1.0);
///     x.iter().map(|x| x * factor).collect::<Vec<_>>()
/// });
/// let x = Input::new([3]).tensor()?;
/// let y = Lambda::registered("scaled").argument("factor", 2.0).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(3)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub fn register_lambda<R: Into<Outputs>>(
    name: &str,
    function: impl Fn(&[Tensor], &Arguments) -> R + Send + Sync + 'static,
) {
    let function: Function = Arc::new(move |inputs, arguments| function(inputs, arguments).into().0);
    FUNCTIONS.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), function);
}

/// A function of tensors as a layer. The specs of its results are found by tracing it.
///
/// ```
/// use keras_core::layers::{Input, Lambda};
/// use keras_core::{Tensor, k};
/// let x = Input::new([4]).tensor()?;
/// let y = Lambda::new("antirectifier", |x: &[Tensor]| {
///     let centred = &x[0] - &k::mean(&x[0], &[1], true);
///     k::concatenate(&[&k::relu(&centred, 0.0, None, 0.0), &k::relu(&-&centred, 0.0, None, 0.0)], -1)
/// })
/// .call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(8)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Lambda {
    base: Base,
    function_name: String,
    function: Option<Function>,
    /// Whether it is handed the arguments.
    takes_arguments: bool,
    mask: Option<MaskFunction>,
    arguments: Arguments,
    /// As Keras writes it: a shape or a list of them, without the batch.
    output_shape: Value,
    output_shape_type: Value,
    /// Whether a file says it, which Keras 3 and tf.keras hardly look at.
    output_shape_read: bool,
}

impl Lambda {
    /// A function of the layer's inputs under a name, which is what a file keeps of it: whoever loads the file
    /// registers a function of that name.
    pub fn new<R: Into<Outputs>>(
        name: &str,
        function: impl Fn(&[Tensor]) -> R + Send + Sync + 'static,
    ) -> Self {
        let function: Function = Arc::new(move |inputs, _| function(inputs).into().0);
        Self { function: Some(function), takes_arguments: false, ..Self::registered(name) }
    }

    /// The function known under that name to [`register_lambda`].
    pub fn registered(name: &str) -> Self {
        Self {
            base: Base::default(),
            function_name: name.to_owned(),
            function: registered(name),
            takes_arguments: true,
            mask: None,
            arguments: Arguments::new(),
            output_shape: Value::Null,
            output_shape_type: "raw".into(),
            output_shape_read: false,
        }
    }

    /// An argument that is saved with the layer and handed to a [registered](register_lambda) function. For one given
    /// to [`Lambda::new`], which takes none, it is an error when the layer is called.
    pub fn argument(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    /// The shape of a sample's result. Tracing finds it already; a length said here settles one that tracing leaves
    /// open, and another one than tracing finds is an error when the layer is called. Saved with the layer.
    ///
    /// ```
    /// use keras_core::layers::{Input, Lambda};
    /// let x = Input::new([None, Some(3)]).tensor()?;
    /// let same = || Lambda::new("same", |x: &[keras_core::Tensor]| x.to_vec());
    /// let y = same().output_shape([5, 3]).call(&x)?;
    /// assert_eq!(y.spec()?.shape, [None, Some(5), Some(3)]);
    /// assert!(same().output_shape([5, 4]).call(&x).is_err());
    /// # Ok::<(), keras_core::Error>(())
    /// ```
    pub fn output_shape(mut self, shape: impl Into<ShapeArgument>) -> Self {
        self.output_shape = json!(shape.into().0);
        self.output_shape_type = "raw".into();
        self.output_shape_read = false;
        self
    }

    /// What [`Lambda::output_shape`] or the file says, one shape for each result; none if it says nothing.
    fn declared(&self) -> Option<Vec<Vec<Option<usize>>>> {
        read_shape(&self.output_shape)
            .map(|shape| vec![shape])
            .or_else(|| self.output_shape.as_array()?.iter().map(read_shape).collect())
    }

    /// The mask of the results from inputs and their masks; without one, results are not masked. As in Keras, it is
    /// not saved.
    pub fn mask(
        mut self,
        mask: impl Fn(&[Tensor], &[Option<Tensor>]) -> Option<Tensor> + Send + Sync + 'static,
    ) -> Self {
        self.mask = Some(Arc::new(mask));
        self
    }

    fn function(&self) -> Result<&Function> {
        self.function.as_ref().ok_or_else(|| {
            let known: Vec<String> =
                FUNCTIONS.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
            Error::name(
                "Lambda",
                format!("a registered function among {known:?}"),
                format!("{:?}", self.function_name),
            )
            .advice("code of Python is never run: register the function with layers::register_lambda before")
            .suggest(&self.function_name, known.iter().map(String::as_str))
        })
    }
}

crate::layer_verbs!(Lambda);

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lambda({:?}, {:?})", self.function_name, self.arguments)
    }
}

impl Read for Lambda {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        // Modules of Python (tf.keras) say nothing here.
        reader.ignore(&["module", "output_shape_module"]);
        let kind = reader.text("function_type", "function")?;
        // Keras 3 has an object there.
        let object = reader.value("function").and_then(Value::as_object);
        let part = |key: &str| object.and_then(|object| object.get(key)).and_then(Value::as_str);
        let name = match reader.value("function") {
            Some(Value::String(name)) if kind == "function" => name.clone(),
            Some(Value::Object(_)) if part("class_name") == Some("__lambda__") => {
                base.name.clone().unwrap_or_default()
            }
            Some(Value::Object(_)) if part("class_name") == Some("function") => {
                part("config").unwrap_or_default().to_owned()
            }
            Some(Value::Array(_)) if kind == "lambda" => base.name.clone().unwrap_or_default(),
            _ => return Err(reader.wrong("function", "the name of a function, or Python bytecode")),
        };
        let arguments = match reader.value("arguments") {
            None => Arguments::new(),
            Some(Value::Object(arguments)) => arguments.clone(),
            Some(_) => return Err(reader.wrong("arguments", "an object")),
        };
        let layer = Self {
            base,
            arguments,
            output_shape: reader.value("output_shape").cloned().unwrap_or_default(),
            output_shape_type: reader.value("output_shape_type").cloned().unwrap_or_else(|| "raw".into()),
            output_shape_read: true,
            ..Self::registered(&name)
        };
        layer.function()?;
        Ok(layer)
    }
}

impl Layer for Lambda {
    fn config(&self) -> Config {
        Config::new("Lambda")
            .with("function", self.function_name.as_str())
            .with("function_type", "function")
            .with("output_shape", self.output_shape.clone())
            .with("output_shape_type", self.output_shape_type.clone())
            .with("arguments", json!(self.arguments))
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, _: &mut Build, _: &[Spec]) -> Result<()> {
        self.function()?;
        if self.takes_arguments || self.arguments.is_empty() {
            return Ok(());
        }
        let names: Vec<&String> = self.arguments.keys().collect();
        Err(Error::value(
            "Lambda",
            "a function that takes arguments",
            format!("{names:?} for one that takes none"),
        )
        .advice(
            "register it with layers::register_lambda and use Lambda::registered, or let it capture them",
        ))
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let Some(declared) = self.declared() else { return Ok(None) };
        let function = self.function()?;
        let found = probe(inputs, |_, inputs| Ok(function(inputs, &self.arguments)))?;
        let settled = found.iter().zip(&declared).map(|(spec, own)| settled(spec, own));
        let settled = settled.collect::<Option<Vec<_>>>().filter(|_| found.len() == declared.len());
        if settled.is_some() {
            return Ok(settled);
        }
        let texts: Vec<String> = found.iter().map(|spec| shape_text(&spec.shape)).collect();
        let (stated, found_text) = (&self.output_shape, texts.join(", "));
        if self.output_shape_read {
            warn_once(&format!(
                "a Lambda's output_shape {stated} in a file is not what its function gives, {found_text}, which counts"
            ));
            return Ok(Some(found));
        }
        let expected = format!("results of output_shape {stated}, batch in front");
        Err(Error::shape("Lambda", expected, found_text)
            .advice("leave output_shape out: tracing the function finds it"))
    }

    fn call(&self, _: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let outputs = self.function()?(inputs, &self.arguments);
        if outputs.is_empty() {
            return Err(Error::value("Lambda", "at least one result", "none"));
        }
        Ok(outputs)
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn creates_mask(&self) -> bool {
        self.mask.is_some()
    }

    fn compute_mask(
        &self,
        cx: &mut Call,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> Result<Vec<Option<Tensor>>> {
        let masks: Vec<Option<Tensor>> = (0..inputs.len()).map(|i| cx.mask(i).cloned()).collect();
        let mask = self.mask.as_ref().and_then(|mask| mask(inputs, &masks));
        Ok(vec![mask; outputs.len()])
    }
}

/// A traced spec with the lengths of a declared shape of a sample; none if they contradict each other.
fn settled(found: &Spec, declared: &[Option<usize>]) -> Option<Spec> {
    let (batch, lens) = found.shape.split_first()?;
    let fits = lens.len() == declared.len()
        && lens.iter().zip(declared).all(|(a, b)| a.is_none() || b.is_none() || a == b);
    let lens = lens.iter().zip(declared).map(|(found, declared)| found.or(*declared));
    fits.then(|| Spec::new(std::iter::once(*batch).chain(lens).collect::<Vec<_>>(), found.dtype))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::layers::{Input, LayerRef, deserialize};

    #[test]
    fn a_file_finds_functions_by_their_name_and_bytecode_by_the_name_of_its_layer() {
        register_lambda("lambda_test_double", |x: &[Tensor], _| {
            x.iter().map(|x| x * 2.0).collect::<Vec<_>>()
        });
        let config = |function: Value, kind: &str| {
            Config::new("Lambda")
                .with("name", "lambda_test_double")
                .with("function", function)
                .with("function_type", kind)
        };
        let later = |class: &str, inner: Value| json!({"class_name": class, "config": inner});
        for config in [
            config(json!("lambda_test_double"), "function"),
            config(json!(["4wEA\n", null, null]), "lambda"),
            config(
                later("__lambda__", json!({"value": "4wEA", "defaults": null, "closure": null})),
                "function",
            ),
            config(later("function", json!("lambda_test_double")), "function"),
        ] {
            let layer = deserialize(&config).unwrap();
            let y = layer.call(Input::new([3]).tensor().unwrap()).unwrap();
            assert_eq!(y.spec().unwrap().shape, [None, Some(3)]);
            let own = layer.config().config;
            assert_eq!(
                (own["function"].clone(), own["function_type"].clone()),
                (json!("lambda_test_double"), json!("function"))
            );
        }
        let error = deserialize(&config(json!("lambda_test_unknown"), "function")).unwrap_err();
        assert!(error.report().received.contains("lambda_test_unknown"), "{error}");
        let unknown =
            config(later("__lambda__", json!({"value": "4wEA"})), "function").with("name", "nobody");
        let error = deserialize(&unknown).unwrap_err().to_string();
        assert!(error.contains("nobody") && error.contains("register_lambda"), "{error}");
    }

    #[test]
    fn masks_stop_unless_a_function_makes_one() {
        let x = Input::new([5, 3]).tensor().unwrap();
        let masked = super::super::Masking::new(0.0).call(&x).unwrap();
        let plain = Lambda::new("identity", |x: &[Tensor]| x.to_vec());
        assert!(!plain.clone().call(&masked).unwrap().is_masked());
        let layer = LayerRef::new(plain.mask(|_, masks| masks.first().cloned().flatten())).unwrap();
        assert!(layer.call(&masked).unwrap().is_masked());
    }

    #[test]
    fn arguments_reach_registered_functions_and_are_refused_for_others() {
        register_lambda("lambda_test_repeated", |x: &[Tensor], arguments| {
            let times = arguments.get("times").and_then(Value::as_u64).unwrap_or(1) as usize;
            crate::k::concatenate(&vec![x.first().unwrap(); times], -1)
        });
        let x = Input::new([3]).tensor().unwrap();
        let features = |layer: Lambda| layer.call(&x).unwrap().spec().unwrap().shape[1];
        let registered = || Lambda::registered("lambda_test_repeated");
        assert_eq!(features(registered()), Some(3));
        assert_eq!(features(registered().argument("times", 4)), Some(12));
        let plain = Lambda::new("plain", |x: &[Tensor]| x.to_vec()).argument("times", 4).name("here");
        let error = plain.call(&x).unwrap_err().to_string();
        assert!(error.contains("here") && error.contains("times") && error.contains("register"), "{error}");
    }

    #[test]
    fn a_declared_shape_is_saved_and_fits_or_is_an_error() {
        let x = Input::new([3]).tensor().unwrap();
        let same = || Lambda::new("same", |x: &[Tensor]| x.to_vec()).name("here");
        let layer = LayerRef::new(same().output_shape([None])).unwrap();
        assert_eq!(layer.call(&x).unwrap().spec().unwrap().shape, [None, Some(3)]);
        assert_eq!(layer.config().config["output_shape"], json!([null]));
        for wrong in [same().output_shape(4), same().output_shape([3, 1])] {
            let error = wrong.clone().call(&x).unwrap_err();
            assert!(error.report().received.contains("(None, 3)"), "{error}");
            assert!(error.report().doing.contains("here"), "{error}");
            // In a file it is a slip that Keras does not see.
            let config = LayerRef::new(wrong).unwrap().config();
            register_lambda("same", |x: &[Tensor], _| x.to_vec());
            let read = crate::layers::deserialize(&config).unwrap();
            assert_eq!(read.call(&x).unwrap().spec().unwrap().shape, [None, Some(3)]);
        }
    }

    #[test]
    fn errors_of_the_function_name_the_layer() {
        let x = Input::new([3]).tensor().unwrap();
        let wrong =
            Lambda::new("wrong", |x: &[Tensor]| crate::k::reshape(&x.first().cloned().unwrap(), &[5]));
        let error = wrong.name("wrong_shape").call(&x).unwrap_err().to_string();
        assert!(error.contains("wrong_shape") && error.contains("reshape"), "{error}");
    }
}
