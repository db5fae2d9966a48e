//! The settings: which store, how it is reached, and what stands in each record.

use std::time::Duration;

use super::client::Target;
use super::credentials::Scheme;
use super::encoding::{Encoding, Fields};
use crate::options::{Row, boolean, choose, put, seconds};

/// The options; see those of the plain program.
pub(crate) const OPTIONS: [Row; 12] = [
    (
        "--to",
        "stdout|elasticsearch|otlp",
        "stdout",
        "where lines go: elasticsearch is its _bulk, otlp is OTLP/HTTP in JSON",
    ),
    (
        "--url",
        "URL",
        "none",
        "the store's address, with path: https://es:9200/INDEX/_bulk, http://collector:4318/v1/logs",
    ),
    (
        "--credentials",
        "none|basic|bearer|api-key",
        "none",
        "which of PILLION_USERNAME, _PASSWORD, _TOKEN, _API_KEY to use; with _FILE behind it, from that file",
    ),
    ("--api-key-header", "NAME", "none", "the header that has the API key, where it is not Elasticsearch's"),
    ("--ca", "FILE", "the system's", "the CAs that are trusted, as PEM"),
    ("--client-certificate", "FILE", "none", "our certificate, as PEM"),
    ("--client-key", "FILE", "none", "its key, as PEM"),
    ("--timeout", "SECONDS", "30", "a request that takes longer has failed"),
    ("--ids", "", "false", "elasticsearch: the same _id for a line that is sent again, so that it is stored once"),
    ("--own-time", "", "false", "the time of a JSON line is its own @timestamp or time"),
    ("--label", "NAME=VALUE", "none", "a field of each record; again for more, or , between them"),
    (
        "--record-start",
        "REGEX",
        "none",
        "lines that don't match belong to the record before them; also with --format json",
    ),
];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Store {
    #[default]
    None,
    Elasticsearch,
    Otlp,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Credentials {
    #[default]
    None,
    Basic,
    Bearer,
    ApiKey,
}

/// Where lines are sent, and what each record has.
#[derive(Debug)]
pub struct Destination {
    /// The store's address, and how it is reached.
    pub target: Target,
    store: Store,
    credentials: Credentials,
    api_key_header: Option<String>,
    ids: bool,
    own_time: bool,
    fields: Fields,
}

impl Default for Destination {
    fn default() -> Self {
        let target = Target {
            url: String::new(),
            scheme: Scheme::None,
            ca: None,
            certificate: None,
            key: None,
            timeout: Duration::from_secs(30),
        };
        Self {
            target,
            store: Store::None,
            credentials: Credentials::None,
            api_key_header: None,
            ids: false,
            own_time: false,
            fields: Fields::default(),
        }
    }
}

impl Destination {
    /// Set an option; say whether its value can be used.
    pub(crate) fn set(&mut self, name: &str, text: &str) -> bool {
        let some = |text: &str| Some(Some(text.to_owned()).filter(|text| !text.is_empty()));
        let done = match name {
            "--to" => {
                let words = [("stdout", Store::None), ("elasticsearch", Store::Elasticsearch), ("otlp", Store::Otlp)];
                put(&mut self.store, choose(text.as_bytes(), &words))
            }
            "--url" => put(&mut self.target.url, Some(text.to_owned())),
            "--credentials" => {
                let words = [
                    ("none", Credentials::None),
                    ("basic", Credentials::Basic),
                    ("bearer", Credentials::Bearer),
                    ("api-key", Credentials::ApiKey),
                ];
                put(&mut self.credentials, choose(text.as_bytes(), &words))
            }
            "--api-key-header" => put(&mut self.api_key_header, some(text)),
            "--ca" => put(&mut self.target.ca, some(text)),
            "--client-certificate" => put(&mut self.target.certificate, some(text)),
            "--client-key" => put(&mut self.target.key, some(text)),
            "--timeout" => put(&mut self.target.timeout, seconds(text).filter(|time| !time.is_zero())),
            "--ids" => put(&mut self.ids, boolean(text)),
            "--own-time" => put(&mut self.own_time, boolean(text)),
            _ => {
                let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
                let labels: Option<Vec<_>> = pairs
                    .map(|pair| {
                        let (name, value) = pair.split_once('=')?;
                        let name = Some(name.trim()).filter(|name| !name.is_empty())?;
                        Some((name.to_owned(), value.trim().to_owned()))
                    })
                    .collect();
                labels.map(|labels| self.fields.labels.extend(labels)).is_some()
            }
        };
        self.target.scheme = match self.credentials {
            Credentials::None => Scheme::None,
            Credentials::Basic => Scheme::Basic,
            Credentials::Bearer => Scheme::Bearer,
            Credentials::ApiKey => Scheme::ApiKey(self.api_key_header.clone()),
        };
        done
    }

    /// Take over who we are: what the webhook sets in each sidecar.
    pub(crate) fn read_fields(&mut self, variable: impl Fn(&str) -> Option<Vec<u8>>) {
        let text =
            |name: &str| variable(name).map_or(String::new(), |value| String::from_utf8_lossy(&value).into_owned());
        self.fields.pod = text("POD_NAME");
        self.fields.uid = text("POD_UID");
        self.fields.namespace = text("POD_NAMESPACE");
        self.fields.node = text("NODE_NAME");
        self.fields.container = text("CONTAINER_NAME");
    }

    /// Return how records are written; None where lines go to standard output.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        match self.store {
            Store::None => None,
            Store::Elasticsearch => Some(Encoding::bulk(&self.fields, self.own_time, self.ids)),
            Store::Otlp => Some(Encoding::otlp(&self.fields, self.own_time)),
        }
    }
}
