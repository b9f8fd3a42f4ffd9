//! [`Shared`] and [`Given`]: what activations, initializers, regularizers, constraints, losses, metrics and
//! optimizers have in common. Each is a trait; a [`Shared`] holds one; a [`Given`] is what a user wrote for one: a
//! name, a config, a value.

use crate::error::Result;
use crate::registry::{Config, Reader, Registry};
use serde_json::Value;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A kind of things that Keras knows by name. Implemented for the trait object: `dyn Activation`.
pub trait Kind: Send + Sync + 'static {
    /// Name → thing.
    fn registry() -> &'static Registry<Shared<Self>>;

    /// How a config refers to it: a name, or `{class_name, config}`.
    fn to_value(&self) -> Value;

    /// What Keras's `None` means where one is needed; an error if nothing.
    fn nothing() -> Option<Shared<Self>> {
        None
    }

    /// Makes the thing of a config.
    fn build(config: &Config) -> Result<Shared<Self>> {
        Self::registry().build(config)
    }
}

/// A thing of a kind. Clones are the same thing.
pub struct Shared<K: Kind + ?Sized>(pub(crate) Arc<K>);

impl<K: Kind + ?Sized> Clone for Shared<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Kind + ?Sized> Deref for Shared<K> {
    type Target = K;
    fn deref(&self) -> &K {
        &self.0
    }
}

impl<K: Kind + ?Sized> fmt::Debug for Shared<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_value())
    }
}

/// What a user gave for a thing of a kind; [`Given::resolve`] makes it one.
///
/// ```
/// use keras_core::activations::{self, ActivationSpec};
/// assert_eq!(ActivationSpec::from("relu").resolve()?.name(), "relu");
/// assert_eq!(ActivationSpec::from(activations::Relu).resolve()?.name(), "relu");
/// assert_eq!(ActivationSpec::default().resolve()?.name(), "linear");
/// assert!(ActivationSpec::from("rulu").resolve().is_err());
/// # Ok::<(), keras_core::Error>(())
/// ```
pub enum Given<K: Kind + ?Sized> {
    /// Keras's `None`.
    Nothing,
    /// A registered name, with default arguments.
    Named(String),
    /// A registered class name with arguments.
    Config(Config),
    /// A JSON value: null, a name, or `{class_name, config}`.
    Json(Value),
    /// The thing itself.
    Value(Shared<K>),
}

impl<K: Kind + ?Sized> Given<K> {
    /// The thing; where nothing was given, what Keras's `None` means for the kind.
    ///
    /// # Errors
    /// If the name is unknown, an argument is out of its domain, or nothing was given for a kind that needs a value.
    pub fn resolve(&self) -> Result<Shared<K>> {
        match self.resolve_if_any()? {
            Some(found) => Ok(found),
            None => K::nothing().ok_or_else(|| K::registry().unknown("None")),
        }
    }

    /// The thing, or none where nothing was given.
    pub fn resolve_if_any(&self) -> Result<Option<Shared<K>>> {
        match self {
            Self::Nothing | Self::Json(Value::Null) => Ok(None),
            Self::Named(name) | Self::Json(Value::String(name)) => {
                K::build(&Config::new(name.as_str())).map(Some)
            }
            Self::Config(config) => K::build(config).map(Some),
            Self::Json(value) => K::build(&config_of::<K>(value)?).map(Some),
            Self::Value(value) => Ok(Some(value.clone())),
        }
    }

    /// The name as the user wrote it; none for configs and values.
    pub fn given_name(&self) -> Option<String> {
        match self {
            Self::Named(name) | Self::Json(Value::String(name)) => Some(name.clone()),
            _ => None,
        }
    }

    /// How a config refers to it: canonical if it can be resolved, else as it was given.
    pub fn to_value(&self) -> Value {
        match (self.resolve_if_any(), self) {
            (Ok(found), _) => found.map_or(Value::Null, |found| found.to_value()),
            (Err(_), Self::Named(name)) => name.as_str().into(),
            (Err(_), Self::Config(config)) => config.to_value(),
            (Err(_), Self::Json(value)) => value.clone(),
            (Err(_), Self::Nothing | Self::Value(_)) => Value::Null,
        }
    }

    /// The argument `key` of a config, resolved; `default` if it is absent, nothing if it is null.
    pub fn read(reader: &mut Reader<'_>, key: &str, default: impl Into<Self>) -> Result<Self> {
        let absent = !reader.has(key);
        let given = match reader.value(key) {
            Some(value) => Self::Json(value.clone()),
            None if absent => default.into(),
            None => Self::Nothing,
        };
        let found = given.resolve_if_any().map_err(|error| error.within(key))?;
        Ok(found.map_or(Self::Nothing, Self::Value))
    }
}

