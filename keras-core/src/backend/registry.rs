//! The backends of the process, by name, and the one that is used when nobody names one.

use super::{Backend, Engine, Runtime};
use crate::config::{self, NEW_FILE_BACKEND, Origin, Setting, Settings};
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Open = Arc<dyn Fn(&str) -> Result<Arc<dyn Runtime>> + Send + Sync>;

struct Entry {
    name: String,
    open: Open,
    /// Engines that were opened, by device.
    opened: Vec<(String, Arc<dyn Runtime>)>,
}

static ENTRIES: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

fn entries() -> MutexGuard<'static, Vec<Entry>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a backend known under its name. `open` gets the device that was asked for (empty: the backend's choice).
/// The first one registered is the default. Registering a name again replaces it.
pub fn register<B: Backend>(name: &str, open: impl Fn(&str) -> Result<B> + Send + Sync + 'static) {
    let open: Open = Arc::new(move |device| Ok(Arc::new(Engine::new(open(device)?)?) as Arc<dyn Runtime>));
    let mut entries = entries();
    let entry = Entry { name: name.to_owned(), open, opened: Vec::new() };
    match entries.iter_mut().find(|known| known.name == name) {
        Some(known) => *known = entry,
        None => entries.push(entry),
    }
}

/// The names of the registered backends, in order of registration.
pub fn names() -> Vec<String> {
    entries().iter().map(|entry| entry.name.clone()).collect()
}

/// The engine of a backend on a device (empty: the backend's choice); opened once and shared.
pub fn open(name: &str, device: &str) -> Result<Arc<dyn Runtime>> {
    let open = {
        let entries = entries();
        let Some(entry) = entries.iter().find(|entry| entry.name == name) else {
            let known: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
            return Err(Error::name("backend", format!("one of those compiled in: {}", known.join(", ")), format!("{name:?}"))
                .advice(format!("enable the cargo feature {name:?} of the crate keras if it is one of ours, or register the backend"))
                .suggest(name, known.iter().map(String::as_str)));
        };
        if let Some((_, runtime)) = entry.opened.iter().find(|(known, _)| known == device) {
            return Ok(Arc::clone(runtime));
        }
        Arc::clone(&entry.open)
    };
    let runtime = open(device).map_err(|error| unavailable(error, name))?;
    let mut entries = entries();
    let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) else { return Ok(runtime) };
    if let Some((_, known)) = entry.opened.iter().find(|(known, _)| known == device) {
        return Ok(Arc::clone(known));
    }
    entry.opened.push((device.to_owned(), Arc::clone(&runtime)));
    Ok(runtime)
}

/// The error of a backend that cannot run here, with those that can.
fn unavailable(error: Error, name: &str) -> Error {
    let others: Vec<(String, Open)> = {
        let entries = entries();
        let others = entries.iter().filter(|entry| entry.name != name);
        others.map(|entry| (entry.name.clone(), Arc::clone(&entry.open))).collect()
    };
    let devices = |open: &Open| open("").ok().map(|runtime| runtime.device());
    let there: Vec<String> =
        others.iter().filter_map(|(name, open)| Some(format!("{name} on {}", devices(open)?))).collect();
    let known = error.report().advice.clone();
    let here = if there.is_empty() {
        "no other backend is available here".to_owned()
    } else {
        format!("available besides: {}", there.join(", "))
    };
    error.advice(if known.is_empty() { here } else { format!("{known}; {here}") })
}

/// Which of a backend's devices is meant: of an empty name the first, so those that a user would rather have stand in
/// front; `cuda` is `cuda:0`.
///
/// ```
/// # use keras_core::backend::registry::choose_device;
/// let devices = ["cuda:0".to_owned(), "cpu".to_owned()];
/// assert_eq!(choose_device("torch", "", &devices)?, 0);
/// assert_eq!(choose_device("torch", "cpu", &devices)?, 1);
/// let error = choose_device("torch", "cuda:7", &devices).unwrap_err().to_string();
/// assert_eq!(error, "backend torch: expected one of its devices here: cuda:0, cpu, received \"cuda:7\"");
/// # Ok::<(), keras_core::Error>(())
/// ```
///
/// # Errors
/// If there is no such device; the error lists those there are.
pub fn choose_device(backend: &str, asked: &str, devices: &[String]) -> Result<usize> {
    let wanted = if asked == "cuda" { "cuda:0" } else { asked };
    devices.iter().position(|device| wanted.is_empty() || device == wanted).ok_or_else(|| {
        let expected = format!("one of its devices here: {}", devices.join(", "));
        Error::name(format!("backend {backend}"), expected, format!("{asked:?}"))
    })
}

/// The name of the backend that settings choose: theirs, else the first registered. The name that every new keras.json has is
/// nobody's choice, so a program without that backend takes its first one.
pub fn chosen(settings: &Settings) -> Option<String> {
    let known = names();
    let Setting { value, origin } = &settings.backend;
    let said = value.as_ref().filter(|name| {
        !matches!(origin, Origin::File(_)) || *name != NEW_FILE_BACKEND || known.contains(name)
    });
    said.cloned().or_else(|| known.into_iter().next())
}

/// The engine of the effective settings: code, command line, environment, keras.json, else the first registered.
pub fn current() -> Result<Arc<dyn Runtime>> {
    let settings = config::settings()?;
    let Some(name) = chosen(&settings) else {
        return Err(Error::state("backend", "a registered backend", "none")
            .advice("call keras::register, or use the crate keras, which registers its own"));
    };
    open(&name, settings.device.value.as_deref().unwrap_or_default())
}
