//! Drawings as PNG, in shades of grey, drawn and written strip by strip.

use super::drawing::{Drawing, Shape};
use super::font::Font;
use super::layout::{Area, Piece, Point};
use keras_core::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use tiny_skia::{Color, FillRule, Paint, PathBuilder, Pixmap, Rect, Stroke, StrokeDash, Transform};
use ttf_parser::OutlineBuilder;

/// The size of a picture.
pub(super) struct Size {
    width: u32,
    height: u32,
    dpi: u32,
    /// Pixels per point.
    scale: f64,
}

/// More pixels take longer than anybody waits, and few programs show them.
const MOST_PIXELS: f64 = 536_870_912.0;
/// In memory at a time.
const STRIP_PIXELS: u32 = 4_194_304;

impl Size {
    /// # Errors
    /// If that is too large.
    pub(super) fn of(drawing: &Drawing, dpi: u32) -> Result<Self> {
        let scale = f64::from(dpi) / 72.0;
        let (width, height) = ((drawing.width * scale).ceil(), (drawing.height * scale).ceil());
        if width * height > MOST_PIXELS || width > f64::from(STRIP_PIXELS) {
            return Err(Error::value(
                "PNG",
                format!("at most {MOST_PIXELS} pixels"),
                format!("{width} × {height}"),
            )
            .advice("choose a smaller dpi, or write an .svg or .dot file"));
        }
        Ok(Self { width: width.max(1.0) as u32, height: height.max(1.0) as u32, dpi, scale })
    }
}

/// Draws and writes.
pub(super) fn write(drawing: &Drawing, size: &Size, file: &mut File) -> io::Result<()> {
    let mut encoder = png::Encoder::new(BufWriter::new(file), size.width, size.height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let per_metre = (f64::from(size.dpi) / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: per_metre,
        yppu: per_metre,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    let strip = (STRIP_PIXELS / size.width).clamp(1, 1024);
    let mut top = 0;
    while top < size.height {
        let rows = strip.min(size.height - top);
        let mut pixmap = Pixmap::new(size.width, rows).ok_or_else(|| {
            io::Error::new(io::ErrorKind::OutOfMemory, "no memory for a strip of the picture")
        })?;
        pixmap.fill(Color::WHITE);
        let mut canvas = Canvas { pixmap, scale: size.scale, top: f64::from(top), font: &drawing.font };
        let (from, to) = (f64::from(top) / size.scale - 2.0, f64::from(top + rows) / size.scale + 2.0);
        for shape in drawing.shapes.iter().filter(|shape| shape.reaches(from, to)) {
            canvas.draw(shape);
        }
        // Everything is black on white and opaque.
        let grey: Vec<u8> = canvas.pixmap.data().iter().step_by(4).copied().collect();
        stream.write_all(&grey)?;
        top += rows;
    }
    stream.finish()?;
    Ok(())
}

impl Shape {
    /// Whether a part of it may stand between two heights.
    fn reaches(&self, from: f64, to: f64) -> bool {
        let (top, bottom) = match self {
            Self::Box(area) | Self::Dashed(area) => (area.y, area.y + area.height),
            Self::Rule(a, b) => (a.y.min(b.y), a.y.max(b.y)),
            Self::Arrow(corners) => ends(corners.iter()),
            Self::Path(path) => {
                let points = path.pieces.iter().flat_map(|piece| match piece {
                    Piece::Line(end) => vec![end],
                    Piece::Curve(a, b, end) => vec![a, b, end],
                });
                ends(std::iter::once(&path.start).chain(points))
            }
            Self::Text(at, _, _) => (at.y - 20.0, at.y + 10.0),
        };
        top <= to && bottom >= from
    }
}

fn ends<'a>(points: impl Iterator<Item = &'a Point>) -> (f64, f64) {
    points
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), point| (low.min(point.y), high.max(point.y)))
}

/// A strip of the picture.
struct Canvas<'a> {
    pixmap: Pixmap,
    scale: f64,
    /// The first row of the strip.
    top: f64,
    font: &'a Font,
}

