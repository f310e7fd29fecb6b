//! Text in columns, as wide as what stands in them, for eyes and for `cut`.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Writes lines of cells, two spaces apart; the columns of `numbers` stand to the right.
pub fn write<const N: usize>(out: &mut impl Write, lines: &[[String; N]], numbers: &[usize]) -> io::Result<()> {
    let widest = |column: usize| lines.iter().map(|line| line[column].width()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(widest);
    lines.iter().try_for_each(|line| writeln!(out, "{}", aligned(line, &widths, numbers).trim_end()))
}

fn aligned<const N: usize>(line: &[String; N], widths: &[usize; N], numbers: &[usize]) -> String {
    let mut text = String::new();
    for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
        let gap = " ".repeat(width - cell.width());
        match numbers.contains(&column) {
            true => text.extend([gap.as_str(), cell, "  "]),
            false => text.extend([cell.as_str(), &gap, "  "]),
        }
    }
    text
}
