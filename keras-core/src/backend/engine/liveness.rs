//! What lives how long: which steps wait for the commit, when handles are given up, what may then be overwritten,
//! and what is kept between runs.

use super::plan::{Action, Operand, Plan, Step};
use crate::backend::Backend;
use crate::graph::{Op, Type};

/// Fills in what follows from the order of the steps. `fixed` says which nodes read variables and literals alone.
#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
pub(super) fn settle<B: Backend>(plan: &mut Plan<B>, fixed: &[bool]) {
    if plan.updates.is_empty() {
        settle_fills(plan);
    } else {
        plan.compute.iter_mut().for_each(|step| step.fixed = false);
    }
    split_commit(plan);
    let aliases = Aliases::new(plan);
    let mut uses = Uses::new(plan, &aliases);
    keep(plan, &aliases, &mut uses, fixed);
    settle_updates(plan, &aliases);
    settle_operands(plan, &aliases, &uses);
    let class = |slot: usize| aliases.owner(slot).filter(|_| !aliases.repeated[slot]);
    plan.classes = plan.outputs.iter().map(|(operand, _)| class(operand.slot()?)).collect();
}

/// A constant tensor is cheap to make and dear to keep: it counts as fixed only for steps that are.
#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
fn settle_fills<B: Backend>(plan: &mut Plan<B>) {
    let mut read = vec![false; plan.slots];
    for step in plan.compute.iter().filter(|step| !step.fixed) {
        step.operands.iter().filter_map(|operand| operand.slot()).for_each(|slot| read[slot] = true);
    }
    plan.outputs.iter().filter_map(|(operand, _)| operand.slot()).for_each(|slot| read[slot] = true);
    for step in plan.compute.iter_mut().filter(|step| matches!(step.action, Action::Fill(_))) {
        step.fixed &= !read[step.first];
    }
}

/// Moves the steps that only make new values of variables, out of old ones, to the commit: there they may write in
/// place.
#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
fn split_commit<B: Backend>(plan: &mut Plan<B>) {
    // For each slot, how many updates take it, if nothing else reads it.
    let mut takers = vec![0_usize; plan.slots];
    for update in &plan.updates {
        update.value.slot().into_iter().for_each(|slot| takers[slot] += 1);
    }
    let operands = plan.compute.iter().flat_map(|step| &step.operands);
    let read = operands.chain(plan.outputs.iter().map(|(operand, _)| operand));
    for slot in read.filter_map(|operand| operand.slot()) {
        takers[slot] = 0;
    }
    let graph = &plan.graph;
    let replaced = &plan.replaced;
    let waits = |step: &Step<B>| {
        let elementwise = match &graph.nodes()[step.node].op {
            Op::Kernel(kernel) => kernel.outputs.iter().all(|output| output.reduce.is_none()),
            op => op.is_elementwise(),
        };
        let reads_old = |operand: &Operand| operand.slot().is_some_and(|slot| replaced[slot].is_some());
        elementwise
            && matches!(step.action, Action::Run)
            && step.outputs(graph).all(|slot| takers[slot] == 1)
            && step.operands.iter().any(reads_old)
    };
    (plan.commit, plan.compute) = std::mem::take(&mut plan.compute).into_iter().partition(waits);
}

/// Which slots share memory, or may.
struct Aliases {
    /// One slot that stands for all that share the memory of a slot.
    root: Vec<usize>,
    /// By root: whether a step made the memory, and nothing outside the run sees it.
    owned: Vec<bool>,
    /// By slot: whether several of its elements may lie in one place, as after a broadcast.
    repeated: Vec<bool>,
}

