use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use convoke::{Error, Result};

/// Prints to standard output; a reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::host("can't write to standard output", error))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Columns that line up, each as wide as its widest cell.
pub fn table<const N: usize>(head: &[&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.insert(0, head.map(str::to_owned));
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [["a".to_owned(), "1".to_owned()], ["long one".to_owned(), String::new()]];
        assert_eq!(super::table(&["NAME", "N"], rows), "NAME      N\na         1\nlong one\n");
    }
}
