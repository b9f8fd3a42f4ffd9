//! Fused kernels and epilogues: broadcasts, aliases, several outputs, reductions at the end, every register type.
//! Operands and intermediate values are of the order of 1, as the bound of kernels assumes.

use super::FLOATS;
use crate::case::{Case, Numbers, array};
use keras_core::backend::Scalar;
use keras_core::graph::{
    Binary, ByRef, Compare, ConvSpec, Instr, Kernel, KernelInput, KernelOutput, Logical, Op, Reduce,
    Register, Unary,
};
use keras_core::{Array, DType};
use std::sync::Arc;

/// A kernel being written.
struct Program(Kernel);

impl Program {
    fn over(shape: &[usize]) -> Self {
        let (inputs, code, outputs) = (Vec::new(), Vec::new(), Vec::new());
        Self(Kernel { shape: shape.to_vec(), inputs, scalars: 0, code, outputs })
    }

    fn push(&mut self, instr: Instr, dtype: DType) -> Register {
        self.0.code.push((instr, dtype));
        self.0.code.len() - 1
    }

    /// Reads an input that has the axes where `axes` is true, and is broadcast along the others.
    fn load(&mut self, dtype: DType, axes: &[bool]) -> Register {
        let mut strides = vec![0; axes.len()];
        let mut step = 1;
        for ((stride, &has), &len) in strides.iter_mut().zip(axes).zip(&self.0.shape).rev() {
            if has {
                *stride = step;
                step *= len;
            }
        }
        self.0.inputs.push(KernelInput { dtype, strides });
        self.push(Instr::Load(self.0.inputs.len() - 1), dtype)
    }

    /// Reads an input element by element.
    fn whole(&mut self, dtype: DType) -> Register {
        self.load(dtype, &vec![true; self.0.shape.len()])
    }

    fn scalar(&mut self, dtype: DType) -> Register {
        self.0.scalars += 1;
        self.push(Instr::Scalar(self.0.scalars - 1), dtype)
    }

    fn dtype(&self, register: Register) -> DType {
        self.0.code[register].1
    }

    fn constant(&mut self, value: f64, dtype: DType) -> Register {
        self.push(Instr::Const(value), dtype)
    }

    fn unary(&mut self, op: Unary, x: Register) -> Register {
        let dtype = if matches!(op, Unary::IsNan | Unary::Not) { DType::Bool } else { self.dtype(x) };
        self.push(Instr::Unary(op, x), dtype)
    }

    fn binary(&mut self, op: Binary, a: Register, b: Register) -> Register {
        let dtype = self.dtype(a);
        self.push(Instr::Binary(op, a, b), dtype)
    }

    fn compare(&mut self, op: Compare, a: Register, b: Register) -> Register {
        self.push(Instr::Compare(op, a, b), DType::Bool)
    }

    fn select(&mut self, c: Register, a: Register, b: Register) -> Register {
        let dtype = self.dtype(a);
        self.push(Instr::Select(c, a, b), dtype)
    }

    /// Stores a register under the kernel's shape.
    fn store(&mut self, register: Register, alias: Option<usize>) {
        let shape = self.0.shape.clone();
        self.0.outputs.push(KernelOutput { register, shape, alias, reduce: None });
    }

    fn store_reduced(&mut self, register: Register, op: Reduce, axes: &[usize]) {
        let shape = &self.0.shape;
        let shape =
            shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &len)| len).collect();
        self.0.outputs.push(KernelOutput { register, shape, alias: None, reduce: Some((op, axes.to_vec())) });
    }

    /// An operand for each input: floats in −1..1, integers below 9.
    fn operands(&self, numbers: &mut Numbers) -> Vec<Array> {
        let operand = |input: &KernelInput| {
            let axes = self.0.shape.iter().zip(&input.strides).filter(|(_, stride)| **stride != 0);
            let shape: Vec<usize> = axes.map(|(&len, _)| len).collect();
            if input.dtype.is_float() {
                numbers.array_in(input.dtype, &shape, -1.0, 1.0)
            } else {
                numbers.array(input.dtype, &shape)
            }
        };
        self.0.inputs.iter().map(operand).collect()
    }

    fn op(self) -> Op {
        Op::Kernel(ByRef(Arc::new(self.0)))
    }

    fn case(self, title: &str, numbers: &mut Numbers, scalars: &[Scalar]) -> Case {
        let operands = self.operands(numbers);
        Case::new(format!("{title} over {:?}", self.0.shape), self.op(), operands).scalars(scalars)
    }
}

