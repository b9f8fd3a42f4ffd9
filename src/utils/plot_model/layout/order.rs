//! The order of vertices within rows, with few crossings: barycentres (Sugiyama, Tagawa, Toda 1981) and exchanges of
//! neighbours (Gansner, Koutsofios, North, Vo 1993).

use super::rows::Rows;

/// How many edges are looked at in all, about: it bounds the time for large graphs.
const WORK: usize = 6_000_000;

/// Orders the vertices of every row. The first row stays as it is if `fixed`.
pub(super) fn order(rows: &mut Rows, fixed: bool) {
    start(rows, fixed);
    let edges: usize = rows.down.iter().map(Vec::len).sum::<usize>() + rows.up.len();
    let rounds = (WORK / (edges * 8).max(1)).clamp(2, 24);
    let mut best = (crossings(rows), rows.order.clone());
    let mut since = 0;
    for round in 0..rounds {
        if best.0 == 0 || since == 6 {
            break;
        }
        sweep(rows, round % 2 == 0, round % 4 < 2, fixed);
        exchange(rows, fixed);
        let found = crossings(rows);
        since += 1;
        if found < best.0 {
            best = (found, rows.order.clone());
            since = 0;
        }
    }
    rows.order = best.1;
    rows.number();
}

/// As a depth-first walk downwards meets them.
fn start(rows: &mut Rows, fixed: bool) {
    let mut found: Vec<Vec<usize>> = vec![Vec::new(); rows.order.len()];
    let mut seen = vec![false; rows.up.len()];
    for root in rows.order.iter().flatten() {
        let mut stack = vec![*root];
        while let Some(v) = stack.pop() {
            if !std::mem::replace(&mut seen[v], true) {
                found[rows.row[v]].push(v);
                stack.extend(rows.down[v].iter().rev());
            }
        }
    }
    let first = usize::from(fixed);
    rows.order.iter_mut().zip(found).skip(first).for_each(|(row, found)| *row = found);
    rows.number();
}

/// Sorts row after row by the mean position of the neighbours in the row before; vertices without any keep their place.
fn sweep(rows: &mut Rows, downwards: bool, later_first: bool, fixed: bool) {
    let count = rows.order.len();
    for step in 1..count {
        let r = if downwards { step } else { count - 1 - step };
        if fixed && r == 0 {
            continue;
        }
        let neighbours = if downwards { &rows.up } else { &rows.down };
        let mean = |v: usize| {
            let at = &neighbours[v];
            at.iter().map(|&u| rows.at[u]).sum::<usize>() as f64 / at.len() as f64
        };
        let row = &rows.order[r];
        let slots: Vec<usize> = (0..row.len()).filter(|&i| !neighbours[row[i]].is_empty()).collect();
        let mut moving: Vec<(f64, usize)> = slots.iter().map(|&i| (mean(row[i]), row[i])).collect();
        if later_first {
            moving.reverse();
        }
        moving.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (slot, (_, v)) in slots.into_iter().zip(moving) {
            rows.order[r][slot] = v;
        }
        rows.number_row(r);
    }
}

/// Exchanges neighbours in a row as long as that saves crossings.
fn exchange(rows: &mut Rows, fixed: bool) {
    let sorted = |neighbours: &[usize], at: &[usize]| {
        let mut positions: Vec<usize> = neighbours.iter().map(|&u| at[u]).collect();
        positions.sort_unstable();
        positions
    };
    for _ in 0..4 {
        let mut better = false;
        for r in usize::from(fixed)..rows.order.len() {
            for i in 1..rows.order[r].len() {
                let (v, w) = (rows.order[r][i - 1], rows.order[r][i]);
                let mut saved = 0_isize;
                for neighbours in [&rows.up, &rows.down] {
                    let (of_v, of_w) = (sorted(&neighbours[v], &rows.at), sorted(&neighbours[w], &rows.at));
                    saved += inversions(&of_v, &of_w) as isize - inversions(&of_w, &of_v) as isize;
                }
                if saved > 0 {
                    rows.order[r].swap(i - 1, i);
                    (rows.at[v], rows.at[w]) = (i, i - 1);
                    better = true;
                }
            }
        }
        if !better {
            break;
        }
    }
}

/// How many pairs of two sorted lists stand the wrong way round: the first list's above the second's.
fn inversions(left: &[usize], right: &[usize]) -> usize {
    let mut below = 0;
    let mut count = 0;
    for position in left {
        while right.get(below).is_some_and(|other| other < position) {
            below += 1;
        }
        count += below;
    }
    count
}

/// The crossings between all rows (Barth, Mutzel, Jünger 2002: inversions counted by a tree of sums).
fn crossings(rows: &Rows) -> usize {
    let mut total = 0;
    for (r, row) in rows.order.iter().enumerate().skip(1) {
        let width = rows.order[r - 1].len();
        let mut sums = vec![0_usize; width + 1];
        let mut added = 0;
        for &v in row {
            let mut positions: Vec<usize> = rows.up[v].iter().map(|&u| rows.at[u]).collect();
            positions.sort_unstable();
            for &position in &positions {
                let (mut i, mut not_right) = (position + 1, 0);
                while i > 0 {
                    not_right += sums[i];
                    i &= i - 1;
                }
                total += added - not_right;
            }
            for position in positions {
                let mut i = position + 1;
                while i <= width {
                    sums[i] += 1;
                    i += i & i.wrapping_neg();
                }
                added += 1;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(edges: &[(usize, usize)], rows: Vec<Vec<usize>>) -> Rows {
        let count = rows.iter().map(Vec::len).sum();
        let mut row = vec![0; count];
        for (r, vertices) in rows.iter().enumerate() {
            vertices.iter().for_each(|&v| row[v] = r);
        }
        let (mut up, mut down) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for &(from, to) in edges {
            down[from].push(to);
            up[to].push(from);
        }
        let mut rows = Rows { order: rows, row, up, down, at: vec![0; count] };
        rows.number();
        rows
    }

    #[test]
    fn crossings_are_those_of_every_pair_of_edges() {
        let edges = [(0, 5), (0, 3), (1, 4), (1, 3), (2, 3), (2, 5), (2, 4)];
        let rows = rows(&edges, vec![vec![2, 0, 1], vec![4, 3, 5]]);
        let crossing = |a: (usize, usize), b: (usize, usize)| {
            let at = |v| rows.at[v] as isize;
            (at(a.0) - at(b.0)) * (at(a.1) - at(b.1)) < 0
        };
        let pairs = (0..edges.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let expected = pairs.filter(|&(i, j)| crossing(edges[i], edges[j])).count();
        assert_eq!(crossings(&rows), expected);
        assert!(expected > 0);
    }

    #[test]
    fn what_can_be_drawn_without_crossings_is() {
        let edges = [(0, 5), (1, 4), (2, 3), (0, 4)];
        let mut rows = rows(&edges, vec![vec![0, 1, 2], vec![3, 4, 5]]);
        order(&mut rows, false);
        assert_eq!(crossings(&rows), 0);
    }
}
