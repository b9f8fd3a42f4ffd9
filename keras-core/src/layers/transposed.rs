//! Transposed convolutions.

use super::affine::{Affine, affine_verbs};
use super::check::one;
use super::conv_geometry::{Image, to_channels_last};
use super::registry::Read;
use super::windowed::{Frame, Windowed, window_verbs};
use super::{Base, Build, Call, Layer, PerAxis};
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::RegularizerRef;
use crate::tensor::{Spec, Tensor};
use serde_json::Value;

/// A transposed convolution over steps (tf.keras); see [`ConvTranspose`].
pub type Conv1DTranspose = ConvTranspose<1>;
/// A transposed convolution over images `(batch, rows, columns, channels)`; see [`ConvTranspose`].
///
/// ```
/// use keras_core::layers::{Conv2DTranspose, Input};
/// let x = Input::new([7, 7, 64]).tensor()?;
/// let y = Conv2DTranspose::new(32, 3).strides(2).padding("same").call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(14), Some(14), Some(32)]);
/// let wider = Conv2DTranspose::new(32, 3).strides(2).output_padding(1).call(&x)?;
/// assert_eq!(wider.spec()?.shape, [None, Some(16), Some(16), Some(32)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type Conv2DTranspose = ConvTranspose<2>;
/// A transposed convolution over volumes `(batch, depth, rows, columns, channels)`; see [`ConvTranspose`].
pub type Conv3DTranspose = ConvTranspose<3>;

/// The transpose of a convolution over `N` spatial axes: what the gradient of [`Conv`](super::Conv) does to its input.
///
/// Weights: `kernel (size…, filters, channels)`, `bias (filters,)`. With r = (size − 1)·dilation + 1, padding
/// `"valid"` turns a length n into n·stride + max(r − stride, 0), `"same"` into n·stride; with an `output_padding` p
/// both give (n − 1)·stride + r − 2·⌊r/2⌋ + p, the middle term being 0 for `"valid"`.
#[derive(Debug, Clone)]
pub struct ConvTranspose<const N: usize> {
    base: Base,
    filters: usize,
    windowed: Windowed<N>,
    output_padding: Option<PerAxis<N>>,
    affine: Affine,
}

impl<const N: usize> ConvTranspose<N> {
    /// That many filters of that size.
    pub fn new(filters: usize, kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            filters,
            windowed: Windowed::new(kernel_size, 1),
            output_padding: None,
            affine: Affine::default(),
        }
    }

    /// How much longer the result is than the shortest that the convolution would have made this input of; below the
    /// stride. Default: what restores the usual length.
    pub fn output_padding(mut self, padding: impl Into<PerAxis<N>>) -> Self {
        self.output_padding = Some(padding.into());
        self
    }

    fn resolve(&self) -> Result<Frame> {
        let class = format!("Conv{N}DTranspose");
        let frame = self.windowed.resolve(class, "kernel_size")?.causal_if(false)?;
        if let Some(padding) = self.output_padding
            && padding.0.iter().zip(self.windowed.strides.0).any(|(&padding, stride)| padding >= stride)
        {
            let expected = format!("an output_padding below the strides {:?}", self.windowed.strides.0);
            return Err(Error::value(frame.class, expected, format!("{:?}", padding.0))
                .advice("leave output_padding out, or raise the strides"));
        }
        Ok(frame)
    }

    /// The image that comes out of one that goes in.
    fn output(&self, frame: &Frame, mut image: Image) -> Result<Image> {
        for (i, (len, window)) in image.spatial.iter_mut().zip(&frame.windows.windows).enumerate() {
            let Some(known) = *len else { continue };
            let extra = self.output_padding.and_then(|padding| padding.0.get(i).copied());
            let made = window.transposed(frame.windows.padding, known, extra);
            *len = Some(made.ok_or_else(|| {
                let expected = "an output_padding with which the convolution would give the input back";
                Error::value(frame.class.clone(), expected, format!("{extra:?} on an axis of {known}"))
                    .advice("with padding \"same\" and an even kernel it is at least 1")
            })?);
        }
        image.channels = Some(self.filters);
        Ok(image)
    }
}

crate::layer_verbs!([const N: usize] ConvTranspose<N>);
window_verbs!([const N: usize] ConvTranspose<N>, [N], windowed, dilated);
affine_verbs!([const N: usize] ConvTranspose<N>);

impl<const N: usize> Read for ConvTranspose<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        let output_padding = match reader.value("output_padding") {
            Some(_) => Some(PerAxis::read(reader, "output_padding", 0.into())?),
            None => None,
        };
        Ok(Self {
            base,
            filters: reader.required_count("filters")?,
            windowed: Windowed::read_kernel(reader)?,
            output_padding,
            affine: Affine::read(reader)?,
        })
    }
}

impl<const N: usize> Layer for ConvTranspose<N> {
    fn config(&self) -> Config {
        let config = Config::new(format!("Conv{N}DTranspose")).with("filters", self.filters);
        let config = self.windowed.write_kernel(config);
        // Keras's class for volumes has no such key.
        let config = if N == 3 && self.windowed.dilation_rate == 1.into() {
            config
        } else {
            config.with("dilation_rate", self.windowed.dilation_rate.to_value())
        };
        let output_padding = self.output_padding.map_or(Value::Null, PerAxis::to_value);
        self.affine.write(config).with("output_padding", output_padding)
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let frame = self.resolve()?;
        let (spec, channels) = frame.channels(cx, inputs)?;
        self.affine.check(&frame.class, cx, spec, self.filters)?;
        let mut kernel = self.windowed.size.0.to_vec();
        kernel.extend([self.filters, channels]);
        self.affine.kernel.add(cx, "kernel", kernel)?;
        self.affine.build_bias(cx, [self.filters])
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        let frame = self.resolve()?;
        let format = frame.format;
        Ok(Some(vec![self.output(&frame, frame.image(inputs)?)?.spec(format)]))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let x = one(&frame.class, inputs)?;
        let image = self.output(&frame, frame.image(&[x.spec()?])?)?;
        let size: Vec<usize> = image.spatial.into_iter().flatten().collect();
        let x = to_channels_last(x, frame.format)?;
        let y = k::conv_transpose(&x, &cx.weight("kernel")?, frame.windows.conv(&size, 1), &size);
        self.affine.finish(cx, y, frame.format)
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}
