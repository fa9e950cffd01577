//! Panics while it describes itself: the daemon must refuse it and serve on.

use mortise_plugin::{Descriptor, Plugin};

struct DescriptorPanics;

impl Plugin for DescriptorPanics {
    fn descriptor() -> Descriptor {
        panic!("no idea who I am")
    }
}

mortise_plugin::export_plugin!(DescriptorPanics);
