//! Every operation that a backend may have a kernel for, on operands it typically has.

use keras::DType::{self, Bool, F32, I32, I64};
use keras::backend::{Backend, reference::Reference};
use keras::graph::{
    ArgReduce, Binary, Compare, ConvSpec, Cumulative, Distribution, Logical, Op, PoolSpec, RecurrentCell,
    RecurrentSpec, Reduce, SliceSpec, Type, Unary,
};
use keras::{Array, Result};

/// The operations with the types of their operands. Sources that live in the engine (feeds, variables, literals) and
/// control (loops, host functions) are the same on every backend.
pub(crate) fn operations() -> Result<Vec<(Op, Vec<Type>)>> {
    let ty = |dtype: DType, shape: &[usize]| Type::new(shape, dtype);
    let matrix = || ty(F32, &[2, 4]);
    let (image, kernel, pooled) = (ty(F32, &[1, 4, 4, 2]), ty(F32, &[3, 3, 2, 2]), ty(F32, &[1, 2, 2, 2]));
    let conv = ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups: 1 };
    let pool = PoolSpec { window: vec![2, 2], strides: vec![2, 2], pads: vec![(0, 0), (0, 0)] };
    let part = SliceSpec { starts: vec![0, 0], stops: vec![2, 4], steps: vec![1, 2] };
    let mut all: Vec<(Op, Vec<Type>)> = Vec::new();
    for &op in Unary::ALL {
        all.push((Op::Unary(op), vec![if op == Unary::Not { ty(Bool, &[2, 4]) } else { matrix() }]));
    }
    all.extend(Binary::ALL.iter().map(|&op| (Op::Binary(op), vec![matrix(), matrix()])));
    all.extend(Compare::ALL.iter().map(|&op| (Op::Compare(op), vec![matrix(), matrix()])));
    all.extend(Logical::ALL.iter().map(|&op| (Op::Logical(op), vec![ty(Bool, &[2, 4]), ty(Bool, &[2, 4])])));
    all.push((Op::Select, vec![ty(Bool, &[2, 4]), matrix(), matrix()]));
    all.push((Op::Cast(I32), vec![matrix()]));
    all.extend(Reduce::ALL.iter().map(|&op| (Op::Reduce(op, vec![1]), vec![matrix()])));
    all.extend(ArgReduce::ALL.iter().map(|&op| (Op::ArgReduce(op, 1), vec![matrix()])));
    all.extend(Cumulative::ALL.iter().map(|&op| (Op::Cumulative(op, 1), vec![matrix()])));
    all.push((Op::TopK(2), vec![matrix()]));
    all.push((Op::MatMul { trans_a: false, trans_b: false }, vec![matrix(), ty(F32, &[4, 3])]));
    all.push((Op::Conv(conv.clone()), vec![image.clone(), kernel.clone()]));
    all.push((Op::ConvGradInput(conv.clone(), vec![4, 4]), vec![image.clone(), kernel]));
    all.push((Op::ConvGradKernel(conv, vec![3, 3]), vec![image.clone(), image.clone()]));
    all.push((Op::MaxPool(pool.clone()), vec![image.clone()]));
    all.push((Op::MaxPoolGrad(pool.clone(), vec![4, 4]), vec![pooled.clone(), ty(I32, &[1, 2, 2, 2])]));
    all.push((Op::AvgPool(pool.clone()), vec![image]));
    all.push((Op::AvgPoolGrad(pool, vec![4, 4]), vec![pooled]));
    all.push((Op::Gather(0), vec![matrix(), ty(I64, &[3])]));
    all.push((Op::ScatterAdd(2), vec![ty(I64, &[3]), ty(F32, &[3, 4])]));
    all.push((Op::Reshape(vec![8]), vec![matrix()]));
    all.push((Op::Permute(vec![1, 0]), vec![matrix()]));
    all.push((Op::Broadcast(vec![2, 4]), vec![ty(F32, &[1, 4])]));
    all.push((Op::Slice(part.clone()), vec![matrix()]));
    all.push((Op::SliceUpdate(part), vec![matrix(), ty(F32, &[2, 2])]));
    all.push((Op::Pad(vec![(1, 1), (0, 0)]), vec![matrix()]));
    all.push((Op::Concat(0), vec![matrix(), matrix()]));
    all.push((Op::Reverse(vec![1]), vec![matrix()]));
    all.push((Op::Iota(ty(I64, &[4]), 0), Vec::new()));
    for &distribution in Distribution::ALL {
        let scalar = ty(I64, &[]);
        let op = Op::Random { distribution, stream: 0, output: ty(F32, &[2, 4]) };
        all.push((op, vec![scalar.clone(), scalar]));
    }
    all.push((Op::Softmax, vec![matrix()]));
    all.push((Op::LogSoftmax, vec![matrix()]));
    all.extend(recurrent()?);
    Ok(all)
}

/// An LSTM of two units over three steps, and its gradient, which reads what it leaves in reserve.
fn recurrent() -> Result<[(Op, Vec<Type>); 2]> {
    let spec = RecurrentSpec::new(RecurrentCell::Lstm);
    let zeros = |shape: &[usize]| Array::zeros(F32, shape);
    let state = zeros(&[1, 2])?;
    let operands = vec![zeros(&[1, 3, 8])?, zeros(&[2, 8])?, state.clone(), state.clone()];
    let results = Reference.composite(&Op::Recurrent(spec), &operands, &[true; 8])?;
    let reserve = results.into_iter().flatten().skip(3);
    let backward = operands.iter().cloned().chain(reserve).chain([zeros(&[1, 3, 2])?, state.clone(), state]);
    let types = |arrays: Vec<Array>| arrays.iter().map(|x| Type::new(x.shape(), x.dtype())).collect();
    let backward = types(backward.collect());
    Ok([(Op::Recurrent(spec), types(operands)), (Op::RecurrentGrad(spec, true), backward)])
}
