//! A small cache of compiled programs.

use super::Executable;
use crate::error::Result;
use std::sync::{Arc, Mutex, PoisonError};

/// The most recently used programs by what their traces read.
pub struct ProgramCache<K> {
    entries: Mutex<Vec<(K, Arc<dyn Executable>)>>,
    compiled: std::sync::atomic::AtomicUsize,
}

impl<K: PartialEq> ProgramCache<K> {
    /// Programs kept; the least recently used is dropped first.
    pub const CAPACITY: usize = 16;

    /// An empty cache.
    pub const fn new() -> Self {
        Self { entries: Mutex::new(Vec::new()), compiled: std::sync::atomic::AtomicUsize::new(0) }
    }

    /// The program for a key, compiled at the first request.
    pub fn get(
        &self,
        key: K,
        compile: impl FnOnce() -> Result<Arc<dyn Executable>>,
    ) -> Result<Arc<dyn Executable>> {
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = entries.iter().position(|(known, _)| *known == key) {
                let entry = entries.remove(at);
                let program = Arc::clone(&entry.1);
                entries.push(entry);
                return Ok(program);
            }
        }
        let program = compile()?;
        self.compiled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= Self::CAPACITY {
            entries.remove(0);
        }
        entries.push((key, Arc::clone(&program)));
        Ok(program)
    }

    /// Forgets every program.
    pub fn clear(&self) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many programs were compiled so far.
    pub fn compiled(&self) -> usize {
        self.compiled.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl<K: PartialEq> Default for ProgramCache<K> {
    fn default() -> Self {
        Self::new()
    }
}
