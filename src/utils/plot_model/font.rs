//! The font of the drawings: Arimo, whose letters are as wide as Arial's, Helvetica's and Liberation Sans's.

use ttf_parser::{Face, GlyphId};

/// The size of all text, in points.
pub(super) const SIZE: f64 = 14.0;

/// The letters of Latin, Greek and Cyrillic.
static ARIMO: &[u8] = include_bytes!("font/Arimo-Regular-subset.ttf");

/// The font at its size.
pub(super) struct Font {
    face: Option<Face<'static>>,
}

impl Font {
    pub(super) fn new() -> Self {
        Self { face: Face::parse(ARIMO, 0).ok() }
    }

    /// The outlines, and how many units a point has.
    pub(super) fn face(&self) -> Option<(&Face<'static>, f64)> {
        self.face.as_ref().map(|face| (face, f64::from(face.units_per_em()) / SIZE))
    }

    /// Whether it has every letter.
    pub(super) fn covers(&self, text: &str) -> bool {
        text.chars().all(|letter| self.glyph(letter).is_some())
    }

    /// A letter's shape; none if it has none.
    pub(super) fn glyph(&self, letter: char) -> Option<GlyphId> {
        self.face.as_ref().and_then(|face| face.glyph_index(letter))
    }

    /// How far a letter reaches, in points; of one that it does not have, about as far as in another font.
    pub(super) fn advance(&self, letter: char) -> f64 {
        let known = self.face().zip(self.glyph(letter)).and_then(|((face, units), glyph)| {
            face.glyph_hor_advance(glyph).map(|advance| f64::from(advance) / units)
        });
        known.unwrap_or(if letter < '\u{1100}' { SIZE * 0.62 } else { SIZE })
    }

    /// The width of a text in points.
    pub(super) fn width(&self, text: &str) -> f64 {
        text.chars().map(|letter| self.advance(letter)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_as_wide_as_arials() {
        let font = Font::new();
        // Arial's widths in 2048ths of its size.
        for (letter, width) in [('a', 1139.0), ('i', 455.0), ('W', 1933.0), (':', 569.0), ('_', 1139.0)] {
            assert!((font.advance(letter) - width * SIZE / 2048.0).abs() < 1e-9, "{letter}");
        }
        assert!(font.covers("Größe Ελληνικά Кириллица") && !font.covers("層"));
    }
}
