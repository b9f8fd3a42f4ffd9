//! Convolutions and poolings. Channels last is a strided view of libtorch's layout, and costs nothing.

use crate::shim::{made, one};
use crate::tensor::{Raw, ints};
use keras_core::graph::{ConvSpec, PoolSpec};
use std::ffi::{c_char, c_int, c_void};
use tch::{Device, Kind, TchError, Tensor};

unsafe extern "C" {
    fn keras_convolution_backward(
        result: *mut *mut c_void,
        grad: *const c_void,
        input: *const c_void,
        kernel: *const c_void,
        strides: *const i64,
        pads: *const i64,
        dilations: *const i64,
        axes: c_int,
        groups: i64,
        which: c_int,
    ) -> *mut c_char;
    fn keras_pack_kernel(
        result: *mut *mut c_void,
        kernel: *const c_void,
        input: *const i64,
        strides: *const i64,
        pads: *const i64,
        dilations: *const i64,
    ) -> *mut c_char;
    fn keras_packed_convolution(
        result: *mut *mut c_void,
        x: *const c_void,
        kernel: *const c_void,
        bias: *const c_void,
        strides: *const i64,
        pads: *const i64,
        dilations: *const i64,
    ) -> *mut c_char;
}

/// Which gradient of a convolution.
#[derive(Clone, Copy)]
enum Of {
    Input = 0,
    Kernel = 1,
}

/// `[batch, spatial…, channels]` as `[batch, channels, spatial…]`.
fn channels_second(x: &Tensor) -> Raw {
    let rank = x.dim() as i64;
    x.f_permute([0, rank - 1].into_iter().chain(1..rank - 1).collect::<Vec<_>>())
}

/// The other way.
fn channels_last(x: &Tensor) -> Raw {
    let rank = x.dim() as i64;
    x.f_permute(std::iter::once(0).chain(2..rank).chain([1]).collect::<Vec<_>>())
}

/// `[spatial…, channels, filters]` as `[filters, channels, spatial…]`, in memory with the channels last, as convolutions want it:
/// a matrix transposed, which is several times as fast as the copy that they would make.
fn filters_first(kernel: &Tensor) -> Raw {
    let mut shape = kernel.size();
    let filters = shape.pop().unwrap_or(1);
    shape.insert(0, filters);
    channels_second(
        &kernel.f_reshape([-1, filters])?.f_transpose(0, 1)?.f_contiguous()?.f_view(shape.as_slice())?,
    )
}

/// The other way.
fn filters_last(kernel: &Tensor) -> Raw {
    let rank = kernel.dim() as i64;
    kernel.f_permute((2..rank).chain([1, 0]).collect::<Vec<_>>())
}

/// In libtorch's order: the last axis first.
pub(crate) fn pad_list(pads: &[(usize, usize)]) -> Vec<i64> {
    pads.iter().rev().flat_map(|&(before, after)| [before as i64, after as i64]).collect()
}

fn symmetric(spec: &ConvSpec) -> bool {
    spec.pads.iter().all(|(before, after)| before == after)
}

/// What the operator pads by itself, and the operand, padded by hand where the two sides differ.
fn padded(spec: &ConvSpec, x: Tensor) -> Result<(Tensor, Vec<i64>), TchError> {
    if symmetric(spec) {
        return Ok((x, spec.pads.iter().map(|pad| pad.0 as i64).collect()));
    }
    Ok((x.f_constant_pad_nd(pad_list(&spec.pads))?, vec![0; spec.pads.len()]))
}

/// A kernel in oneDNN's own layout, into which every convolution would bring it again; none where there is no such layout.
pub(crate) fn pack(spec: &ConvSpec, input: &[usize], kernel: &Tensor) -> Result<Option<Tensor>, TchError> {
    if spec.strides.len() != 2
        || spec.groups != 1
        || kernel.kind() != Kind::Float
        || kernel.device() != Device::Cpu
    {
        return Ok(None);
    }
    let [batch, rows, columns, channels] = *input else { return Ok(None) };
    let kernel = filters_first(kernel)?;
    let lens = |pads: &dyn Fn((usize, usize)) -> usize| -> Vec<i64> {
        spec.pads.iter().map(|&pad| pads(pad) as i64).collect()
    };
    // What `padded` makes of the operands.
    let inside = symmetric(spec);
    let pads = lens(&|(before, _)| if inside { before } else { 0 });
    let around = lens(&|(before, after)| if inside { 0 } else { before + after });
    let [above, beside] = *around.as_slice() else { return Ok(None) };
    let input = [batch as i64, channels as i64, rows as i64 + above, columns as i64 + beside];
    let (strides, dilations) = (ints(&spec.strides), ints(&spec.dilations));
    // SAFETY: the pointers are those of a living tensor and of lists with an element per axis.
    made(|result| unsafe {
        keras_pack_kernel(
            result,
            kernel.as_ptr().cast(),
            input.as_ptr(),
            strides.as_ptr(),
            pads.as_ptr(),
            dilations.as_ptr(),
        )
    })
}

