//! Passes, planning and commits change no bit: generated programs on the reference and on `contrary`, and each pass
//! on graphs where its effect can be counted.

use crate::observed::Observed;
use conformance::Numbers;
use keras_core::backend::contrary::Contrary;
use keras_core::backend::reference::Reference;
use keras_core::backend::{Backend, Engine, Program, Variable};
use keras_core::graph::optimize::Passes;
use keras_core::graph::{
    ArgReduce, Binary, ByRef, Compare, ConvSpec, Cumulative, Distribution, Graph, HostFn, Logical, Op,
    PoolSpec, Reduce, ScanBuilder, SliceSpec, Type, Unary, Value, gradients,
};
use keras_core::{Array, DType, Result};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const NO_PASSES: Passes = Passes { simplify: false, fuse: false };
const CHOICES: [Passes; 4] = [
    NO_PASSES,
    Passes { simplify: true, fuse: false },
    Passes { simplify: false, fuse: true },
    Passes { simplify: true, fuse: true },
];

/// No tensor of a generated program is larger.
const LARGEST: usize = 400;

/// One step of a generated program: what it does, to which of the values there are, and a number it may use.
#[derive(Debug, Clone)]
struct Instruction {
    kind: u8,
    operands: [u8; 3],
    number: u32,
}

/// A program.
#[derive(Debug, Clone)]
struct Recipe {
    dtype: DType,
    /// Whether feeds and variables hold NaN, infinities and −0.
    special: bool,
    instructions: Vec<Instruction>,
    outputs: Vec<u8>,
    /// Which variable becomes which value, how.
    updates: Vec<(u8, u8, u8)>,
    /// Whether gradients of the last value are among the outputs.
    gradient: bool,
}

fn recipes() -> impl Strategy<Value = Recipe> {
    let instruction = (any::<u8>(), any::<[u8; 3]>(), any::<u32>());
    let instruction = instruction.prop_map(|(kind, operands, number)| Instruction { kind, operands, number });
    (
        prop_oneof![Just(DType::F32), Just(DType::F64)],
        any::<bool>(),
        prop::collection::vec(instruction, 1..24),
        prop::collection::vec(any::<u8>(), 0..4),
        prop::collection::vec(any::<(u8, u8, u8)>(), 0..5),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(dtype, special, instructions, outputs, updates, gradient)| Recipe {
            dtype,
            special,
            instructions,
            outputs,
            updates,
            gradient,
        })
}

/// A graph, the values there are so far, and what feeds and variables it reads.
struct Generated {
    graph: Graph,
    pool: Vec<Value>,
    feeds: Vec<Type>,
    variables: Vec<Variable>,
    initial: Vec<Array>,
}

fn numbers(recipe: &Recipe, ty: &Type, seed: u64) -> Array {
    let mut numbers = Numbers::new(seed);
    let mut values = numbers.array(ty.dtype, &ty.shape).to_vec::<f64>();
    if recipe.special && ty.dtype.is_float() {
        for value in &mut values {
            match numbers.bits() % 12 {
                0 => *value = f64::NAN,
                1 => *value = f64::INFINITY,
                2 => *value = f64::NEG_INFINITY,
                3 => *value = -0.0,
                4 => *value = 0.0,
                _ => {}
            }
        }
    }
    Array::from_vec(&ty.shape, values).unwrap().cast(ty.dtype)
}

impl Generated {
    fn new(recipe: &Recipe) -> Self {
        let float = recipe.dtype;
        let mut it = Self {
            graph: Graph::new(),
            pool: Vec::new(),
            feeds: Vec::new(),
            variables: Vec::new(),
            initial: Vec::new(),
        };
        for (shape, dtype) in [
            (&[2, 3][..], float),
            (&[3], float),
            (&[2, 1, 3], float),
            (&[2, 3], DType::I32),
            (&[4], DType::I64),
            (&[2, 3], DType::Bool),
        ] {
            let ty = Type::new(shape, dtype);
            it.pool.push(it.graph.input(ty.clone()));
            it.feeds.push(ty);
        }
        for (i, (shape, dtype)) in [
            (&[2, 3][..], float),
            (&[2, 3], float),
            (&[3, 2], float),
            (&[1], float),
            (&[], float),
            (&[3], DType::I64),
            (&[0, 2], float),
        ]
        .into_iter()
        .enumerate()
        {
            let value = numbers(recipe, &Type::new(shape, dtype), 50 + i as u64);
            it.variables.push(Variable::new(format!("v{i}"), value.clone()));
            it.initial.push(value);
        }
        for (value, dtype) in [(0.25, float), (3.0, DType::I64)] {
            it.variables.push(Variable::scalar("scalar", value, dtype));
            it.initial.push(Array::full_of(dtype, &[], value).unwrap());
        }
        for variable in it.variables.clone() {
            let value = it.graph.variable(&variable);
            it.pool.push(value);
        }
        it.pool.push(it.graph.scalar(-0.5, float));
        it
    }

    fn ty(&self, value: Value) -> Type {
        self.graph.ty(value).clone()
    }

