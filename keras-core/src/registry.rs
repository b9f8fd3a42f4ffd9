//! [`Config`] (what Keras writes into files for every kind of thing) and [`Registry`] (how a name becomes the thing).

use crate::error::{Error, Result, nearest};
use crate::output::Output;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// `{"class_name": …, "config": {…}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Keras's class name: `Dense`, `L1L2`, `Adam`.
    pub class_name: String,
    /// The constructor's arguments, in Keras's order.
    #[serde(default)]
    pub config: Map<String, Value>,
}

impl Config {
    /// A config without arguments.
    pub fn new(class_name: impl Into<String>) -> Self {
        Self { class_name: class_name.into(), config: Map::new() }
    }

    /// Adds an argument.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.insert(key.to_owned(), value.into());
        self
    }

    /// As JSON.
    pub fn to_value(&self) -> Value {
        serde_json::json!({"class_name": self.class_name, "config": self.config})
    }

    /// Reads `{"class_name", "config"}`; the config of an old `Sequential` is the bare list of its layers.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let class_name = value.get("class_name")?.as_str()?;
        // Archives say beside the class under which name a user registered it.
        let registered = value.get("registered_name").and_then(Value::as_str);
        let registered = registered.filter(|name| name.contains('>') && bare_name(name) == class_name);
        let class_name = registered.unwrap_or(class_name).to_owned();
        let config = match value.get("config")? {
            Value::Object(config) => config.clone(),
            Value::Array(layers) => Map::from_iter([("layers".to_owned(), Value::Array(layers.clone()))]),
            _ => return None,
        };
        Some(Self { class_name, config })
    }

    /// Reads arguments, and refuses those that nobody read.
    pub fn reader(&self) -> Reader<'_> {
        Reader { class: &self.class_name, config: &self.config, read: Vec::new(), inert: Vec::new() }
    }
}

/// Reads the arguments of a [`Config`] by name, with defaults, and reports the ones left over.
///
/// ```
/// use keras_core::registry::Config;
/// let config = Config::new("MaxNorm").with("max_value", 3.0).with("axis", 0);
/// let mut reader = config.reader();
/// let (max, axis) = (reader.float("max_value", 2.0)?, reader.integer("axis", 0)?);
/// reader.finish()?;
/// assert_eq!((max, axis), (3.0, 0));
/// # Ok::<(), keras_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader<'a> {
    class: &'a str,
    config: &'a Map<String, Value>,
    /// The arguments that there are.
    read: Vec<String>,
    /// Those besides that may be there and change nothing.
    inert: Vec<String>,
}

