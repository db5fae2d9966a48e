//! Records, compressed as they come: memory holds little more than what is sent.

use std::io::{BufRead, BufReader, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;

use super::encoding::Encoding;

/// A batch is full with so many bytes before compression, or so many records.
const MOST_BYTES: usize = 1 << 20;
const MOST_RECORDS: usize = 5000;

/// Records that are collected.
#[derive(Debug)]
pub struct Batch {
    encoder: GzEncoder<Vec<u8>>,
    bytes: usize,
    records: usize,
}

/// Records that are sent.
#[derive(Debug)]
pub struct Body {
    /// The request's body, compressed by gzip.
    pub gzip: Vec<u8>,
    /// How many records it has.
    pub records: usize,
}

impl Batch {
    /// Begin a batch.
    #[must_use]
    pub fn new(encoding: &Encoding) -> Self {
        let mut batch = Self { encoder: GzEncoder::new(Vec::new(), Compression::fast()), bytes: 0, records: 0 };
        batch.put(encoding.head());
        batch
    }

    /// Add a record.
    pub fn add(&mut self, encoding: &Encoding, record: &[u8]) {
        if self.records > 0 {
            self.put(encoding.separator());
        }
        self.put(record);
        self.records += 1;
    }

    /// Return whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Return whether it is to be sent.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.records >= MOST_RECORDS
    }

    /// Return the body.
    #[must_use]
    pub fn finish(mut self, encoding: &Encoding) -> Body {
        self.put(encoding.end());
        // writing to memory does not fail
        Body { gzip: self.encoder.finish().unwrap_or_default(), records: self.records }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        let _ = self.encoder.write_all(bytes);
    }
}

impl Body {
    /// Return a body with some of the records, chosen by their numbers.
    #[must_use]
    pub fn select(&self, encoding: &Encoding, mut chosen: impl FnMut(usize) -> bool) -> Self {
        let mut lines = BufReader::new(GzDecoder::new(self.gzip.as_slice()));
        let mut batch = Batch::new(encoding);
        let mut record = Vec::new();
        if !encoding.head().is_empty() {
            let _ = lines.read_until(b'\n', &mut record);
        }
        for number in 0..self.records {
            record.clear();
            for _ in 0..encoding.lines() {
                let _ = lines.read_until(b'\n', &mut record);
            }
            if chosen(number) {
                batch.add(encoding, record.strip_prefix(encoding.separator()).unwrap_or(&record));
            }
        }
        batch.finish(encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipping::encoding::Fields;
    use std::io::Read;

    fn text(body: &Body) -> String {
        let mut text = String::new();
        GzDecoder::new(body.gzip.as_slice()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn some_records_of_a_batch() {
        let bulk = Encoding::bulk(&Fields::default(), false, false);
        let mut batch = Batch::new(&bulk);
        for number in 0..4 {
            batch.add(&bulk, format!("{{}}\n{number}\n").as_bytes());
        }
        let body = batch.finish(&bulk);
        let some = body.select(&bulk, |number| number % 2 == 1);
        assert_eq!((some.records, text(&some)), (2, "{}\n1\n{}\n3\n".to_owned()));
        assert_eq!(text(&body.select(&bulk, |_| true)), text(&body));

        let otlp = Encoding::otlp(&Fields::default(), false);
        let mut batch = Batch::new(&otlp);
        for number in 0..4 {
            batch.add(&otlp, format!("{{{number}}}\n").as_bytes());
        }
        let body = batch.finish(&otlp);
        let some = body.select(&otlp, |number| number != 0);
        assert!(text(&some).ends_with("\"logRecords\":[\n{1}\n,{2}\n,{3}\n]}]}]}"), "{}", text(&some));
        assert_eq!(text(&body.select(&otlp, |_| true)), text(&body));
    }

    #[test]
    fn a_batch_has_an_end() {
        let bulk = Encoding::bulk(&Fields::default(), false, false);
        let mut batch = Batch::new(&bulk);
        batch.add(&bulk, &vec![b'x'; MOST_BYTES]);
        assert!(batch.is_full());
        assert!(batch.finish(&bulk).gzip.len() < MOST_BYTES / 100);
    }
}
