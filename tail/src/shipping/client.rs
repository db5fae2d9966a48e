//! A request, and what its answer means.

use std::io::{BufReader, Read};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::credentials::Scheme;
use super::haste::Haste;
use super::time::read_http_date;
use crate::complaints::shown;

/// The CAs of Debian, and of our image.
pub const SYSTEM_CAS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A connection that was idle for longer is not used again: what is between may have forgotten it.
const IDLE: Duration = Duration::from_secs(15);
/// A store that is there takes a connection within this time. One whose node is gone says nothing; at the pod's end there
/// is no time to wait for it as long as for an answer.
const CONNECT: Duration = Duration::from_secs(5);
/// So much of an answer is read; one of Elasticsearch with an error for each record has a quarter.
const MOST_ANSWER: u64 = 8 << 20;
/// So much of a text of the store is shown.
const SHOWN: usize = 200;
/// What is left of an answer is read up to this length, so that the connection can be used again.
const MOST_SKIPPED: u64 = 64 << 10;
const BUFFER: usize = 16 << 10;

/// Where records go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address of `_bulk`, or of OTLP's logs.
    pub url: String,
    /// How we say who we are.
    pub scheme: Scheme,
    /// Files with the CAs that are trusted, and with our own certificate and its key.
    pub ca: Option<String>,
    /// See `ca`.
    pub certificate: Option<String>,
    /// See `ca`.
    pub key: Option<String>,
    /// A request that takes longer has failed.
    pub timeout: Duration,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// All records are stored, but for so many, for this reason.
    Accepted(u64, String),
    /// What became of each record.
    Each(Vec<Outcome>),
    /// The request is refused because of what is in it, of how it is made, or of its size.
    Refused(String),
    /// Try again. If it goes on, the request may be to blame: a collector says the same of a store that is broken and of
    /// a batch that its store does not want, because it is too large, say.
    Broken(String),
    /// Try again, and not before that.
    Later(String, Option<Duration>),
}

/// What became of a record. It is made while the answer is read, so that no long text of it is kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "Item")]
pub enum Outcome {
    /// It is stored, or was already.
    Stored,
    /// Try again.
    Later(String),
    /// It is refused for this reason: the first text is the same for all of its kind.
    Rejected(String, String),
}

/// A client of one store.
#[derive(Debug)]
pub struct Client {
    target: Target,
    is_bulk: bool,
    haste: Arc<Haste>,
    agent: Option<Agent>,
}

impl Client {
    /// Make ready for a store; nothing is read or connected yet.
    #[must_use]
    pub fn new(target: Target, is_bulk: bool, haste: Arc<Haste>) -> Self {
        Self { target, is_bulk, haste, agent: None }
    }

    /// Return the address without what may be secret in it.
    #[must_use]
    pub fn address(&self) -> String {
        let url = self.target.url.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        shown(format!("{scheme}://{}{path}", host.rsplit('@').next().unwrap_or(host)).as_bytes())
    }

    /// Send a body, compressed by gzip.
    pub fn post(&mut self, gzip: &[u8]) -> Answer {
        let answer = self.try_post(gzip).unwrap_or_else(|why| Answer::Later(why, None));
        if matches!(answer, Answer::Later(..) | Answer::Broken(_)) {
            // certificates may be renewed: the next attempt reads them again, and connects anew
            self.agent = None;
        }
        answer
    }

    fn try_post(&mut self, gzip: &[u8]) -> Result<Answer, String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let header = self.target.scheme.header(variable)?;
        let mut url = self.target.url.clone();
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return Err("no address: PILLION_URL has to begin with http:// or https://".to_owned());
        }
        let kind = if self.is_bulk {
            url.push(if url.contains('?') { '&' } else { '?' });
            url += "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";
            "application/x-ndjson"
        } else {
            "application/json"
        };
        let agent = match &self.agent {
            Some(agent) => agent.clone(),
            None => self.agent.insert(self.target.agent()?).clone(),
        };
        let mut request = agent.post(&url).header("content-type", kind).header("content-encoding", "gzip");
        if let Some((name, value)) = &header {
            request = request.header(*name, value);
        }
        self.haste.begins(&agent);
        let mut response = request.send(gzip).map_err(|error| error.to_string())?;
        let status = response.status();
        let after = response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
        // nobody is asked for it, but a proxy may compress what it likes
        let is_gzip = response.headers().get("content-encoding").is_some_and(|value| value == "gzip");
        let body = response.body_mut().as_reader();
        let body: Box<dyn Read> = if is_gzip { Box::new(GzDecoder::new(body)) } else { Box::new(body) };
        let mut reader = body.take(MOST_ANSWER);
        if status.is_success() {
            let answer = if self.is_bulk { read_bulk(reader) } else { read_otlp(reader) };
            return answer.map_err(|error| format!("its answer can't be read: {error}"));
        }
        let mut text = Vec::new();
        let _ = reader.by_ref().take(SHOWN as u64).read_to_end(&mut text);
        skip(reader);
        let text = format!("{status}: {}", cut(&shown(&text)));
        Ok(match status.as_u16() {
            400 | 413 | 415 | 422 => Answer::Refused(text),
            500 if !self.is_bulk => Answer::Broken(text),
            _ => Answer::Later(text, after),
        })
    }
}

