//! Tables, column by column: of runs, as they are written to files and drawn in reports, and of workloads. [`mod@write`] makes a
//! Parquet file of one, [`read`] makes CSV of a Parquet file.

pub(crate) mod read;
pub(crate) mod write;

use std::fmt::Write as _;

/// The values of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Column {
    Whole(Vec<i64>),
    /// Whole numbers that may be missing.
    Maybe(Vec<Option<i64>>),
    Real(Vec<f64>),
    /// Words without commas, quotes and line ends.
    Text(Vec<String>),
}

impl Column {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Whole(values) => values.len(),
            Self::Maybe(values) => values.len(),
            Self::Real(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }

    fn write(&self, row: usize, into: &mut String) {
        let written = match self {
            Self::Whole(values) => write!(into, "{}", values[row]),
            Self::Maybe(values) => values[row].map_or(Ok(()), |value| write!(into, "{value}")),
            Self::Real(values) => write!(into, "{}", values[row]),
            Self::Text(values) => write!(into, "{}", values[row]),
        };
        written.expect("a text takes what is written");
    }
}

/// Columns of equal length with their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    columns: Vec<(String, Column)>,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a column.
    ///
    /// # Panics
    /// When it is not as long as the others.
    pub(crate) fn with(mut self, name: impl Into<String>, column: Column) -> Self {
        assert!(self.columns.is_empty() || column.len() == self.rows(), "columns of one length");
        self.columns.push((name.into(), column));
        self
    }

    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, |(_, column)| column.len())
    }

    pub(crate) fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// The numbers of a column, if there is one of this name.
    pub(crate) fn real(&self, name: &str) -> Option<&[f64]> {
        match self.columns.iter().find(|(one, _)| one == name) {
            Some((_, Column::Real(values))) => Some(values),
            _ => None,
        }
    }

    /// As CSV: a header, a line for each row, nothing where a value is missing. Names and values have no commas.
    pub(crate) fn to_csv(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = names.join(",");
        text.push('\n');
        for row in 0..self.rows() {
            for (at, (_, column)) in self.columns.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                column.write(row, &mut text);
            }
            text.push('\n');
        }
        text
    }
}