fn config_of<K: Kind + ?Sized>(value: &Value) -> Result<Config> {
    let config = match value {
        Value::Object(fields) if fields.get("config").is_some_and(Value::is_null) => {
            fields.get("class_name").and_then(Value::as_str).map(Config::new)
        }
        Value::Object(_) => serde_json::from_value(value.clone()).ok(),
        _ => None,
    };
    config.ok_or_else(|| K::registry().unknown(&value.to_string()))
}

#[allow(clippy::derivable_impls, reason = "deriving would ask for a default of the kind itself")]
impl<K: Kind + ?Sized> Default for Given<K> {
    fn default() -> Self {
        Self::Nothing
    }
}

impl<K: Kind + ?Sized> Clone for Given<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Named(name) => Self::Named(name.clone()),
            Self::Config(config) => Self::Config(config.clone()),
            Self::Json(value) => Self::Json(value.clone()),
            Self::Value(value) => Self::Value(value.clone()),
        }
    }
}

impl<K: Kind + ?Sized> fmt::Debug for Given<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_value())
    }
}

impl<K: Kind + ?Sized> From<&str> for Given<K> {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl<K: Kind + ?Sized> From<String> for Given<K> {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl<K: Kind + ?Sized> From<&String> for Given<K> {
    fn from(name: &String) -> Self {
        Self::Named(name.clone())
    }
}

impl<K: Kind + ?Sized> From<Config> for Given<K> {
    fn from(config: Config) -> Self {
        Self::Config(config)
    }
}

impl<K: Kind + ?Sized> From<Value> for Given<K> {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl<K: Kind + ?Sized> From<&Value> for Given<K> {
    fn from(value: &Value) -> Self {
        Self::Json(value.clone())
    }
}

impl<K: Kind + ?Sized> From<Shared<K>> for Given<K> {
    fn from(value: Shared<K>) -> Self {
        Self::Value(value)
    }
}

impl<K: Kind + ?Sized> From<&Shared<K>> for Given<K> {
    fn from(value: &Shared<K>) -> Self {
        Self::Value(value.clone())
    }
}

/// The name of a Rust function as Python's `__name__` would have it: its last path segment; `<lambda>` for closures.
pub(crate) fn function_name<F>() -> &'static str {
    let path = std::any::type_name::<F>();
    let path = path.split('<').next().unwrap_or(path);
    match path.rsplit("::").next() {
        Some(name) if !name.contains('{') && !name.is_empty() => name,
        _ => "<lambda>",
    }
}

/// Implements [`Kind`] for the trait object, names the holder and the specification, and lets every value of the
/// trait stand for itself.
macro_rules! kind {
    ($trait:ident, $ref:ident, $spec:ident, $registry:ident, to_value = $to_value:expr $(, nothing = $nothing:expr)? $(, build = $build:expr)?) => {
        #[doc = concat!("A shared [`", stringify!($trait), "`].")]
        pub type $ref = $crate::kinds::Shared<dyn $trait>;

        #[doc = concat!("A [`", stringify!($trait), "`] by name, by config, or as a value.")]
        pub type $spec = $crate::kinds::Given<dyn $trait>;

        impl $crate::kinds::Kind for dyn $trait {
            fn registry() -> &'static $crate::registry::Registry<$ref> {
                &$registry
            }
            fn to_value(&self) -> serde_json::Value {
                ($to_value)(self)
            }
            $(fn nothing() -> Option<$ref> {
                $nothing
            })?
            $(fn build(config: &$crate::registry::Config) -> $crate::error::Result<$ref> {
                ($build)(config)
            })?
        }

        impl $ref {
            /// Holds a value.
            pub fn new(value: impl $trait + 'static) -> Self {
                Self(std::sync::Arc::new(value))
            }
        }

        impl<T: $trait + 'static> From<T> for $spec {
            fn from(value: T) -> Self {
                Self::Value($ref::new(value))
            }
        }

        /// By name.
        ///
        /// # Errors
        /// If the name is not registered.
        pub fn get(name: &str) -> $crate::error::Result<$ref> {
            $spec::from(name).resolve()
        }

        /// From a config, as [`Shared`](crate::kinds::Shared)'s `to_value` gives it.
        ///
        /// # Errors
        /// If it is no name and no `{class_name, config}`, or an argument is wrong.
        pub fn deserialize(value: &serde_json::Value) -> $crate::error::Result<$ref> {
            $spec::from(value).resolve()
        }

