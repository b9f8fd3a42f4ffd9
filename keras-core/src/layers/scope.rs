//! [`Scope`]: how weights are named while a layer is built.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

/// A path of layer names, and the names taken below its first: a second `rnn_1/kernel` becomes `rnn_1/kernel_1`.
#[derive(Clone)]
pub(super) struct Scope {
    path: String,
    taken: Rc<RefCell<HashSet<String>>>,
}

impl Scope {
    /// The scope of a layer that no other one builds.
    pub(super) fn new(layer: &str) -> Self {
        Self { path: layer.to_owned(), taken: Rc::default() }
    }

    /// A scope below.
    pub(super) fn within(&self, name: &str) -> Self {
        Self { path: format!("{}/{name}", self.path), taken: Rc::clone(&self.taken) }
    }

    /// The full name of a weight.
    pub(super) fn unique(&self, name: &str) -> String {
        let mut path = format!("{}/{name}", self.path);
        let mut count = 0;
        while !self.taken.borrow_mut().insert(path.clone()) {
            count += 1;
            path = format!("{}/{name}_{count}", self.path);
        }
        path
    }
}
