//! Exports the symbol that the daemon looks for, with a root module of another layout: a changed
//! copy of `mortise_plugin::ffi_v1` whose `open` takes its arguments in another order.

use abi_stable::StableAbi;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RResult, RSlice, RStr, RVec};

/// The changed root module.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginV1Ref, prefix_fields = PluginV1Prefix)))]
#[sabi(missing_field(panic))]
pub struct PluginV1 {
    /// As in the true layout.
    pub descriptor: extern "C" fn() -> RResult<RVec<u8>, RVec<u8>>,
    /// Not as in the true layout.
    #[sabi(last_prefix_field)]
    pub open: extern "C" fn(kind: RStr<'_>, config: RSlice<'_, u8>, role: u32) -> u64,
}

impl RootModule for PluginV1Ref {
    abi_stable::declare_root_module_statics! {PluginV1Ref}
    const BASE_NAME: &'static str = "mortise_plugin";
    const NAME: &'static str = "mortise_plugin";
    // The version of the true layout: only the layout differs.
    const VERSION_STRINGS: VersionStrings = VersionStrings::new("1.0.0");
}

extern "C" fn descriptor() -> RResult<RVec<u8>, RVec<u8>> {
    unreachable!("the layout check comes first")
}

extern "C" fn open(_kind: RStr<'_>, _config: RSlice<'_, u8>, _role: u32) -> u64 {
    unreachable!("the layout check comes first")
}

extern "C" fn root_module() -> RootModuleResult {
    abi_stable::library::__call_root_module_loader(|| {
        PluginV1 { descriptor, open }.leak_into_prefix()
    })
}

#[unsafe(export_name = concat!("mortise_plugin_v1_", env!("CARGO_CRATE_NAME")))]
pub static ROOT_MODULE: LibHeader =
    // SAFETY: `root_module` returns a `PluginV1Ref`, erased, and no other type.
    unsafe { LibHeader::from_constructor::<PluginV1Ref>(root_module, CheckTypeLayout::Yes) };