const SHAPES: [&[usize]; 8] = [&[1], &[7], &[67], &[1003], &[3, 5], &[9, 67], &[2, 3, 17], &[2, 3, 4, 5]];

/// x · sigmoid(x) in the memory of x.
fn swish(shape: &[usize], dtype: DType) -> Program {
    let mut p = Program::over(shape);
    let x = p.whole(dtype);
    let gate = p.unary(Unary::Sigmoid, x);
    let y = p.binary(Binary::Mul, x, gate);
    p.store(y, Some(0));
    p
}

/// Adam: parameter, two moments, gradient; in the memory of the first three.
fn adam(shape: &[usize], dtype: DType) -> Program {
    let mut p = Program::over(shape);
    let [w, m, v, g] = std::array::from_fn(|_| p.whole(dtype));
    let [rate, step] = [p.scalar(dtype), p.scalar(dtype)];
    let [beta, rest, epsilon] = [0.9, 0.1, 1e-3].map(|x| p.constant(x, dtype));
    let (kept, added) = (p.binary(Binary::Mul, m, beta), p.binary(Binary::Mul, g, rest));
    let m = p.binary(Binary::Add, kept, added);
    let square = p.unary(Unary::Square, g);
    let (kept, added) = (p.binary(Binary::Mul, v, beta), p.binary(Binary::Mul, square, rest));
    let v = p.binary(Binary::Add, kept, added);
    let size = p.unary(Unary::Abs, v);
    let root = p.unary(Unary::Sqrt, size);
    let root = p.binary(Binary::Add, root, step);
    let root = p.binary(Binary::Add, root, epsilon);
    let ratio = p.binary(Binary::Div, m, root);
    let change = p.binary(Binary::Mul, ratio, rate);
    let w = p.binary(Binary::Sub, w, change);
    p.store(w, Some(0));
    p.store(m, Some(1));
    p.store(v, Some(2));
    p
}

/// Every elementwise function of a float that has no steep place between −1 and 1.
const SMOOTH: [Unary; 22] = [
    Unary::Neg,
    Unary::Abs,
    Unary::Sign,
    Unary::Exp,
    Unary::Expm1,
    Unary::Square,
    Unary::Sin,
    Unary::Cos,
    Unary::Tan,
    Unary::Atan,
    Unary::Sinh,
    Unary::Cosh,
    Unary::Tanh,
    Unary::Sigmoid,
    Unary::Softplus,
    Unary::Relu,
    Unary::Erf,
    Unary::Floor,
    Unary::Ceil,
    Unary::Round,
    Unary::Sqrt,
    Unary::Log1p,
];

fn elementwise(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(40);
    for dtype in FLOATS {
        for shape in SHAPES {
            cases.push(swish(shape, dtype).case("swish in place", &mut numbers, &[]));
            let scalars = [Scalar::Float(0.1), Scalar::Int(1)];
            cases.push(adam(shape, dtype).case("adam in place", &mut numbers, &scalars));
        }
        for op in SMOOTH {
            let mut p = Program::over(&[5, 67]);
            let x = p.whole(dtype);
            let x = if op == Unary::Sqrt { p.unary(Unary::Abs, x) } else { x };
            let x = if op == Unary::Log1p { p.unary(Unary::Square, x) } else { x };
            let y = p.unary(op, x);
            let sum = p.binary(Binary::Add, y, x);
            p.store(y, None);
            p.store(sum, Some(0));
            cases.push(p.case(op.name(), &mut numbers, &[]));
        }
        for &op in Binary::ALL {
            let mut p = Program::over(&[3, 67]);
            let (a, b) = (p.whole(dtype), p.load(dtype, &[false, true]));
            // The second operand is between 1 and 2.
            let b = p.unary(Unary::Abs, b);
            let one = p.constant(1.0, dtype);
            let b = p.binary(Binary::Add, b, one);
            let a = if op == Binary::Pow { p.unary(Unary::Abs, a) } else { a };
            let y = p.binary(op, a, b);
            p.store(y, Some(0));
            cases.push(p.case(op.name(), &mut numbers, &[]));
        }
    }
    for op in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Mod, Binary::Max, Binary::Min] {
        for dtype in [DType::I32, DType::I64, DType::U8] {
            let mut p = Program::over(&[3, 37]);
            let (a, b) = (p.whole(dtype), p.load(dtype, &[true, false]));
            let y = p.binary(op, a, b);
            p.store(y, Some(0));
            cases.push(p.case(op.name(), &mut numbers, &[]));
        }
    }
}

