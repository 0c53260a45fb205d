//! What a registry wants to know before it answers: the header `WWW-Authenticate`.
//!
//! Source: RFC 9110, 11.2 to 11.6. One header may have several challenges, and there may be several headers; commas
//! separate both challenges and the parameters of one.
//!
//! ```text
//! Bearer realm="https://auth.example.org/token",service="registry.example.org",scope="repository:a/b:pull"
//! Basic realm="a registry"
//! ```

/// A way to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A name and a password with every request.
    Basic,
    /// A token that is asked for elsewhere.
    Bearer {
        /// The address that gives tokens.
        realm: String,
        /// What the token is for.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// The challenges of a header that are known, in their order. What is malformed is left out.
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut text = Text(header);
    let mut found = Vec::new();
    while let Some(scheme) = text.next_scheme() {
        let parameters = text.parameters();
        found.extend(challenge(scheme, &parameters));
    }
    found
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let value = |name: &str| {
        let found = parameters
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer {
        realm: value("realm")?,
        service: value("service").filter(|text| !text.is_empty()),
        scope: value("scope").filter(|text| !text.is_empty()),
    })
}

/// What is left of a header.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// The next scheme; what cannot begin one is skipped.
    fn next_scheme(&mut self) -> Option<&'a str> {
        loop {
            self.skip_separators();
            if self.0.is_empty() {
                return None;
            }
            match self.token() {
                "" => self.skip_one(),
                token => return Some(token),
            }
        }
    }

    /// `NAME=VALUE`, separated by commas, until the next scheme. A single `token68` is none.
    fn parameters(&mut self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        loop {
            self.skip_separators();
            let before = self.0;
            let name = self.token();
            self.skip_spaces();
            if name.is_empty() || !self.0.starts_with('=') {
                // A scheme, or nothing that is known.
                self.0 = before;
                return found;
            }
            self.skip_one();
            self.skip_spaces();
            let value = self.value();
            found.push((name.to_owned(), value));
        }
    }

    /// A token, or a text in quotes in which a backslash takes the meaning off what follows.
    fn value(&mut self) -> String {
        let Some(quoted) = self.0.strip_prefix('"') else {
            let end = self.0.find([',', ' ', '\t']).unwrap_or(self.0.len());
            let (value, rest) = self.0.split_at(end);
            self.0 = rest;
            return value.to_owned();
        };
        let mut value = String::new();
        let mut characters = quoted.chars();
        while let Some(character) = characters.next() {
            match character {
                '"' => break,
                '\\' => value.extend(characters.next()),
                _ => value.push(character),
            }
        }
        self.0 = characters.as_str();
        value
    }

    fn token(&mut self) -> &'a str {
        let is_token =
            |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character);
        let end = self
            .0
            .find(|character| !is_token(character))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    fn skip_separators(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
    }

    fn skip_spaces(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn skip_one(&mut self) {
        let mut characters = self.0.chars();
        characters.next();
        self.0 = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn headers_of_registries() {
        for (header, expected) in [
            (r#"Basic realm="Registry""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                vec![bearer(
                    "https://a.example/token",
                    Some("r.example"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                r#"bearer Realm = "https://a.example/token" , SERVICE=r.example"#,
                vec![bearer("https://a.example/token", Some("r.example"), None)],
            ),
            (
                r#"Negotiate dG9rZW4=, Basic realm="x, y=\"z\"", Bearer realm="u""#,
                vec![Challenge::Basic, bearer("u", None, None)],
            ),
            (r#"Basic realm="unterminated"#, vec![Challenge::Basic]),
            (r#"Bearer service="no realm""#, vec![]),
            ("", vec![]),
            (" ,, = ", vec![]),
        ] {
            assert_eq!(parse_challenges(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(header in "\\PC{0,60}|[Bb](asic|earer) ([a-z]{1,5}=(\"[^\"]*\"|[a-z]*)[ ,]*)*") {
            let _ = parse_challenges(&header);
        }

        #[test]
        fn what_is_quoted_comes_back(realm in "[ -~]{1,40}", service in "[ -~]{1,40}") {
            let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let header = format!("Bearer realm={},service={}", quote(&realm), quote(&service));
            prop_assert_eq!(parse_challenges(&header), vec![bearer(&realm, Some(&service), None)]);
        }
    }
}