impl<'a> Reader<'a> {
    /// The argument as it stands; `None` if absent or null.
    pub fn value(&mut self, key: &str) -> Option<&'a Value> {
        if !self.read.iter().any(|read| read == key) {
            self.read.push(key.to_owned());
        }
        self.given(key)
    }

    /// An argument that is an error unless it changes nothing: no message says that there is one of that name.
    pub(crate) fn inert(&mut self, key: &str) -> Option<&'a Value> {
        self.inert.push(key.to_owned());
        self.given(key)
    }

    fn given(&self, key: &str) -> Option<&'a Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    /// Whether the argument is there, null or not.
    pub fn has(&self, key: &str) -> bool {
        self.config.contains_key(key)
    }

    /// The error of an argument of the wrong kind.
    pub fn wrong(&self, key: &str, expected: &str) -> Error {
        let given = self.config.get(key);
        let advice = if given.is_some() { "change the value" } else { "give the key: it has no default" };
        let received = given.map_or("nothing".into(), Value::to_string);
        Error::value(format!("{} config, key {key:?}", self.class), expected, received).advice(advice)
    }

    fn with<T>(
        &mut self,
        key: &str,
        default: T,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<T> {
        match self.value(key) {
            None => Ok(default),
            Some(value) => read(value).ok_or_else(|| self.wrong(key, expected)),
        }
    }

    /// A finite number.
    pub fn float(&mut self, key: &str, default: f64) -> Result<f64> {
        self.with(key, default, "a finite number", |value| value.as_f64().filter(|x| x.is_finite()))
    }

    /// A finite number or null.
    pub fn float_or_none(&mut self, key: &str) -> Result<Option<f64>> {
        self.with(key, None, "a finite number or null", |value| {
            value.as_f64().filter(|x| x.is_finite()).map(Some)
        })
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str, default: i64) -> Result<i64> {
        self.with(key, default, "a whole number", whole)
    }

    /// A whole number or null.
    pub fn integer_or_none(&mut self, key: &str) -> Result<Option<i64>> {
        self.with(key, None, "a whole number or null", |value| whole(value).map(Some))
    }

    /// A count, at least 0.
    pub fn count(&mut self, key: &str, default: usize) -> Result<usize> {
        self.with(key, default, "a whole number of at least 0", |value| usize::try_from(whole(value)?).ok())
    }

    /// A count that has no default.
    pub fn required_count(&mut self, key: &str) -> Result<usize> {
        match self.value(key) {
            Some(_) => self.count(key, 0),
            None => Err(self.wrong(key, "a whole number of at least 0")),
        }
    }

    /// A truth value.
    pub fn boolean(&mut self, key: &str, default: bool) -> Result<bool> {
        self.with(key, default, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            Value::Number(number) => number.as_f64().map(|x| x != 0.0),
            _ => None,
        })
    }

    /// A text.
    pub fn text(&mut self, key: &str, default: &str) -> Result<String> {
        self.with(key, default.to_owned(), "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A text or null.
    pub fn text_or_none(&mut self, key: &str) -> Result<Option<String>> {
        self.with(key, None, "a text or null", |value| value.as_str().map(|text| Some(text.to_owned())))
    }

    /// A list of whole numbers; one number stands for a list of one.
    pub fn integers(&mut self, key: &str, default: &[i64]) -> Result<Vec<i64>> {
        self.with(key, default.to_vec(), "a list of whole numbers", |value| match value {
            Value::Array(items) => items.iter().map(whole).collect(),
            value => whole(value).map(|one| vec![one]),
        })
    }

    /// Counts per axis: a list of `n`, or one number for all of them.
    pub fn counts(&mut self, key: &str, n: usize, default: &[usize]) -> Result<Vec<usize>> {
        self.with(key, default.to_vec(), &format!("a whole number or a list of {n}"), |value| {
            let one = |value: &Value| usize::try_from(whole(value)?).ok();
            match value {
                Value::Array(items) if items.len() == n => items.iter().map(one).collect(),
                Value::Array(_) => None,
                value => one(value).map(|count| vec![count; n]),
            }
        })
    }

    /// Marks arguments as known although they change nothing here.
    pub fn ignore(&mut self, keys: &[&str]) {
        self.inert.extend(keys.iter().map(|&key| key.to_owned()));
    }

    /// Arguments of later versions that have one value here, if nothing has read them before; null says nothing.
    ///
    /// # Errors
    /// If one has another value, which would change the result.
    pub fn only(&mut self, values: &[(&str, Value)]) -> Result<()> {
        for (key, value) in values {
            if self.read.iter().any(|read| read == key) {
                continue;
            }
            let given = self.inert(key);
            if given.is_some_and(|given| given != value) {
                return Err(self.wrong(key, &value.to_string()));
            }
        }
        Ok(())
    }

    /// An error if an argument was not read: it would change the result in Keras and not here. One that is null says
    /// nothing: it passes with a warning, the first time.
    pub fn finish(&self) -> Result<()> {
        let mut idle = Vec::new();
        for (key, value) in
            self.config.iter().filter(|(key, _)| !self.read.contains(key) && !self.inert.contains(key))
        {
            if value.is_null() {
                idle.push(format!("{key:?}"));
                continue;
            }
            return Err(Error::name(
                format!("{} config", self.class),
                format!("the keys {}", self.read.join(", ")),
                format!("{key:?}: {}", brief(value)),
            )
            .advice("remove the key")
            .suggest(key, self.read.iter().map(String::as_str)));
        }
        if !idle.is_empty() {
            let keys = idle.join(", ");
            warn_once(&format!("{} config: unknown keys that are null change nothing: {keys}", self.class));
        }
        Ok(())
    }
}

/// A value as an error message shows it: its beginning.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Warns, unless this process has said the same before.
pub(crate) fn warn_once(text: &str) {
    /// Texts hold names from files: what is remembered stays small.
    const REMEMBERED: usize = 1000;
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < REMEMBERED && said.insert(text.to_owned()) {
        drop(said);
        Output::current().warning(text);
    }
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && x.abs() < 9e15).map(|x| x as i64))
}

/// How a config becomes a thing.
pub type Constructor<T> = fn(&Config) -> Result<T>;

type Shared<T> = Arc<dyn Fn(&Config) -> Result<T> + Send + Sync>;

/// The things of one kind by name: Keras's own, and those that users add.
pub struct Registry<T: 'static> {
    kind: &'static str,
    builtin: &'static [(&'static str, Constructor<T>)],
    custom: RwLock<Option<HashMap<String, Shared<T>>>>,
}