    /// One of the values that satisfy a condition.
    fn pick(&self, choice: u8, fits: impl Fn(&Type) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.pool.iter().copied().filter(|&v| fits(self.graph.ty(v))).collect();
        // The latest values are the likeliest: chains are what passes work on.
        let choice = usize::from(choice);
        let recent = fitting.len().min(4);
        match (fitting.len(), choice % 2) {
            (0, _) => None,
            (len, 0) => Some(fitting[len - 1 - (choice / 2) % recent]),
            (len, _) => Some(fitting[(choice / 2) % len]),
        }
    }

    fn float(&self, choice: u8) -> Option<Value> {
        self.pick(choice, |ty| ty.dtype.is_float())
    }

    fn number(&self, choice: u8) -> Option<Value> {
        self.pick(choice, |ty| ty.dtype != DType::Bool)
    }

    /// Two values of one element type brought to one shape.
    fn align(&mut self, a: Value, b: Value) -> Result<(Value, Value)> {
        let g = &mut self.graph;
        let b = g.add(Op::Cast(g.ty(a).dtype), &[b])?;
        let rank = g.shape(a).len().max(g.shape(b).len());
        let mut both = [a, b];
        for value in &mut both {
            let mut shape = vec![1; rank - g.shape(*value).len()];
            shape.extend(g.shape(*value));
            *value = g.reshape(*value, &shape)?;
        }
        for axis in 0..rank {
            let lens = both.map(|value| g.shape(value)[axis]);
            let len = if lens.contains(&1) { lens[0].max(lens[1]) } else { lens[0].min(lens[1]) };
            for value in &mut both {
                if g.shape(*value)[axis] > len {
                    *value = g.slice_axis(*value, axis, 0, len)?;
                }
            }
        }
        let shape: Vec<usize> = (0..rank)
            .map(|axis| {
                let lens = both.map(|value| g.shape(value)[axis]);
                if lens.contains(&0) { 0 } else { lens[0].max(lens[1]) }
            })
            .collect();
        for value in &mut both {
            *value = g.broadcast(*value, &shape)?;
        }
        Ok((both[0], both[1]))
    }

    /// A value of that type made of another.
    fn fit(&mut self, value: Value, ty: &Type) -> Result<Value> {
        let g = &mut self.graph;
        let value = g.add(Op::Cast(ty.dtype), &[value])?;
        let (have, want) = (g.ty(value).len(), ty.len());
        let mut flat = g.reshape(value, &[have])?;
        if have > want {
            flat = g.slice_axis(flat, 0, have - want, have)?;
        } else if have < want {
            flat = g.add(Op::Pad(vec![(want - have, 0)]), &[flat])?;
        }
        g.reshape(flat, &ty.shape)
    }

    /// A matrix with that many rows.
    fn matrix(&mut self, value: Value, rows: usize) -> Result<Value> {
        let columns = (self.ty(value).len() / rows.max(1)).clamp(1, 6);
        let ty = Type::new([rows, columns], self.ty(value).dtype);
        self.fit(value, &ty)
    }

