//! Layered drawings of directed graphs with nested clusters, after Sugiyama, Tagawa and Toda (1981).
//!
//! Modules in the order of the steps: `rank` (rows), `order` (few crossings), `position` (straight columns); `rows` puts them
//! together for one level. A cluster is placed by itself and is then one box of the level around it; an edge across its
//! border goes through one point of it.
//!
//! Edges between rows that are no neighbours have a bend in every row between, which takes part like a box without a width;
//! so they never lead through a box. All long edges of a box share one trunk.

mod order;
mod position;
mod rank;
mod rows;

use rows::Size;
use std::collections::{HashMap, HashSet};

/// A graph to place.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) clusters: Vec<Cluster>,
    /// From node to node.
    pub(super) edges: Vec<(usize, usize)>,
    /// Rows are columns: edges lead to the right.
    pub(super) left_to_right: bool,
}

/// A box.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) width: f64,
    pub(super) height: f64,
    /// The cluster that it stands in.
    pub(super) cluster: Option<usize>,
}

/// A box around boxes, after those around it in the list.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The size of its label, which stands in its upper left corner.
    pub(super) label: (f64, f64),
    /// The cluster that it stands in.
    pub(super) cluster: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
}

/// Its left upper corner and its size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A line of straight pieces and cubic curves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    pub(super) start: Point,
    pub(super) pieces: Vec<Piece>,
    /// The tip of the arrow that it ends with, in the direction of a unit vector; the line ends where that begins.
    pub(super) arrow: Option<(Point, Point)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Piece {
    Line(Point),
    Curve(Point, Point, Point),
}

/// Where everything stands, from (0, 0) on.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) nodes: Vec<Area>,
    pub(super) clusters: Vec<Area>,
    pub(super) paths: Vec<Path>,
}

/// The graph takes more bends of edges than anybody could look at.
#[derive(Debug)]
pub(super) struct TooLarge;

/// The length of an arrow.
pub(super) const ARROW: f64 = 8.0;
/// What an edge from a box to itself takes beside it.
const LOOP: f64 = 26.0;
/// Between the border of a cluster and what stands in it.
const PADDING: f64 = 10.0;

/// Places a graph, in time that grows with its size about linearly.
///
/// # Errors
/// If edges are so many and so long that there is no end to drawing them.
pub(super) fn place(graph: &Graph) -> Result<Placed, TooLarge> {
    let levels = levels(graph);
    let mut placed = Placed {
        nodes: vec![Area { x: 0.0, y: 0.0, width: 0.0, height: 0.0 }; graph.nodes.len()],
        clusters: vec![Area { x: 0.0, y: 0.0, width: 0.0, height: 0.0 }; graph.clusters.len()],
        ..Placed::default()
    };
    // Clusters inside come first: the list has them behind those around them.
    let mut blocks: Vec<Option<Block>> = Vec::new();
    blocks.resize_with(levels.len(), || None);
    for level in (0..levels.len()).rev() {
        blocks[level] = Some(block(graph, &levels[level], level, &blocks)?);
    }
    let mut corners = vec![Point { x: 0.0, y: 0.0 }; levels.len()];
    for (level, block) in blocks.into_iter().enumerate() {
        let Some(block) = block else { continue };
        let corner = corners[level];
        for (item, area) in block.items {
            let area = Area { x: area.x + corner.x, y: area.y + corner.y, ..area };
            match item {
                Item::Node(node) => placed.nodes[node] = area,
                Item::Cluster(cluster) => {
                    placed.clusters[cluster] = area;
                    corners[cluster + 1] = Point { x: area.x, y: area.y };
                }
            }
        }
        let shift = |point: Point| Point { x: point.x + corner.x, y: point.y + corner.y };
        placed.paths.extend(block.paths.iter().map(|path| path.map(shift, |direction| direction)));
        if level == 0 {
            (placed.width, placed.height) = (block.width, block.height);
        }
    }
    if graph.left_to_right {
        let turn = |point: Point| Point { x: point.y, y: point.x };
        for area in placed.nodes.iter_mut().chain(&mut placed.clusters) {
            *area = Area { x: area.y, y: area.x, width: area.height, height: area.width };
        }
        placed.paths.iter_mut().for_each(|path| *path = path.map(turn, turn));
        (placed.width, placed.height) = (placed.height, placed.width);
    }
    Ok(placed)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    Node(usize),
    Cluster(usize),
}