impl Target {
    fn agent(&self) -> Result<Agent, String> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(self.timeout))
            .timeout_connect(Some(CONNECT.min(self.timeout)))
            .max_idle_age(IDLE)
            .max_idle_connections(1)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .user_agent(concat!("pillion-tail/", env!("CARGO_PKG_VERSION")));
        if !self.url.starts_with("https://") {
            return Ok(config.build().new_agent());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let ca = self.ca.as_deref().unwrap_or(SYSTEM_CAS);
        let authorities: Vec<Certificate<'static>> = parse_pem(&read(ca)?)
            .filter_map(|item| if let Ok(PemItem::Certificate(one)) = item { Some(one) } else { None })
            .collect();
        if authorities.is_empty() {
            return Err(format!("{} has no certificate of a CA", shown(ca.as_bytes())));
        }
        let own = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let (chain, secret) = (read(certificate)?, read(key)?);
                let bad = |error: &dyn std::fmt::Display| {
                    format!("{} and {} are no pair: {error}", shown(certificate.as_bytes()), shown(key.as_bytes()))
                };
                // ureq panics where they don't belong together
                let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
                let ders = ders.map_err(|error| bad(&error))?;
                let der = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| bad(&error))?;
                rustls::sign::CertifiedKey::from_der(ders.clone(), der, &provider).map_err(|error| bad(&error))?;
                let ders: Vec<_> = ders.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
                Some(ClientCert::new_with_certs(&ders, PrivateKey::from_pem(&secret).map_err(|error| bad(&error))?))
            }
            (None, None) => None,
            _ => return Err("a client's certificate needs a key, and a key a certificate".to_owned()),
        };
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::new_with_certs(&authorities))
            .client_cert(own)
            .build();
        Ok(config.tls_config(tls).build().new_agent())
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("can't read {}: {error}", shown(path.as_bytes())))
}

/// Read what is left of an answer: a connection whose answer was not read to its end is not used again.
fn skip(reader: impl Read) {
    let _ = std::io::copy(&mut reader.take(MOST_SKIPPED), &mut std::io::sink());
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Read a `Retry-After`: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let then = Duration::from_nanos(u64::try_from(read_http_date(text)?).ok()?);
    Some(then.saturating_sub(now))
}

/// What `_bulk` answers for a record.
#[derive(Deserialize)]
struct Item {
    #[serde(rename = "create", alias = "index")]
    of: Of,
}

#[derive(Deserialize)]
struct Of {
    status: u16,
    error: Option<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
}

impl From<Item> for Outcome {
    fn from(item: Item) -> Self {
        let (kind, reason) = item.of.error.map_or_else(<(String, String)>::default, |error| {
            (cut(&shown(error.kind.as_bytes())), cut(&shown(error.reason.unwrap_or_default().as_bytes())))
        });
        match item.of.status {
            // 409: the _id is ours, and there already
            200..=299 | 409 => Self::Stored,
            // 401, 403 and 404 are about us or the index, and somebody can change that
            401 | 403 | 404 | 429 | 500..=599 => Self::Later(format!("{}: {kind}", item.of.status)),
            status => Self::Rejected(format!("{status}: {kind}"), reason),
        }
    }
}

