//! One level: its vertices in rows, and the bends of its long edges.

use super::{TooLarge, order, position, rank};

/// How far a vertex reaches from where edges enter it.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Size {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) height: f64,
    /// How far to the right of that edges leave it.
    pub(super) exit: f64,
}

/// Where a level's vertices stand.
pub(super) struct Placed {
    pub(super) width: f64,
    pub(super) height: f64,
    /// Where edges enter each vertex.
    pub(super) x: Vec<f64>,
    /// The middle of each vertex.
    pub(super) y: Vec<f64>,
    /// The row of each vertex.
    pub(super) rank: Vec<usize>,
    /// From where to where each row reaches.
    pub(super) bands: Vec<(f64, f64)>,
    /// For each edge, whether it leads upwards.
    pub(super) reversed: Vec<bool>,
    /// For each edge, where it passes rows between its ends, and which, downwards.
    pub(super) bends: Vec<Vec<(f64, usize)>>,
}

/// A vertex of a row: a box, or a bend of long edges.
#[derive(Debug)]
pub(super) struct Vertex {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) is_bend: bool,
}

impl Vertex {
    /// How far to the right of it another one stands at least.
    pub(super) fn apart(&self, right: &Self) -> f64 {
        let gap = if self.is_bend || right.is_bend { BESIDE_BEND } else { BESIDE };
        self.right + right.left + gap
    }
}

/// Rows of vertices, and edges between neighbouring rows.
pub(super) struct Rows {
    /// The vertices of each row, from left to right.
    pub(super) order: Vec<Vec<usize>>,
    /// The row of each vertex.
    pub(super) row: Vec<usize>,
    pub(super) up: Vec<Vec<usize>>,
    pub(super) down: Vec<Vec<usize>>,
    /// The place of each vertex in its row.
    pub(super) at: Vec<usize>,
}

impl Rows {
    /// Reads the places from the rows.
    pub(super) fn number(&mut self) {
        (0..self.order.len()).for_each(|row| self.number_row(row));
    }

    pub(super) fn number_row(&mut self, row: usize) {
        for (i, &v) in self.order[row].iter().enumerate() {
            self.at[v] = i;
        }
    }

    fn connect(&mut self, upper: usize, lower: usize) {
        self.down[upper].push(lower);
        self.up[lower].push(upper);
    }

    fn bend(&mut self, row: usize) -> usize {
        let bend = self.row.len();
        self.row.push(row);
        self.order[row].push(bend);
        self.up.push(Vec::new());
        self.down.push(Vec::new());
        self.at.push(0);
        bend
    }
}

/// Between boxes of a row.
const BESIDE: f64 = 26.0;
/// Between an edge and a box or another edge.
const BESIDE_BEND: f64 = 14.0;
/// Between rows, at least and at most: the more, the farther edges lead aside.
const BETWEEN: (f64, f64) = (30.0, 84.0);
/// How many bends are still drawn.
const MOST_BENDS: usize = 400_000;

/// Places vertices; `top` stand alone in the first row in that order, `bottom` in the last.
pub(super) fn place(
    sizes: &[Size],
    edges: &[(usize, usize)],
    top: &[usize],
    bottom: &[usize],
) -> Result<Placed, TooLarge> {
    let count = sizes.len();
    let rank::Ranking { rank, reversed } = rank::ranking(count, edges, top, bottom);
    let height = rank.iter().map(|&row| row + 1).max().unwrap_or(0);
    let mut rows = Rows {
        order: vec![Vec::new(); height],
        row: rank.clone(),
        up: vec![Vec::new(); count],
        down: vec![Vec::new(); count],
        at: vec![0; count],
    };
    top.iter()
        .chain((0..count).filter(|v| !top.contains(v)).collect::<Vec<_>>().iter())
        .for_each(|&v| rows.order[rank[v]].push(v));
    // The bends of each vertex's long edges, downwards.
    let mut trunks: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut bends: Vec<Vec<usize>> = Vec::with_capacity(edges.len());
    let mut drawn = 0;
    for (&(from, to), &reversed) in edges.iter().zip(&reversed) {
        if from == to {
            bends.push(Vec::new());
            continue;
        }
        let (upper, lower) = if reversed { (to, from) } else { (from, to) };
        let between = rank[lower] - rank[upper] - 1;
        let mut own = Vec::new();
        let trunk = if reversed { &mut own } else { &mut trunks[upper] };
        while trunk.len() < between {
            let bend = rows.bend(rank[upper] + 1 + trunk.len());
            rows.connect(trunk.last().copied().unwrap_or(upper), bend);
            trunk.push(bend);
        }
        let passed = trunk[..between].to_vec();
        let last = passed.last().copied().unwrap_or(upper);
        if !rows.down[last].contains(&lower) {
            rows.connect(last, lower);
        }
        drawn += between;
        if rows.row.len() - count > MOST_BENDS || drawn > 10 * MOST_BENDS {
            return Err(TooLarge);
        }
        bends.push(passed);
    }
    order::order(&mut rows, !top.is_empty());

    let mut vertices: Vec<Vertex> =
        sizes.iter().map(|size| Vertex { left: size.left, right: size.right, is_bend: false }).collect();
    vertices.resize_with(rows.row.len(), || Vertex { left: 0.0, right: 0.0, is_bend: true });
    let mut x = position::positions(&rows, &vertices);
    let sides = x.iter().zip(&vertices);
    let left = sides.clone().map(|(x, vertex)| x - vertex.left).fold(f64::INFINITY, f64::min);
    let right = sides.map(|(x, vertex)| x + vertex.right).fold(f64::NEG_INFINITY, f64::max);
    x.iter_mut().for_each(|x| *x -= left);

    let mut bands: Vec<(f64, f64)> = Vec::with_capacity(height);
    let mut y = 0.0;
    for row in &rows.order {
        let tallest = row.iter().filter_map(|&v| sizes.get(v)).map(|size| size.height).fold(0.0, f64::max);
        bands.push((y, y + tallest));
        let aside = |v: usize| {
            let out = x[v] + sizes.get(v).map_or(0.0, |size| size.exit);
            rows.down[v].iter().map(move |&w| (w, out))
        };
        let widest =
            row.iter().flat_map(|&v| aside(v)).map(|(w, out)| (x[w] - out).abs()).fold(0.0, f64::max);
        y += tallest + (BETWEEN.0 + widest / 9.0).min(BETWEEN.1);
    }
    let middle = |v: usize| bands.get(rank[v]).map_or(0.0, |band| f64::midpoint(band.0, band.1));
    let bends =
        bends.iter().map(|bends| bends.iter().map(|&bend| (x[bend], rows.row[bend])).collect()).collect();
    let width = if right > left { right - left } else { 0.0 };
    let y = (0..count).map(middle).collect();
    let height = bands.last().map_or(0.0, |band| band.1);
    x.truncate(count);
    Ok(Placed { width, height, x, y, rank, bands, reversed, bends })
}
