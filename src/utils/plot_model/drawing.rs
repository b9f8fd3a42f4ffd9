//! Shapes: boxes with text, lines with arrows.

use super::font::{Font, SIZE};
use super::graph::{ModelGraph, Node};
use super::layout::{self, ARROW, Area, Path, Point, TooLarge};

/// What is drawn, in points, from (0, 0) on.
pub(super) struct Drawing {
    /// What it shows.
    pub(super) title: String,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) shapes: Vec<Shape>,
    pub(super) font: Font,
}

/// A piece of a drawing.
#[derive(Debug)]
pub(super) enum Shape {
    /// A white box with a border.
    Box(Area),
    /// A dashed border.
    Dashed(Area),
    /// A line between two points.
    Rule(Point, Point),
    /// A line along a path, without its arrow.
    Path(Path),
    /// A filled triangle.
    Arrow([Point; 3]),
    /// A text from the left end of its baseline, and its width.
    Text(Point, String, f64),
}

/// Around everything.
const MARGIN: f64 = 6.0;
/// Beside a text in its field.
const BESIDE: f64 = 8.0;
/// A box of one line, and of two.
const HEIGHTS: (f64, f64) = (36.0, 48.0);
const LEAST_WIDTH: f64 = 54.0;
/// From the middle of a line of text down to its baseline.
const BASELINE: f64 = SIZE * 0.35;
/// Half the width of an arrow.
const WING: f64 = 3.2;

impl Drawing {
    pub(super) fn of(graph: &ModelGraph, left_to_right: bool) -> Result<Self, TooLarge> {
        let font = Font::new();
        let boxes: Vec<Fields> = graph.nodes.iter().map(|node| Fields::of(node, &font)).collect();
        let nodes = graph.nodes.iter().zip(&boxes).map(|(node, fields)| layout::Node {
            width: fields.width(),
            height: fields.height(),
            cluster: node.cluster,
        });
        let clusters = graph.clusters.iter().map(|cluster| layout::Cluster {
            label: (font.width(&cluster.name), SIZE * 1.3),
            cluster: cluster.cluster,
        });
        let placed = layout::place(&layout::Graph {
            nodes: nodes.collect(),
            clusters: clusters.collect(),
            edges: graph.edges.iter().map(|edge| (edge.from, edge.to)).collect(),
            left_to_right,
        })?;
        let mut shapes = Vec::new();
        let shift = |area: &Area| Area { x: area.x + MARGIN, y: area.y + MARGIN, ..*area };
        for (cluster, area) in graph.clusters.iter().zip(&placed.clusters) {
            let area = shift(area);
            let at = Point { x: area.x + BESIDE, y: area.y + SIZE + 6.0 };
            shapes.push(Shape::Dashed(area));
            shapes.push(Shape::Text(at, cluster.name.clone(), font.width(&cluster.name)));
        }
        let moved = |point: Point| Point { x: point.x + MARGIN, y: point.y + MARGIN };
        for path in &placed.paths {
            let path = path.map(moved, |direction| direction);
            let arrow = path.arrow.map(|(tip, to)| {
                let base = Point { x: tip.x - to.x * ARROW, y: tip.y - to.y * ARROW };
                let wing = |side: f64| Point { x: base.x - to.y * side, y: base.y + to.x * side };
                Shape::Arrow([tip, wing(WING), wing(-WING)])
            });
            shapes.push(Shape::Path(path));
            shapes.extend(arrow);
        }
        for (fields, area) in boxes.iter().zip(&placed.nodes) {
            fields.draw(shift(area), &mut shapes);
        }
        let (width, height) = (placed.width + 2.0 * MARGIN, placed.height + 2.0 * MARGIN);
        Ok(Self { title: graph.name.clone(), width, height, shapes, font })
    }
}

/// The fields of a box from left to right: each a text, or two of them one above the other.
struct Fields(Vec<Field>);

struct Field {
    lines: Vec<(String, f64)>,
    width: f64,
}

impl Fields {
    fn of(node: &Node, font: &Font) -> Self {
        let field = |lines: &[&str]| {
            let lines: Vec<(String, f64)> =
                lines.iter().map(|line| ((*line).to_owned(), font.width(line))).collect();
            let width = lines.iter().map(|(_, width)| *width).fold(0.0, f64::max) + 2.0 * BESIDE;
            Field { lines, width }
        };
        let mut fields = vec![field(&[&node.label])];
        if let Some([input, output]) = &node.shapes {
            fields.extend([field(&["input:", "output:"]), field(&[input, output])]);
        }
        if let [only] = fields.as_mut_slice() {
            only.width = only.width.max(LEAST_WIDTH);
        }
        Self(fields)
    }

    fn width(&self) -> f64 {
        self.0.iter().map(|field| field.width).sum()
    }

    fn height(&self) -> f64 {
        if self.0.len() == 1 { HEIGHTS.0 } else { HEIGHTS.1 }
    }

    fn draw(&self, area: Area, shapes: &mut Vec<Shape>) {
        shapes.push(Shape::Box(area));
        let mut x = area.x;
        let rule = |from: (f64, f64), to: (f64, f64)| {
            Shape::Rule(Point { x: from.0, y: from.1 }, Point { x: to.0, y: to.1 })
        };
        for (i, field) in self.0.iter().enumerate() {
            if i > 0 {
                shapes.push(rule((x, area.y), (x, area.y + area.height)));
            }
            let line = area.height / field.lines.len() as f64;
            for (j, (text, width)) in field.lines.iter().enumerate() {
                let top = area.y + line * j as f64;
                if j > 0 {
                    shapes.push(rule((x, top), (x + field.width, top)));
                }
                let at = Point { x: x + (field.width - width) / 2.0, y: top + line / 2.0 + BASELINE };
                shapes.push(Shape::Text(at, text.clone(), *width));
            }
            x += field.width;
        }
    }
}
