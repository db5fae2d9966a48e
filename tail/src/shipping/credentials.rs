//! Who we are: credentials from variables or files. They are read for each request, since a file's content may be renewed.

use std::io::Read;

/// A secret is never longer.
const MOST: u64 = 64 << 10;

/// How we say who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Not at all.
    #[default]
    None,
    /// A user and a password.
    Basic,
    /// A token.
    Bearer,
    /// A key: in the header of this name, or as Elasticsearch takes it.
    ApiKey(Option<String>),
}

impl Scheme {
    /// Return the header's name and value, if there is one.
    ///
    /// # Errors
    /// A variable is missing or a file can't be read: the text names it.
    pub fn header(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Option<(&str, String)>, String> {
        let secret = |name: &str| secret(name, &variable);
        Ok(match self {
            Self::None => None,
            Self::Basic => {
                let text = format!("{}:{}", secret("PILLION_USERNAME")?, secret("PILLION_PASSWORD")?);
                Some(("authorization", format!("Basic {}", base64(text.as_bytes()))))
            }
            Self::Bearer => Some(("authorization", format!("Bearer {}", secret("PILLION_TOKEN")?))),
            Self::ApiKey(None) => Some(("authorization", format!("ApiKey {}", secret("PILLION_API_KEY")?))),
            Self::ApiKey(Some(name)) => Some((name, secret("PILLION_API_KEY")?)),
        })
    }
}

fn secret(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let named = format!("{name}_FILE");
    let text = match (variable(&named), variable(name)) {
        (Some(path), _) => {
            let mut text = String::new();
            let read = std::fs::File::open(&path).and_then(|file| file.take(MOST).read_to_string(&mut text));
            read.map_err(|error| format!("can't read {path}, which {named} names: {error}"))?;
            text
        }
        (None, Some(text)) => text,
        (None, None) => return Err(format!("no credentials: neither {name} nor {named} is set")),
    };
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("no credentials: {name} is empty, or has control characters"));
    }
    Ok(text.to_owned())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let sum = (0..3).fold(0, |sum: u32, at| sum << 8 | u32::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = char::from(DIGITS[(sum >> (18 - 6 * at) & 63) as usize]);
            text.push(if at > three.len() { '=' } else { digit });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(scheme: &Scheme, variables: &[(&str, &str)]) -> Result<Option<(String, String)>, String> {
        let found = scheme.header(|name| variables.iter().find(|one| one.0 == name).map(|one| one.1.to_owned()));
        found.map(|header| header.map(|(name, value)| (name.to_owned(), value)))
    }

    #[test]
    fn each_scheme() {
        let named = |name: &str, value: &str| Ok(Some((name.to_owned(), value.to_owned())));
        assert_eq!(header(&Scheme::None, &[]), Ok(None));
        let user = [("PILLION_USERNAME", "Aladdin"), ("PILLION_PASSWORD", "open sesame")];
        assert_eq!(header(&Scheme::Basic, &user), named("authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        assert_eq!(header(&Scheme::Bearer, &[("PILLION_TOKEN", " t\n")]), named("authorization", "Bearer t"));
        let key = [("PILLION_API_KEY", "k")];
        assert_eq!(header(&Scheme::ApiKey(None), &key), named("authorization", "ApiKey k"));
        assert_eq!(header(&Scheme::ApiKey(Some("x-key".to_owned())), &key), named("x-key", "k"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let told = header(&Scheme::ApiKey(None), &[]).unwrap_err();
        assert_eq!(told, "no credentials: neither PILLION_API_KEY nor PILLION_API_KEY_FILE is set");
        let told = header(&Scheme::Bearer, &[("PILLION_TOKEN_FILE", "/nowhere")]).unwrap_err();
        assert!(told.starts_with("can't read /nowhere, which PILLION_TOKEN_FILE names: "), "{told}");
        assert!(header(&Scheme::Bearer, &[("PILLION_TOKEN", "a\nb")]).is_err());
    }

    #[test]
    fn a_file_is_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let variables = [("PILLION_TOKEN_FILE", path.to_str().unwrap())];
        for token in ["one", "two"] {
            std::fs::write(&path, token).unwrap();
            let value = header(&Scheme::Bearer, &variables).unwrap().unwrap().1;
            assert_eq!(value, format!("Bearer {token}"));
        }
    }

    #[test]
    fn base64_of_any_length() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }
}