fn broadcasts(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(41);
    for bits in 0..16_usize {
        let axes: Vec<bool> = (0..4).map(|i| bits >> i & 1 == 1).collect();
        let mut p = Program::over(&[2, 3, 4, 5]);
        let (x, y) = (p.whole(DType::F32), p.load(DType::F32, &axes));
        let sum = p.binary(Binary::Add, x, y);
        let product = p.binary(Binary::Mul, sum, y);
        p.store(sum, None);
        p.store(product, Some(0));
        cases.push(p.case(&format!("broadcast {axes:?}"), &mut numbers, &[]));
    }
    for (shape, axes) in
        [(&[4, 67][..], [[true, false], [false, true]]), (&[67, 4], [[true, false], [false, true]])]
    {
        let mut p = Program::over(shape);
        let [a, b] = axes.map(|axes| p.load(DType::F32, &axes));
        let sum = p.binary(Binary::Sub, a, b);
        p.store(sum, None);
        cases.push(p.case("no input is whole", &mut numbers, &[]));
    }
    let mut p = Program::over(&[3, 5]);
    let x = p.load(DType::F32, &[false, false]);
    p.store(x, None);
    cases.push(p.case("one element everywhere", &mut numbers, &[]));
    let mut p = Program::over(&[9]);
    let x = p.constant(0.5, DType::F32);
    p.store(x, None);
    cases.push(p.case("no input", &mut numbers, &[]));
    let mut p = Program::over(&[31]);
    let x = p.whole(DType::F32);
    let y = p.unary(Unary::Neg, x);
    p.store(x, None);
    p.store(y, None);
    p.store(y, Some(0));
    cases.push(p.case("an input and a result stored twice", &mut numbers, &[]));
    let mut p = Program::over(&[6, 10]);
    let x = p.whole(DType::F32);
    let y = p.unary(Unary::Tanh, x);
    p.store(y, Some(0));
    p.0.outputs[0].shape = vec![2, 3, 5, 2];
    cases.push(p.case("another shape", &mut numbers, &[]));
}

fn types(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(42);
    for dtype in FLOATS {
        let mut p = Program::over(&[5, 19]);
        let (x, y) = (p.whole(dtype), p.load(dtype, &[false, true]));
        let (less, equal) = (p.compare(Compare::Lt, x, y), p.compare(Compare::Ge, x, x));
        let both = p.push(Instr::Logical(Logical::And, less, equal), DType::Bool);
        let neither = p.unary(Unary::Not, both);
        let (nan, chosen) = (p.unary(Unary::IsNan, x), p.select(neither, x, y));
        let odd = p.push(Instr::Logical(Logical::Xor, nan, both), DType::Bool);
        p.store(chosen, Some(0));
        p.store(odd, None);
        let mut values: Vec<f64> = numbers.array(dtype, &[5, 19]).to_vec();
        values[3] = f64::NAN;
        values[90] = f64::INFINITY;
        let operands = [array(dtype, &[5, 19], values), numbers.array(dtype, &[19])];
        cases.push(Case::new("choices with NaN", p.op(), operands));
    }
    for to in DType::ALL {
        for from in DType::ALL {
            let mut p = Program::over(&[4, 9]);
            let x = p.whole(from);
            let positive = if from.is_float() { p.unary(Unary::Abs, x) } else { x };
            let y = p.push(Instr::Cast(positive), to);
            p.store(y, None);
            let x = match from {
                DType::Bool => numbers.array(from, &[4, 9]),
                _ => numbers.array_in(from, &[4, 9], 0.0, 9.0),
            };
            cases.push(Case::new(format!("cast {from} to {to}"), p.op(), [x]));
        }
    }
    let mut p = Program::over(&[23]);
    let (labels, x) = (p.whole(DType::I64), p.whole(DType::F32));
    let class = p.scalar(DType::I64);
    let hit = p.compare(Compare::Eq, labels, class);
    let weight = p.push(Instr::Cast(hit), DType::F32);
    let y = p.binary(Binary::Mul, weight, x);
    p.store(y, Some(1));
    cases.push(p.case("labels and an integer scalar", &mut numbers, &[Scalar::Int(3)]));
    for (scalar, title) in
        [(Scalar::Bool(true), "true"), (Scalar::Int(-2), "−2"), (Scalar::Float(0.3), "0.3")]
    {
        for dtype in FLOATS {
            let mut p = Program::over(&[5]);
            let (x, y) = (p.whole(dtype), p.scalar(dtype));
            let sum = p.binary(Binary::Add, x, y);
            p.store(sum, Some(0));
            cases.push(p.case(&format!("the scalar {title}"), &mut numbers, &[scalar]));
        }
    }
}

