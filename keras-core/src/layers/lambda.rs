//! `Lambda`: a Rust function as a layer.

use super::registry::Read;
use super::{Base, Build, Call, Layer, Outputs};
use crate::error::{Error, Result};
use crate::registry::{Config, Reader};
use crate::tensor::{Spec, Tensor};
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
    mask: Option<MaskFunction>,
    arguments: Arguments,
    /// As the file had it: Keras on TensorFlow reads the shape off the results, as we do.
    output_shape: Value,
    output_shape_type: Value,
}

impl Lambda {
    /// A function of the layer's inputs under a name, which is what a file keeps of it: whoever loads the file
    /// registers a function of that name.
    pub fn new<R: Into<Outputs>>(
        name: &str,
        function: impl Fn(&[Tensor]) -> R + Send + Sync + 'static,
    ) -> Self {
        let function: Function = Arc::new(move |inputs, _| function(inputs).into().0);
        Self { function: Some(function), ..Self::registered(name) }
    }

    /// The function known under that name to [`register_lambda`].
    pub fn registered(name: &str) -> Self {
        Self {
            base: Base::default(),
            function_name: name.to_owned(),
            function: registered(name),
            mask: None,
            arguments: Arguments::new(),
            output_shape: Value::Null,
            output_shape_type: "raw".into(),
        }
    }

    /// An argument that is saved with the layer and handed to a registered function.
    pub fn argument(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
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
        self.function().map(|_| ())
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
    fn errors_of_the_function_name_the_layer() {
        let x = Input::new([3]).tensor().unwrap();
        let wrong =
            Lambda::new("wrong", |x: &[Tensor]| crate::k::reshape(&x.first().cloned().unwrap(), &[5]));
        let error = wrong.name("wrong_shape").call(&x).unwrap_err().to_string();
        assert!(error.contains("wrong_shape") && error.contains("reshape"), "{error}");
    }
}