        /// Makes a name known, or replaces what it stands for; the constructor reads the arguments.
        pub fn register(
            name: &str,
            constructor: impl Fn(&$crate::registry::Config) -> $crate::error::Result<$ref> + Send + Sync + 'static,
        ) {
            $registry.register(name, constructor);
        }
    };
}
pub(crate) use kind;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use crate::activations::{self, ActivationSpec};
    use crate::initializers::{InitializerSpec, glorot_uniform};
    use crate::losses::{self, LossSpec};
    use crate::registry::Config;
    use crate::regularizers::{RegularizerRef, RegularizerSpec, l2};
    use crate::{Tensor, k};
    use serde_json::{Value, json};

    fn steep(x: &Tensor) -> Tensor {
        x * 5.0
    }

    #[test]
    fn names_configs_values_and_functions_resolve() {
        let name = |spec: ActivationSpec| spec.resolve().unwrap().name().to_owned();
        assert_eq!(name("relu".into()), "relu");
        assert_eq!(name("tanh".to_owned().into()), "tanh");
        assert_eq!(name(activations::Softmax.into()), "softmax");
        assert_eq!(name(steep.into()), "steep");
        assert_eq!(name((|x: &Tensor| x * 2.0).into()), "<lambda>");
        assert_eq!(name(ActivationSpec::default()), "linear");
        assert_eq!(name(json!(null).into()), "linear");
        assert_eq!(activations::get("relu").unwrap().builtin(), Some(activations::Relu));
        assert_eq!(ActivationSpec::from(steep).resolve().unwrap().builtin(), None);
        let config = json!({"class_name": "VarianceScaling", "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": null}});
        for spec in [InitializerSpec::from("glorot_uniform"), config.clone().into(), glorot_uniform().into()]
        {
            assert_eq!(spec.to_value(), config);
        }
        // Arguments that are null, or missing, are the defaults.
        assert!(InitializerSpec::from(json!({"class_name": "Zeros", "config": null})).resolve().is_ok());
        assert!(InitializerSpec::from(json!({"class_name": "Zeros"})).resolve().is_ok());
    }

    #[test]
    fn what_is_not_known_is_an_error_that_names_what_is() {
        let error = ActivationSpec::from("sigmoidal").resolve().unwrap_err().to_string();
        assert!(error.contains("sigmoid") && error.contains("sigmoidal"), "{error}");
        assert!(InitializerSpec::default().resolve().unwrap_err().to_string().contains("None"));
        for wrong in [json!(3), json!([]), json!({"config": {}}), json!({"class_name": 3})] {
            assert!(LossSpec::from(wrong).resolve().is_err());
        }
        assert_eq!(ActivationSpec::from("sigmoidal").to_value(), json!("sigmoidal"));
    }

    #[test]
    fn arguments_of_configs_are_read_with_their_defaults() {
        let config = Config::new("Dense").with("given", "l2").with("null", Value::Null).with("wrong", "l3");
        let mut reader = config.reader();
        let read = |reader: &mut _, key: &str| RegularizerSpec::read(reader, key, l2(0.5));
        let factor = |spec: RegularizerSpec| spec.to_value()["config"]["l2"].as_f64().unwrap();
        assert_eq!(factor(read(&mut reader, "given").unwrap()), f64::from(0.01_f32));
        assert_eq!(factor(read(&mut reader, "absent").unwrap()), 0.5);
        assert_eq!(read(&mut reader, "null").unwrap().to_value(), Value::Null);
        assert!(read(&mut reader, "wrong").unwrap_err().to_string().contains("l3"));
    }

    #[test]
    fn registered_names_stand_for_what_was_registered() {
        losses::register("kinds_test_loss", |config| {
            let mut reader = config.reader();
            let power = reader.float("power", 2.0)?;
            reader.finish()?;
            Ok(losses::custom("kinds_test_loss", move |y, p| k::mean(&k::pow(&(p - y), power), &[-1], false)))
        });
        assert_eq!(losses::get("kinds_test_loss").unwrap().name(), "kinds_test_loss");
        assert!(
            losses::deserialize(&json!({"class_name": "kinds_test_loss", "config": {"powr": 3}})).is_err()
        );
        let shared = RegularizerRef::new(l2(0.25));
        assert_eq!(RegularizerSpec::from(&shared).to_value(), shared.config().to_value());
    }
}
