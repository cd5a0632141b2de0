//! Tables of text, one row at a time: what every trace format stands on.
//!
//! A format says how a row is split, which columns it needs, and what a row means; this module opens the file, counts
//! lines, finds columns by name, and turns what is wrong into an error with file and line. A lenient reader counts bad
//! rows and goes on; a strict one stops at the first. Memory is one row, whatever the size of the file.

use super::{compressed, numbers};
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

/// The longest line, in bytes: a file without line ends must not fill the memory.
pub const LINE_BYTES_MAX: u64 = 1 << 20;
/// So many bad rows are kept in words by a lenient reader; the rest is only counted.
pub const SKIPPED_SHOWN_MAX: usize = 20;

/// A field in quotes goes over so many lines at most: a quote too many must not swallow the file.
pub const QUOTED_LINES_MAX: usize = 16;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The header lacks a column.
    #[error("the header has no column {0:?}")]
    NoColumn(&'static str),
    /// The header has a column more than once.
    #[error("the header has column {0:?} more than once")]
    Twice(&'static str),
    /// A file without the line that names its columns.
    #[error("there is no header")]
    NoHeader,
    /// The row is too short.
    #[error("the row has {found} fields, column {column:?} is missing")]
    Short {
        /// Fields found.
        found: usize,
        /// The first one missing.
        column: &'static str,
    },
    /// Not a number, or not one of the wanted kind.
    #[error("column {column:?} should be {wanted}, not {text:?}")]
    Unfit {
        /// The column.
        column: &'static str,
        /// What was wanted.
        wanted: &'static str,
        /// What was there.
        text: String,
    },
    /// A quote that opens a field and is not closed within [`QUOTED_LINES_MAX`] lines, or text after a closing quote.
    #[error("a quoted field does not end where a field ends")]
    Quote,
    /// A quote that opens a field and is not closed on this line; the next ones may close it.
    #[error("a quoted field does not end where a field ends")]
    OpenQuote,
    /// Not UTF-8.
    #[error("the line is not UTF-8")]
    NotText,
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("the line is longer than {LINE_BYTES_MAX} bytes")]
    Long,
    /// Anything else the format does not accept.
    #[error("{0}")]
    Unsound(String),
}

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It could not be opened.
    #[error("{}: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why. It is part of the words, so it is no source: whoever tells the chain would say it twice.
        why: io::Error,
    },
    /// It could not be read on.
    #[error("{}:{line}: {why}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// After this line.
        line: u64,
        /// Why, as above.
        why: io::Error,
    },
    /// A row is bad.
    #[error("{}:{line}: {fault}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from one.
        line: u64,
        /// What is wrong.
        fault: Fault,
    },
}

/// What to do with a bad row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Stop with an error.
    #[default]
    Strict,
    /// Count it and go on. A missing header column is an error all the same.
    Lenient,
}

/// The rows a lenient reader left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// How many.
    pub rows: u64,
    /// The first of them, in words, with file and line; and what else is not as the file says.
    pub shown: Vec<String>,
}

/// How lines are split into fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// At this character; a field may stand in double quotes, a quote inside is doubled, a line's end inside is a blank.
    /// Blanks around a field do not count, unless they are in quotes.
    At(char),
    /// At runs of blanks.
    Blanks,
}

/// A format of rows.
pub trait Format {
    /// What a row says.
    type Row;

    /// How lines are split.
    fn split(&self) -> Split;

    /// The columns a row has, in the order in which [`Fields`] numbers them; the flag says which must be there. With a
    /// header they are found by name, without one they stand in this order.
    fn columns(&self) -> &'static [(&'static str, bool)];

    /// Whether the first line that is no comment names the columns.
    fn has_header(&self) -> bool;

    /// Takes a line that begins with a comment mark, or does not know it (then it is a row).
    fn comment(&mut self, _line: &str) -> bool {
        false
    }

    /// Reads a row; none leaves it out without complaint.
    fn row(&mut self, fields: &Fields<'_>) -> Result<Option<Self::Row>, Fault>;
}

