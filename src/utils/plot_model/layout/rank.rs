//! Ranks: which row every vertex stands in.

/// Rows, and which edges point upwards.
pub(super) struct Ranking {
    /// The row of each vertex, from 0, none of them empty.
    pub(super) rank: Vec<usize>,
    /// For each edge, whether it closes a cycle and so runs against the rows.
    pub(super) reversed: Vec<bool>,
}

/// Rows in which every edge that closes no cycle leads downwards, short edges preferred. `top` stand alone in the first row,
/// `bottom` in the last. Edges from a vertex to itself are ignored.
pub(super) fn ranking(count: usize, edges: &[(usize, usize)], top: &[usize], bottom: &[usize]) -> Ranking {
    let reversed = back_edges(count, edges);
    let (mut up, mut down) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for (&(from, to), &reversed) in edges.iter().zip(&reversed) {
        let (upper, lower) = if reversed { (to, from) } else { (from, to) };
        if upper != lower {
            up[lower].push(upper);
            down[upper].push(lower);
        }
    }
    let order = topological(&up, &down);
    let mut pinned = vec![false; count];
    top.iter().chain(bottom).for_each(|&v| pinned[v] = true);
    let floor = usize::from(!top.is_empty());
    let mut rank = vec![0; count];
    for &v in &order {
        let above = up[v].iter().map(|&u| rank[u] + 1).max().unwrap_or(0);
        rank[v] = if top.contains(&v) { 0 } else { above.max(floor) };
    }
    // A vertex with as many edges below as above goes as far down as it can, one with more above as far up.
    for _ in 0..2 {
        for &v in order.iter().rev().filter(|&&v| !pinned[v]) {
            let below = down[v].iter().filter(|&&w| !bottom.contains(&w)).map(|&w| rank[w]).min();
            if let Some(below) = below.filter(|_| up[v].len() <= down[v].len()) {
                rank[v] = rank[v].max(below.saturating_sub(1));
            }
        }
        for &v in order.iter().filter(|&&v| !pinned[v]) {
            if up[v].len() > down[v].len() {
                rank[v] = up[v].iter().map(|&u| rank[u] + 1).max().unwrap_or(0).max(floor);
            }
        }
    }
    let last = (0..count).filter(|v| !bottom.contains(v)).map(|v| rank[v] + 1).max().unwrap_or(0);
    bottom.iter().for_each(|&v| rank[v] = last);
    let mut used: Vec<usize> = rank.clone();
    used.sort_unstable();
    used.dedup();
    for rank in &mut rank {
        *rank = used.partition_point(|row| row < rank);
    }
    Ranking { rank, reversed }
}

/// The edges that lead back to a vertex on the way to their own, in a depth-first walk.
fn back_edges(count: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut out = vec![Vec::new(); count];
    for (i, &(from, _)) in edges.iter().enumerate() {
        out[from].push(i);
    }
    let mut reversed = vec![false; edges.len()];
    let (mut entered, mut left) = (vec![false; count], vec![false; count]);
    for root in 0..count {
        let mut stack = vec![(root, 0)];
        while let Some((v, next)) = stack.pop() {
            if next == 0 && std::mem::replace(&mut entered[v], true) {
                continue;
            }
            let Some(&edge) = out[v].get(next) else {
                left[v] = true;
                continue;
            };
            stack.push((v, next + 1));
            let to = edges[edge].1;
            if !entered[to] {
                stack.push((to, 0));
            } else if !left[to] {
                reversed[edge] = true;
            }
        }
    }
    reversed
}

/// Every vertex after those above it.
fn topological(up: &[Vec<usize>], down: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = up.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..up.len()).filter(|&v| missing[v] == 0).collect();
    let mut next = 0;
    while let Some(&v) = order.get(next) {
        next += 1;
        for &w in &down[v] {
            missing[w] -= 1;
            if missing[w] == 0 {
                order.push(w);
            }
        }
    }
    order
}