    /// Carries out an instruction; none if there is nothing it applies to.
    fn execute(&mut self, instruction: &Instruction) -> Result<Option<Value>> {
        let Instruction { kind, operands: [a, b, c], number } = instruction.clone();
        let n = number as usize;
        macro_rules! some {
            ($value:expr) => {
                match $value {
                    Some(value) => value,
                    None => return Ok(None),
                }
            };
        }
        let result = match kind % 38 {
            0..=2 => {
                let x = some!(self.float(a));
                let functions: Vec<Unary> = Unary::ALL.iter().copied().filter(|f| *f != Unary::Not).collect();
                self.graph.unary(functions[n % functions.len()], x)?
            }
            3..=6 => {
                let (x, y) = (some!(self.number(a)), some!(self.number(b)));
                let (x, y) = self.align(x, y)?;
                let function = Binary::ALL[n % Binary::ALL.len()];
                if function == Binary::Atan2 && !self.ty(x).dtype.is_float() {
                    return Ok(None);
                }
                self.graph.binary(function, x, y)?
            }
            7 => {
                let (x, y) = (some!(self.pick(a, |_| true)), some!(self.pick(b, |_| true)));
                let (x, y) = self.align(x, y)?;
                self.graph.compare(Compare::ALL[n % Compare::ALL.len()], x, y)?
            }
            8 => {
                let (x, y) = (
                    some!(self.pick(a, |t| t.dtype == DType::Bool)),
                    some!(self.pick(b, |t| t.dtype == DType::Bool)),
                );
                let (x, y) = self.align(x, y)?;
                if n % 4 == 3 {
                    self.graph.unary(Unary::Not, x)?
                } else {
                    self.graph.add(Op::Logical(Logical::ALL[n % Logical::ALL.len()]), &[x, y])?
                }
            }
            9 => {
                let condition = some!(self.pick(c, |t| t.dtype == DType::Bool));
                let (x, y) = (some!(self.pick(a, |_| true)), some!(self.pick(b, |_| true)));
                let (x, y) = self.align(x, y)?;
                let ty = Type::new(self.ty(x).shape, DType::Bool);
                let condition = self.fit(condition, &ty)?;
                self.graph.add(Op::Select, &[condition, x, y])?
            }
            10 => {
                let x = some!(self.pick(a, |_| true));
                self.graph.add(Op::Cast(DType::ALL[n % DType::ALL.len()]), &[x])?
            }
            11..=13 => {
                let x = some!(self.pick(a, |t| t.dtype != DType::Bool && !t.shape.is_empty()));
                let axes: Vec<usize> =
                    (0..self.ty(x).shape.len()).filter(|axis| n >> axis & 1 == 1).collect();
                let function = Reduce::ALL[(n / 64) % Reduce::ALL.len()];
                if n.is_multiple_of(5) {
                    self.graph.reduce_keep(function, x, &axes)?
                } else {
                    self.graph.reduce(function, x, &axes)?
                }
            }
            14 | 15 => {
                let x = some!(self.pick(a, |_| true));
                let ty = self.ty(x);
                let shape = match n % 5 {
                    0 => vec![ty.len()],
                    1 => ty.shape.iter().copied().chain([1]).collect(),
                    2 => [1].into_iter().chain(ty.shape.iter().copied()).collect(),
                    3 if ty.len().is_multiple_of(2) => vec![2, ty.len() / 2],
                    _ => vec![1, ty.len(), 1],
                };
                self.graph.reshape(x, &shape)?
            }
            16..=18 => {
                let x = some!(self.pick(a, |t| t.shape.len() > 1));
                let mut perm: Vec<usize> = (0..self.ty(x).shape.len()).collect();
                let len = perm.len();
                perm.rotate_left(n % len);
                perm.swap(0, (n / 8) % len);
                self.graph.permute(x, &perm)?
            }
            19 => {
                let x = some!(self.pick(a, |_| true));
                let shape = self.ty(x).shape;
                let one: Vec<usize> = [1].into_iter().chain(shape.iter().copied()).collect();
                let wide: Vec<usize> = [2 + n % 2].into_iter().chain(shape).collect();
                let x = self.graph.reshape(x, &one)?;
                self.graph.broadcast(x, &wide)?
            }
            20 | 21 => {
                let (x, y) = (some!(self.float(a)), some!(self.float(b)));
                let x = self.matrix(x, 1 + n % 4)?;
                let inner = self.ty(x).shape[1];
                let y = self.graph.add(Op::Cast(self.ty(x).dtype), &[y])?;
                let y = self.matrix(y, inner)?;
                let (trans_a, trans_b) = (n & 16 > 0, n & 32 > 0);
                let x = if trans_a { self.graph.permute(x, &[1, 0])? } else { x };
                let y = if trans_b { self.graph.permute(y, &[1, 0])? } else { y };
                self.graph.matmul(x, y, trans_a, trans_b)?
            }
            36 | 37 => {
                // A dense layer.
                let (x, y, bias) = (some!(self.float(a)), some!(self.float(b)), some!(self.float(c)));
                let x = self.matrix(x, 1 + n % 4)?;
                let [rows, inner] = self.ty(x).shape[..] else { return Ok(None) };
                let y = self.graph.add(Op::Cast(self.ty(x).dtype), &[y])?;
                let y = self.matrix(y, inner)?;
                let units = self.ty(y).shape[1];
                let bias = self.fit(bias, &Type::new([1, units], self.ty(x).dtype))?;
                let bias = self.graph.broadcast(bias, &[rows, units])?;
                let product = self.graph.matmul(x, y, false, false)?;
                let sum = self.graph.binary(Binary::Add, product, bias)?;
                self.graph.unary(if n & 16 > 0 { Unary::Relu } else { Unary::Tanh }, sum)?
            }
            22 => {
                let x = some!(self.pick(a, |t| !t.shape.is_empty() && !t.is_empty()));
                let shape = self.ty(x).shape;
                let spec = SliceSpec {
                    starts: shape.iter().map(|len| n % len).collect(),
                    stops: shape.clone(),
                    steps: shape.iter().enumerate().map(|(axis, _)| 1 + (n >> (4 + axis)) % 2).collect(),
                };
                if n.is_multiple_of(3) {
                    let update = some!(self.pick(b, |_| true));
                    let ty = Type::new(spec.shape(), self.ty(x).dtype);
                    let update = self.fit(update, &ty)?;
                    self.graph.add(Op::SliceUpdate(spec), &[x, update])?
                } else {
                    self.graph.add(Op::Slice(spec), &[x])?
                }
            }
            23 => {
                let x = some!(self.pick(a, |_| true));
                let rank = self.ty(x).shape.len();
                self.graph.add(Op::Pad((0..rank).map(|i| (n >> i & 1, n >> (i + 4) & 1)).collect()), &[x])?
            }
            24 => {
                let (x, y) = (some!(self.pick(a, |t| !t.shape.is_empty())), some!(self.pick(b, |_| true)));
                let ty = self.ty(x);
                let y = self.fit(y, &ty)?;
                let parts = [x, y, x];
                self.graph.add(Op::Concat(n % ty.shape.len()), &parts[..=n / 8 % 3])?
            }
            25 => {
                let x = some!(self.pick(a, |t| !t.shape.is_empty()));
                let axes = (0..self.ty(x).shape.len()).filter(|axis| n >> axis & 1 == 1).collect();
                self.graph.add(Op::Reverse(axes), &[x])?
            }
            26 => {
                // In single precision the decomposition, which `contrary` runs, rounds at every step.
                let x = some!(self.pick(a, |t| t.dtype.is_float() && !t.shape.is_empty()));
                let x = self.graph.add(Op::Cast(DType::F64), &[x])?;
                self.graph.add(if n & 1 == 0 { Op::Softmax } else { Op::LogSoftmax }, &[x])?
            }
            27 => {
                let x = some!(self.pick(a, |t| t.dtype != DType::Bool && !t.shape.is_empty()));
                let axis = n % self.ty(x).shape.len();
                match n / 8 % 3 {
                    0 => self.graph.add(Op::Cumulative(Cumulative::Sum, axis), &[x])?,
                    1 => self.graph.add(Op::Cumulative(Cumulative::Prod, axis), &[x])?,
                    _ if self.ty(x).shape[axis] > 0 => {
                        self.graph.add(Op::ArgReduce(ArgReduce::ALL[n / 64 % 2], axis), &[x])?
                    }
                    _ => return Ok(None),
                }
            }
            28 => {
                let x = some!(self.pick(a, |t| !t.shape.is_empty() && !t.is_empty()));
                let axis = n % self.ty(x).shape.len();
                let len = self.ty(x).shape[axis] as i64;
                let indices = self.graph.constant(Array::from([0, len - 1, (n as i64 / 8) % len]));
                self.graph.add(Op::Gather(axis), &[x, indices])?
            }
            29 => {
                let x = some!(self.number(a));
                let ty = Type::new([3, 2], self.ty(x).dtype);
                let x = self.fit(x, &ty)?;
                let indices = self.graph.constant(Array::from([0_i64, 3, 0]));
                self.graph.add(Op::ScatterAdd(4), &[indices, x])?
            }
            30 => {
                let x = some!(self.pick(a, |t| !t.shape.is_empty() && !t.is_empty()));
                let k = n % (self.ty(x).shape.last().copied().unwrap_or(0) + 1);
                let first = self.graph.add(Op::TopK(k), &[x])?;
                self.graph.outputs_of(first)[n / 16 % 2]
            }
            31 => {
                // A number that repeats everywhere: of a literal, of a host scalar.
                let x = some!(self.number(a));
                let ty = self.ty(x);
                let scalars = self.pick(b, |t| t.shape.is_empty() && t.dtype != DType::Bool);
                let scalar = match scalars {
                    Some(scalar) if n & 1 == 0 => self.graph.add(Op::Cast(ty.dtype), &[scalar])?,
                    _ => self.graph.scalar(f64::from(number % 7) - 2.5, ty.dtype),
                };
                let scalar = self.graph.splat(scalar, &ty.shape)?;
                let functions = [Binary::Add, Binary::Mul, Binary::Sub, Binary::Div, Binary::Max];
                self.graph.binary(functions[n / 2 % 5], x, scalar)?
            }
            32 => {
                let x = some!(self.float(a));
                let ty = self.ty(x);
                self.graph.add(Op::Host(ByRef(Arc::new(halved(&ty, n & 1 == 0)))), &[x])?
            }
            33 => {
                let (x, y) = (
                    some!(self.pick(a, |t| t.dtype.is_float() && !t.shape.is_empty())),
                    some!(self.float(b)),
                );
                if self.ty(x).shape[0] == 0 {
                    return Ok(None);
                }
                let row = Type::new(&self.ty(x).shape[1..], self.ty(x).dtype);
                let start = self.fit(y, &row)?;
                let mut scan = ScanBuilder::new(&self.graph, &[start], &[x], &[start])?;
                let (carry, element, constant) = (scan.carries()[0], scan.xs()[0], scan.consts()[0]);
                let body = &mut scan.body;
                let sum = body.binary(Binary::Add, carry, element)?;
                let y = body.binary(Binary::Mul, sum, constant)?;
                // The next carry may be a row of what is read, or what the step also writes.
                let next = [sum, y, element, carry][n / 2 % 4];
                let (finals, ys) = scan.finish(&mut self.graph, &[next], &[y], n & 1 == 0)?;
                if n & 16 == 0 { finals[0] } else { ys[0] }
            }
            34 => {
                let scalar =
                    |it: &Self, choice| it.pick(choice, |t| t.shape.is_empty() && t.dtype != DType::Bool);
                let (seed, step) = (some!(scalar(self, a)), some!(scalar(self, b)));
                let distribution = Distribution::ALL[n % Distribution::ALL.len()];
                let output = Type::new([2, 3], if n & 1 == 0 { DType::F32 } else { DType::F64 });
                self.graph.add(Op::Random { distribution, stream: 7, output }, &[seed, step])?
            }
            _ => {
                let (x, y) = (some!(self.float(a)), some!(self.float(b)));
                let dtype = self.ty(x).dtype;
                let x = self.fit(x, &Type::new([1, 3, 3, 2], dtype))?;
                let y = self.fit(y, &Type::new([2, 2, 2, 2], dtype))?;
                let pads = vec![(n % 2, n / 2 % 2); 2];
                match n / 4 % 3 {
                    0 => {
                        let spec = ConvSpec { strides: vec![1, 2], dilations: vec![1, 1], pads, groups: 1 };
                        self.graph.add(Op::Conv(spec), &[x, y])?
                    }
                    kind => {
                        let spec = PoolSpec { window: vec![2, 2], strides: vec![2, 1], pads };
                        self.graph.add(if kind == 1 { Op::MaxPool(spec) } else { Op::AvgPool(spec) }, &[x])?
                    }
                }
            }
        };
        Ok(Some(result))
    }