impl Canvas<'_> {
    fn draw(&mut self, shape: &Shape) {
        match shape {
            Shape::Box(area) => {
                if let Some(rectangle) = self.rectangle(area) {
                    let mut white = Paint::default();
                    white.set_color(Color::WHITE);
                    self.pixmap.fill_rect(rectangle, &white, Transform::identity(), None);
                    self.stroke(&PathBuilder::from_rect(rectangle), false);
                }
            }
            Shape::Dashed(area) => {
                if let Some(rectangle) = self.rectangle(area) {
                    self.stroke(&PathBuilder::from_rect(rectangle), true);
                }
            }
            Shape::Rule(from, to) => {
                let mut builder = PathBuilder::new();
                let (from, to) = (self.at(*from), self.at(*to));
                builder.move_to(from.0, from.1);
                builder.line_to(to.0, to.1);
                self.stroke_built(builder);
            }
            Shape::Path(path) => {
                let mut builder = PathBuilder::new();
                let start = self.at(path.start);
                builder.move_to(start.0, start.1);
                for piece in &path.pieces {
                    match piece {
                        Piece::Line(end) => {
                            let end = self.at(*end);
                            builder.line_to(end.0, end.1);
                        }
                        Piece::Curve(a, b, end) => {
                            let (a, b, end) = (self.at(*a), self.at(*b), self.at(*end));
                            builder.cubic_to(a.0, a.1, b.0, b.1, end.0, end.1);
                        }
                    }
                }
                self.stroke_built(builder);
            }
            Shape::Arrow(corners) => {
                let mut builder = PathBuilder::new();
                let [tip, left, right] = corners.map(|corner| self.at(corner));
                builder.move_to(tip.0, tip.1);
                builder.line_to(left.0, left.1);
                builder.line_to(right.0, right.1);
                builder.close();
                self.fill(builder);
            }
            Shape::Text(at, text, _) => self.write(*at, text),
        }
    }

    /// A point of the drawing in the strip.
    fn at(&self, point: Point) -> (f32, f32) {
        ((point.x * self.scale) as f32, (point.y * self.scale - self.top) as f32)
    }

    fn rectangle(&self, area: &Area) -> Option<Rect> {
        let (x, y) = self.at(Point { x: area.x, y: area.y });
        Rect::from_xywh(x, y, (area.width * self.scale) as f32, (area.height * self.scale) as f32)
    }

    fn stroke_built(&mut self, builder: PathBuilder) {
        if let Some(path) = builder.finish() {
            self.stroke(&path, false);
        }
    }

    fn stroke(&mut self, path: &tiny_skia::Path, dashed: bool) {
        let scale = self.scale as f32;
        let dash = if dashed { StrokeDash::new(vec![5.0 * scale, 3.0 * scale], 0.0) } else { None };
        let stroke = Stroke { width: scale, dash, ..Stroke::default() };
        self.pixmap.stroke_path(path, &black(), &stroke, Transform::identity(), None);
    }

    fn fill(&mut self, builder: PathBuilder) {
        if let Some(path) = builder.finish() {
            self.pixmap.fill_path(&path, &black(), FillRule::Winding, Transform::identity(), None);
        }
    }

    fn write(&mut self, at: Point, text: &str) {
        let font = self.font;
        let Some((face, units)) = font.face() else { return };
        let mut builder = PathBuilder::new();
        let mut x = at.x;
        for letter in text.chars() {
            let (left, baseline) = self.at(Point { x, y: at.y });
            let mut outline =
                Outline { builder: &mut builder, left, baseline, scale: (self.scale / units) as f32 };
            // Of a letter that the font does not have, its sign for that.
            face.outline_glyph(font.glyph(letter).unwrap_or_default(), &mut outline);
            x += font.advance(letter);
        }
        self.fill(builder);
    }
}

fn black() -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color(Color::BLACK);
    paint
}

/// Adds the outline of a letter to a path.
struct Outline<'a> {
    builder: &'a mut PathBuilder,
    left: f32,
    baseline: f32,
    scale: f32,
}

impl Outline<'_> {
    fn at(&self, x: f32, y: f32) -> (f32, f32) {
        (self.left + x * self.scale, self.baseline - y * self.scale)
    }
}

impl OutlineBuilder for Outline<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.at(x, y);
        self.builder.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.at(x1, y1), self.at(x, y));
        self.builder.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.at(x1, y1), self.at(x2, y2), self.at(x, y));
        self.builder.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.builder.close();
    }
}