/// A convolution, and what follows it.
pub(crate) fn conv(spec: &ConvSpec, x: &Tensor, kernel: &Tensor, bias: Option<&Tensor>, relu: bool) -> Raw {
    let (x, pads) = padded(spec, channels_second(x)?)?;
    let (strides, dilations) = (ints(&spec.strides), ints(&spec.dilations));
    let mut result = if kernel.is_mkldnn() {
        // Of the bias oneDNN reads the numbers one behind the other, whatever its strides.
        let bias = bias.map(Tensor::f_contiguous).transpose()?;
        let bias = bias.as_ref().map_or(std::ptr::null(), |bias| bias.as_ptr().cast());
        // SAFETY: the pointers are those of living tensors (or null, where it may be) and of lists of two elements.
        one(|result| unsafe {
            keras_packed_convolution(
                result,
                x.as_ptr().cast(),
                kernel.as_ptr().cast(),
                bias,
                strides.as_ptr(),
                pads.as_ptr(),
                dilations.as_ptr(),
            )
        })?
    } else {
        let (kernel, none) = (filters_first(kernel)?, vec![0; pads.len()]);
        x.f_convolution(&kernel, bias, strides, pads, dilations, false, none, spec.groups as i64)?
    };
    channels_last(&if relu { result.f_relu_()? } else { result })
}

fn backward(spec: &ConvSpec, grad: &Tensor, x: &Tensor, kernel: &Tensor, of: Of) -> Raw {
    let (x, pads) = padded(spec, channels_second(x)?)?;
    let grad = channels_second(grad)?;
    let (strides, dilations) = (ints(&spec.strides), ints(&spec.dilations));
    // SAFETY: the pointers are those of living tensors and of lists with an element per axis.
    one(|result| unsafe {
        keras_convolution_backward(
            result,
            grad.as_ptr().cast(),
            x.as_ptr().cast(),
            kernel.as_ptr().cast(),
            strides.as_ptr(),
            pads.as_ptr(),
            dilations.as_ptr(),
            strides.len() as c_int,
            spec.groups as i64,
            of as c_int,
        )
    })
}

