//! The binary layout between daemon and plugin, version 1: bytes in, bytes out.
//!
//! Owns every type that crosses the boundary. **Never change it**: the layout check refuses an older
//! library as soon as a field or a method is appended here, so that whatever may grow belongs into
//! the JSON documents, and another layout into an `ffi_v2` that stands beside this one.
//!
//! - A *document* is UTF-8 JSON: a [`SourceCall`](crate::SourceCall) or
//!   [`SinkCall`](crate::SinkCall), answered by the matching output; an error is a
//!   [`Fault`](crate::Fault).
//! - A *body* is raw bytes that belong to a document and are never escaped into it.
//! - No panic may cross. Both sides catch theirs ([`crate::glue`] does it for plugins).

use abi_stable::{
    StableAbi, declare_root_module_statics,
    library::RootModule,
    package_version_strings, sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RSlice, RStr, RVec},
};

/// What the name of a plugin's exported symbol starts with; the name of its crate follows.
///
/// The crate's name is part of it so that several plugins can be linked into one test program.
pub const SYMBOL_PREFIX: &str = "mortise_plugin_v1_";

/// A fault as JSON, see [`Fault`](crate::Fault).
pub type FaultJson = RVec<u8>;

/// An open instance, made and freed by the plugin.
pub type InstanceBox = InstanceV1_TO<RBox<()>>;

/// The daemon as a plugin sees it, made and freed by the daemon.
pub type HostBox = HostV1_TO<RBox<()>>;

/// `role` of [`PluginV1::open`]: a source.
pub const ROLE_SOURCE: u8 = 0;
/// `role` of [`PluginV1::open`]: a sink.
pub const ROLE_SINK: u8 = 1;

/// The root module of a plugin.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginV1Ref, prefix_fields = PluginV1Prefix)))]
#[sabi(missing_field(panic))]
pub struct PluginV1 {
    /// The [`Descriptor`](crate::Descriptor) as JSON.
    pub descriptor: extern "C" fn() -> RResult<RVec<u8>, FaultJson>,
    /// Opens an instance: role, type, config as JSON, host.
    #[sabi(last_prefix_field)]
    pub open: extern "C" fn(
        role: u8,
        kind: RStr<'_>,
        config: RSlice<'_, u8>,
        host: HostBox,
    ) -> RResult<InstanceBox, FaultJson>,
}

impl RootModule for PluginV1Ref {
    declare_root_module_statics! {PluginV1Ref}
    const BASE_NAME: &'static str = "mortise_plugin";
    const NAME: &'static str = "mortise_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// An answer: a document, and the raw bodies that it refers to by position.
#[repr(C)]
#[derive(StableAbi)]
pub struct ReplyV1 {
    /// The output as JSON.
    pub document: RVec<u8>,
    /// The bodies beside it.
    pub bodies: RVec<RVec<u8>>,
}

#[expect(non_local_definitions, unused_qualifications, reason = "what sabi_trait generates")]
mod objects {
    use super::{FaultJson, RResult, RSlice, RStr, ReplyV1, sabi_trait};

    /// An open instance.
    #[sabi_trait]
    pub trait InstanceV1: Send + Sync + 'static {
        /// Answers one document. Called from several threads at once.
        fn call(
            &self,
            document: RSlice<'_, u8>,
            body: RSlice<'_, u8>,
        ) -> RResult<ReplyV1, FaultJson>;

        /// Called once, when no call runs any more, before the instance is freed.
        #[sabi(last_prefix_field)]
        fn stop(&self);
    }

    /// What a plugin may ask of the daemon at any time, from any thread.
    #[sabi_trait]
    pub trait HostV1: Send + Sync + 'static {
        /// One line for the log of the source or integration. `level`: 0 debug, 1 info,
        /// 2 warning, 3 error; anything above counts as an error.
        #[sabi(last_prefix_field)]
        fn log(&self, level: u8, message: RStr<'_>);
    }
}
pub use objects::{HostV1, HostV1_TO, InstanceV1, InstanceV1_TO};
