//! Locally connected layers: convolutions whose filters are not shared between places.

use super::affine::{Affine, affine_verbs};
use super::check::known;
use super::registry::Read;
use super::windowed::{Frame, Windowed, window_verbs};
use super::{Base, Build, Call, Layer, Padding, PerAxis};
use crate::config::DataFormat;
use crate::error::{Error, Result};
use crate::k;
use crate::registry::{Config, Reader};
use crate::regularizers::RegularizerRef;
use crate::tensor::{Spec, Tensor};

/// Filters of each place's own over steps `(batch, steps, channels)`; see [`LocallyConnected`].
pub type LocallyConnected1D = LocallyConnected<1>;
/// Filters of each place's own over images `(batch, rows, columns, channels)`; see [`LocallyConnected`].
///
/// ```
/// use keras_core::layers::{Input, LocallyConnected2D};
/// let x = Input::new([32, 32, 3]).tensor()?;
/// let y = LocallyConnected2D::new(8, 3).strides(2).call(&x)?;
/// assert_eq!(y.spec()?.shape, [None, Some(15), Some(15), Some(8)]);
/// # Ok::<(), keras_core::Error>(())
/// ```
pub type LocallyConnected2D = LocallyConnected<2>;

/// As [`Conv`](super::Conv) without padding or dilation, but with a kernel and a bias for every place of the result.
///
/// Weights: `kernel (places, size · channels, filters)`, a window's cells in the order of the data format, and
/// `bias (new lengths…, filters)`; as in Keras, its numbers are read as `(filters, new lengths…)` for
/// `"channels_first"`. All spatial lengths must be known.
#[derive(Debug, Clone)]
pub struct LocallyConnected<const N: usize> {
    base: Base,
    filters: usize,
    windowed: Windowed<N>,
    affine: Affine,
}

impl<const N: usize> LocallyConnected<N> {
    /// That many filters of that size.
    pub fn new(filters: usize, kernel_size: impl Into<PerAxis<N>>) -> Self {
        Self {
            base: Base::default(),
            filters,
            windowed: Windowed::new(kernel_size, 1),
            affine: Affine::default(),
        }
    }

    fn resolve(&self) -> Result<Frame> {
        let frame = self.windowed.resolve(format!("LocallyConnected{N}D"), "kernel_size")?;
        if frame.windows.padding != Padding::Valid {
            let received = self.windowed.padding.to_value().to_string();
            return Err(Error::value(frame.class, "padding \"valid\"", received)
                .advice("pad in front of it with a ZeroPadding layer"));
        }
        Ok(frame)
    }
}

crate::layer_verbs!([const N: usize] LocallyConnected<N>);
window_verbs!([const N: usize] LocallyConnected<N>, [N], windowed);
affine_verbs!([const N: usize] LocallyConnected<N>);

impl<const N: usize> Read for LocallyConnected<N> {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let base = Base::read(reader)?;
        // The other implementations of tf.keras have weights of other shapes.
        if reader.count("implementation", 1)? != 1 {
            return Err(reader.wrong("implementation", "1"));
        }
        Ok(Self {
            base,
            filters: reader.required_count("filters")?,
            windowed: Windowed::read_kernel(reader)?,
            affine: Affine::read(reader)?,
        })
    }
}

impl<const N: usize> Layer for LocallyConnected<N> {
    fn config(&self) -> Config {
        let config = Config::new(format!("LocallyConnected{N}D"))
            .with("filters", self.filters)
            .with("kernel_size", self.windowed.size.to_value())
            .with("strides", self.windowed.strides.to_value())
            .with("padding", self.windowed.padding.to_value());
        // Keras's class for one axis has no such key.
        let saved = N > 1 || self.windowed.data_format.resolve() == Ok(DataFormat::ChannelsFirst);
        let format = self.windowed.data_format.to_value();
        self.affine.write(if saved { config.with("data_format", format) } else { config })
    }

    fn base(&self) -> Option<&Base> {
        Some(&self.base)
    }

    fn build(&self, cx: &mut Build, inputs: &[Spec]) -> Result<()> {
        let frame = self.resolve()?;
        let (spec, channels) = frame.channels(cx, inputs)?;
        self.affine.check(&frame.class, cx, spec, self.filters)?;
        let mut lens = Vec::with_capacity(N + 1);
        for len in frame.windows.output(&frame.class, &frame.image(inputs)?.spatial)? {
            lens.push(known(&frame.class, spec, len, "spatial axes")?);
        }
        let places = lens.iter().product();
        let row = self.windowed.size.0.iter().fold(channels, |row, &size| row.saturating_mul(size));
        self.affine.kernel.add(cx, "kernel", [places, row, self.filters])?;
        lens.push(self.filters);
        self.affine.build_bias(cx, lens)
    }

    fn compute_output_shape(&self, inputs: &[Spec]) -> Result<Option<Vec<Spec>>> {
        self.resolve()?.output(inputs, Some(self.filters))
    }

    fn call(&self, cx: &mut Call, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let frame = self.resolve()?;
        let (x, spatial) = frame.enter(inputs)?;
        let open: Vec<Option<usize>> = spatial.iter().copied().map(Some).collect();
        let lens: Vec<usize> = frame.windows.output(&frame.class, &open)?.into_iter().flatten().collect();
        let windows = (self.windowed.size.0.as_slice(), self.windowed.strides.0.as_slice());
        let kernel = cx.weight("kernel")?;
        let (places, made_for) = (lens.iter().product::<usize>(), kernel.shape()?.first().copied());
        if made_for != Some(places) {
            let expected =
                format!("an input with {} places for windows, as its weights have", made_for.unwrap_or(0));
            return Err(Error::shape(frame.class, expected, format!("{places} in spatial axes {spatial:?}"))
                .advice(
                    "make a layer of its own for inputs of another size, or pad or crop in front of it",
                ));
        }
        let y = k::unshared(&x, &kernel, windows, &lens, frame.format)?;
        if frame.format == DataFormat::ChannelsLast || !self.affine.use_bias {
            return self.affine.finish(cx, y, frame.format);
        }
        // Keras reads the bias as if it were stored with the filters first.
        let shape: Vec<isize> = [self.filters].iter().chain(&lens).map(|&len| len as isize).collect();
        let order: Vec<usize> = (1..=N).chain([0]).collect();
        let bias = k::permute_dimensions(&k::reshape(&cx.weight("bias")?, &shape), &order);
        self.affine.finish_with(y, Some(&bias), frame.format)
    }

    fn activity_regularizer(&self) -> Option<RegularizerRef> {
        self.affine.activity_regularizer()
    }
}
