//! Writing a group of nodes as one kernel.

use super::Fusion;
use crate::array::DType;
use crate::graph::optimize::splat_of;
use crate::graph::{Graph, Instr, Kernel, KernelInput, KernelOutput, Op, Reduce, Value};
use std::collections::HashMap;

/// A kernel, and the values it reads and writes.
#[derive(Clone)]
pub(super) struct Built {
    pub(super) kernel: Kernel,
    pub(super) operands: Vec<Value>,
    pub(super) scalars: Vec<Value>,
    pub(super) stored: Vec<Value>,
}

impl Built {
    /// The same kernel with operand `at` moved to the front.
    pub(super) fn with_first(&self, at: usize) -> Self {
        let mut moved = self.clone();
        let to = |i: usize| match i.cmp(&at) {
            std::cmp::Ordering::Less => i + 1,
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Greater => i,
        };
        let input = moved.kernel.inputs.remove(at);
        moved.kernel.inputs.insert(0, input);
        let operand = moved.operands.remove(at);
        moved.operands.insert(0, operand);
        for (instruction, _) in &mut moved.kernel.code {
            if let Instr::Load(i) = instruction {
                *i = to(*i);
            }
        }
        for output in &mut moved.kernel.outputs {
            output.alias = output.alias.map(to);
        }
        moved
    }
}

/// A kernel under construction.
pub(super) struct KernelBuilder {
    shape: Vec<usize>,
    code: Vec<(Instr, DType)>,
    operands: Vec<(Value, KernelInput)>,
    scalars: Vec<Value>,
    loads: HashMap<(Value, Vec<usize>), usize>,
}

#[allow(clippy::indexing_slicing, reason = "axes are those of the group's own shape")]
impl KernelBuilder {
    pub(super) fn new(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            code: Vec::new(),
            operands: Vec::new(),
            scalars: Vec::new(),
            loads: HashMap::new(),
        }
    }

    pub(super) fn push(&mut self, instruction: Instr, dtype: DType) -> usize {
        self.code.push((instruction, dtype));
        self.code.len() - 1
    }

    /// The register that holds a value from outside the group.
    pub(super) fn operand(&mut self, graph: &Graph, host: &[bool], value: Value) -> usize {
        let dtype = graph.ty(value).dtype;
        if let Some(scalar) = splat_of(graph, |value| host[value.node as usize], value) {
            return self.scalar(graph, scalar, dtype);
        }
        // Look through broadcasts: axes of length 1 in the source have stride 0.
        let mut source = value;
        let mut strided = vec![true; self.shape.len()];
        while let (Op::Broadcast(_), &[inner]) =
            (&graph.node(source).op, graph.node(source).inputs.as_slice())
        {
            for (axis, &len) in graph.shape(inner).iter().enumerate() {
                if len == 1 && self.shape[axis] != 1 {
                    strided[axis] = false;
                }
            }
            source = inner;
        }
        let mut strides = vec![0; self.shape.len()];
        let mut step = 1;
        for axis in (0..self.shape.len()).rev() {
            if strided[axis] {
                strides[axis] = step;
                step *= self.shape[axis];
            }
        }
        // A reshape in front of the broadcast is only another name for the same memory.
        if let (Op::Reshape(_), &[inner]) = (&graph.node(source).op, graph.node(source).inputs.as_slice()) {
            source = inner;
        }
        let key = (source, strides.clone());
        if let Some(&register) = self.loads.get(&key) {
            return register;
        }
        self.operands.push((source, KernelInput { dtype, strides }));
        let register = self.push(Instr::Load(self.operands.len() - 1), dtype);
        self.loads.insert(key, register);
        register
    }

    fn scalar(&mut self, graph: &Graph, scalar: Value, dtype: DType) -> usize {
        let key = (scalar, Vec::new());
        if let Some(&register) = self.loads.get(&key) {
            return register;
        }
        let literal = match &graph.node(scalar).op {
            Op::Constant(literal) if dtype != DType::I64 => literal.0.item().ok(),
            _ => None,
        };
        let instruction = if let Some(value) = literal {
            Instr::Const(value)
        } else {
            self.scalars.push(scalar);
            Instr::Scalar(self.scalars.len() - 1)
        };
        let register = self.push(instruction, dtype);
        self.loads.insert(key, register);
        register
    }

    /// Collapses the axes, chooses what outputs are laid over, and gives kernel, operands and scalars.
    pub(super) fn finish(
        self,
        mut outputs: Vec<KernelOutput>,
        reductions: &[(usize, Reduce, Vec<usize>)],
        stored: &[Value],
        fusion: &Fusion<'_>,
    ) -> Option<(Kernel, Vec<Value>, Vec<Value>)> {
        let (shape, axis_of, operands) = collapse(&self.shape, self.operands, reductions);
        if shape.len() > 4 || outputs.is_empty() {
            return None;
        }
        for (output, op, axes) in reductions {
            let mut axes: Vec<usize> = axes.iter().filter_map(|&axis| axis_of[axis]).collect();
            axes.dedup();
            outputs[*output].reduce = Some((*op, axes));
        }
        let (values, inputs): (Vec<Value>, Vec<KernelInput>) = operands.into_iter().unzip();
        let mut kernel = Kernel { shape, inputs, scalars: self.scalars.len(), code: self.code, outputs };
        let mut taken = vec![false; values.len()];
        for i in 0..kernel.outputs.len() {
            if kernel.outputs[i].reduce.is_some() {
                continue;
            }
            let dtype = kernel.code[kernel.outputs[i].register].1;
            let fits = |kernel: &Kernel, taken: &[bool], j: usize| {
                !taken[j] && kernel.inputs[j].dtype == dtype && kernel.is_contiguous(j)
            };
            let old = stored.get(i).and_then(|value| fusion.replaces.get(value));
            let preferred = old.and_then(|old| values.iter().position(|value| value == old));
            // What another update replaces is left for that one.
            let reserved = |j: usize| fusion.replaced.contains(&values[j]) && preferred != Some(j);
            let alias = preferred
                .filter(|&j| fits(&kernel, &taken, j))
                .or_else(|| (0..values.len()).find(|&j| fits(&kernel, &taken, j) && !reserved(j)));
            if let Some(j) = alias {
                taken[j] = true;
                kernel.outputs[i].alias = Some(j);
            }
        }
        Some((kernel, values, self.scalars))
    }
}