/// An end of an edge in a level: one of its items, or a point of the border around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Item(Item),
    Entry,
    Exit,
}

/// What stands directly in a cluster, or in none (level 0; cluster i is level i + 1).
#[derive(Debug, Default)]
struct Level {
    items: Vec<Item>,
    /// Each pair of ends once.
    edges: Vec<(End, End)>,
}

fn levels(graph: &Graph) -> Vec<Level> {
    let level_of = |cluster: Option<usize>| cluster.map_or(0, |cluster| cluster + 1);
    let mut levels: Vec<Level> = Vec::new();
    levels.resize_with(graph.clusters.len() + 1, Level::default);
    for (i, node) in graph.nodes.iter().enumerate() {
        levels[level_of(node.cluster)].items.push(Item::Node(i));
    }
    for (i, cluster) in graph.clusters.iter().enumerate() {
        levels[level_of(cluster.cluster)].items.push(Item::Cluster(i));
    }
    let mut known = HashSet::new();
    let mut add = |level: usize, from: End, to: End| {
        if known.insert((level, from, to)) {
            levels[level].edges.push((from, to));
        }
    };
    for &(from, to) in &graph.edges {
        // The clusters around each end, from the inside.
        let around = |node: usize| {
            let mut around: Vec<usize> = Vec::new();
            let mut next = graph.nodes[node].cluster;
            while let Some(cluster) = next {
                around.push(cluster);
                next = graph.clusters[cluster].cluster;
            }
            around
        };
        let (from_in, to_in) = (around(from), around(to));
        let common = from_in.iter().rev().zip(to_in.iter().rev()).take_while(|(a, b)| a == b).count();
        let mut upper = End::Item(Item::Node(from));
        for &cluster in &from_in[..from_in.len() - common] {
            add(cluster + 1, upper, End::Exit);
            upper = End::Item(Item::Cluster(cluster));
        }
        let mut lower = End::Item(Item::Node(to));
        for &cluster in &to_in[..to_in.len() - common] {
            add(cluster + 1, End::Entry, lower);
            lower = End::Item(Item::Cluster(cluster));
        }
        let level = level_of(from_in.get(from_in.len() - common).copied());
        add(level, upper, lower);
    }
    levels
}

/// A level, placed.
struct Block {
    width: f64,
    height: f64,
    /// Where edges across its border go through it.
    entry: f64,
    exit: f64,
    items: Vec<(Item, Area)>,
    paths: Vec<Path>,
}

