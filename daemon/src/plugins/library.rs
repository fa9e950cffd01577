//! One library: from a path to a checked root module and a descriptor.
//!
//! Owns the order of checks, from what needs no foreign code to what runs it: the file's shape, the
//! exported symbol, the header, the layout, the descriptor. It must never run a library's code
//! before its permissions were checked (that is [`super::loader`]'s), and never unload one.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use abi_stable::library::{AbiHeaderRef, LibraryError, RawLibrary};
use abi_stable::std_types::{RResult, RSlice, RStr};
use mortise_plugin::ffi_v1::{HostBox, HostV1, HostV1_TO, InstanceBox, PluginV1Ref, SYMBOL_PREFIX};
use mortise_plugin::{Descriptor, LogLevel, TypeDescriptor};
use object::{Object, ObjectKind, ObjectSegment, ObjectSymbol, ReadCache};
use serde_json::Value;

use super::instance::{CallError, LogSink, read_fault};
use super::schema::ConfigSchema;

/// Why a library is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// One line for the operator.
    pub(super) reason: String,
    /// More for whoever wrote the plugin; may be long.
    pub(super) details: Option<String>,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), details: None }
    }
}

/// A library that passed every check.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) sources: Vec<LoadedType>,
    pub(super) sinks: Vec<LoadedType>,
    pub(super) module: Module,
}

/// A type and its compiled schema.
#[derive(Debug)]
pub(super) struct LoadedType {
    pub(super) descriptor: TypeDescriptor,
    pub(super) schema: ConfigSchema,
}

/// The root module of a library; valid for ever, since none is unloaded.
#[derive(Clone, Copy)]
pub(super) struct Module(PluginV1Ref);

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Module")
    }
}

/// Loads the library at `path`, which the caller trusts.
pub(super) fn load(path: &Path) -> Result<Library, Refusal> {
    let symbol = exported_symbol(path)?;
    let module = root_module(path, &symbol)?;
    let descriptor = describe(module)?;
    if descriptor.name.is_empty() {
        return Err(Refusal::new("its descriptor has no name"));
    }
    Ok(Library {
        sources: compile_types("source", descriptor.sources)?,
        sinks: compile_types("sink", descriptor.sinks)?,
        name: descriptor.name,
        version: descriptor.version,
        module,
    })
}

/// The one symbol that makes a library a plugin, read from the file without running it.
fn exported_symbol(path: &Path) -> Result<String, Refusal> {
    let no_library = |error: &dyn std::fmt::Display| {
        Refusal::new(format!("not a shared library that can be read: {error}"))
    };
    let file = File::open(path).map_err(|error| no_library(&error))?;
    let length = file.metadata().map_err(|error| no_library(&error))?.len();
    if length == 0 {
        return Err(Refusal::new("not a shared library: the file is empty"));
    }
    let cache = ReadCache::new(file);
    let object = object::File::parse(&cache).map_err(|error| no_library(&error))?;
    if object.kind() != ObjectKind::Dynamic {
        return Err(Refusal::new("not a shared library, but another kind of object file"));
    }
    // Mapping a library that ends too soon (a copy that was cut off) kills the process.
    let complete = object.segments().all(|segment| {
        let (start, size) = segment.file_range();
        start.checked_add(size).is_some_and(|end| end <= length)
    });
    if !complete {
        return Err(Refusal::new(format!(
            "the file is cut off: it has {length} bytes and its header says more"
        )));
    }
    let mut symbols: Vec<String> = object
        .dynamic_symbols()
        .filter(ObjectSymbol::is_definition)
        .filter_map(|symbol| Some(symbol.name().ok()?.to_owned()))
        .filter(|name| name.starts_with(SYMBOL_PREFIX))
        .collect();
    match (symbols.pop(), symbols.len()) {
        (Some(symbol), 0) => Ok(symbol),
        (None, _) => Err(Refusal::new(format!(
            "not a Mortise plugin: it exports no symbol `{SYMBOL_PREFIX}...` \
             (is `export_plugin!` missing, or is it for another major version?)"
        ))),
        (Some(_), more) => Err(Refusal::new(format!(
            "it exports {} plugins, and must export exactly one",
            more + 1
        ))),
    }
}

