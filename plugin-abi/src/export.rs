//! `export_plugin!` and what it expands to: the plugin's side of the boundary.
//!
//! Owns the way from the frozen layout to the author's traits: JSON in and out, bodies beside it, and
//! a net under every call, so that a panic becomes a [`Fault`](crate::Fault) of that call. It must
//! never let a panic out, not from `stop`, not from a destructor: crossing the boundary it would end
//! the daemon.

/// Makes a library a plugin: exports the root module for a type that implements
/// [`Plugin`](crate::Plugin). Once per crate.
///
/// The crate needs `crate-type = ["cdylib"]`; add `"rlib"` to test it with plain calls.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        const _: () = {
            // Its name contains the crate's, so that several plugins can be linked into one
            // program; the daemon finds it by its prefix, `ffi_v1::SYMBOL_PREFIX`.
            #[unsafe(export_name = concat!("mortise_plugin_v1_", env!("CARGO_CRATE_NAME")))]
            pub static ROOT_MODULE: $crate::glue::LibHeader = $crate::glue::header::<$plugin>();
        };
    };
}

/// A plugin with one type and nothing else, exported: `source` or `sink`, its name in Rust, what it says
/// about itself ([`TypeDescriptor`](crate::TypeDescriptor)), and what opens an instance with a
/// configuration and the [`Host`](crate::Host). Its name and version are those of the crate.
///
/// For several types, implement [`Plugin`](crate::Plugin) and call [`export_plugin!`](crate::export_plugin).
#[macro_export]
macro_rules! export_type {
    (source $plugin:ident, $describe:path, $open:expr) => {
        $crate::export_type!(
            $plugin,
            $describe,
            $open,
            sources,
            sinks,
            open_source,
            Source,
            no_source_type
        );
    };
    (sink $plugin:ident, $describe:path, $open:expr) => {
        $crate::export_type!(
            $plugin,
            $describe,
            $open,
            sinks,
            sources,
            open_sink,
            Sink,
            no_sink_type
        );
    };
    (
        $plugin:ident, $describe:path, $open:expr,
        $these:ident, $others:ident, $method:ident, $role:ident, $none:ident
    ) => {
        /// The plugin.
        pub struct $plugin;

        impl $crate::Plugin for $plugin {
            fn descriptor() -> $crate::Descriptor {
                $crate::Descriptor {
                    name: env!("CARGO_PKG_NAME").to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    $these: vec![$describe()],
                    $others: Vec::new(),
                }
            }

            fn $method(
                kind: &str,
                config: $crate::glue::Value,
                host: $crate::Host,
            ) -> Result<Box<dyn $crate::$role>, $crate::Fault> {
                if kind != $describe().name {
                    return Err($crate::Fault::$none(kind));
                }
                Ok(Box::new($open(config, host)?))
            }
        }

        $crate::export_plugin!($plugin);
    };
}

/// What the macros expand to. No part of the interface for authors.
pub mod glue {
    use std::any::Any;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    pub use abi_stable::library::LibHeader;
    use abi_stable::library::{CheckTypeLayout, RootModuleResult};
    use abi_stable::prefix_type::PrefixTypeTrait;
    use abi_stable::std_types::{RErr, ROk, RResult, RSlice, RStr, RVec};
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    pub use serde_json::Value;

    use crate::ffi_v1::{
        FaultJson, HostBox, InstanceBox, InstanceV1, InstanceV1_TO, PluginV1, PluginV1Ref,
        ROLE_SINK, ROLE_SOURCE, ReplyV1,
    };
    use crate::{
        Fault, FaultKind, Host, LogLevel, Plugin, Sink, SinkCall, SinkOutput, Source, SourceCall,
        SourceOutput,
    };

    /// The static that a plugin exports.
    pub const fn header<P: Plugin>() -> LibHeader {
        // SAFETY: `root_module` returns a `PluginV1Ref`, erased, and no other type.
        unsafe {
            LibHeader::from_constructor::<PluginV1Ref>(root_module::<P>, CheckTypeLayout::Yes)
        }
    }

    extern "C" fn root_module<P: Plugin>() -> RootModuleResult {
        abi_stable::library::__call_root_module_loader(|| {
            PluginV1 { descriptor: descriptor::<P>, open: open::<P> }.leak_into_prefix()
        })
    }

    extern "C" fn descriptor<P: Plugin>() -> RResult<RVec<u8>, FaultJson> {
        guarded(|| encode(&P::descriptor()))
    }