/// The fields of one row, by the numbers of the format's columns.
pub struct Fields<'a> {
    texts: &'a [String],
    places: &'a [Option<usize>],
    columns: &'static [(&'static str, bool)],
}

impl Fields<'_> {
    /// The text of a column; empty where an optional column is not there.
    pub fn text(&self, column: usize) -> &str {
        self.places[column].and_then(|place| self.texts.get(place)).map_or("", String::as_str)
    }

    /// Whether the column is missing or empty.
    pub fn is_empty(&self, column: usize) -> bool {
        self.text(column).is_empty()
    }

    /// The fault of a column that is not what it should be.
    pub fn unfit(&self, column: usize, wanted: &'static str) -> Fault {
        Fault::Unfit { column: self.columns[column].0, wanted, text: self.text(column).to_owned() }
    }

    /// A whole number of any sign, also one written as a decimal.
    pub fn signed(&self, column: usize) -> Result<i64, Fault> {
        numbers::whole(self.text(column)).ok_or_else(|| self.unfit(column, "a whole number"))
    }

    /// A whole number from zero up to `most`.
    pub fn unsigned(&self, column: usize, most: u64) -> Result<u64, Fault> {
        let text = self.text(column);
        let decimal = || numbers::whole(text).and_then(|value| u64::try_from(value).ok());
        let value = text.parse().ok().or_else(decimal).filter(|value| *value <= most);
        value.ok_or_else(|| self.unfit(column, "a whole number from zero within its bound"))
    }

    /// A decimal from zero up, in units of 10^-`places`.
    pub fn scaled(&self, column: usize, places: u32) -> Result<u64, Fault> {
        let value = numbers::scaled(self.text(column), places).and_then(|value| u64::try_from(value).ok());
        value.ok_or_else(|| self.unfit(column, "a decimal from zero"))
    }

    /// A decimal of any sign, in units of 10^-`places`.
    pub fn scaled_signed(&self, column: usize, places: u32) -> Result<i64, Fault> {
        numbers::scaled(self.text(column), places).ok_or_else(|| self.unfit(column, "a decimal"))
    }
}

/// What a line says; the flag tells a fault that nobody may skip.
type Taken<R> = Result<Option<R>, (Fault, bool)>;

/// The rows of one file in one format. An iterator; after an error it is at its end.
pub struct Rows<F: Format> {
    source: Box<dyn BufRead>,
    path: PathBuf,
    line: u64,
    /// What ends a line; a carriage return in files of old Macintosh programs.
    end: u8,
    format: F,
    strictness: Strictness,
    skipped: Skipped,
    places: Option<Vec<Option<usize>>>,
    is_over: bool,
    buffer: Vec<u8>,
    texts: Vec<String>,
}

impl<F: Format> Rows<F> {
    /// Opens a file, plain, gzip or zstd.
    pub fn open(path: &Path, format: F, strictness: Strictness) -> Result<Self, ReadError> {
        let source = compressed::open(path).map_err(|why| ReadError::Open { path: path.to_owned(), why })?;
        Ok(Self::new(source, path, format, strictness))
    }

    /// Reads bytes that are there already, plain, gzip or zstd; `name` stands for the file in errors.
    pub fn bytes(bytes: &'static [u8], name: &str, format: F, strictness: Strictness) -> Result<Self, ReadError> {
        let path = PathBuf::from(name);
        let source = compressed::unpack(bytes).map_err(|why| ReadError::Open { path: path.clone(), why })?;
        Ok(Self::new(source, &path, format, strictness))
    }

