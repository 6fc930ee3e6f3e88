//! Medians over rounds, and ratios between rows of one run.

use std::fmt;

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<(&'static str, Vec<f64>)>,
    ratios: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        match self.rows.iter_mut().find(|(row, _)| *row == name) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((name, vec![value])),
        }
    }

    pub(crate) fn ratio(&mut self, of: &str, to: &str, goal: &str) {
        let value = |name: &str| {
            self.rows.iter().find(|(row, _)| *row == name).map(|(_, values)| quantile(values, 0.5))
        };
        if let (Some(of_value), Some(to_value)) = (value(of), value(to)) {
            self.ratios.push(format!("{:8.3}  {of} / {to} ({goal})", of_value / to_value));
        }
    }
}

/// The `q`-quantile.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, values) in &self.rows {
            let (low, high) = (quantile(values, 0.0), quantile(values, 1.0));
            writeln!(
                f,
                "{:14.1}  {name}  ({low:.1} – {high:.1}, {} rounds)",
                quantile(values, 0.5),
                values.len()
            )?;
        }
        for ratio in &self.ratios {
            writeln!(f, "{ratio}")?;
        }
        Ok(())
    }
}