    fn finish(&mut self, recipe: &Recipe) -> Result<()> {
        let last = self.pool[self.pool.len() - 1];
        let mut outputs = vec![last];
        outputs.extend(recipe.outputs.iter().filter_map(|&choice| self.pick(choice, |_| true)));
        if recipe.gradient
            && let Some(y) = self.float(0)
        {
            let dy = self.graph.full_like(y, 1.0)?;
            let xs: Vec<Value> =
                self.pool[..15].iter().copied().filter(|&x| self.graph.ty(x).dtype.is_float()).collect();
            outputs.extend(gradients(&mut self.graph, &[(y, dy)], &xs)?.into_iter().flatten());
        }
        let mut updates = Vec::new();
        for &(variable, value, how) in &recipe.updates {
            let variable = self.variables[usize::from(variable) % self.variables.len()].clone();
            let Some(value) = self.pick(value, |_| true) else { continue };
            let ty = Type::new(variable.shape(), variable.dtype());
            let old = self.graph.variable(&variable);
            let value = self.fit(value, &ty)?;
            let new = match how % 4 {
                0 => value,
                1 => self.graph.binary(Binary::Add, old, value)?,
                2 => self.graph.binary(Binary::Mul, old, old)?,
                _ => {
                    let other = self.graph.binary(Binary::Sub, value, old)?;
                    self.graph.binary(Binary::Max, other, old)?
                }
            };
            updates.push((variable, new));
        }
        self.graph.set_outputs(outputs);
        self.graph.set_updates(updates);
        Ok(())
    }
}