fn reductions(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(43);
    for dtype in FLOATS {
        for (shape, axes) in [
            (&[1][..], &[0][..]),
            (&[1003], &[0]),
            (&[9, 67], &[1]),
            (&[9, 67], &[0]),
            (&[9, 67], &[0, 1]),
            (&[3, 4, 17], &[0, 2]),
            (&[3, 4, 17], &[1]),
            (&[2, 3, 4, 5], &[1, 2]),
            (&[2, 3, 4, 5], &[0, 3]),
        ] {
            for &op in &[Reduce::Sum, Reduce::Max, Reduce::Min] {
                let mut p = Program::over(shape);
                let (x, y) =
                    (p.whole(dtype), p.load(dtype, &shape.iter().map(|_| false).collect::<Vec<_>>()));
                let difference = p.binary(Binary::Sub, x, y);
                let square = p.unary(Unary::Square, difference);
                p.store_reduced(square, op, axes);
                cases.push(p.case(&format!("{} over {axes:?}", op.name()), &mut numbers, &[]));
            }
        }
        let mut p = Program::over(&[6, 40]);
        let x = p.whole(dtype);
        let y = p.unary(Unary::Exp, x);
        p.store(y, Some(0));
        p.store_reduced(y, Reduce::Sum, &[1]);
        p.store_reduced(x, Reduce::Max, &[0]);
        cases.push(p.case("stored and reduced", &mut numbers, &[]));
        let mut p = Program::over(&[3, 21]);
        let x = p.whole(dtype);
        let y = p.unary(Unary::Relu, x);
        p.store_reduced(y, Reduce::Max, &[1]);
        let mut values: Vec<f64> = numbers.array(dtype, &[3, 21]).to_vec();
        values[20] = f64::NAN;
        cases.push(Case::new("largest with NaN", p.op(), [array(dtype, &[3, 21], values)]));
    }
    let mut p = Program::over(&[5, 13]);
    let (x, y) = (p.whole(DType::I32), p.whole(DType::I32));
    let equal = p.compare(Compare::Eq, x, y);
    let count = p.push(Instr::Cast(equal), DType::I32);
    p.store_reduced(count, Reduce::Sum, &[1]);
    cases.push(p.case("count of equals", &mut numbers, &[]));
}

/// relu(accumulator + bias), and a scaled copy; a function that does not enlarge differences.
fn dense(shape: &[usize], dtype: DType) -> Kernel {
    let mut p = Program::over(shape);
    let mut last = vec![false; shape.len()];
    if let Some(last) = last.last_mut() {
        *last = true;
    }
    let (x, bias, factor) = (p.whole(dtype), p.load(dtype, &last), p.scalar(dtype));
    let sum = p.binary(Binary::Add, x, bias);
    let y = p.unary(Unary::Relu, sum);
    let half = p.binary(Binary::Mul, y, factor);
    p.store(y, None);
    p.store(half, None);
    p.0
}

/// accumulator + bias, perhaps relu of it: what libraries of matrices do themselves. Rows of the kernel may be several axes of the
/// result, of which `shape` is the whole.
fn biased(rows: &[usize], shape: &[usize], dtype: DType, relu: bool) -> Kernel {
    let mut p = Program::over(rows);
    let (x, bias) = (p.whole(dtype), p.load(dtype, &[false, true]));
    let mut y = p.binary(Binary::Add, x, bias);
    if relu {
        y = p.unary(Unary::Relu, y);
    }
    p.0.outputs.push(KernelOutput { register: y, shape: shape.to_vec(), alias: None, reduce: None });
    p.0
}