    fn new(source: Box<dyn BufRead>, path: &Path, format: F, strictness: Strictness) -> Self {
        Self {
            source,
            path: path.to_owned(),
            line: 0,
            end: b'\n',
            format,
            strictness,
            skipped: Skipped::default(),
            places: None,
            is_over: false,
            buffer: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// The format, with what it learned from comments so far.
    pub fn format(&self) -> &F {
        &self.format
    }

    /// What was left out so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The number of the line last read.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads the file to its end: the rows, the format with what it learned, what was left out.
    pub fn collect_all(mut self) -> Result<(Vec<F::Row>, F, Skipped), ReadError> {
        let rows = self.by_ref().collect::<Result<Vec<_>, _>>()?;
        Ok((rows, self.format, self.skipped))
    }

    /// The next line into the buffer, without its end; false at the end of the file.
    fn advance(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        if self.advance_raw()? == 0 {
            return Ok(false);
        }
        if self.line == 1 {
            if self.buffer.starts_with(&[0xef, 0xbb, 0xbf]) {
                self.buffer.drain(..3);
            }
            let is_one_line = self.buffer.last() != Some(&b'\n');
            if let Some(first) = self.buffer.iter().position(|byte| *byte == b'\r').filter(|_| is_one_line) {
                self.put_back(first + 1);
                self.end = b'\r';
            }
        }
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        Ok(true)
    }

    /// Adds the next line with its end to the buffer; how many bytes it has.
    fn advance_raw(&mut self) -> Result<usize, ReadError> {
        let failed = |why| ReadError::Read { path: self.path.clone(), line: self.line, why };
        let mut limited = (&mut self.source).take(LINE_BYTES_MAX + 1);
        let read = limited.read_until(self.end, &mut self.buffer).map_err(failed)?;
        self.line += u64::from(read > 0);
        Ok(read)
    }

    /// Puts what the buffer has from a place on back before what is still to be read.
    fn put_back(&mut self, from: usize) {
        let rest = io::Cursor::new(self.buffer.split_off(from));
        let source = core::mem::replace(&mut self.source, Box::new(io::empty()));
        self.source = Box::new(rest.chain(source));
    }

    /// What the line in the buffer says, with the next ones as far as a field in quotes goes over its end. When none of them
    /// ends the field, each is read as a line of its own.
    fn take_whole(&mut self) -> Result<Taken<F::Row>, ReadError> {
        let first = self.line;
        let mut raw = Vec::new();
        let mut taken = self.take();
        while matches!(taken, Err((Fault::OpenQuote, _))) {
            let from = self.buffer.len() + 1;
            self.buffer.push(b' ');
            let is_more = self.line - first < QUOTED_LINES_MAX as u64 - 1 && self.advance_raw()? > 0;
            raw.extend_from_slice(&self.buffer[from..]);
            while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
                self.buffer.pop();
            }
            if !is_more || self.buffer.len() as u64 > LINE_BYTES_MAX {
                (self.buffer, self.line) = (raw, first);
                self.put_back(0);
                return Ok(Err((Fault::Quote, false)));
            }
            taken = self.take();
        }
        Ok(taken)
    }

    /// What the line in the buffer says; the flag tells a fault nobody may skip.
    fn take(&mut self) -> Taken<F::Row> {
        if self.buffer.len() as u64 > LINE_BYTES_MAX {
            return Err((Fault::Long, true));
        }
        let line = match core::str::from_utf8(&self.buffer) {
            Ok(line) => line,
            // Comments name places and people in whatever encoding their authors had.
            Err(_) if self.format.comment(&String::from_utf8_lossy(&self.buffer)) => return Ok(None),
            Err(_) => return Err((Fault::NotText, false)),
        };
        if line.trim().is_empty() || self.format.comment(line) {
            return Ok(None);
        }
        split(line, self.format.split(), &mut self.texts).map_err(|fault| (fault, false))?;
        let columns = self.format.columns();
        let Some(places) = &self.places else {
            self.places = Some(if self.format.has_header() {
                find(columns, &self.texts).map_err(|fault| (fault, true))?
            } else {
                (0..columns.len()).map(Some).collect()
            });
            return if self.format.has_header() { Ok(None) } else { self.take() };
        };
        for ((column, is_needed), place) in columns.iter().zip(places) {
            if *is_needed && place.is_some_and(|place| place >= self.texts.len()) {
                return Err((Fault::Short { found: self.texts.len(), column }, false));
            }
        }
        let fields = Fields { texts: &self.texts, places, columns };
        self.format.row(&fields).map_err(|fault| (fault, false))
    }
}

impl<F: Format> Iterator for Rows<F> {
    type Item = Result<F::Row, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            match self.advance() {
                Ok(true) => {}
                Ok(false) if self.places.is_none() && self.format.has_header() => {
                    self.is_over = true;
                    let (path, line) = (self.path.clone(), self.line.max(1));
                    return Some(Err(ReadError::Row { path, line, fault: Fault::NoHeader }));
                }
                Ok(false) => break,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
            let taken = match self.take_whole() {
                Ok(taken) => taken,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            };
            match taken {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err((fault, false)) if self.strictness == Strictness::Lenient => {
                    self.skipped.rows += 1;
                    if self.skipped.shown.len() < SKIPPED_SHOWN_MAX {
                        self.skipped.shown.push(format!("{}:{}: {fault}", self.path.display(), self.line));
                    }
                }
                Err((fault, _)) => {
                    self.is_over = true;
                    return Some(Err(ReadError::Row { path: self.path.clone(), line: self.line, fault }));
                }
            }
        }
        self.is_over = true;
        None
    }
}

