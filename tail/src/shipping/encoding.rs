//! A record as a store takes it: `_bulk` of Elasticsearch, with the names of ECS, or OTLP in JSON, with those of
//! OpenTelemetry's semantic conventions. Each record is one line or two, so that some of a batch can be sent again.

use std::borrow::Cow;
use std::io::Write;

use serde::Deserialize;

use super::time::{read_rfc3339, write_rfc3339};
use crate::output::{Location, escape};

/// What is sent of a line, or of several that were joined.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The text, without the newline at its end.
    pub text: &'a [u8],
    /// The path that it is known by.
    pub path: &'a [u8],
    /// Where it begins.
    pub location: Location,
    /// When it was read, in nanoseconds since 1970.
    pub read_at: i64,
}

/// Whose lines they are.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// The pod's name, uid and namespace, its node and container; empty if unknown.
    pub pod: String,
    /// See `pod`.
    pub uid: String,
    /// See `pod`.
    pub namespace: String,
    /// See `pod`.
    pub node: String,
    /// See `pod`.
    pub container: String,
    /// Names and values of the operator's choice.
    pub labels: Vec<(String, String)>,
}

/// How records are written.
#[derive(Debug)]
pub struct Encoding {
    kind: Kind,
    /// A JSON line's own time counts.
    own_time: bool,
}

#[derive(Debug)]
enum Kind {
    /// `fields` ends each object; with `ids` it has an `_id` that depends on where it stands.
    Bulk { fields: Vec<u8>, ids: bool, uid: String },
    /// `head` is what stands before the records.
    Otlp { head: Vec<u8> },
}

impl Encoding {
    /// For `_bulk`; with `ids` a record that is sent again has the same `_id`.
    #[must_use]
    pub fn bulk(fields: &Fields, own_time: bool, ids: bool) -> Self {
        let mut text = Vec::new();
        let known = [
            ("kubernetes.pod.name", &fields.pod),
            ("kubernetes.pod.uid", &fields.uid),
            ("kubernetes.namespace", &fields.namespace),
            ("kubernetes.node.name", &fields.node),
            ("container.name", &fields.container),
        ];
        let mut put = |prefix: &str, name: &str, value: &str| {
            text.extend_from_slice(b",\"");
            escape(format!("{prefix}{name}").as_bytes(), &mut text);
            text.extend_from_slice(b"\":\"");
            escape(value.as_bytes(), &mut text);
            text.push(b'"');
        };
        for (name, value) in known.into_iter().filter(|one| !one.1.is_empty()) {
            put("", name, value);
        }
        // ECS: labels have no dots, which would make objects of them
        let labels = fields.labels.iter().map(|(name, value)| (name.replace('.', "_"), value));
        for (name, value) in distinct(labels) {
            put("labels.", &name, value);
        }
        text.extend_from_slice(b"}\n");
        Self { kind: Kind::Bulk { fields: text, ids, uid: fields.uid.clone() }, own_time }
    }

    /// For OTLP.
    #[must_use]
    pub fn otlp(fields: &Fields, own_time: bool) -> Self {
        let mut head = b"{\"resourceLogs\":[{\"resource\":{\"attributes\":[".to_vec();
        let known = [
            ("k8s.pod.name", &fields.pod),
            ("k8s.pod.uid", &fields.uid),
            ("k8s.namespace.name", &fields.namespace),
            ("k8s.node.name", &fields.node),
            ("k8s.container.name", &fields.container),
        ];
        let known = known.into_iter().filter(|one| !one.1.is_empty()).map(|(name, value)| (name.to_owned(), value));
        let labels = fields.labels.iter().map(|(name, value)| (name.clone(), value));
        for (name, value) in distinct(known.chain(labels)) {
            attribute(&name, value.as_bytes(), &mut head);
            head.push(b',');
        }
        if head.last() == Some(&b',') {
            head.pop();
        }
        head.extend_from_slice(b"]},\"scopeLogs\":[{\"scope\":{\"name\":\"pillion-tail\"},\"logRecords\":[\n");
        Self { kind: Kind::Otlp { head }, own_time }
    }

