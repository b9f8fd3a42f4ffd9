//! The backends of the process, by name, and the one that is used when nobody names one.

use super::{Backend, Engine, Runtime};
use crate::config;
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
                .advice(format!("enable the cargo feature {name:?} of the crate keras if it is one of ours, or register the backend")));
        };
        if let Some((_, runtime)) = entry.opened.iter().find(|(known, _)| known == device) {
            return Ok(Arc::clone(runtime));
        }
        Arc::clone(&entry.open)
    };
    let runtime = open(device)?;
    let mut entries = entries();
    let Some(entry) = entries.iter_mut().find(|entry| entry.name == name) else { return Ok(runtime) };
    if let Some((_, known)) = entry.opened.iter().find(|(known, _)| known == device) {
        return Ok(Arc::clone(known));
    }
    entry.opened.push((device.to_owned(), Arc::clone(&runtime)));
    Ok(runtime)
}

/// The engine of the effective settings: code, command line, environment, keras.json, else the first registered.
pub fn current() -> Result<Arc<dyn Runtime>> {
    let settings = config::settings()?;
    let Some(name) = settings.backend.value.clone().or_else(|| names().into_iter().next()) else {
        return Err(Error::state("backend", "a registered backend", "none")
            .advice("call keras::register, or use the crate keras, which registers its own"));
    };
    open(&name, settings.device.value.as_deref().unwrap_or_default())
}