#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
impl Aliases {
    fn new<B: Backend>(plan: &Plan<B>) -> Self {
        let mut aliases = Self {
            root: (0..plan.slots).collect(),
            owned: vec![false; plan.slots],
            repeated: vec![false; plan.slots],
        };
        for step in plan.compute.iter().chain(&plan.commit) {
            let op = &plan.graph.nodes()[step.node].op;
            let outputs = step.outputs(&plan.graph);
            outputs.clone().for_each(|slot| aliases.owned[slot] = true);
            let sources = || step.operands.iter().filter_map(|operand| operand.slot());
            match &step.action {
                Action::Run | Action::Reference if op.is_view() => {
                    sources().take(1).for_each(|source| aliases.view(step.first, source));
                    aliases.repeated[step.first] |= matches!(op, Op::Broadcast(_));
                }
                // A conversion, a padding or a joining that changes nothing may hand its operand through.
                Action::Run if matches!(op, Op::Cast(_) | Op::Pad(_) | Op::Concat(_)) => {
                    if let [Operand::Slot(source)] = step.operands[..] {
                        aliases.view(step.first, source);
                    }
                }
                Action::Prepack(_) => sources().for_each(|source| aliases.view(step.first, source)),
                // A body may hand through what it was given.
                Action::Loop(body) => {
                    let Op::Scan(scan) = op else { continue };
                    let owned =
                        |slot: usize| owned_by_loop(body, scan.carries, scan.steps, slot - step.first);
                    for slot in outputs.filter(|&slot| !owned(slot)) {
                        sources().for_each(|source| aliases.view(slot, source));
                        aliases.repeated[slot] = true;
                    }
                }
                _ => {}
            }
        }
        for slot in 0..plan.slots {
            aliases.root[slot] = aliases.find(slot);
        }
        aliases
    }

    fn find(&mut self, slot: usize) -> usize {
        let mut root = slot;
        while self.root[root] != root {
            root = self.root[root];
        }
        // What was passed on the way points to the end from now on.
        let mut at = slot;
        while self.root[at] != root {
            at = std::mem::replace(&mut self.root[at], root);
        }
        root
    }

    /// `slot` shows the memory of `source`, and may show it as it does.
    fn view(&mut self, slot: usize, source: usize) {
        self.join(slot, source);
        self.repeated[slot] |= self.repeated[source];
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        if a != b {
            self.owned[b] &= self.owned[a];
            self.root[a] = b;
        }
    }

    /// The memory of a slot, if a step made it.
    fn owner(&self, slot: usize) -> Option<usize> {
        let root = self.root[slot];
        self.owned[root].then_some(root)
    }
}

/// Whether a result of a loop has memory of its own. What it collects over several steps has been joined; a final
/// carry has what the body made for it, unless the body made it for another result too.
fn owned_by_loop<B: Backend>(body: &Plan<B>, carries: usize, steps: usize, output: usize) -> bool {
    if output >= carries {
        return steps > 1;
    }
    let Some(class) = body.classes.get(output).copied().flatten() else { return false };
    let seen = if steps > 1 { carries } else { body.classes.len() };
    body.classes.iter().take(seen).filter(|other| **other == Some(class)).count() == 1
}

/// When slots and memories are used for the last time. Steps are numbered, compute before commit; then come the
/// fetches, then the new values of variables and what is kept.
struct Uses {
    /// By slot.
    last: Vec<Option<usize>>,
    /// By root.
    end: Vec<usize>,
    /// After all steps.
    fetch: usize,
}

#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
impl Uses {
    fn new<B: Backend>(plan: &Plan<B>, aliases: &Aliases) -> Self {
        let fetch = plan.compute.len() + plan.commit.len();
        let mut uses = Self { last: vec![None; plan.slots], end: vec![0; plan.slots], fetch };
        for (at, step) in plan.compute.iter().chain(&plan.commit).enumerate() {
            for slot in step.operands.iter().filter_map(|operand| operand.slot()) {
                uses.mark(aliases, slot, at);
            }
        }
        for slot in plan.outputs.iter().filter_map(|(operand, _)| operand.slot()) {
            uses.mark(aliases, slot, fetch);
        }
        for slot in plan.updates.iter().filter_map(|update| update.value.slot()) {
            uses.mark(aliases, slot, fetch + 1);
        }
        uses
    }