fn block(graph: &Graph, level: &Level, number: usize, blocks: &[Option<Block>]) -> Result<Block, TooLarge> {
    let turned =
        |(width, height): (f64, f64)| if graph.left_to_right { (height, width) } else { (width, height) };
    let loops: HashSet<End> =
        level.edges.iter().filter(|(from, to)| from == to).map(|(from, _)| *from).collect();
    let mut index: HashMap<End, usize> = HashMap::new();
    let mut sizes: Vec<Size> = Vec::new();
    for &item in &level.items {
        index.insert(End::Item(item), sizes.len());
        sizes.push(match item {
            Item::Node(node) => {
                let node = &graph.nodes[node];
                let (width, height) = turned((node.width, node.height));
                let beside = if loops.contains(&End::Item(item)) { LOOP } else { 0.0 };
                Size { left: width / 2.0, right: width / 2.0 + beside, height, exit: 0.0 }
            }
            Item::Cluster(cluster) => match &blocks[cluster + 1] {
                Some(block) => Size {
                    left: block.entry,
                    right: block.width - block.entry,
                    height: block.height,
                    exit: block.exit - block.entry,
                },
                None => Size::default(),
            },
        });
    }
    // The label stands in a first row of its own, so that no edge leads through it; left to right, beside all rows.
    let label = (number > 0).then(|| graph.clusters[number - 1].label);
    let (mut top, mut bottom) = (Vec::new(), Vec::new());
    if let Some((width, height)) = label.filter(|_| !graph.left_to_right) {
        top.push(sizes.len());
        sizes.push(Size { left: 0.0, right: width, height, exit: 0.0 });
    }
    for (end, row) in [(End::Entry, &mut top), (End::Exit, &mut bottom)] {
        if level.edges.iter().any(|&(from, to)| from == end || to == end) {
            index.insert(end, sizes.len());
            row.push(sizes.len());
            sizes.push(Size::default());
        }
    }
    let edges: Vec<(usize, usize)> = level.edges.iter().map(|(from, to)| (index[from], index[to])).collect();
    let rows = rows::place(&sizes, &edges, &top, &bottom)?;

    // A cluster has room around its rows.
    let beside = label.filter(|_| graph.left_to_right).map_or(0.0, |(_, height)| height);
    let shift =
        if label.is_some() { Point { x: PADDING + beside, y: PADDING } } else { Point { x: 0.0, y: 0.0 } };
    let mut width = rows.width + 2.0 * shift.x - beside;
    let mut height = rows.height + 2.0 * shift.y;
    if let Some(label) = label {
        let (along, across) = turned((label.0 + 2.0 * PADDING, 0.0));
        (width, height) = (width.max(along), height.max(across));
    }
    let place = |vertex: usize| Point { x: rows.x[vertex] + shift.x, y: rows.y[vertex] + shift.y };
    let items = level.items.iter().zip(&sizes).enumerate().map(|(vertex, (&item, size))| {
        let at = place(vertex);
        let width = match item {
            Item::Node(_) => 2.0 * size.left,
            Item::Cluster(_) => size.left + size.right,
        };
        (item, Area { x: at.x - size.left, y: at.y - size.height / 2.0, width, height: size.height })
    });
    // The longest edge of each vertex: its bends are those of all others.
    let mut trunks: HashMap<usize, usize> = HashMap::new();
    for (i, (from, _)) in edges.iter().enumerate().filter(|&(i, _)| !rows.reversed[i]) {
        let trunk = trunks.entry(*from).or_insert(i);
        if rows.bends[i].len() > rows.bends[*trunk].len() {
            *trunk = i;
        }
    }
    let paths = level.edges.iter().zip(&edges).enumerate().map(|(i, (&(from, to), &(a, b)))| {
        if a == b {
            return around(place(a), sizes[a]);
        }
        let (upper, lower) = if rows.reversed[i] { (b, a) } else { (a, b) };
        // What a longer edge has drawn of the trunk is not drawn again.
        let bends = &rows.bends[i];
        let branches = !rows.reversed[i] && trunks.get(&a).is_some_and(|&trunk| trunk != i);
        let (drawn, bends) = bends.split_at(if branches { bends.len() } else { 0 });
        let mut line = Line::from(Point {
            x: place(upper).x + sizes[upper].exit,
            y: place(upper).y + sizes[upper].height / 2.0,
        });
        if from == End::Entry {
            line = Line::from(Point { y: 0.0, ..line.start });
        }
        if let Some(&(x, rank)) = drawn.last() {
            line = Line::from(Point { x: x + shift.x, y: rows.bands[rank].1 + shift.y });
        }
        line.down_to(rows.bands[rows.rank[upper]].1 + shift.y);
        for &(x, rank) in bends {
            let (band_top, band_bottom) = rows.bands[rank];
            line.across_to(Point { x: x + shift.x, y: band_top + shift.y });
            line.down_to(band_bottom + shift.y);
        }
        let end = place(lower);
        line.across_to(Point { x: end.x, y: rows.bands[rows.rank[lower]].0 + shift.y });
        line.down_to(if to == End::Exit { height } else { end.y - sizes[lower].height / 2.0 });
        // Inside a cluster the arrow stands at the box, not at the border.
        let inside = matches!(to, End::Item(Item::Cluster(_))) && !rows.reversed[i];
        line.finish(rows.reversed[i], to != End::Exit && !inside)
    });
    let port = |end: End| index.get(&end).map(|&vertex| place(vertex).x);
    let (entry, exit) = (port(End::Entry), port(End::Exit));
    let (items, paths) = (items.collect(), paths.collect());
    let entry = entry.or(exit).unwrap_or(width / 2.0);
    Ok(Block { width, height, entry, exit: exit.unwrap_or(entry), items, paths })
}

