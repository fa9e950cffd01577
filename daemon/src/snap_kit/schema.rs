//! The elements that the public documents describe: what each may hold, and where it may stand. Data
//! only; must never look at a body.

use Kind::{
    Choice, Choices, Choosable, Choosables, Columns, Element, Elements, Flag, Id, Number,
    PlainText, Rows, Scalar, Scalars, Text,
};

/// What a property is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// Text that is not empty: something is found by it.
    Id,
    /// Text, a number or a boolean.
    Scalar,
    Number,
    Flag,
    /// One of these words; others are questioned.
    Choice(&'static [&'static str]),
    /// A list of them.
    Choices(&'static [&'static str]),
    /// A list of texts or numbers.
    Scalars,
    /// An element of text.
    PlainText,
    /// What can be chosen: a text and its value.
    Choosable,
    Choosables,
    /// One element of these types.
    Element(&'static [&'static str]),
    /// A list of elements of these types.
    Elements(&'static [&'static str]),
    /// Columns of a table.
    Columns,
    /// Rows of a table: objects with a cell for each key.
    Rows,
}

/// A property of a type of elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Property {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
}

/// A type of elements.
#[derive(Debug)]
pub(super) struct ElementType {
    pub(super) name: &'static str,
    /// Its own properties, and those that it shares with others.
    groups: &'static [&'static [Property]],
    /// A lower and an upper bound, by name.
    pub(super) ranges: &'static [(&'static str, &'static str)],
}

impl ElementType {
    pub(super) fn properties(&self) -> impl Iterator<Item = &'static Property> {
        self.groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn property(&self, name: &str) -> Option<&'static Property> {
        self.properties().find(|it| it.name == name)
    }

    /// Whether people do something with it.
    pub(super) fn is_action(&self) -> bool {
        self.property("action_id").is_some()
    }
}

/// A type by its name.
pub(super) fn element_type(name: &str) -> Option<&'static ElementType> {
    TYPES.iter().find(|it| it.name == name)
}

/// The names of all types.
pub(super) fn type_names() -> Vec<&'static str> {
    TYPES.iter().map(|it| it.name).collect()
}

const fn needs(name: &'static str, kind: Kind) -> Property {
    Property { name, kind, is_required: true }
}

const fn may(name: &'static str, kind: Kind) -> Property {
    Property { name, kind, is_required: false }
}

// What many types have in common.
const SNAP: &[Property] = &[needs("type", Text), may("block_id", Text)];
const ACTION: &[Property] =
    &[needs("action_id", Id), may("action_type", Choice(&["remote", "client"]))];
const FOCUSABLE: &[Property] = &[may("focus_on_load", Flag)];
const WITH_PLACEHOLDER: &[Property] = &[may("placeholder", PlainText)];
const CAN_BE_DISABLED: &[Property] = &[may("disabled", Flag), may("disabled_text", Text)];
const LAYOUT: &[Property] = &[
    may("direction", Choice(&["row", "column"])),
    may("alignment", Choice(&["start", "center", "end", "baseline", "stretch"])),
    may("justify", Choice(&["start", "center", "end", "between", "around", "evenly"])),
];

const TEXTS: &[&str] = &["plain_text", "rich_text"];
const IN_CONTENT: &[&str] = &["plain_text", "rich_text", "image", "content", "divider", "table"];
const IN_CARD: &[&str] = &["actions", "content", "form", "divider", "table"];
const IN_FORM: &[&str] = &["input_layout", "divider"];
const IN_ACTIONS: &[&str] = &[
    "button",
    "checkboxes",
    "radio_buttons",
    "actions",
    "static_select",
    "multi_static_select",
    "divider",
    "tag_picker",
    "user_picker",
    "part_picker",
    "toggle",
    "upload",
];
const IN_INPUT_LAYOUT: &[&str] = &[
    "plain_text_input",
    "number_input",
    "email_text_input",
    "rich_text_input",
    "string_list",
    "number_list",
    "email_list",
    "checkboxes",
    "radio_buttons",
    "static_select",
    "multi_static_select",
    "user_picker",
    "part_picker",
    "tag_picker",
    "toggle",
    "upload",
];
const BUTTON: &[&str] = &["button"];
const PARTS: &[&str] = &[
    "capability",
    "component",
    "custom_part",
    "enhancement",
    "feature",
    "linkable",
    "microservice",
    "product",
    "runnable",
];
/// The documents list three of them, and use the others.
const STYLES: &[&str] = &["default", "primary", "destructive", "secondary", "tertiary", "danger"];