/// Where the wanted columns stand in a header: by their very names, else in letters of any case.
fn find(columns: &[(&'static str, bool)], header: &[String]) -> Result<Vec<Option<usize>>, Fault> {
    let places = |is_it: &dyn Fn(&str) -> bool| {
        let mut places = (0..header.len()).filter(|&at| is_it(header[at].trim()));
        (places.next(), places.next().is_some())
    };
    let place = |&(name, is_needed): &(&'static str, bool)| {
        let (exact, is_twice) = places(&|one| one == name);
        let (place, is_twice) = match exact {
            Some(_) => (exact, is_twice),
            None => places(&|one| one.eq_ignore_ascii_case(name)),
        };
        match place {
            _ if is_twice => Err(Fault::Twice(name)),
            None if is_needed => Err(Fault::NoColumn(name)),
            place => Ok(place),
        }
    };
    columns.iter().map(place).collect()
}

/// Splits a line, reusing the texts of the line before.
fn split(line: &str, how: Split, texts: &mut Vec<String>) -> Result<(), Fault> {
    let mut count = 0;
    let mut put = |text: &str, is_more: bool| {
        if !is_more {
            count += 1;
            if texts.len() < count {
                texts.push(String::new());
            }
            texts[count - 1].clear();
        }
        texts[count - 1].push_str(text);
    };
    match how {
        Split::Blanks => line.split_ascii_whitespace().for_each(|text| put(text, false)),
        Split::At(mark) => {
            let mut rest = Some(line);
            while let Some(open) = rest {
                let Some(mut quoted) = open.trim_start_matches(' ').strip_prefix('"') else {
                    let (text, after) = open.split_once(mark).map_or((open, None), |(text, after)| (text, Some(after)));
                    put(text.trim(), false);
                    rest = after;
                    continue;
                };
                put("", false);
                rest = loop {
                    let (text, after) = quoted.split_once('"').ok_or(Fault::OpenQuote)?;
                    put(text, true);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            put("\"", true);
                            quoted = more;
                        }
                        None if after.trim().is_empty() => break None,
                        None => break Some(after.trim_start_matches(' ').strip_prefix(mark).ok_or(Fault::Quote)?),
                    }
                };
            }
        }
    }
    texts.truncate(count);
    Ok(())
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