/// The edge from a box to itself, at its right side.
fn around(centre: Point, size: Size) -> Path {
    let side = centre.x + size.left;
    let (out, back) = (centre.y - size.height / 5.0, centre.y + size.height / 5.0);
    let far = side + LOOP - 2.0;
    let tip = Point { x: side, y: back };
    let end = Point { x: side + ARROW, y: back };
    let curve =
        Piece::Curve(Point { x: far + 6.0, y: out - 4.0 }, Point { x: far + 6.0, y: back + 4.0 }, end);
    Path {
        start: Point { x: side, y: out },
        pieces: vec![curve],
        arrow: Some((tip, Point { x: -1.0, y: 0.0 })),
    }
}

/// A path that is drawn downwards.
struct Line {
    start: Point,
    at: Point,
    pieces: Vec<Piece>,
}

impl Line {
    fn from(start: Point) -> Self {
        Self { start, at: start, pieces: Vec::new() }
    }

    /// Straight down.
    fn down_to(&mut self, y: f64) {
        if y <= self.at.y {
            return;
        }
        self.at.y = y;
        match self.pieces.last_mut() {
            Some(Piece::Line(end)) => *end = self.at,
            _ => self.pieces.push(Piece::Line(self.at)),
        }
    }

    /// Through the gap between two rows, which no box stands in.
    fn across_to(&mut self, to: Point) {
        if (to.x - self.at.x).abs() < 0.05 {
            return self.down_to(to.y);
        }
        let middle = f64::midpoint(self.at.y, to.y);
        self.pieces.push(Piece::Curve(Point { x: self.at.x, y: middle }, Point { x: to.x, y: middle }, to));
        self.at = to;
    }

    fn finish(self, reversed: bool, arrow: bool) -> Path {
        let mut path = Path { start: self.start, pieces: self.pieces, arrow: None };
        if reversed {
            path = path.reversed();
        }
        if arrow {
            path.point(if reversed { -1.0 } else { 1.0 });
        }
        path
    }
}

impl Path {
    /// Its end.
    fn end(&self) -> Point {
        match self.pieces.last() {
            Some(Piece::Line(end) | Piece::Curve(_, _, end)) => *end,
            None => self.start,
        }
    }

    fn reversed(&self) -> Self {
        let mut ends = vec![self.start];
        ends.extend(self.pieces.iter().map(|piece| match piece {
            Piece::Line(end) | Piece::Curve(_, _, end) => *end,
        }));
        let pieces = self.pieces.iter().zip(&ends).rev().map(|(piece, &from)| match *piece {
            Piece::Line(_) => Piece::Line(from),
            Piece::Curve(a, b, _) => Piece::Curve(b, a, from),
        });
        Self { start: self.end(), pieces: pieces.collect(), arrow: None }
    }