fn biased_epilogues(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(45);
    let special = |mut array: Vec<f64>, place: usize, value: f64| {
        if let Some(number) = array.get_mut(place) {
            *number = value;
        }
        array
    };
    for (dtype, relu, odd) in FLOATS
        .into_iter()
        .flat_map(|dtype| [(dtype, false, 0.5), (dtype, true, f64::NAN), (dtype, true, f64::INFINITY)])
    {
        let mut push = |title: &str, op: &Op, operands: [&[usize]; 2], shape: &[usize], added: usize| {
            let rows = [shape.iter().product::<usize>() / added, added];
            let kernel = ByRef(Arc::new(biased(&rows, shape, dtype, relu)));
            let x: Vec<f64> = numbers.array(dtype, operands[0]).to_vec();
            let x = array(dtype, operands[0], special(x, 1, odd));
            let operands = [x, numbers.array(dtype, operands[1]), numbers.array(dtype, &[added])];
            let title = format!("{title}, + {added}{}, {odd} among them", if relu { ", relu" } else { "" });
            cases.push(Case::new(title, Op::Epilogue(Box::new(op.clone()), kernel), operands));
        };
        for trans_b in [false, true] {
            let op = Op::MatMul { trans_a: false, trans_b };
            let b: [usize; 2] = if trans_b { [3, 7] } else { [7, 3] };
            push("matmul", &op, [&[5, 7], &b], &[5, 3], 3);
            let stacked = [4, b[0], b[1]];
            push("stacked matmul", &op, [&[4, 5, 7], &stacked], &[4, 5, 3], 3);
            push("stacked matmul, by element", &op, [&[4, 5, 7], &stacked], &[4, 5, 3], 15);
        }
        for groups in [1, 2] {
            let spec =
                ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups };
            let kernel = [3, 3, 4 / groups, 6];
            let title = format!("conv in {groups} groups");
            push(&title, &Op::Conv(spec.clone()), [&[2, 5, 6, 4], &kernel], &[2, 5, 6, 6], 6);
            push(&title, &Op::Conv(spec), [&[2, 5, 6, 4], &kernel], &[2, 5, 6, 6], 180);
        }
    }
}

fn epilogues(cases: &mut Vec<Case>) {
    let mut numbers = Numbers::new(44);
    for dtype in FLOATS {
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (33, 40, 19), (1, 65, 8)] {
            for trans_b in [false, true] {
                let op = Op::MatMul { trans_a: false, trans_b };
                let kernel = ByRef(Arc::new(dense(&[m, n], dtype)));
                let b = if trans_b { [n, k] } else { [k, n] };
                let operands =
                    [numbers.array(dtype, &[m, k]), numbers.array(dtype, &b), numbers.array(dtype, &[n])];
                let title = format!("matmul {m}×{k}×{n}");
                cases.push(
                    Case::new(title, Op::Epilogue(Box::new(op), kernel), operands)
                        .scalars([Scalar::Float(0.5)]),
                );
            }
        }
        for (input, channels, filters, groups) in
            [([6, 7], 3, 5, 1), ([14, 14], 16, 16, 1), ([5, 5], 4, 4, 4)]
        {
            let spec =
                ConvSpec { strides: vec![1, 1], dilations: vec![1, 1], pads: vec![(1, 1), (1, 1)], groups };
            // Batch and image are one axis of the kernel.
            let kernel = ByRef(Arc::new(dense(&[2 * input[0] * input[1], filters], dtype)));
            let operands = [
                numbers.array(dtype, &[2, input[0], input[1], channels]),
                numbers.array(dtype, &[3, 3, channels / groups, filters]),
                numbers.array(dtype, &[filters]),
            ];
            let title = format!("conv of {channels} channels, {groups} groups");
            let op = Op::Epilogue(Box::new(Op::Conv(spec)), kernel);
            cases.push(Case::new(title, op, operands).scalars([Scalar::Float(0.5)]));
        }
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    elementwise(&mut cases);
    broadcasts(&mut cases);
    types(&mut cases);
    reductions(&mut cases);
    epilogues(&mut cases);
    biased_epilogues(&mut cases);
    cases
}