    extern "C" fn open<P: Plugin>(
        role: u8,
        kind: RStr<'_>,
        config: RSlice<'_, u8>,
        host: HostBox,
    ) -> RResult<InstanceBox, FaultJson> {
        guarded(|| {
            let config = decode("config", config.as_slice())?;
            let host = Host::new(move |level, message| {
                let level = match level {
                    LogLevel::Debug => 0,
                    LogLevel::Info => 1,
                    LogLevel::Warn => 2,
                    LogLevel::Error => 3,
                };
                host.log(level, message.into());
            });
            match role {
                ROLE_SOURCE => {
                    let source = P::open_source(kind.as_str(), config, host)?;
                    Ok(boxed(SourceAnswers(source)))
                }
                ROLE_SINK => {
                    let sink = P::open_sink(kind.as_str(), config, host)?;
                    Ok(boxed(SinkAnswers(sink)))
                }
                other => Err(Fault::unsupported(format!(
                    "unknown role {other}: this plugin knows {ROLE_SOURCE} (source) and \
                     {ROLE_SINK} (sink)"
                ))),
            }
        })
    }

    /// One kind of author's trait, as documents.
    trait Answers: Send + Sync + 'static {
        fn answer(&self, document: &[u8], body: &[u8]) -> Result<ReplyV1, Fault>;
        fn stop(&self);
    }

    struct SourceAnswers(Box<dyn Source>);

    impl Answers for SourceAnswers {
        fn answer(&self, document: &[u8], body: &[u8]) -> Result<ReplyV1, Fault> {
            let call: SourceCall = decode("call", document)?;
            let mut output: SourceOutput = self.0.call(call, body)?;
            let bodies = std::mem::take(&mut output.bodies);
            Ok(reply(encode(&output)?, bodies))
        }

        fn stop(&self) {
            self.0.stop();
        }
    }

    struct SinkAnswers(Box<dyn Sink>);

    impl Answers for SinkAnswers {
        fn answer(&self, document: &[u8], body: &[u8]) -> Result<ReplyV1, Fault> {
            let call: SinkCall = decode("call", document)?;
            let mut output: SinkOutput = self.0.call(call, body)?;
            let bodies = std::mem::take(&mut output.bodies);
            Ok(reply(encode(&output)?, bodies))
        }

        fn stop(&self) {
            self.0.stop();
        }
    }

    /// The net under an instance, its destructor included.
    struct Guarded<A: Answers>(Option<A>);

    fn boxed<A: Answers>(answers: A) -> InstanceBox {
        InstanceV1_TO::from_value(Guarded(Some(answers)), abi_stable::sabi_trait::TD_Opaque)
    }

    impl<A: Answers> InstanceV1 for Guarded<A> {
        fn call(
            &self,
            document: RSlice<'_, u8>,
            body: RSlice<'_, u8>,
        ) -> RResult<ReplyV1, FaultJson> {
            let Some(answers) = &self.0 else {
                return RErr(fault_json(&Fault::permanent("the instance is gone")));
            };
            guarded(|| answers.answer(document.as_slice(), body.as_slice()))
        }

        fn stop(&self) {
            if let Some(answers) = &self.0 {
                let _ = guarded(|| {
                    answers.stop();
                    Ok(())
                });
            }
        }
    }

    impl<A: Answers> Drop for Guarded<A> {
        fn drop(&mut self) {
            if let Some(answers) = self.0.take() {
                let _ = guarded(|| {
                    drop(answers);
                    Ok(())
                });
            }
        }
    }

    /// Runs the author's code. State behind a caught panic may be half changed; what that means for
    /// later calls is the author's to decide, as with a poisoned lock.
    fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> RResult<T, FaultJson> {
        let fault = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(value)) => return ROk(value),
            Ok(Err(fault)) => fault,
            Err(payload) => {
                let message = format!("the plugin panicked: {}", panic_message(&*payload));
                // A payload is the author's too, and its destructor may panic in turn.
                if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(second);
                }
                Fault::new(FaultKind::Panicked, message)
            }
        };
        RErr(fault_json(&fault))
    }

    fn panic_message(payload: &(dyn Any + Send)) -> &str {
        if let Some(text) = payload.downcast_ref::<&'static str>() {
            text
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text
        } else {
            "no message"
        }
    }

    fn reply(document: RVec<u8>, bodies: Vec<Vec<u8>>) -> ReplyV1 {
        ReplyV1 { document, bodies: bodies.into_iter().map(RVec::from).collect() }
    }

    fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
        // An input that came with a newer daemon ends here too: unknown to this plugin.
        serde_json::from_slice(bytes)
            .map_err(|error| Fault::unsupported(format!("cannot read the {what}: {error}")))
    }

    fn encode(value: &impl Serialize) -> Result<RVec<u8>, Fault> {
        match serde_json::to_vec(value) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(Fault::permanent(format!("cannot write the answer: {error}"))),
        }
    }

    fn fault_json(fault: &Fault) -> FaultJson {
        match serde_json::to_vec(fault) {
            Ok(bytes) => bytes.into(),
            // A fault is strings and numbers only; the daemon reads an empty one as unknown.
            Err(_) => RVec::new(),
        }
    }
}