fn generate(recipe: &Recipe) -> Result<Generated> {
    let mut it = Generated::new(recipe);
    for instruction in &recipe.instructions {
        if let Some(value) = it.execute(instruction)?
            && it.ty(value).len() <= LARGEST
            && it.ty(value).shape.len() <= 7
        {
            it.pool.push(value);
        }
    }
    it.finish(recipe)?;
    Ok(it)
}

/// x/2 on the host.
fn halved(ty: &Type, impure: bool) -> HostFn {
    HostFn {
        name: "halved".into(),
        outputs: vec![ty.clone()],
        impure,
        run: Box::new(|arrays| {
            let x = &arrays[0];
            let halves = x.to_vec::<f64>().into_iter().map(|x| x / 2.0).collect();
            Ok(vec![Array::from_vec(x.shape(), halves)?.cast(x.dtype())])
        }),
        vjp: None,
    }
}

/// Everything that can be seen of three runs: outputs, and the variables after each.
fn observe<B: Backend>(
    backend: B,
    passes: Passes,
    it: &Generated,
    recipe: &Recipe,
) -> Result<(Vec<Array>, Graph)> {
    for (variable, initial) in it.variables.iter().zip(&it.initial) {
        variable.set(initial)?;
    }
    let program = Engine::new(backend)?.compile_with(&it.graph, passes)?;
    let mut seen = Vec::new();
    for seed in [1, 2, 2] {
        let feeds: Vec<Array> =
            it.feeds.iter().enumerate().map(|(i, ty)| numbers(recipe, ty, seed * 10 + i as u64)).collect();
        seen.extend(program.run(&feeds)?);
        for variable in &it.variables {
            seen.push(variable.value()?);
        }
    }
    Ok((seen, program.graph().clone()))
}

/// The same bits, where every NaN is one value: which operand's NaN a sum passes on is open.
fn same(a: &Array, b: &Array) -> bool {
    let one_nan = |x: &Array| {
        if !x.dtype().is_float() {
            return x.clone();
        }
        let values = x.to_vec::<f64>().into_iter().map(|x| if x.is_nan() { f64::NAN } else { x }).collect();
        Array::from_vec(x.shape(), values).unwrap()
    };
    a.dtype() == b.dtype() && one_nan(a).same_bits(&one_nan(b))
}