/// Read the answer of `_bulk`.
fn read_bulk(reader: impl Read) -> Result<Answer, serde_json::Error> {
    #[derive(Deserialize)]
    struct Bulk {
        errors: bool,
        #[serde(default)]
        items: Vec<Outcome>,
    }

    let bulk: Bulk = serde_json::from_reader(BufReader::with_capacity(BUFFER, reader))?;
    Ok(if bulk.errors { Answer::Each(bulk.items) } else { Answer::Accepted(0, String::new()) })
}

/// Read the answer of OTLP; an empty one is an empty object.
fn read_otlp(reader: impl Read) -> Result<Answer, serde_json::Error> {
    // JSON of protocol buffers has null for what is not set
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Export {
        partial_success: Option<Partial>,
    }

    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Partial {
        rejected_log_records: Option<Number>,
        error_message: Option<String>,
    }

    // and numbers of 64 bits as text, and readers take both
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(i64),
        Text(String),
    }

    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let answer = serde_json::Deserializer::from_reader(&mut reader).into_iter::<Export>().next().transpose()?;
    skip(reader);
    let partial = answer.unwrap_or_default().partial_success.unwrap_or_default();
    let rejected = match partial.rejected_log_records {
        Some(Number::Number(number)) => u64::try_from(number).unwrap_or(0),
        Some(Number::Text(text)) => text.parse().unwrap_or(0),
        None => 0,
    };
    Ok(Answer::Accepted(rejected, cut(&shown(partial.error_message.unwrap_or_default().as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client(url: &str) -> Client {
        let target = Target {
            url: url.to_owned(),
            scheme: Scheme::None,
            ca: Some("/nowhere".to_owned()),
            certificate: None,
            key: None,
            timeout: Duration::from_secs(1),
        };
        Client::new(target, true, Arc::default())
    }

    #[test]
    fn answers_of_bulk() {
        let all = br#"{"errors":false,"took":3}"#;
        assert_eq!(read_bulk(&all[..]).unwrap(), Answer::Accepted(0, String::new()));
        let some = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"c"}}},
            {"index":{"status":429,"error":{"type":"full","reason":"r"}}},{"create":{"status":400,"error":{"type":"t","reason":"no\nway"}}}]}"#;
        let each = vec![
            Outcome::Stored,
            Outcome::Stored,
            Outcome::Later("429: full".to_owned()),
            Outcome::Rejected("400: t".to_owned(), "no?way".to_owned()),
        ];
        assert_eq!(read_bulk(&some[..]).unwrap(), Answer::Each(each));
        for text in ["", "<html>", "{}", "[]", r#"{"errors":true,"items":[{"create":{}}]}"#, r#"{"errors":false,"#] {
            assert!(read_bulk(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn answers_of_otlp() {
        for text in [
            "",
            " \n",
            "{}",
            r#"{"partialSuccess":{}}"#,
            r#"{"partialSuccess":null}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":null,"errorMessage":null}}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":-1}}"#,
        ] {
            assert_eq!(read_otlp(text.as_bytes()).unwrap(), Answer::Accepted(0, String::new()), "{text}");
        }
        for text in [
            r#"{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"old"}}"#,
            r#"{"partialSuccess":{"rejectedLogRecords":2,"errorMessage":"old"}}"#,
        ] {
            assert_eq!(read_otlp(text.as_bytes()).unwrap(), Answer::Accepted(2, "old".to_owned()), "{text}");
        }
        for text in ["<html>", "[1]", "ok", r#"{"partialSuccess":"#] {
            assert!(read_otlp(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn when_to_try_again() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(retry_after("Fri, 31 Dec 2100 00:00:00 GMT").unwrap() > Duration::from_secs(3600));
        assert_eq!(retry_after("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        for text in ["soon", "", "-1", "1e9", "99999999999999999999", "Fri, 31 Dec 99999 00:00:00 GMT"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: Vec<u8>, line: String) {
            let _ = (read_bulk(text.as_slice()), read_otlp(text.as_slice()), retry_after(&line));
        }
    }

    #[test]
    fn an_address_has_no_secrets() {
        assert_eq!(client("https://u:p@es:9200/i/_bulk?key=s").address(), "https://es:9200/i/_bulk");
        assert_eq!(client("http://es").address(), "http://es");
    }

    #[test]
    fn settings_that_cant_be_used_are_named() {
        for (url, told) in [("es:9200", "PILLION_URL"), ("", "PILLION_URL"), ("https://es", "can't read /nowhere")] {
            match client(url).post(b"") {
                Answer::Later(text, None) => assert!(text.contains(told), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
