//! Where the vertices of a row stand: Brandes and Köpf, "Fast and Simple Horizontal Coordinate Assignment" (2001).
//!
//! Four times, going down or up and from the left or the right, each vertex joins the block of its median neighbour; blocks
//! are straight columns, placed as tightly as the rows allow. The place of a vertex is the mean of the middle two of its four.

use super::rows::{Rows, Vertex};
use std::collections::HashSet;

/// The place of every vertex along its row.
pub(super) fn positions(rows: &Rows, vertices: &[Vertex]) -> Vec<f64> {
    let conflicts = conflicts(rows, vertices);
    let mut found: Vec<Vec<f64>> = Vec::with_capacity(4);
    for upwards in [false, true] {
        for mirrored in [false, true] {
            let mut turned: Vec<Vec<usize>> = rows.order.clone();
            if upwards {
                turned.reverse();
            }
            if mirrored {
                turned.iter_mut().for_each(|row| row.reverse());
            }
            let neighbours = if upwards { &rows.down } else { &rows.up };
            let root = align(&turned, neighbours, &conflicts, vertices.len());
            let mut x = compact(&turned, &root, vertices, mirrored);
            if mirrored {
                x.iter_mut().for_each(|x| *x = -*x);
            }
            found.push(x);
        }
    }
    balance(&mut found, vertices)
}

/// Edges that no column may follow, because a long edge has to stay straight there.
fn conflicts(rows: &Rows, vertices: &[Vertex]) -> HashSet<(usize, usize)> {
    let bend = |v: usize| vertices[v].is_bend;
    let mut conflicts = HashSet::new();
    for pair in rows.order.windows(2) {
        let [above, row] = pair else { continue };
        let inner = |v: usize| rows.up[v].iter().copied().find(|&u| bend(v) && bend(u));
        let (mut left, mut scanned) = (0, 0);
        for (i, &v) in row.iter().enumerate() {
            let inner = inner(v);
            if inner.is_none() && i + 1 < row.len() {
                continue;
            }
            let right = inner.map_or(above.len(), |u| rows.at[u]);
            for &w in &row[scanned..=i] {
                for &u in &rows.up[w] {
                    let crosses = rows.at[u] < left || right < rows.at[u];
                    if crosses && !(bend(u) && bend(w)) {
                        conflicts.insert((u, w));
                    }
                }
            }
            (left, scanned) = (right, i + 1);
        }
        // Where an edge branches off a long one, the long one goes on straight.
        for &u in above.iter().filter(|&&u| bend(u) && rows.down[u].iter().any(|&w| bend(w))) {
            conflicts.extend(rows.down[u].iter().filter(|&&w| !bend(w)).map(|&w| (u, w)));
        }
    }
    conflicts
}

/// The topmost vertex of each vertex's column.
fn align(
    rows: &[Vec<usize>],
    neighbours: &[Vec<usize>],
    conflicts: &HashSet<(usize, usize)>,
    count: usize,
) -> Vec<usize> {
    let mut root: Vec<usize> = (0..count).collect();
    let mut taken = vec![false; count];
    let mut at = vec![0; count];
    for row in rows {
        row.iter().enumerate().for_each(|(i, &v)| at[v] = i);
    }
    for row in rows {
        let mut free = 0;
        for &v in row {
            let mut near = neighbours[v].clone();
            near.sort_unstable_by_key(|&u| at[u]);
            let (low, high) = (near.len().saturating_sub(1) / 2, near.len() / 2);
            for &u in near.get(low..=high).unwrap_or_default() {
                let conflict = conflicts.contains(&(u, v)) || conflicts.contains(&(v, u));
                if !conflict && at[u] >= free && !taken[u] {
                    root[v] = root[u];
                    taken[u] = true;
                    free = at[u] + 1;
                    break;
                }
            }
        }
    }
    root
}

/// Columns as far to the left as rows allow, then as near to their right neighbours as that leaves.
fn compact(rows: &[Vec<usize>], root: &[usize], vertices: &[Vertex], mirrored: bool) -> Vec<f64> {
    let count = vertices.len();
    let (mut after, mut before) = (vec![Vec::new(); count], vec![Vec::new(); count]);
    for row in rows {
        for pair in row.windows(2) {
            let [u, v] = *pair else { continue };
            let apart =
                if mirrored { vertices[v].apart(&vertices[u]) } else { vertices[u].apart(&vertices[v]) };
            after[root[u]].push((root[v], apart));
            before[root[v]].push((root[u], apart));
        }
    }
    let mut missing: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..count).filter(|&v| root[v] == v && missing[v] == 0).collect();
    let mut x = vec![0.0_f64; count];
    let mut next = 0;
    while let Some(&u) = order.get(next) {
        next += 1;
        for &(v, apart) in &after[u] {
            x[v] = x[v].max(x[u] + apart);
            missing[v] -= 1;
            if missing[v] == 0 {
                order.push(v);
            }
        }
    }
    for &u in order.iter().rev() {
        let room = after[u].iter().map(|&(v, apart)| x[v] - apart).min_by(f64::total_cmp);
        x[u] = room.map_or(x[u], |room| x[u].max(room));
    }
    (0..count).map(|v| x[root[v]]).collect()
}

/// Moves all four to the narrowest, each by its own side, and takes the mean of the middle two.
fn balance(found: &mut [Vec<f64>], vertices: &[Vertex]) -> Vec<f64> {
    let ends = |x: &[f64]| {
        x.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &x| (low.min(x), high.max(x)))
    };
    let width = |x: &[f64]| {
        let sides = x.iter().zip(vertices).map(|(x, vertex)| (x - vertex.left, x + vertex.right));
        let (low, high) = sides.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (l, r)| {
            (f64::min(low, l), f64::max(high, r))
        });
        high - low
    };
    let narrowest = found.iter().min_by(|a, b| width(a).total_cmp(&width(b)));
    let Some(target) = narrowest.map(|x| ends(x)) else { return Vec::new() };
    for (i, x) in found.iter_mut().enumerate() {
        let own = ends(x);
        let shift = if i % 2 == 0 { target.0 - own.0 } else { target.1 - own.1 };
        x.iter_mut().for_each(|x| *x += shift);
    }
    let middle = |v: usize| {
        let mut four: Vec<f64> = found.iter().map(|x| x[v]).collect();
        four.sort_by(f64::total_cmp);
        f64::midpoint(four[1], four[2])
    };
    (0..vertices.len()).map(middle).collect()
}
