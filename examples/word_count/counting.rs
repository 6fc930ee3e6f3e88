//! The task: the words of one piece of a file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

use super::files::Piece;

/// How much is read at once.
const READ_BYTES: usize = 1 << 20;

/// Counts the words that begin in the piece. The last of them may end behind it.
#[convoke::task]
pub(crate) fn count_words(piece: Piece) -> Result<HashMap<String, u64>, String> {
    count_piece(&piece).map_err(|error| format!("{}: {error}", piece.path))
}

/// No word and no character goes on over such a byte.
fn separates(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric()
}

fn count_piece(piece: &Piece) -> std::io::Result<HashMap<String, u64>> {
    let mut file = File::open(&piece.path)?;
    // A run of bytes between two separators belongs to the piece that it begins in: one byte earlier tells whether one
    // begins here.
    let from = piece.start.saturating_sub(1);
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(READ_BYTES, file);
    let (mut at, mut ours) = (from, piece.start == 0);
    let mut rest = Vec::new();
    let mut counts = HashMap::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = reader.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        for run in buffer[..read].split_inclusive(|byte| separates(*byte)) {
            let ends = run.last().is_some_and(|byte| separates(*byte));
            if ours {
                rest.extend_from_slice(run);
            }
            at += run.len() as u64;
            if ends {
                if at >= piece.end {
                    count_text(&rest, &mut counts);
                    return Ok(counts);
                }
                ours = true;
            }
        }
        // Keep what isn't finished: all up to the last separator is.
        if let Some(last) = rest.iter().rposition(|byte| separates(*byte)) {
            count_text(&rest[..last], &mut counts);
            rest.drain(..=last);
        }
    }
    count_text(&rest, &mut counts);
    Ok(counts)
}

/// Adds the words of whole runs. Bytes that aren't UTF-8 are in no word.
fn count_text(bytes: &[u8], counts: &mut HashMap<String, u64>) {
    let mut lower = String::new();
    for chunk in bytes.utf8_chunks() {
        for word in chunk.valid().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            lower.clear();
            lower.extend(word.chars().flat_map(char::to_lowercase));
            match counts.get_mut(lower.as_str()) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(lower.clone(), 1);
                }
            }
        }
    }
}