const fn of(name: &'static str, groups: &'static [&'static [Property]]) -> ElementType {
    ElementType { name, groups, ranges: &[] }
}

const TYPES: &[ElementType] = &[
    // What is shown.
    of("plain_text", &[SNAP, &[needs("text", Text)]]),
    of("rich_text", &[SNAP, &[needs("text", Text)]]),
    of(
        "image",
        &[SNAP, &[needs("image_url", Id), needs("alt_text", Text), may("fill_container", Flag)]],
    ),
    of("divider", &[SNAP]),
    of("table", &[SNAP, &[needs("columns", Columns), needs("rows", Rows)]]),
    // What arranges others.
    of(
        "card",
        &[
            SNAP,
            &[
                needs("elements", Elements(IN_CARD)),
                may("title", Element(TEXTS)),
                may("is_collapsible", Flag),
                may("default_collapsed", Flag),
            ],
            LAYOUT,
        ],
    ),
    of("content", &[SNAP, &[needs("elements", Elements(IN_CONTENT))], LAYOUT]),
    of(
        "actions",
        &[SNAP, &[needs("elements", Elements(IN_ACTIONS)), may("disable_on_action", Flag)], LAYOUT],
    ),
    of(
        "form",
        &[
            SNAP,
            ACTION,
            &[needs("elements", Elements(IN_FORM)), needs("submit_action", Element(BUTTON))],
            LAYOUT,
        ],
    ),
    of(
        "input_layout",
        &[
            SNAP,
            &[
                needs("element", Element(IN_INPUT_LAYOUT)),
                may("label", PlainText),
                may("hint", PlainText),
                may("optional", Flag),
                may("hidden", Flag),
            ],
            CAN_BE_DISABLED,
        ],
    ),
    // What people press, choose and fill in.
    of(
        "button",
        &[
            SNAP,
            ACTION,
            &[
                needs("text", PlainText),
                needs("value", Scalar),
                may("style", Choice(STYLES)),
                may("href", Text),
            ],
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "toggle",
        &[
            SNAP,
            ACTION,
            &[may("initial_value", Flag), may("description", PlainText)],
            FOCUSABLE,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "checkboxes",
        &[
            SNAP,
            ACTION,
            &[needs("options", Choosables), may("initial_options", Choosables)],
            FOCUSABLE,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "radio_buttons",
        &[
            SNAP,
            ACTION,
            &[needs("options", Choosables), may("initial_selected_option", Choosable)],
            FOCUSABLE,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "static_select",
        &[
            SNAP,
            ACTION,
            &[needs("options", Choosables), may("initial_selected_option", Choosable)],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "multi_static_select",
        &[
            SNAP,
            ACTION,
            &[
                needs("options", Choosables),
                may("initial_selected_options", Choosables),
                may("max_selected_items", Number),
            ],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    ElementType {
        name: "plain_text_input",
        groups: &[
            SNAP,
            ACTION,
            &[
                may("initial_value", Text),
                may("multiline", Flag),
                may("min_length", Number),
                may("max_length", Number),
                may("resize", Flag),
            ],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_length", "max_length")],
    },
    ElementType {
        name: "number_input",
        groups: &[
            SNAP,
            ACTION,
            &[may("initial_value", Scalar), may("min_value", Number), may("max_value", Number)],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_value", "max_value")],
    },
    of(
        "email_text_input",
        &[
            SNAP,
            ACTION,
            &[may("initial_value", Text)],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "rich_text_input",
        &[
            SNAP,
            ACTION,
            &[may("initial_value", Text)],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    ElementType {
        name: "string_list",
        groups: &[
            SNAP,
            ACTION,
            &[
                may("min_items", Number),
                may("max_items", Number),
                may("multiline", Flag),
                may("min_item_length", Number),
                may("max_item_length", Number),
                may("initial_values", Scalars),
            ],
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_items", "max_items"), ("min_item_length", "max_item_length")],
    },
    ElementType {
        name: "number_list",
        groups: &[
            SNAP,
            ACTION,
            &[
                may("min_items", Number),
                may("max_items", Number),
                may("min_item_value", Number),
                may("max_item_value", Number),
                may("initial_values", Scalars),
            ],
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_items", "max_items"), ("min_item_value", "max_item_value")],
    },
    ElementType {
        name: "email_list",
        groups: &[
            SNAP,
            ACTION,
            &[may("min_items", Number), may("max_items", Number), may("initial_values", Scalars)],
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_items", "max_items")],
    },
    ElementType {
        name: "upload",
        groups: &[
            SNAP,
            ACTION,
            &[
                needs("upload_button", Element(BUTTON)),
                may("min_files", Number),
                may("max_files", Number),
                may("initial_artifacts_ids", Scalars),
            ],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
        ranges: &[("min_files", "max_files")],
    },
    // What people pick from what there is.
    of(
        "part_picker",
        &[
            SNAP,
            ACTION,
            &[
                may("initial_parts_selected_options", Scalars),
                may("max_selected_items", Number),
                may("allowed_part_types", Choices(PARTS)),
            ],
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "tag_picker",
        &[
            SNAP,
            ACTION,
            &[may("initial_tags_selected_options", Scalars), may("max_selected_items", Number)],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
    of(
        "user_picker",
        &[
            SNAP,
            ACTION,
            &[
                may("user_types", Choices(&["rev_user", "dev_user", "sys_user"])),
                may("initial_rev_users_selected_options", Scalars),
                may("initial_dev_users_selected_options", Scalars),
                may("initial_sys_users_selected_options", Scalars),
                may("max_selected_items", Number),
            ],
            FOCUSABLE,
            WITH_PLACEHOLDER,
            CAN_BE_DISABLED,
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_places_name_types() {
        let mut names = type_names();
        for element in TYPES {
            let mut properties: Vec<_> = element.properties().map(|it| it.name).collect();
            let count = properties.len();
            properties.sort_unstable();
            properties.dedup();
            assert_eq!(properties.len(), count, "{}", element.name);
            for property in element.properties() {
                let (Element(inside) | Elements(inside)) = property.kind else { continue };
                assert!(inside.iter().all(|it| names.contains(it)), "{inside:?}");
            }
            for (lower, upper) in element.ranges {
                assert!(element.property(lower).is_some() && element.property(upper).is_some());
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