    /// Return whether it is for `_bulk`.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(self.kind, Kind::Bulk { .. })
    }

    /// Return how many lines each record has.
    #[must_use]
    pub fn lines(&self) -> usize {
        if self.is_bulk() { 2 } else { 1 }
    }

    /// Return what stands before the records, one line or nothing.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        if let Kind::Otlp { head } = &self.kind { head } else { b"" }
    }

    /// Return what stands between two records.
    #[must_use]
    pub fn separator(&self) -> &'static [u8] {
        if self.is_bulk() { b"" } else { b"," }
    }

    /// Return what stands after the records.
    #[must_use]
    pub fn end(&self) -> &'static [u8] {
        if self.is_bulk() { b"" } else { b"]}]}]}" }
    }

    /// Write a record.
    pub fn write(&self, record: &Record<'_>, to: &mut Vec<u8>) {
        let own = self.own_time.then(|| own_time(record.text)).flatten();
        match &self.kind {
            Kind::Bulk { fields, ids, uid } => {
                if *ids {
                    let _ = writeln!(to, "{{\"create\":{{\"_id\":\"{:032x}\"}}}}", identity(uid, record));
                } else {
                    to.extend_from_slice(b"{\"create\":{}}\n");
                }
                to.extend_from_slice(b"{\"@timestamp\":\"");
                write_rfc3339(own.unwrap_or(record.read_at), to);
                to.extend_from_slice(b"\",\"message\":\"");
                escape(record.text, to);
                to.extend_from_slice(b"\",\"log.file.path\":\"");
                escape(record.path, to);
                let _ = write!(to, "\",\"log.offset\":{}", record.location.at);
                to.extend_from_slice(fields);
            }
            Kind::Otlp { .. } => {
                to.push(b'{');
                if let Some(own) = own {
                    let _ = write!(to, "\"timeUnixNano\":\"{own}\",");
                }
                let _ = write!(to, "\"observedTimeUnixNano\":\"{}\",\"body\":{{\"stringValue\":\"", record.read_at);
                escape(record.text, to);
                to.extend_from_slice(b"\"},\"attributes\":[");
                attribute("log.file.path", record.path, to);
                let _ = write!(
                    to,
                    ",{{\"key\":\"log.file.record_offset\",\"value\":{{\"intValue\":\"{}\"}}}}]}}",
                    record.location.at
                );
                to.push(b'\n');
            }
        }
    }
}

/// Return these fields, and of those with the same name the last one alone: Elasticsearch takes no document in which a
/// name is there twice.
fn distinct<'a>(fields: impl Iterator<Item = (String, &'a String)>) -> Vec<(String, &'a String)> {
    let mut found: Vec<(String, &String)> = Vec::new();
    for field in fields {
        found.retain(|other| other.0 != field.0);
        found.push(field);
    }
    found
}

fn attribute(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(b"{\"key\":\"");
    escape(name.as_bytes(), to);
    to.extend_from_slice(b"\",\"value\":{\"stringValue\":\"");
    escape(value, to);
    to.extend_from_slice(b"\"}}");
}

