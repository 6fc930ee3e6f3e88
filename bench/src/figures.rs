//! Rows of figures over rounds, and what the goals say of them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::goals::{self, Measure};

/// One row: what was measured, once or more often.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) values: Vec<f64>,
}

impl Row {
    pub(crate) fn median(&self) -> f64 {
        quantile(&self.values, 0.5)
    }
    fn low(&self) -> f64 {
        quantile(&self.values, 0.0)
    }
    fn high(&self) -> f64 {
        quantile(&self.values, 1.0)
    }
}

/// All that a run has measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Figures {
    /// Adds a figure to the row of this key.
    pub(crate) fn add(&mut self, key: &str, what: &str, unit: &'static str, value: f64) {
        match self.rows.iter_mut().find(|row| row.key == key) {
            Some(row) => row.values.push(value),
            None => {
                self.rows.push(Row { key: key.to_owned(), what: what.to_owned(), unit, values: vec![value] })
            }
        }
    }

    /// A row that could not be measured.
    pub(crate) fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) {
        self.failures.push(format!("{what}: {error}"));
    }

    pub(crate) fn all_measured(&self) -> bool {
        self.failures.is_empty()
    }

    pub(crate) fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.key == key)
    }

    /// The rows of this name of the systems that were measured beside convoke.
    pub(crate) fn peers(&self, name: &str) -> impl Iterator<Item = &Row> {
        goals::PEERS.iter().filter_map(move |peer| self.row(&format!("{peer}.{name}")))
    }

    pub(crate) fn json(&self, machine: &[(&'static str, String)]) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "key": row.key, "what": row.what, "unit": row.unit, "median": row.median(),
                    "low": row.low(), "high": row.high(), "values": row.values,
                })
            })
            .collect();
        let goals: Vec<_> = goals::GOALS
            .iter()
            .filter_map(|goal| {
                let value = goal.measure.of(self)?;
                Some(json!({
                    "goal": goal.number, "what": goal.what, "value": value, "must": goal.must.to_string(),
                    "aim": goal.aim.map(|aim| aim.to_string()), "verdict": goal.verdict(value).to_string(),
                }))
            })
            .collect();
        let machine: serde_json::Map<_, _> =
            machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({ "machine": machine, "rows": rows, "goals": goals, "not_measured": self.failures })
    }

    /// For people: the goals first, then every row.
    pub(crate) fn text(&self, machine: &[(&'static str, String)]) -> String {
        let mut text = String::new();
        for (name, value) in machine {
            let _ = writeln!(text, "{name}: {value}"); // a String takes all
        }
        let reached: Vec<_> =
            goals::GOALS.iter().filter_map(|goal| Some((goal, goal.measure.of(self)?))).collect();
        if !reached.is_empty() {
            let _ = writeln!(
                text,
                "\n{:<4} {:<62} {:>11}  {:<9} {:<9}",
                "goal", "what", "measured", "must", "aim"
            );
        }
        for (goal, value) in reached {
            let times = if matches!(goal.measure, Measure::Value(_)) { "" } else { "×" };
            let _ = writeln!(
                text,
                "{:<4} {:<62} {:>11}  {:<9} {:<9} {}",
                goal.number,
                goal.what,
                format!("{}{times}", short(value)),
                goal.must.to_string(),
                goal.aim.map(|aim| aim.to_string()).unwrap_or_default(),
                goal.verdict(value),
            );
        }
        let _ = writeln!(text, "\n{:>11} {:<8} what (low – high, rounds)", "median", "unit");
        for row in &self.rows {
            let _ = write!(text, "{:>11} {:<8} {}", short(row.median()), row.unit, row.what);
            if row.values.len() > 1 {
                let _ =
                    write!(text, "  ({} – {}, {})", short(row.low()), short(row.high()), row.values.len());
            }
            text.push('\n');
        }
        for failure in &self.failures {
            let _ = writeln!(text, "NOT MEASURED: {failure}");
        }
        text
    }
}

/// The `q`-quantile.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Three figures that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        million if million >= 1e6 => format!("{:.2} M", value / 1e6),
        large if large >= 1e5 => format!("{:.0} k", value / 1e3),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