impl<T: 'static> Registry<T> {
    /// A registry with the built-in names of a kind (`"layer"`, `"loss"`, …).
    pub const fn new(kind: &'static str, builtin: &'static [(&'static str, Constructor<T>)]) -> Self {
        Self { kind, builtin, custom: RwLock::new(None) }
    }

    /// Makes a name known, or replaces what it stands for.
    pub fn register(&self, name: &str, constructor: impl Fn(&Config) -> Result<T> + Send + Sync + 'static) {
        let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        custom.get_or_insert_default().insert(name.to_owned(), Arc::new(constructor));
    }

    /// Makes the thing of a config. A name with a package in front, as tf.keras writes it (`Custom>Adam`), stands for
    /// itself or else for the name without the package.
    pub fn build(&self, config: &Config) -> Result<T> {
        let name = config.class_name.as_str();
        let bare = bare_name(name);
        if let Some(constructor) = self.custom(name).or_else(|| self.custom(bare)) {
            return constructor(config);
        }
        match self.builtin.iter().find(|(known, _)| *known == bare) {
            Some((_, constructor)) => constructor(config),
            None => Err(self.unknown(name)),
        }
    }

    /// What a user made of that name: in the innermost scope that has it, else for the whole process.
    fn custom(&self, name: &str) -> Option<Shared<T>> {
        let scoped = SCOPES.with_borrow(|scopes| {
            scopes.iter().rev().find_map(|scope| {
                let found = scope.0.get(&(self.kind, name.to_owned()))?;
                found.downcast_ref::<Shared<T>>().cloned()
            })
        });
        scoped.or_else(|| {
            let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
            custom.as_ref()?.get(name).cloned()
        })
    }

    /// Whether a name stands for something that a user made.
    pub fn is_custom(&self, name: &str) -> bool {
        self.custom(name).or_else(|| self.custom(bare_name(name))).is_some()
    }

    /// Whether a name stands for something of the library's own.
    pub(crate) fn is_builtin(&self, name: &str) -> bool {
        !self.is_custom(name) && self.builtin.iter().any(|(known, _)| *known == bare_name(name))
    }

    /// The error of a name nobody registered; it lists the names that come close.
    pub fn unknown(&self, name: &str) -> Error {
        self.unknown_among(name, &[])
    }

    /// The same where other names are known too.
    pub(crate) fn unknown_among(&self, name: &str, others: &[&str]) -> Error {
        let custom: Vec<String> = {
            let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
            custom.iter().flat_map(HashMap::keys).cloned().collect()
        };
        let known = || {
            let builtin = self.builtin.iter().map(|(name, _)| *name as &str);
            builtin.chain(others.iter().copied()).chain(custom.iter().map(String::as_str))
        };
        let close = nearest(bare_name(name), known());
        let close = if close.is_empty() { known().take(8).collect() } else { close };
        let expected = format!("a known {} such as {}", self.kind, close.join(", "));
        Error::name(self.kind, expected, format!("{name:?}")).advice(format!(
            "check the spelling, or make your own {0} known with {1}::register or in a CustomObjects scope",
            self.kind,
            module_of(self.kind)
        ))
    }

    /// The built-in names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.builtin.iter().map(|(name, _)| *name)
    }
}

/// The name without the package that tf.keras puts in front: `Custom>Adam`.
pub(crate) fn bare_name(name: &str) -> &str {
    name.rsplit_once('>').map_or(name, |(_, bare)| bare)
}

fn module_of(kind: &str) -> String {
    if kind == "loss" { "losses".to_owned() } else { format!("{kind}s") }
}

/// Things of one's own by kind and name, known within a scope: what Keras's `custom_objects` are.
///
/// ```
/// use keras_core::registry::CustomObjects;
/// use keras_core::{activations, k};
/// let mine = CustomObjects::new()
///     .activation("steep", |_| Ok(activations::custom("steep", |x| k::tanh(&(x * 5.0)))));
/// assert!(mine.during(|| activations::get("steep")).is_ok());
/// assert!(activations::get("steep").is_err());
/// ```
#[derive(Clone, Default)]
pub struct CustomObjects(HashMap<(&'static str, String), Arc<dyn Any + Send + Sync>>);

thread_local! {
    static SCOPES: RefCell<Vec<CustomObjects>> = const { RefCell::new(Vec::new()) };
}

impl CustomObjects {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a thing of a registry's kind.
    pub(crate) fn with<T: 'static>(
        mut self,
        registry: &Registry<T>,
        name: &str,
        constructor: impl Fn(&Config) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let constructor: Shared<T> = Arc::new(constructor);
        self.0.insert((registry.kind, name.to_owned()), Arc::new(constructor));
        self
    }

    /// Runs something in this thread with these names known, in front of all others.
    pub fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                SCOPES.with_borrow_mut(Vec::pop);
            }
        }
        SCOPES.with_borrow_mut(|scopes| scopes.push(self.clone()));
        let _leave = Leave;
        run()
    }
}

/// Refuses NaN and infinities among a definition's arguments, as [`Reader::float`] does among a config's.
pub(crate) fn finite(class: &str, arguments: &[(&str, f64)]) -> Result<()> {
    match arguments.iter().find(|(_, value)| !value.is_finite()) {
        Some((name, value)) => Err(Error::value(class, format!("a finite {name}"), value.to_string())),
        None => Ok(()),
    }
}

/// The same of a loss's or a metric's own config, where JSON has null for such numbers.
pub(crate) fn finite_in(config: &Value) -> Result<()> {
    const NUMBERS: [&str; 5] = ["delta", "label_smoothing", "threshold", "specificity", "sensitivity"];
    let wrong = NUMBERS.iter().find(|key| config["config"].get(**key).is_some_and(Value::is_null));
    match wrong {
        Some(key) => finite(config["class_name"].as_str().unwrap_or_default(), &[(*key, f64::NAN)]),
        None => Ok(()),
    }
}