fn agree(recipe: &Recipe) -> Result<(), TestCaseError> {
    let fail = |what: String| TestCaseError::fail(what);
    let it = generate(recipe).map_err(|error| fail(format!("generating: {error}")))?;
    let (expected, _) = observe(Reference, NO_PASSES, &it, recipe)
        .map_err(|error| fail(format!("{error}\n{}", it.graph.text())))?;
    for passes in CHOICES {
        for (name, seen) in [
            ("reference", observe(Reference, passes, &it, recipe)),
            ("contrary", observe(Contrary, passes, &it, recipe)),
            ("observed", observe(Observed::new(false).0, passes, &it, recipe)),
        ] {
            let (seen, graph) =
                seen.map_err(|error| fail(format!("{name}, {passes:?}: {error}\n{}", it.graph.text())))?;
            for (i, (a, b)) in expected.iter().zip(&seen).enumerate() {
                if !same(a, b) {
                    let updates = it.graph.updates();
                    return Err(fail(format!(
                        "{name}, {passes:?}, {i}: expected {a:?}, received {b:?}\n{}updates {updates:?}\nbecame\n{}",
                        it.graph.text(),
                        graph.text()
                    )));
                }
            }
            prop_assert_eq!(expected.len(), seen.len());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More with the environment variable PROPTEST_CASES.
        cases: ProptestConfig::default().cases.max(400),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn generated_programs_give_the_same_bits(recipe in recipes()) {
        agree(&recipe)?;
    }
}

/// The generator makes what it promises: every kind of node, and programs of which parts are fused.
#[test]
fn generated_programs_are_varied() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut names = std::collections::BTreeSet::new();
    let (mut updates, mut kernels, mut epilogues) = (0, 0, 0);
    for _ in 0..400 {
        let recipe = recipes().new_tree(&mut runner).unwrap().current();
        let it = generate(&recipe).unwrap();
        names.extend(it.graph.nodes().iter().map(|node| node.op.name()));
        updates += it.graph.updates().len();
        let program = Engine::new(Reference).unwrap().compile(&it.graph).unwrap();
        let count = |name| program.graph().nodes().iter().filter(|node| node.op.name() == name).count();
        kernels += count("kernel");
        epilogues += count("epilogue");
    }
    for name in [
        "add",
        "select",
        "cast",
        "sum",
        "reduce_max",
        "reshape",
        "permute",
        "broadcast",
        "matmul",
        "slice",
        "slice_update",
        "pad",
        "concat",
        "reverse",
        "softmax",
        "log_softmax",
        "cumsum",
        "argmax",
        "gather",
        "scatter_add",
        "top_k",
        "host",
        "scan",
        "uniform",
        "normal",
        "conv",
        "max_pool",
        "avg_pool",
        "iota",
    ] {
        assert!(names.contains(name), "no {name} among {names:?}");
    }
    assert!(updates > 200 && kernels > 200 && epilogues > 50, "{updates} {kernels} {epilogues}");
}

// What each pass does, counted.

fn compile(graph: &Graph, passes: Passes) -> Program<Reference> {
    Engine::new(Reference).unwrap().compile_with(graph, passes).unwrap()
}

fn count(graph: &Graph, name: &str) -> usize {
    graph.nodes().iter().filter(|node| node.op.name() == name).count()
}

fn float(shape: &[usize]) -> Type {
    Type::new(shape, DType::F64)
}

const SIMPLIFY: Passes = Passes { simplify: true, fuse: false };

#[test]
fn dead_code_is_dropped_and_feeds_keep_their_places() {
    let mut g = Graph::new();
    let unused = g.input(float(&[2]));
    let x = g.input(float(&[2]));
    g.unary(Unary::Exp, unused).unwrap();
    let dead = g.unary(Unary::Log, x).unwrap();
    g.unary(Unary::Sqrt, dead).unwrap();
    let y = g.unary(Unary::Neg, x).unwrap();
    g.set_outputs([y]);
    for passes in CHOICES {
        let program = compile(&g, passes);
        assert_eq!((program.graph().nodes().len(), program.steps()), (3, 1), "{}", program.graph().text());
        let out = program.run(&[Array::from([9.0, 9.0]), Array::from([1.0, 2.0])]).unwrap();
        assert_eq!(out[0], Array::from([-1.0, -2.0]));
    }
}

#[test]
fn common_subexpressions_are_one_node() {
    let mut g = Graph::new();
    let x = g.input(float(&[2]));
    let parts: Vec<Value> = (0..3)
        .map(|_| {
            let two = g.scalar(2.0, DType::F64);
            let two = g.splat(two, &[2]).unwrap();
            let product = g.binary(Binary::Mul, x, two).unwrap();
            g.unary(Unary::Exp, product).unwrap()
        })
        .collect();
    assert!(parts.iter().all(|part| *part == parts[0]));
    let minus = g.scalar(-0.0, DType::F64);
    let plus = g.scalar(0.0, DType::F64);
    assert_ne!(minus, plus, "−0 and 0 are different literals");
}

/// Small results are folded, and large ones no larger than what they come from; others would only cost memory.
#[test]
fn literals_are_folded_up_to_a_kibibyte_or_the_size_of_their_operands() {
    let folds = |build: &dyn Fn(&mut Graph) -> Value| {
        let mut g = Graph::new();
        let y = build(&mut g);
        g.set_outputs([y]);
        let plain = compile(&g, NO_PASSES).run(&[]).unwrap();
        let program = compile(&g, SIMPLIFY);
        assert!(same(&plain[0], &program.run(&[]).unwrap()[0]));
        program.graph().nodes().iter().all(|node| matches!(node.op, Op::Constant(_)))
    };
    let ramp = |n: usize| Array::from((0..n).map(|x| x as f64).collect::<Vec<f64>>());
    // 128 doubles are one KiB.
    let outer = |g: &mut Graph, n: usize, m: usize| {
        let a = g.constant(ramp(n).reshape(&[n, 1]).unwrap());
        let b = g.constant(ramp(m).reshape(&[1, m]).unwrap());
        g.matmul(a, b, false, false).unwrap()
    };
    assert!(folds(&|g| outer(g, 8, 16)));
    assert!(!folds(&|g| outer(g, 8, 17)));
    assert!(folds(&|g| {
        let a = g.constant(ramp(1000));
        g.unary(Unary::Exp, a).unwrap()
    }));
    assert!(folds(&|g| {
        let a = g.constant(ramp(4));
        let first = g.add(Op::TopK(2), &[a]).unwrap();
        g.outputs_of(first)[1]
    }));
}

#[test]
fn what_depends_on_feeds_is_not_folded() {
    let mut g = Graph::new();
    let x = g.input(float(&[]));
    let zero = g.scalar(0.0, DType::F64);
    // x·0 is NaN for NaN and infinity.
    let product = g.binary(Binary::Mul, x, zero).unwrap();
    let difference = g.binary(Binary::Sub, x, x).unwrap();
    g.set_outputs([product, difference]);
    let out = compile(&g, Passes::default()).run(&[f64::INFINITY.into()]).unwrap();
    assert!(out.iter().all(|y| y.item().unwrap().is_nan()));
}

#[test]
fn transposes_cancel_across_elementwise_operations() {
    let mut g = Graph::new();
    let x = g.input(float(&[2, 3, 4, 5]));
    let mut y = x;
    for _ in 0..6 {
        y = g.permute(y, &[0, 3, 1, 2]).unwrap();
        y = g.unary(Unary::Tanh, y).unwrap();
        y = g.binary_scalar(Binary::Mul, y, 1.5).unwrap();
        y = g.permute(y, &[0, 2, 3, 1]).unwrap();
        y = g.unary(Unary::Sin, y).unwrap();
    }
    g.set_outputs([y]);
    assert_eq!(count(&g, "permute"), 12);
    let program = compile(&g, SIMPLIFY);
    assert_eq!(count(program.graph(), "permute"), 0, "{}", program.graph().text());
    let both = {
        let mut g = Graph::new();
        let (a, b) = (g.input(float(&[2, 3])), g.input(float(&[2, 3])));
        let (a, b) = (g.permute(a, &[1, 0]).unwrap(), g.permute(b, &[1, 0]).unwrap());
        let sum = g.binary(Binary::Add, a, b).unwrap();
        let y = g.permute(sum, &[1, 0]).unwrap();
        g.set_outputs([y]);
        compile(&g, SIMPLIFY)
    };
    assert_eq!(count(both.graph(), "permute"), 0, "{}", both.graph().text());
}

#[test]
fn a_transpose_read_twice_is_made_once() {
    let mut g = Graph::new();
    let x = g.input(float(&[2, 3]));
    let t = g.permute(x, &[1, 0]).unwrap();
    let (a, b) = (g.unary(Unary::Exp, t).unwrap(), g.unary(Unary::Sin, t).unwrap());
    g.set_outputs([a, b]);
    assert_eq!(count(compile(&g, SIMPLIFY).graph(), "permute"), 1);
}

#[test]
fn products_absorb_transposes() {
    for (trans_a, trans_b) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut g = Graph::new();
        let (a, b) = (g.input(float(&[4, 2, 3])), g.input(float(&[4, 5, 2])));
        let (ta, tb) = (g.permute(a, &[0, 2, 1]).unwrap(), g.permute(b, &[0, 2, 1]).unwrap());
        let (ta, tb) = (if trans_a { a } else { ta }, if trans_b { b } else { tb });
        let y = g.matmul(ta, tb, trans_a, trans_b).unwrap();
        g.set_outputs([y]);
        let program = compile(&g, SIMPLIFY);
        assert_eq!(count(program.graph(), "permute"), 0);
        let product = program.graph().nodes().last().unwrap();
        assert_eq!(product.op, Op::MatMul { trans_a: true, trans_b: true });
    }
}

