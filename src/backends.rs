//! The backends that were compiled in, and the choice among all registered ones.

use keras_core::Result;
use keras_core::backend::registry;
use keras_core::config::{self, Origin};
use std::sync::Once;

cfg_if::cfg_if! {
    if #[cfg(feature = "ndarray")] {
        /// The backend that is used when nobody names one.
        pub type DefaultBackend = backend_ndarray::NdArray;
    } else if #[cfg(feature = "candle")] {
        /// The backend that is used when nobody names one.
        pub type DefaultBackend = backend_candle::Candle;
    } else if #[cfg(feature = "torch")] {
        /// The backend that is used when nobody names one.
        pub type DefaultBackend = backend_torch::Torch;
    }
}

/// Registers the backends that were compiled in. It runs by itself before `main`; calling it again does nothing.
/// Where a platform runs nothing before `main`, call it first.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[cfg(feature = "ndarray")]
        registry::register("ndarray", |device| {
            registry::choose_device("ndarray", device, &["cpu".to_owned()])?;
            backend_ndarray::NdArray::new()
        });
        #[cfg(feature = "candle")]
        registry::register("candle", backend_candle::Candle::new);
        #[cfg(feature = "torch")]
        registry::register("torch", backend_torch::Torch::new);
    });
}

// SAFETY: runs before main and touches nothing but a lock and a vector of the crate keras-core, both usable then.
#[ctor::ctor(unsafe)]
fn register_before_main() {
    init();
}

/// Chooses the backend of models made from now on, before every other way of choosing it.
///
/// # Errors
/// If no backend of that name was compiled in or registered, or it cannot run here; the error lists those that can.
pub fn set_backend(name: &str) -> Result<()> {
    init();
    let device = config::settings()?.device.value;
    registry::open(name, device.as_deref().unwrap_or_default())?;
    config::set_backend_name(name, &Origin::Code)
}

/// Chooses the device of models made from now on: `cpu`, `cuda:0`, `mps`, `metal`.
pub fn set_device(name: &str) -> Result<()> {
    config::set_device_name(name, &Origin::Code)
}