type Operands = Vec<(Value, KernelInput)>;

/// Joins neighbouring axes that every operand walks alike and every reduction treats alike; drops axes of length 1.
/// Gives the new shape, for each old axis the new one (none for a dropped axis), and the operands restrided.
#[allow(clippy::indexing_slicing, reason = "axes are those of the given shape")]
fn collapse(
    shape: &[usize],
    operands: Operands,
    reductions: &[(usize, Reduce, Vec<usize>)],
) -> (Vec<usize>, Vec<Option<usize>>, Operands) {
    let mut lens: Vec<usize> = Vec::new();
    let mut last_of: Vec<usize> = Vec::new();
    let mut axis_of = vec![None; shape.len()];
    let mut previous: Option<usize> = None;
    for axis in 0..shape.len() {
        if shape[axis] == 1 {
            continue;
        }
        let joins = previous.is_some_and(|before| {
            operands.iter().all(|(_, input)| {
                let (outer, inner) = (input.strides[before], input.strides[axis]);
                (outer == 0) == (inner == 0) && outer == inner * shape[axis]
            }) && reductions.iter().all(|(_, _, axes)| axes.contains(&before) == axes.contains(&axis))
        });
        if joins {
            let at = lens.len() - 1;
            lens[at] *= shape[axis];
            last_of[at] = axis;
        } else {
            lens.push(shape[axis]);
            last_of.push(axis);
        }
        axis_of[axis] = Some(lens.len() - 1);
        previous = Some(axis);
    }
    if lens.is_empty() {
        // One place: its single axis stands for all of them, and a reduction over it is the value itself.
        let operands = operands
            .into_iter()
            .map(|(value, input)| (value, KernelInput { strides: vec![1], ..input }))
            .collect();
        return (vec![1], axis_of, operands);
    }
    let operands = operands
        .into_iter()
        .map(|(value, input)| {
            let strides = last_of.iter().map(|&axis| input.strides[axis]).collect();
            (value, KernelInput { strides, ..input })
        })
        .collect();
    (lens, axis_of, operands)
}