#[test]
fn a_dense_layer_is_one_operation() {
    let mut g = Graph::new();
    let (x, w, b) = (g.input(float(&[4, 3])), g.input(float(&[3, 5])), g.input(float(&[5])));
    let product = g.matmul(x, w, false, false).unwrap();
    let bias = g.reshape(b, &[1, 5]).unwrap();
    let bias = g.broadcast(bias, &[4, 5]).unwrap();
    let sum = g.binary(Binary::Add, product, bias).unwrap();
    let y = g.unary(Unary::Relu, sum).unwrap();
    g.set_outputs([y]);
    let program = compile(&g, Passes::default());
    assert_eq!((program.steps(), count(program.graph(), "epilogue")), (1, 1), "{}", program.graph().text());
    // With the product itself fetched it cannot be.
    g.set_outputs([y, product]);
    let program = compile(&g, Passes::default());
    assert_eq!(count(program.graph(), "epilogue"), 0);
    assert_eq!((count(program.graph(), "matmul"), count(program.graph(), "kernel")), (1, 1));
}

#[test]
fn a_chain_with_its_reduction_is_one_kernel() {
    let mut g = Graph::new();
    let (x, y) = (g.input(float(&[4, 6])), g.input(float(&[4, 6])));
    let difference = g.binary(Binary::Sub, x, y).unwrap();
    let square = g.unary(Unary::Square, difference).unwrap();
    let sum = g.reduce(Reduce::Sum, square, &[1]).unwrap();
    g.set_outputs([sum]);
    let program = compile(&g, Passes::default());
    assert_eq!((program.steps(), count(program.graph(), "kernel")), (1, 1), "{}", program.graph().text());
}

