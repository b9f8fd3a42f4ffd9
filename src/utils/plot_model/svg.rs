//! Drawings as SVG.

use super::drawing::{Drawing, Shape};
use super::font::SIZE;
use super::layout::{Area, Piece, Point};
use std::fmt::Write;

/// The drawing; its size in pixels is that of `dpi` dots per inch.
pub(super) fn text(drawing: &Drawing, dpi: u32) -> String {
    let scale = f64::from(dpi) / 72.0;
    let (width, height) = (drawing.width, drawing.height);
    let mut svg = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\">",
        number(width * scale),
        number(height * scale),
        number(width),
        number(height)
    );
    let _ = writeln!(svg, "<title>{}</title>", escaped(&drawing.title));
    let _ = writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    let _ = writeln!(
        svg,
        "<g fill=\"none\" stroke=\"black\" font-family=\"Arial, Arimo, 'Liberation Sans', Helvetica, sans-serif\" \
         font-size=\"{SIZE}\">"
    );
    for shape in &drawing.shapes {
        let _ = match shape {
            Shape::Box(area) => writeln!(svg, "<rect {} fill=\"white\"/>", rectangle(area)),
            Shape::Dashed(area) => writeln!(svg, "<rect {} stroke-dasharray=\"5 3\"/>", rectangle(area)),
            Shape::Rule(from, to) => writeln!(svg, "<path d=\"M{}L{}\"/>", point(from), point(to)),
            Shape::Arrow([tip, left, right]) => writeln!(
                svg,
                "<path d=\"M{}L{}L{}Z\" fill=\"black\" stroke=\"none\"/>",
                point(tip),
                point(left),
                point(right)
            ),
            Shape::Path(path) => {
                let mut d = format!("M{}", point(&path.start));
                for piece in &path.pieces {
                    let _ = match piece {
                        Piece::Line(end) => write!(d, "L{}", point(end)),
                        Piece::Curve(a, b, end) => write!(d, "C{} {} {}", point(a), point(b), point(end)),
                    };
                }
                writeln!(svg, "<path d=\"{d}\"/>")
            }
            Shape::Text(at, text, width) => {
                // Letters of fonts that nobody knows here are fitted into their field.
                let fitted = if drawing.font.covers(text) {
                    String::new()
                } else {
                    format!(" textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\"", number(*width))
                };
                writeln!(
                    svg,
                    "<text x=\"{}\" y=\"{}\"{fitted} fill=\"black\" stroke=\"none\">{}</text>",
                    number(at.x),
                    number(at.y),
                    escaped(text)
                )
            }
        };
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn rectangle(area: &Area) -> String {
    let Area { x, y, width, height } = *area;
    format!(
        "x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
        number(x),
        number(y),
        number(width),
        number(height)
    )
}

fn point(point: &Point) -> String {
    format!("{} {}", number(point.x), number(point.y))
}

/// To a hundredth.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text as XML has it, which has no control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\u{FFFE}' | '\u{FFFF}' => escaped.push('\u{FFFD}'),
            _ if character.is_control() => escaped.push('\u{FFFD}'),
            _ => escaped.push(character),
        }
    }
    escaped
}