fn root_module(path: &Path, symbol: &str) -> Result<Module, Refusal> {
    let refuse = |error: LibraryError| {
        // The layout check writes hundreds of lines; which type it was stands in the first ones.
        let reason = match &error {
            LibraryError::AbiInstability(_) => {
                "it was built against another plugin interface (its binary layout differs)"
                    .to_owned()
            }
            LibraryError::IncompatibleVersionNumber {
                expected_version, actual_version, ..
            } => {
                format!(
                    "it was built against version {actual_version} of mortise-plugin, and this \
                     daemon has {expected_version}"
                )
            }
            LibraryError::InvalidAbiHeader(_) | LibraryError::InvalidCAbi { .. } => {
                "it was built with another abi_stable or for another C ABI".to_owned()
            }
            LibraryError::RootModule { .. } => "its root module did not start".to_owned(),
            LibraryError::OpenError { .. }
            | LibraryError::GetSymbolError { .. }
            | LibraryError::ParseVersionError(_)
            | LibraryError::Many(_) => first_line(&error.to_string()),
        };
        Refusal { reason, details: Some(error.to_string()) }
    };
    // Never unloaded, so never dropped. Not `RootModule::load_from_file`: it remembers one module
    // per type, and would give the first library's to the second.
    let raw: &'static RawLibrary = Box::leak(Box::new(RawLibrary::load_at(path).map_err(refuse)?));
    let checked = catch_unwind(|| {
        let name = format!("{symbol}\0");
        // SAFETY: a symbol with our prefix is a `LibHeader`, that is what `export_plugin!` makes it;
        // a reference to it starts with its `AbiHeader`, and `upgrade` looks at its magic first.
        let header = unsafe { *raw.get::<AbiHeaderRef>(name.as_bytes())? };
        header.upgrade()?.init_root_module::<PluginV1Ref>()
    });
    match checked {
        Ok(Ok(module)) => Ok(Module(module)),
        Ok(Err(error)) => Err(refuse(error)),
        Err(_) => Err(Refusal::new("checking its binary layout panicked")),
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no reason").to_owned()
}

fn describe(module: Module) -> Result<Descriptor, Refusal> {
    let describe = module.0.descriptor();
    match describe() {
        RResult::ROk(json) => serde_json::from_slice(&json)
            .map_err(|error| Refusal::new(format!("its descriptor cannot be read: {error}"))),
        RResult::RErr(fault) => Err(Refusal::new(format!(
            "it cannot describe itself: {}",
            first_line(&read_fault(&fault).to_string())
        ))),
    }
}

fn compile_types(role: &str, types: Vec<TypeDescriptor>) -> Result<Vec<LoadedType>, Refusal> {
    let mut compiled = Vec::new();
    for descriptor in types {
        for name in std::iter::once(&descriptor.name).chain(&descriptor.aliases) {
            if name.is_empty() || !name.chars().all(is_name_character) {
                return Err(Refusal::new(format!(
                    "{role} type `{name}` is no usable name: letters, digits, `-`, `_` and `.` \
                     are allowed"
                )));
            }
        }
        let schema = ConfigSchema::compile(&descriptor.config_schema).map_err(|problem| {
            Refusal::new(format!(
                "the config schema of {role} type `{}` is wrong: {}",
                descriptor.name,
                first_line(&problem)
            ))
        })?;
        compiled.push(LoadedType { descriptor, schema });
    }
    Ok(compiled)
}

fn is_name_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.')
}

impl Module {
    /// Opens an instance. Runs the plugin's code: on a thread of the pool only.
    pub(super) fn open(
        self,
        role: u8,
        kind: &str,
        config: &Value,
        log: LogSink,
    ) -> Result<InstanceBox, CallError> {
        let config = serde_json::to_vec(config)
            .map_err(|error| CallError::BadAnswer(format!("cannot write the config: {error}")))?;
        let host: HostBox =
            HostV1_TO::from_value(PluginLog(log), abi_stable::sabi_trait::TD_Opaque);
        let open = self.0.open();
        match open(role, RStr::from_str(kind), RSlice::from_slice(&config), host) {
            RResult::ROk(instance) => Ok(instance),
            RResult::RErr(fault) => Err(read_fault(&fault)),
        }
    }
}

/// Longer log lines are cut.
const MAX_LOG_BYTES: usize = 8192;

/// The daemon, as a plugin sees it.
struct PluginLog(LogSink);

impl HostV1 for PluginLog {
    fn log(&self, level: u8, message: RStr<'_>) {
        let level = match level {
            0 => LogLevel::Debug,
            1 => LogLevel::Info,
            2 => LogLevel::Warn,
            _ => LogLevel::Error,
        };
        let message = message.as_str();
        let message = &message[..message.floor_char_boundary(MAX_LOG_BYTES)];
        // Called from inside the plugin: a panic must not travel through it.
        let logged = catch_unwind(AssertUnwindSafe(|| (self.0)(level, message)));
        if logged.is_err() {
            tracing::error!("writing a plugin's log line panicked");
        }
    }
}
