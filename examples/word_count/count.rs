//! Counting one piece of text, as a task does it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;

use serde::{Deserialize, Serialize};

use crate::corpus::Piece;

/// What one task found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Each word, and how often it was seen.
    pub words: Vec<(String, u64)>,
    /// Files that could not be read, or not to their end, and why.
    pub problems: Vec<(Vec<u8>, String)>,
}

/// Counts the words in these pieces. A file that can't be read is a problem of the result, not of the task: to try again would
/// be in vain.
pub fn count(pieces: Vec<Piece>) -> Counts {
    let mut words = Words::default();
    let mut problems = Vec::new();
    for piece in pieces {
        if let Err(error) = count_piece(&piece, &mut words) {
            problems.push((piece.path, error.to_string()));
        }
        words.end_of_piece();
    }
    Counts { words: words.counts.into_iter().collect(), problems }
}

fn count_piece(piece: &Piece, words: &mut Words) -> io::Result<()> {
    let mut file = File::open(OsStr::from_bytes(&piece.path))?;
    file.seek(SeekFrom::Start(piece.start))?;
    let mut left = piece.end - piece.start;
    let mut block = vec![0; 256 << 10];
    while left > 0 {
        let room = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        match file.read(&mut block[..room]) {
            Ok(0) => return Err(io::Error::other("it became shorter while it was counted")),
            Ok(read) => {
                words.feed(&block[..read]);
                left -= read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Cuts text into words and counts them.
///
/// A word is a longest run of alphanumeric characters (Unicode: `Alphabetic`, or a number of any kind), each lower-cased by
/// itself. Bytes that aren't UTF-8 are in no word.
#[derive(Debug, Default)]
pub struct Words {
    /// How often each word was seen.
    pub counts: HashMap<String, u64>,
    /// The word that the text fed so far ends in.
    word: String,
    /// The first bytes of a character that the text fed so far ends in.
    begun: Vec<u8>,
}

impl Words {
    /// Takes the next bytes of a text; words and characters may reach across.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // complete, byte by byte, the character that was cut
        while !self.begun.is_empty() {
            let Some((first, others)) = rest.split_first() else { return };
            self.begun.push(*first);
            match std::str::from_utf8(&self.begun) {
                Ok(character) => {
                    let character = character.to_owned();
                    self.text(&character);
                    self.begun.clear();
                    rest = others;
                }
                Err(error) if error.error_len().is_none() => rest = others,
                Err(_) => {
                    // it never was one: the byte just seen begins anew
                    self.begun.clear();
                    self.end_word();
                }
            }
        }
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text);
                    return;
                }
                Err(error) => {
                    let (valid, broken) = rest.split_at(error.valid_up_to());
                    self.text(std::str::from_utf8(valid).unwrap_or_default());
                    match error.error_len() {
                        None => {
                            self.begun.extend_from_slice(broken);
                            return;
                        }
                        Some(length) => {
                            self.end_word();
                            rest = &broken[length..];
                        }
                    }
                }
            }
        }
    }

    /// The text fed so far is at its end, and so is its last word.
    pub fn end_of_piece(&mut self) {
        self.begun.clear();
        self.end_word();
    }

    fn text(&mut self, text: &str) {
        for character in text.chars() {
            if character.is_ascii_alphanumeric() {
                self.word.push(character.to_ascii_lowercase());
            } else if !character.is_ascii() && character.is_alphanumeric() {
                self.word.extend(character.to_lowercase());
            } else {
                self.end_word();
            }
        }
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        match self.counts.get_mut(&self.word) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(self.word.clone(), 1);
            }
        }
        self.word.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn counted(blocks: &[&[u8]]) -> BTreeMap<String, u64> {
        let mut words = Words::default();
        for block in blocks {
            words.feed(block);
        }
        words.end_of_piece();
        words.counts.into_iter().collect()
    }

    /// The definition once more, slowly, over the whole text at once.
    fn defined(text: &[u8]) -> BTreeMap<String, u64> {
        let text = String::from_utf8_lossy(text);
        let mut counts = BTreeMap::new();
        for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty())
        {
            *counts.entry(word.chars().flat_map(char::to_lowercase).collect()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn a_word_is_a_run_of_letters_and_digits() {
        let counts = counted(&["It's Ünïcödé, 2nd ÜNÏCÖDÉ_x\n漢字".as_bytes()]);
        let words: Vec<_> = counts.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        assert_eq!(words, [("2nd", 1), ("it", 1), ("s", 1), ("x", 1), ("ünïcödé", 2), ("漢字", 1)]);
    }

    #[test]
    fn wherever_the_text_is_cut_the_count_is_the_same() {
        let text: &[u8] =
            b"caf\xc3\xa9 \xe2\x82\xacuro \xf0\x9f\xa6\x80x \xffbroken\xc3 \xe2\x82 a\xf0\x9fb \xe2\x82";
        let whole = defined(text);
        assert_eq!(counted(&[text]), whole);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let blocks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(counted(&blocks), whole, "cut at {first} and {second}");
            }
        }
    }
}