    fn mark(&mut self, aliases: &Aliases, slot: usize, at: usize) {
        self.last[slot] = self.last[slot].max(Some(at));
        let end = &mut self.end[aliases.root[slot]];
        *end = (*end).max(at);
    }
}

/// Keeps the values of fixed steps that other steps or fetches read, if together they are at most twice the
/// variables and literals.
#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
fn keep<B: Backend>(plan: &mut Plan<B>, aliases: &Aliases, uses: &mut Uses, fixed: &[bool]) {
    let mut read = vec![false; plan.slots];
    for step in plan.compute.iter().filter(|step| !step.fixed) {
        step.operands.iter().filter_map(|operand| operand.slot()).for_each(|slot| read[slot] = true);
    }
    plan.outputs.iter().filter_map(|(operand, _)| operand.slot()).for_each(|slot| read[slot] = true);
    let mut kept = Vec::new();
    let (mut bytes, mut sources) = (0, 0);
    for step in plan.compute.iter().filter(|step| step.fixed) {
        let outputs = step.outputs(&plan.graph).zip(step.types(&plan.graph));
        for (slot, ty) in outputs.filter(|(slot, _)| read[*slot]) {
            bytes += ty.bytes();
            kept.push(slot);
        }
    }
    for (node, fixed) in plan.graph.nodes().iter().zip(fixed) {
        if *fixed && matches!(node.op, Op::Variable(_) | Op::Constant(_)) {
            sources += node.outputs.iter().map(Type::bytes).sum::<usize>();
        }
    }
    if kept.is_empty() || bytes > 2 * sources {
        plan.compute.iter_mut().for_each(|step| step.fixed = false);
        return;
    }
    for &slot in &kept {
        uses.mark(aliases, slot, uses.fetch + 1);
    }
    plan.kept = kept;
}

/// New values that lie in memory which something else sees are copied.
#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
fn settle_updates<B: Backend>(plan: &mut Plan<B>, aliases: &Aliases) {
    let mut takers = vec![0_usize; plan.slots];
    for slot in plan.updates.iter().filter_map(|update| update.value.slot()) {
        takers[aliases.root[slot]] += 1;
    }
    for update in &mut plan.updates {
        update.copied = match update.value.slot() {
            None => false,
            Some(slot) => aliases.repeated[slot] || aliases.owner(slot).is_none_or(|root| takers[root] > 1),
        };
    }
}

#[allow(clippy::indexing_slicing, reason = "slots are numbered from 0 without gaps")]
fn settle_operands<B: Backend>(plan: &mut Plan<B>, aliases: &Aliases, uses: &Uses) {
    let compute = plan.compute.len();
    // The last step that was seen to read a slot, and how many of its operands lie in a memory.
    let mut seen: Vec<Option<usize>> = vec![None; plan.slots];
    let mut sharing: Vec<(usize, usize)> = vec![(usize::MAX, 0); plan.slots];
    for (at, step) in plan.compute.iter_mut().chain(&mut plan.commit).enumerate() {
        for slot in step.operands.iter().filter_map(|operand| operand.slot()) {
            let entry = &mut sharing[aliases.root[slot]];
            *entry = if entry.0 == at { (at, entry.1 + 1) } else { (at, 1) };
        }
        let count = step.operands.len();
        (step.last, step.writable) = (vec![true; count], vec![true; count]);
        for i in (0..count).rev() {
            let Operand::Slot(slot) = step.operands[i] else { continue };
            let root = aliases.root[slot];
            let last = uses.last[slot] == Some(at) && seen[slot] != Some(at);
            seen[slot] = Some(at);
            let alone = uses.end[root] == at && sharing[root].1 == 1;
            // In the commit, a variable that is replaced may be written when nobody else reads its old value.
            let replaced = at >= compute && plan.replaced[slot].is_some();
            step.last[i] = last;
            step.writable[i] = last && alone && !aliases.repeated[slot] && (aliases.owned[root] || replaced);
        }
        step.wanted = step.outputs(&plan.graph).map(|slot| uses.last[slot].is_some()).collect();
    }
}
