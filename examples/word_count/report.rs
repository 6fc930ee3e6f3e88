//! What is printed in the end.

use std::collections::HashMap;
use std::io::{self, Write};

/// The most frequent words as a table; words of equal count in the order of their letters.
pub fn table(counts: &HashMap<String, u64>, top: usize, out: &mut impl Write) -> io::Result<()> {
    let total: u64 = counts.values().sum();
    let mut words: Vec<_> = counts.iter().map(|(word, count)| (*count, word.as_str())).collect();
    words.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    words.truncate(top);
    // the word comes last: how wide it shows, only the terminal knows
    writeln!(out, "{:>12}  {:>6}  word", "count", "share")?;
    for (count, word) in words {
        writeln!(out, "{count:>12}  {:>5.2}%  {word}", count as f64 * 100.0 / total as f64)?;
    }
    writeln!(out, "{total:>12}  words, {} different", counts.len())
}

/// All words as `{"counts":{word: n, …}}`, in the order of their letters.
pub fn json(counts: &HashMap<String, u64>, out: &mut impl Write) -> io::Result<()> {
    let sorted: std::collections::BTreeMap<_, _> = counts.iter().collect();
    serde_json::to_writer(&mut *out, &serde_json::json!({ "counts": sorted }))?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first() {
        let counts = HashMap::from([("a".to_owned(), 1), ("the".to_owned(), 3), ("of".to_owned(), 1)]);
        let mut out = Vec::new();
        table(&counts, 2, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let words: Vec<_> = text.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
        assert_eq!(words, ["word", "the", "a", "different"]);
        let mut out = Vec::new();
        json(&counts, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\"counts\":{\"a\":1,\"of\":1,\"the\":3}}\n");
    }
}