/// What reads the reduction cannot run in the kernel that makes it.
#[test]
fn a_value_read_through_its_own_reduction_is_two_kernels() {
    let mut g = Graph::new();
    let x = g.input(float(&[4, 6]));
    let power = g.unary(Unary::Exp, x).unwrap();
    let sum = g.reduce_keep(Reduce::Sum, power, &[1]).unwrap();
    let sum = g.broadcast(sum, &[4, 6]).unwrap();
    let y = g.binary(Binary::Div, power, sum).unwrap();
    g.set_outputs([y]);
    let program = compile(&g, Passes::default());
    assert_eq!(count(program.graph(), "kernel"), 2, "{}", program.graph().text());
    let feed = Numbers::new(1).array(DType::F64, &[4, 6]);
    assert_eq!(
        program.run(std::slice::from_ref(&feed)).unwrap(),
        compile(&g, NO_PASSES).run(&[feed]).unwrap()
    );
}

#[test]
fn operations_that_a_backend_declines_to_fuse_stay_apart() {
    let mut g = Graph::new();
    let x = g.input(float(&[3]));
    let y = g.unary(Unary::Exp, x).unwrap();
    let y = g.unary(Unary::Sin, y).unwrap();
    g.set_outputs([y]);
    let (backend, account) = Observed::new(false);
    let program = Engine::new(backend).unwrap().compile(&g).unwrap();
    program.run(&[Array::from([1.0, 2.0, 3.0])]).unwrap();
    assert_eq!((account.count("kernel"), account.count("exp"), account.count("sin")), (0, 1, 1));
    let (backend, account) = Observed::new(true);
    let program = Engine::new(backend).unwrap().compile(&g).unwrap();
    program.run(&[Array::from([1.0, 2.0, 3.0])]).unwrap();
    assert_eq!((account.count("kernel"), account.total()), (1, 1));
}

/// A host function of a variable alone, counting its calls.
fn counted(variable: &Variable, impure: bool) -> (Graph, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let ty = float(variable.shape());
    let host = HostFn {
        name: "counted".into(),
        outputs: vec![ty.clone()],
        impure,
        run: Box::new(move |arrays| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(vec![arrays[0].clone()])
        }),
        vjp: None,
    };
    let mut g = Graph::new();
    let x = g.input(ty);
    let w = g.variable(variable);
    let scaled = g.binary_scalar(Binary::Mul, w, 2.0).unwrap();
    let seen = g.add(Op::Host(ByRef(Arc::new(host))), &[scaled]).unwrap();
    let y = g.binary(Binary::Add, x, seen).unwrap();
    g.set_outputs([y]);
    (g, calls)
}

#[test]
fn what_reads_variables_alone_runs_once_per_version() {
    let w = Variable::new("w", Array::from([1.0, 2.0]));
    let (graph, calls) = counted(&w, false);
    for (passes, fuses) in [(NO_PASSES, false), (Passes::default(), true), (Passes::default(), false)] {
        calls.store(0, Ordering::SeqCst);
        w.set(&Array::from([1.0, 2.0])).unwrap();
        let (backend, account) = Observed::new(fuses);
        let program = Engine::new(backend).unwrap().compile_with(&graph, passes).unwrap();
        let run = || program.run(&[Array::from([10.0, 20.0])]).unwrap()[0].clone();
        for _ in 0..3 {
            assert_eq!(run(), Array::from([12.0, 24.0]));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        account.reset();
        run();
        assert_eq!(account.total(), 1, "the sum alone");
        w.set(&Array::from([5.0, 6.0])).unwrap();
        for _ in 0..3 {
            assert_eq!(run(), Array::from([20.0, 32.0]));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}

#[test]
fn an_impure_host_function_runs_every_time() {
    let w = Variable::new("w", Array::from([1.0, 2.0]));
    let (graph, calls) = counted(&w, true);
    let program = compile(&graph, Passes::default());
    for _ in 0..3 {
        program.run(&[Array::from([0.0, 0.0])]).unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// A program that trains keeps nothing: what it would keep is stale at once.
#[test]
fn updating_programs_keep_nothing() {
    let w = Variable::new("w", Array::from([1.0, 2.0]));
    let (mut graph, calls) = counted(&w, false);
    let old = graph.find_variable(&w).unwrap();
    let new = graph.binary_scalar(Binary::Add, old, 1.0).unwrap();
    graph.set_updates([(w.clone(), new)]);
    let program = compile(&graph, Passes::default());
    for i in 0..3 {
        let y = program.run(&[Array::from([0.0, 0.0])]).unwrap();
        assert_eq!(y[0], Array::from([2.0 + 2.0 * f64::from(i), 4.0 + 2.0 * f64::from(i)]));
    }
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

/// Diamonds of host scalars: work that doubled with every level would never end.
#[test]
fn chains_of_host_scalars_compile() {
    let rate = Variable::scalar("rate", 1.0, DType::F64);
    let mut g = Graph::new();
    let x = g.input(float(&[2]));
    let mut scalar = g.variable(&rate);
    for _ in 0..2000 {
        let sum = g.binary(Binary::Add, scalar, scalar).unwrap();
        scalar = g.binary_scalar(Binary::Mul, sum, 0.5).unwrap();
    }
    let wide = g.splat(scalar, &[2]).unwrap();
    let y = g.binary(Binary::Mul, x, wide).unwrap();
    g.set_outputs([y]);
    for passes in CHOICES {
        let out = compile(&g, passes).run(&[Array::from([3.0, 4.0])]).unwrap();
        assert_eq!(out[0], Array::from([3.0, 4.0]));
    }
}
