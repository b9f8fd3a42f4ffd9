//! Devices by name.

use crate::tensor::error;
use candle_core::{Device, DeviceLocation};
use keras_core::{Error, Result};

/// The device of a name; of an empty one, a GPU where candle was built with one and finds it, else the CPU.
pub(crate) fn open(name: &str) -> Result<Device> {
    let ordinal = |prefix: &str| match name.strip_prefix(prefix)? {
        "" => Some(0),
        rest => rest.strip_prefix(':')?.parse().ok(),
    };
    let opened = if name.is_empty() {
        return Ok(first_gpu().unwrap_or(Device::Cpu));
    } else if name == "cpu" {
        return Ok(Device::Cpu);
    } else if let Some(ordinal) = ordinal("cuda") {
        Device::new_cuda(ordinal)
    } else if let Some(ordinal) = ordinal("metal") {
        Device::new_metal(ordinal)
    } else {
        return Err(Error::name(
            "backend candle",
            "one of the devices cpu, cuda:N, metal",
            format!("{name:?}"),
        ));
    };
    opened.map_err(|reason| {
        let received = format!("{name:?}: {}", error(&reason));
        Error::backend(
            "backend candle",
            format!("a device that can be opened: {}", available().join(", ")),
            received,
        )
        .advice("GPUs need the cargo feature candle-cuda or candle-metal")
    })
}

fn first_gpu() -> Option<Device> {
    if candle_core::utils::cuda_is_available() {
        Device::new_cuda(0).ok()
    } else if candle_core::utils::metal_is_available() {
        Device::new_metal(0).ok()
    } else {
        None
    }
}

/// The devices there are, each kind by its first.
pub(crate) fn available() -> Vec<String> {
    std::iter::once(Device::Cpu).chain(first_gpu()).map(|device| name(&device)).collect()
}

pub(crate) fn name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id: 0 } => "metal".into(),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