fn empty(shape: &[i64], like: &Tensor) -> Raw {
    Tensor::f_empty(shape, (like.kind(), like.device()))
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
pub(crate) fn conv_grad_input(spec: &ConvSpec, size: &[usize], grad: &Tensor, kernel: &Tensor) -> Raw {
    // libtorch asks for the input, of which it reads the shape alone.
    let (batch, window) = (grad.size()[0], kernel.size());
    let channels = window[window.len() - 2] * spec.groups as i64;
    let shape: Vec<i64> = std::iter::once(batch).chain(ints(size)).chain([channels]).collect();
    let grad = backward(spec, grad, &empty(&shape, grad)?, &filters_first(kernel)?, Of::Input)?;
    let grad = channels_last(&grad)?;
    if symmetric(spec) {
        return Ok(grad);
    }
    let inside = size.iter().zip(&spec.pads).enumerate();
    inside
        .into_iter()
        .try_fold(grad, |grad, (axis, (&len, pad))| grad.f_narrow(axis as i64 + 1, pad.0 as i64, len as i64))
}

#[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
pub(crate) fn conv_grad_kernel(spec: &ConvSpec, window: &[usize], x: &Tensor, grad: &Tensor) -> Raw {
    let (input, output) = (x.size(), grad.size());
    let channels = input[input.len() - 1] / spec.groups as i64;
    // Of the kernel too it reads the shape alone; its own kernels ask for a contiguous one where there is one filter.
    let shape = [&[output[output.len() - 1], channels], ints(window).as_slice()].concat();
    filters_last(&backward(spec, grad, x, &empty(&shape, grad)?, Of::Kernel)?)
}

/// How libtorch's operators give exactly our windows.
pub(crate) struct Pooling {
    window: Vec<i64>,
    strides: Vec<i64>,
    pads: Vec<i64>,
    ceil: bool,
}

impl Pooling {
    /// For an input of that spatial shape; none if they cannot: their padding is the same on both sides (a last window that
    /// begins inside the input may reach beyond it), and at most half the window, which is no larger than a volume.
    #[allow(clippy::indexing_slicing, reason = "the shape rule fixed the ranks")]
    pub(crate) fn new(spec: &PoolSpec, size: &[usize]) -> Option<Self> {
        let windows = |i: usize| {
            let (before, after) = spec.pads[i];
            (size[i] + before + after - spec.window[i]) / spec.strides[i] + 1
        };
        let gives = |i: usize, ceil: bool| {
            let (before, stride) = (spec.pads[i].0, spec.strides[i]);
            let room = (size[i] + 2 * before).checked_sub(spec.window[i])?;
            let count = if ceil { room.div_ceil(stride) } else { room / stride } + 1;
            // A window that would begin beyond the input is left out.
            Some(if ceil && (count - 1) * stride >= size[i] + before { count - 1 } else { count })
        };
        let fits = |ceil: bool| (0..size.len()).all(|i| gives(i, ceil) == Some(windows(i)));
        let halves = spec.pads.iter().zip(&spec.window).all(|(&(before, _), &window)| 2 * before <= window);
        // Of volumes, libtorch asks that a window fits into what is not padding.
        let inside = size.len() < 3 || size.iter().zip(&spec.window).all(|(len, window)| window <= len);
        if !halves || !inside || !(fits(false) || fits(true)) {
            return None;
        }
        let mut pooling = Self {
            window: ints(&spec.window),
            strides: ints(&spec.strides),
            pads: spec.pads.iter().map(|pad| pad.0 as i64).collect(),
            ceil: !fits(false),
        };
        // A line is an image of height 1.
        if size.len() == 1 {
            pooling.window.insert(0, 1);
            pooling.strides.insert(0, 1);
            pooling.pads.insert(0, 0);
        }
        Some(pooling)
    }

    /// To libtorch's layout.
    fn enter(x: &Tensor) -> Raw {
        let x = channels_second(x)?;
        if x.dim() == 3 { x.f_unsqueeze(2) } else { Ok(x) }
    }

    /// From libtorch's layout, for as many axes.
    fn leave(x: &Tensor, line: bool) -> Raw {
        channels_last(&if line { x.f_squeeze_dim(2)? } else { x.shallow_clone() })
    }

    pub(crate) fn max(&self, x: &Tensor) -> Result<(Tensor, Tensor), TchError> {
        let (w, s, p, one) =
            (&self.window[..], &self.strides[..], &self.pads[..], vec![1; self.window.len()]);
        let (line, x) = (x.dim() == 3, Self::enter(x)?);
        let (maxima, positions) = if w.len() == 3 {
            x.f_max_pool3d_with_indices(w, s, p, one, self.ceil)?
        } else {
            x.f_max_pool2d_with_indices(w, s, p, one, self.ceil)?
        };
        Ok((Self::leave(&maxima, line)?, Self::leave(&positions, line)?.f_to_kind(Kind::Int)?))
    }

    /// An input of that size, of which libtorch reads the shape alone.
    #[allow(clippy::indexing_slicing, reason = "a pooling has a batch and a channel axis")]
    fn input(size: &[usize], grad: &Tensor) -> Raw {
        let shape = grad.size();
        let (batch, channels) = (shape[0], shape[shape.len() - 1]);
        let input: Vec<i64> = std::iter::once(batch).chain(ints(size)).chain([channels]).collect();
        Self::enter(&empty(&input, grad)?)
    }

    pub(crate) fn max_grad(&self, size: &[usize], grad: &Tensor, positions: &Tensor) -> Raw {
        let (w, s, p, one) =
            (&self.window[..], &self.strides[..], &self.pads[..], vec![1; self.window.len()]);
        let input = Self::input(size, grad)?;
        let positions = Self::enter(&positions.f_to_kind(Kind::Int64)?)?;
        let (line, grad) = (size.len() == 1, Self::enter(grad)?);
        let result = if w.len() == 3 {
            input.f_max_pool3d_with_indices_backward(&grad, w, s, p, one, self.ceil, &positions)?
        } else {
            input.f_max_pool2d_with_indices_backward(&grad, w, s, p, one, self.ceil, &positions)?
        };
        Self::leave(&result, line)
    }

    pub(crate) fn mean(&self, x: &Tensor) -> Raw {
        let (w, s, p) = (&self.window[..], &self.strides[..], &self.pads[..]);
        let (line, x) = (x.dim() == 3, Self::enter(x)?);
        let means = if w.len() == 3 {
            x.f_avg_pool3d(w, s, p, self.ceil, false, None)?
        } else {
            x.f_avg_pool2d(w, s, p, self.ceil, false, None)?
        };
        Self::leave(&means, line)
    }

    pub(crate) fn mean_grad(&self, size: &[usize], grad: &Tensor) -> Raw {
        let (w, s, p) = (&self.window[..], &self.strides[..], &self.pads[..]);
        let input = Self::input(size, grad)?;
        let (line, grad) = (size.len() == 1, Self::enter(grad)?);
        let result = if w.len() == 3 {
            input.f_avg_pool3d_backward(&grad, w, s, p, self.ceil, false, None)?
        } else {
            input.f_avg_pool2d_backward(&grad, w, s, p, self.ceil, false, None)?
        };
        Self::leave(&result, line)
    }
}