/// Return a number that is the same each time a record is read, and another one for any other: FNV-1a of 128 bits of
/// where it stands and what it is.
fn identity(uid: &str, record: &Record<'_>) -> u128 {
    let it = record.location;
    let numbers = [it.id.device, it.id.inode, it.version, it.at];
    let numbers = numbers.into_iter().flat_map(u64::to_le_bytes).chain(it.born.to_le_bytes());
    let bytes = uid.bytes().chain(numbers).chain(record.text.iter().copied());
    bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |sum, byte| {
        (sum ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// Return the time that a JSON line says itself, as `@timestamp` or `time`: RFC 3339, or a number of seconds,
/// milliseconds, microseconds or nanoseconds since 1970, told by its size. OTLP has no time before that.
fn own_time(text: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Line<'a> {
        #[serde(rename = "@timestamp", borrow, default)]
        timestamp: Option<Value<'a>>,
        #[serde(borrow, default)]
        time: Option<Value<'a>>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value<'a> {
        Integer(i64),
        Float(f64),
        #[serde(borrow)]
        Text(Cow<'a, str>),
        Other(serde::de::IgnoredAny),
    }

    if !text.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let line: Line<'_> = serde_json::from_slice(text).ok()?;
    [line.timestamp, line.time].into_iter().flatten().find_map(|value| match value {
        Value::Text(text) => read_rfc3339(&text).filter(|time| *time >= 0),
        Value::Integer(number) => from_number(number),
        Value::Float(seconds) => (0.0..1e11).contains(&seconds).then_some((seconds * 1e9) as i64),
        Value::Other(_) => None,
    })
}

/// Return the time of a number: below 1e11 it counts seconds, which is until the year 5138, and so on.
fn from_number(number: i64) -> Option<i64> {
    let scale = match number {
        ..0 => return None,
        0..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    };
    number.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn fields() -> Fields {
        let labels = vec![("team.name".to_owned(), "a\"b".to_owned())];
        Fields { pod: "shop-1".into(), uid: "u".into(), namespace: "shop".into(), labels, ..Fields::default() }
    }

    fn record(text: &[u8]) -> Record<'_> {
        let location = Location { at: 7, ..Location::default() };
        Record { text, path: b"/a.log", location, read_at: 1_700_000_000_000_000_001 }
    }

    fn lines(encoding: &Encoding, text: &[u8]) -> Vec<Value> {
        let mut written = Vec::new();
        encoding.write(&record(text), &mut written);
        written.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn bulk_has_the_names_of_ecs() {
        let found = lines(&Encoding::bulk(&fields(), false, false), b"a \"b\"");
        let document = json!({
            "@timestamp": "2023-11-14T22:13:20.000000001Z", "message": "a \"b\"", "log.file.path": "/a.log",
            "log.offset": 7, "kubernetes.pod.name": "shop-1", "kubernetes.pod.uid": "u",
            "kubernetes.namespace": "shop", "labels.team_name": "a\"b",
        });
        assert_eq!(found, [json!({"create": {}}), document]);
    }

    #[test]
    fn otlp_has_the_names_of_the_conventions() {
        let encoding = Encoding::otlp(&fields(), false);
        let mut text = encoding.head().to_vec();
        encoding.write(&record(b"line"), &mut text);
        text.extend_from_slice(encoding.separator());
        encoding.write(&record(b"two"), &mut text);
        text.extend_from_slice(encoding.end());
        let found: Value = serde_json::from_slice(&text).unwrap();
        let resource = &found["resourceLogs"][0];
        let names: Vec<&str> = resource["resource"]["attributes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["key"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["k8s.pod.name", "k8s.pod.uid", "k8s.namespace.name", "team.name"]);
        let records = resource["scopeLogs"][0]["logRecords"].as_array().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["body"]["stringValue"], "line");
        assert_eq!(records[0]["observedTimeUnixNano"], "1700000000000000001");
        assert_eq!(records[0]["attributes"][1]["value"]["intValue"], "7");
    }

    #[test]
    fn a_name_is_there_once() {
        let labels = [("team", "a"), ("tier.name", "b"), ("tier_name", "c"), ("k8s.pod.name", "mine"), ("team", "d")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let fields = Fields { pod: "shop-1".into(), labels, ..Fields::default() };
        let mut text = Vec::new();
        Encoding::bulk(&fields, false, false).write(&record(b"x"), &mut text);
        let text = String::from_utf8(text).unwrap();
        for (name, value) in [("team", "d"), ("tier_name", "c")] {
            assert_eq!(text.matches(&format!("\"labels.{name}\"")).count(), 1, "{text}");
            assert!(text.contains(&format!("\"labels.{name}\":\"{value}\"")), "{text}");
        }
        let head = String::from_utf8(Encoding::otlp(&fields, false).head().to_vec()).unwrap();
        assert_eq!(head.matches("\"k8s.pod.name\"").count(), 1, "{head}");
        assert!(head.contains("mine") && !head.contains("shop-1"), "{head}");
    }

    #[test]
    fn an_id_is_of_a_place_and_a_text() {
        let encoding = Encoding::bulk(&fields(), false, true);
        let id = |text: &[u8]| lines(&encoding, text)[0]["create"]["_id"].as_str().unwrap().to_owned();
        assert_eq!(id(b"one"), id(b"one"));
        assert_ne!(id(b"one"), id(b"two"));
        let mut again = record(b"one");
        again.location.version = 1;
        assert_ne!(identity("u", &again), identity("u", &record(b"one")));
    }

    #[test]
    fn a_line_may_say_its_time() {
        let second = 1_000_000_000;
        for (text, time) in [
            (r#"{"@timestamp": "1970-01-01T00:00:01Z", "time": 5}"#, Some(second)),
            (r#"{"time": "1970-01-01T00:00:02Z", "x": [1, {}]}"#, Some(2 * second)),
            (r#"{"@timestamp": "soon", "time": 3}"#, Some(3 * second)),
            (r#"{"time": 1700000000123}"#, Some(1_700_000_000_123_000_000)),
            (r#"{"time": {"a": 1}}"#, None),
            (r#"{"time": 1.5}"#, Some(3 * second / 2)),
            (r#"{"time": -1}"#, None),
            (r#"{"time": "1969-12-31T23:59:59Z"}"#, None),
            (r#"{"time": 1, "time": 2}"#, None),
            (r#"{"time": 18446744073709551615}"#, None),
            (r#"{"time": "2500-01-01T00:00:00Z"}"#, None),
            ("{", None),
            ("time 5", None),
            ("", None),
        ] {
            assert_eq!(own_time(text.as_bytes()), time, "{text}");
        }
        let found = lines(&Encoding::bulk(&fields(), true, false), br#"{"time": 1}"#);
        assert_eq!(found[1]["@timestamp"], "1970-01-01T00:00:01.000000000Z");
    }

    proptest! {
        #[test]
        fn whatever_a_line_has_it_is_json(text: Vec<u8>, own: bool) {
            lines(&Encoding::bulk(&fields(), own, true), &text);
            lines(&Encoding::otlp(&fields(), own), &text);
        }
    }
}