    /// Puts an arrow on its end, which leads vertically there, and shortens the line by it.
    fn point(&mut self, direction: f64) {
        let tip = self.end();
        self.arrow = Some((tip, Point { x: 0.0, y: direction }));
        let short = tip.y - direction * ARROW;
        match self.pieces.last_mut() {
            Some(Piece::Line(end)) => end.y = short,
            Some(Piece::Curve(_, control, end)) => {
                control.y -= direction * ARROW;
                end.y = short;
            }
            None => {}
        }
    }

    pub(super) fn map(&self, point: impl Fn(Point) -> Point, direction: impl Fn(Point) -> Point) -> Self {
        let piece = |piece: &Piece| match *piece {
            Piece::Line(end) => Piece::Line(point(end)),
            Piece::Curve(a, b, end) => Piece::Curve(point(a), point(b), point(end)),
        };
        Self {
            start: point(self.start),
            pieces: self.pieces.iter().map(piece).collect(),
            arrow: self.arrow.map(|(tip, to)| (point(tip), direction(to))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Numbers that look random, below the given ones.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end
        }
    }

    /// Boxes of many widths in nested clusters; most edges lead forward, some back, some to where they began.
    fn graph(seed: u64) -> Graph {
        let mut numbers = Numbers(seed);
        let count = 1 + numbers.below(40);
        let clusters = numbers.below(5);
        let within = |numbers: &mut Numbers, clusters: usize| {
            let cluster = numbers.below(clusters + 1);
            (cluster > 0).then(|| cluster - 1)
        };
        let mut graph = Graph { left_to_right: seed % 2 == 1, ..Graph::default() };
        for i in 0..clusters {
            let label = (numbers.below(150) as f64, 18.0);
            graph.clusters.push(Cluster { label, cluster: within(&mut numbers, i) });
        }
        for _ in 0..count {
            let (width, height) = (20.0 + numbers.below(200) as f64, 36.0 + 12.0 * numbers.below(2) as f64);
            graph.nodes.push(Node { width, height, cluster: within(&mut numbers, clusters) });
        }
        for _ in 0..numbers.below(3 * count) {
            let (a, b) = (numbers.below(count), numbers.below(count));
            let backwards = numbers.below(8) == 0;
            graph.edges.push(if backwards { (a.max(b), a.min(b)) } else { (a.min(b), a.max(b)) });
        }
        graph
    }

    fn points(path: &Path) -> Vec<Point> {
        let mut points = vec![path.start];
        for piece in &path.pieces {
            let from = *points.last().unwrap_or(&path.start);
            for step in 1..=20 {
                let t = f64::from(step) / 20.0;
                let blend = |a: f64, b: f64, c: f64, d: f64| {
                    let s = 1.0 - t;
                    s * s * s * a + 3.0 * s * s * t * b + 3.0 * s * t * t * c + t * t * t * d
                };
                points.push(match piece {
                    Piece::Line(end) => {
                        Point { x: from.x + (end.x - from.x) * t, y: from.y + (end.y - from.y) * t }
                    }
                    Piece::Curve(a, b, end) => {
                        Point { x: blend(from.x, a.x, b.x, end.x), y: blend(from.y, a.y, b.y, end.y) }
                    }
                });
            }
        }
        points.extend(path.arrow.map(|(tip, _)| tip));
        points
    }

    fn holds(area: &Area, point: Point) -> bool {
        let inside = |at: f64, from: f64, size: f64| at > from + 0.01 && at < from + size - 0.01;
        inside(point.x, area.x, area.width) && inside(point.y, area.y, area.height)
    }

    fn overlap(a: &Area, b: &Area) -> bool {
        let (left, right) = (a.x.max(b.x), (a.x + a.width).min(b.x + b.width));
        let (top, bottom) = (a.y.max(b.y), (a.y + a.height).min(b.y + b.height));
        right - left > 0.01 && bottom - top > 0.01
    }

    #[test]
    fn boxes_do_not_overlap_and_no_edge_leads_through_one() {
        for seed in 0..400 {
            let graph = graph(seed);
            let placed = place(&graph).unwrap();
            let around = |mut cluster: Option<usize>| {
                let mut all = Vec::new();
                while let Some(i) = cluster {
                    all.push(i);
                    cluster = graph.clusters[i].cluster;
                }
                all
            };
            for (i, area) in placed.nodes.iter().enumerate() {
                assert!(
                    placed.nodes[..i].iter().all(|other| !overlap(area, other)),
                    "seed {seed}: box {i} overlaps another"
                );
                let own = around(graph.nodes[i].cluster);
                for (j, cluster) in placed.clusters.iter().enumerate() {
                    let middle = Point { x: area.x + area.width / 2.0, y: area.y + area.height / 2.0 };
                    let fits =
                        if own.contains(&j) { holds(cluster, middle) } else { !overlap(area, cluster) };
                    assert!(fits, "seed {seed}: box {i}, cluster {j}");
                }
            }
            for (i, area) in placed.clusters.iter().enumerate() {
                let own = around(Some(i));
                let apart = |j: &usize| !own.contains(j) && !around(Some(*j)).contains(&i);
                assert!(
                    (0..i).filter(apart).all(|j| !overlap(area, &placed.clusters[j])),
                    "seed {seed}: cluster {i} overlaps another"
                );
            }
            let whole = Area { x: -0.1, y: -0.1, width: placed.width + 0.2, height: placed.height + 0.2 };
            for path in &placed.paths {
                for point in points(path) {
                    assert!(holds(&whole, point), "seed {seed}: {point:?} is outside");
                    let through = placed.nodes.iter().position(|area| holds(area, point));
                    assert_eq!(through, None, "seed {seed}: {path:?}");
                }
            }
        }
    }

    #[test]
    fn every_edge_ends_with_an_arrow_at_its_box() {
        for seed in 0..400 {
            let graph = graph(seed);
            let placed = place(&graph).unwrap();
            let tips: Vec<Point> =
                placed.paths.iter().filter_map(|path| path.arrow.map(|(tip, _)| tip)).collect();
            for &(_, to) in graph.edges.iter().filter(|(from, to)| from <= to) {
                let area = placed.nodes[to];
                let at = |tip: &Point| {
                    let wide = Area {
                        x: area.x - 0.1,
                        y: area.y - 0.1,
                        width: area.width + 0.2,
                        height: area.height + 0.2,
                    };
                    holds(&wide, *tip)
                };
                assert!(tips.iter().any(at), "seed {seed}: no arrow at box {to}");
            }
        }
    }

    #[test]
    fn a_chain_is_straight_and_a_skip_leads_around_it() {
        let node = |width| Node { width, height: 36.0, cluster: None };
        let nodes = [50.0, 120.0, 80.0, 60.0].map(node).into();
        let graph = Graph { nodes, edges: vec![(0, 1), (1, 2), (2, 3), (0, 3)], ..Graph::default() };
        let placed = place(&graph).unwrap();
        let middle = |i: usize| placed.nodes[i].x + placed.nodes[i].width / 2.0;
        assert!((middle(1) - middle(2)).abs() < 1e-9 && (middle(0) - middle(3)).abs() < 1e-9);
        assert!(placed.nodes.windows(2).all(|pair| pair[0].y + pair[0].height < pair[1].y));
    }

    #[test]
    fn large_graphs_take_no_longer_than_they_are_large() {
        let chain = |count: usize, reach: usize| {
            let nodes = (0..count).map(|_| Node { width: 100.0, height: 36.0, cluster: None }).collect();
            let edges = (1..count).flat_map(|i| (i.saturating_sub(reach)..i).map(move |j| (j, i))).collect();
            Graph { nodes, edges, ..Graph::default() }
        };
        let start = std::time::Instant::now();
        assert!(place(&chain(10_000, 1)).is_ok());
        assert!(place(&chain(400, 40)).is_ok());
        assert!(place(&chain(1_200, 1_200)).is_err());
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }
}
