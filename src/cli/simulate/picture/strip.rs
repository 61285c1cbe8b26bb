//! How values become heights and outlines.

use super::film::{Column, Film, Range};

/// From nothing at the bottom to `most` at the top.
#[derive(Clone, Copy)]
pub struct Scale {
    pub top: f64,
    pub height: f64,
    pub most: f64,
}

impl Scale {
    /// Where a value stands; what is more than `most` stands at the top.
    pub fn y(self, value: f64) -> f64 {
        self.top + (1.0 - (value / self.most).clamp(0.0, 1.0)) * self.height
    }
}

/// A tenth of a pixel is enough.
pub fn one(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Steps in one column, rounded up.
pub fn steps_of(film: &Film) -> u64 {
    film.steps.div_ceil(film.columns.len().max(1)) as u64
}

/// The outline between the least and the most, in pieces where there are columns without: along the most from left to
/// right and back along the least.
pub fn band(columns: &[Column], scale: Scale, left: f64, width: f64, of: impl Fn(&Column) -> Option<Range>) -> String {
    let wide = width / columns.len().max(1) as f64;
    let mut d = String::new();
    let mut piece: Vec<(f64, f64, f64)> = Vec::new();
    for (at, column) in columns.iter().enumerate() {
        match of(column) {
            Some(Range { low, high }) => piece.push((left + at as f64 * wide, scale.y(high), scale.y(low))),
            None => close(&mut d, &mut piece, wide),
        }
    }
    close(&mut d, &mut piece, wide);
    d
}

/// Writes a piece of columns side by side, and empties it.
fn close(d: &mut String, piece: &mut Vec<(f64, f64, f64)>, wide: f64) {
    let (Some(first), Some(last)) = (piece.first().copied(), piece.last().copied()) else { return };
    let end = last.0 + wide;
    d.push_str(&format!("M{} {}", one(first.0), one(first.1)));
    let mut before = first.1;
    for (x, high, _) in piece.iter() {
        if one(*high) != one(before) {
            d.push_str(&format!("H{}V{}", one(*x), one(*high)));
            before = *high;
        }
    }
    d.push_str(&format!("H{}V{}", one(end), one(last.2)));
    before = last.2;
    for (x, _, low) in piece.iter().rev() {
        if one(*low) != one(before) {
            d.push_str(&format!("H{}V{}", one(*x + wide), one(*low)));
            before = *low;
        }
    }
    d.push_str(&format!("H{}Z", one(first.0)));
    piece.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_goes_along_the_most_and_back_along_the_least() {
        let column = |range: Option<(f64, f64)>| Column {
            held: range.map(|(low, high)| Range { low, high }),
            ..Column::default()
        };
        let columns = [column(Some((1.0, 2.0))), column(Some((1.0, 4.0))), column(None), column(Some((3.0, 30.0)))];
        let scale = Scale { top: 0.0, height: 10.0, most: 10.0 };
        let d = band(&columns, scale, 100.0, 40.0, |column| column.held);
        assert_eq!(d, "M100 8H110V6H120V9H100ZM130 0H140V7H130Z");
    }
}
