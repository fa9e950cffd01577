//! Small snap-ins, and requests as their policies want them signed.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The secret of all policies here.
pub const SECRET: &str = "EnterYourRandomSecretHere";

/// Accepts what is signed: `custom:tick` with the body as its payload, ordered by its `group`.
pub const SIGNED: &str = r#"
package rego
raw := base64.decode(input.request.body_raw)
signature := crypto.hmac.sha256(raw, input.parameters.secret)
signed { signature == input.request.headers["X-Signature-256"] }
output = {"event": input.request.body, "event_key": "tick", "sync_id": input.request.body.group} {
  signed
  input.request.body.group
} else = {"event": input.request.body, "event_key": "tick"} {
  signed
} else = {"response": {"status_code": 401, "body": "Unauthenticated"}} {
  true
}
"#;

/// Answers with the number that it was sent.
pub const ECHO: &str = "
export const run = async (events) => {
  const [event] = events;
  console.log(`number ${event.payload.n}`);
  return { n: event.payload.n };
};
";

/// What a snap-in is made of: one source, one function, and an automation between them.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Slug of the package, and last part of the scope.
    pub name: String,
    /// The policy of the source.
    pub policy: String,
    /// The secret that the policy gets as a parameter.
    pub secret: String,
    /// Lines of the function's entry in the manifest, beside name and description.
    pub settings: Vec<String>,
    /// The function.
    pub code: String,
    /// Other functions, by name.
    pub functions: Vec<(String, String)>,
    /// Other sections of the manifest, YAML.
    pub sections: String,
    /// Parameters of the policy beside its secret, a line of YAML each.
    pub parameters: Vec<String>,
    /// What stands before the config of the source, YAML.
    pub registration: String,
    /// What the service account asks for.
    pub scopes: Vec<String>,
}

impl Parts {
    /// The one that answers with the number that it was sent.
    pub fn echo() -> Parts {
        Parts::new("echo", SIGNED, ECHO)
    }

    /// With this policy and function.
    pub fn new(name: &str, policy: &str, code: &str) -> Parts {
        Parts {
            name: name.to_owned(),
            policy: policy.to_owned(),
            secret: SECRET.to_owned(),
            settings: Vec::new(),
            code: code.to_owned(),
            functions: Vec::new(),
            sections: String::new(),
            parameters: Vec::new(),
            registration: String::new(),
            scopes: Vec::new(),
        }
    }

    /// With sections more in the manifest.
    #[must_use]
    pub fn with_sections(mut self, yaml: &str) -> Parts {
        self.sections.push_str(yaml);
        self
    }

    /// With a function more, which hooks and automations of its sections can name.
    #[must_use]
    pub fn with_function(mut self, name: &str, code: &str) -> Parts {
        self.functions.push((name.to_owned(), code.to_owned()));
        self
    }

    /// With a scope that its service account asks for, such as `work:read`.
    #[must_use]
    pub fn with_scope(mut self, scope: &str) -> Parts {
        self.scopes.push(scope.to_owned());
        self
    }

    /// With a parameter more for the policy.
    #[must_use]
    pub fn with_parameter(mut self, line: &str) -> Parts {
        self.parameters.push(line.to_owned());
        self
    }

    /// With a line more in the function's entry.
    #[must_use]
    pub fn with(mut self, setting: &str) -> Parts {
        self.settings.push(setting.to_owned());
        self
    }

    /// `manifest.yaml`.
    pub fn manifest(&self) -> String {
        let indent = |text: &str, by: &str| -> String {
            text.lines().map(|it| format!("{by}{it}\n")).collect()
        };
        let policy = indent(self.policy.trim(), "          ");
        let functions: String = self
            .functions
            .iter()
            .map(|(name, _)| format!("  - name: {name}\n    description: Works too.\n"))
            .collect();
        let (sections, secret) = (&self.sections, &self.secret);
        let mut scopes = String::new();
        if !self.scopes.is_empty() {
            scopes.push_str("  scopes:\n    self:\n");
        }
        for scope in &self.scopes {
            scopes.push_str(&format!("      - {{scope: '{scope}', reason: For tests.}}\n"));
        }
        let parameters: String =
            self.parameters.iter().map(|it| indent(it, "          ")).collect();
        let settings: String = self.settings.iter().map(|it| indent(it, "    ")).collect();
        format!(
            "version: \"2\"\n\
             name: {}\n\
             description: For tests.\n\
             service_account:\n  display_name: Tester\n{scopes}\
             event_sources:\n  organization:\n    - name: hook\n      display_name: Hook\n      \
             type: flow-custom-webhook\n{}      config:\n        policy: |\n{policy}        \
             parameters:\n          secret: {secret}\n{parameters}\
             functions:\n  - name: work\n    description: Works.\n{settings}{functions}\
             automations:\n  - name: All\n    source: hook\n    event_types:\n      \
             - custom:tick\n    function: work\n{sections}",
            self.name, self.registration
        )
    }

    /// The files of the code.
    fn files(&self) -> Vec<(String, String)> {
        let mut index = "import work from './work';\n".to_owned();
        let mut factory = "work".to_owned();
        let mut modules = vec![("src/work.ts".to_owned(), &self.code)];
        for (at, (name, code)) in self.functions.iter().enumerate() {
            index.push_str(&format!("import f{at} from './f{at}';\n"));
            factory.push_str(&format!(", '{name}': f{at}"));
            modules.push((format!("src/f{at}.ts"), code));
        }
        index.push_str(&format!("export const functionFactory = {{ {factory} }};\n"));
        let package = r#"{"name":"tested","version":"1.0.0","main":"src/index.ts"}"#;
        let mut files = vec![
            ("package.json".to_owned(), package.to_owned()),
            ("src/index.ts".to_owned(), index),
        ];
        for (path, code) in modules {
            files.push((path, format!("{code}\nexport default run;\n")));
        }
        files
    }

    /// The code, as an archive in base 64.
    pub fn archive(&self) -> String {
        let files = self.files();
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        pack(&files)
    }

    /// Manifest and code as a directory.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write_to(&self, directory: &Path) {
        let manifest = ("manifest.yaml".to_owned(), self.manifest());
        for (path, text) in self.files().into_iter().chain([manifest]) {
            let path = directory.join(path);
            let folder = path.parent().expect("it is below the directory");
            std::fs::create_dir_all(folder).expect("a temporary directory");
            std::fs::write(path, text).expect("a temporary file");
        }
    }
}

/// A tar archive in base 64; what begins with `#!` can be started.
///
/// # Panics
///
/// Never: it is written to memory.
pub fn pack(files: &[(&str, &str)]) -> String {
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    pack_bytes(&files)
}

/// The same of files that need not be text.
///
/// # Panics
///
/// Never: it is written to memory.
pub fn pack_bytes(files: &[(&str, &[u8])]) -> String {
    let mut tarball = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(if bytes.starts_with(b"#!") { 0o755 } else { 0o644 });
        tarball.append_data(&mut header, path, *bytes).expect("memory takes it");
    }
    STANDARD.encode(tarball.into_inner().expect("memory takes it"))
}

/// The signature of a body.
///
/// # Panics
///
/// Never: HMAC takes keys of any length.
pub fn sign(body: &[u8]) -> String {
    signed_with(SECRET, body)
}

/// The same with another secret.
///
/// # Panics
///
/// Never: HMAC takes keys of any length.
pub fn signed_with(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
