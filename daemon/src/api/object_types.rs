//! `object-types.*`: the types of objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::Api;
use super::error::{ApiError, Code};
use super::lists::time;
use super::object_rights::granted;
use super::rights::Caller;
use crate::engine::objects::{self as engine, KnownType, TypeUpdate, Who};
use crate::model::object_type::ObjectType;
use crate::objects::definition::{default_plural, default_prefix};

/// A type of objects.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectType")]
pub(super) struct Shown {
    name: String,
    plural: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    id_prefix: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title_field: Option<String>,
    /// A prefix, or `by` a field with its `prefixes`.
    #[serde(skip_serializing_if = "Value::is_null")]
    display_id: Value,
    /// What lists can be filtered and sorted by, beside the fields that every object has.
    indexed: Vec<String>,
    /// Field to type, or several, or `*` for any.
    references: Value,
    /// References that are shown as ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plain_references: Vec<String>,
    /// What is shown where another object refers to one, beside its title.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    summary: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filter_aliases: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    input_aliases: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_member: Option<String>,
    schema: Value,
    /// The first part of its calls: `timeline-entries` of `timeline-entries.create`.
    calls: String,
    object_count: u64,
    /// Whether a change of it is being checked against its objects.
    is_changing: bool,
    /// Who defines it: an administrator, packages by their slugs.
    defined_by: DefinedBy,
    created_date: String,
    created_by: String,
    modified_date: String,
    modified_by: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectTypeDefinedBy")]
struct DefinedBy {
    administrator: bool,
    packages: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OneObjectType {
    object_type: Shown,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ManyObjectTypes {
    object_types: Vec<Shown>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct UpdatedObjectType {
    object_type: Shown,
    /// How many objects were looked at.
    checked: u64,
    /// How many of them would not be right; with `dry_run` only, else the change is refused.
    broken_count: u64,
    broken: Vec<Broken>,
}

/// An object that would not be right any more.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BrokenObject")]
pub(super) struct Broken {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_id: Option<String>,
    /// Each with `field`, `message` and, where they can be listed, what is `allowed`.
    fields: Vec<Value>,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectTypesWhich")]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Name or plural.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectTypesList")]
#[serde(deny_unknown_fields)]
pub(super) struct All {}

/// A definition, or what is to be changed in one.
#[derive(Deserialize, Serialize, JsonSchema)]
#[schemars(rename = "ObjectTypesDefine")]
#[serde(deny_unknown_fields)]
pub(super) struct Definition {
    /// Singular, such as `timeline_entry`.
    name: String,
    /// With an `s` at its end when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plural: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    display_name: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    description: Option<Value>,
    /// What ids begin with; the letters of the name when absent. It stays for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id_prefix: Option<String>,
    /// The field by which people know an object.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    title_field: Option<Value>,
    /// `TKT` for `TKT-1`, or `{"by": "type", "prefixes": {"issue": "ISS"}}`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    display_id: Option<Value>,
    /// Fields that lists can be filtered and sorted by, with dots into objects and lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    indexed: Option<Vec<String>>,
    /// Fields that name other objects: field to type, or a list of types, or `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    references: Option<BTreeMap<String, Value>>,
    /// References that are shown as ids, with display id and type beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plain_references: Option<Vec<String>>,
    /// Fields that are shown of an object where another one refers to it, beside its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    summary: Option<Vec<String>>,
    /// Other names of indexed fields in filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    filter_aliases: Option<BTreeMap<String, String>>,
    /// Other names of fields in what callers send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input_aliases: Option<BTreeMap<String, String>>,
    /// Members that callers may send and that are not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignored: Option<Vec<String>>,
    /// What the object is called in the events of its changes; its type's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    event_member: Option<Value>,
    /// JSON Schema (draft 2020-12) of the type's own fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    schema: Option<Value>,
    /// Of a change, only says which objects would not be right any more.
    #[serde(default, skip_serializing)]
    dry_run: bool,
}

#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "ObjectTypesApply")]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// Whole definitions, which may refer to one another.
    object_types: Vec<Definition>,
}

/// What became of definitions, by the names of the types.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ObjectTypesApplied")]
pub(super) struct Applied {
    created: Vec<String>,
    updated: Vec<String>,
    unchanged: Vec<String>,
}

/// What is there, also when it is null.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

pub(super) async fn create(
    api: Arc<Api>,
    caller: Caller,
    definition: Definition,
) -> Result<OneObjectType, ApiError> {
    let definition = whole(definition)?;
    let kind = api.objects.create_type(&who(&caller), definition).await?;
    api.objects.adopt_tags(&who(&caller)).await?;
    Ok(OneObjectType { object_type: shown(&api, &kind)? })
}

pub(super) async fn apply(
    api: Arc<Api>,
    caller: Caller,
    apply: Apply,
) -> Result<Applied, ApiError> {
    let definitions = apply.object_types.into_iter().map(whole).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<&str> = definitions.iter().map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|it| it[0] == it[1]) {
        let message = format!("the object type `{}` is defined twice", twice[0]);
        return Err(ApiError::field("object_types", message));
    }
    let applied = api.objects.apply_types(&who(&caller), &definitions).await?;
    api.objects.adopt_tags(&who(&caller)).await?;
    let engine::Applied { created, updated, unchanged } = applied;
    Ok(Applied { created, updated, unchanged })
}

pub(super) async fn get(
    api: Arc<Api>,
    caller: Caller,
    which: Which,
) -> Result<OneObjectType, ApiError> {
    let kind = api.objects.find_type(&which.name)?;
    if !granted(&api, &caller)?.shows(&kind) {
        return Err(ApiError::not_found("object type", &which.name));
    }
    Ok(OneObjectType { object_type: shown(&api, &kind)? })
}

pub(super) async fn list(
    api: Arc<Api>,
    caller: Caller,
    _: All,
) -> Result<ManyObjectTypes, ApiError> {
    let granted = granted(&api, &caller)?;
    let catalog = api.objects.catalog();
    let seen = catalog.types().iter().filter(|it| granted.shows(it));
    let object_types = seen.map(|it| shown(&api, it)).collect::<Result<_, _>>()?;
    Ok(ManyObjectTypes { object_types })
}

pub(super) async fn update(
    api: Arc<Api>,
    caller: Caller,
    definition: Definition,
) -> Result<UpdatedObjectType, ApiError> {
    let dry_run = definition.dry_run;
    let kind = api.objects.find_type(&definition.name)?;
    let before = serde_json::to_value(kind.current())
        .map_err(|error| ApiError::new(Code::Internal, error.to_string()))?;
    let name = kind.current().name.clone();
    let definition = put_over(before, Definition { name: name.clone(), ..definition })?;
    let report = api.objects.update_type(&who(&caller), definition, dry_run).await?;
    let kind = api.objects.find_type(&name)?;
    let broken = report.broken.iter().map(broken_object).collect();
    Ok(UpdatedObjectType {
        object_type: shown(&api, &kind)?,
        checked: report.checked,
        broken_count: report.broken_count,
        broken,
    })
}

pub(super) async fn delete(api: Arc<Api>, _: Caller, which: Which) -> Result<(), ApiError> {
    Ok(api.objects.delete_type(&which.name).await?)
}

/// A definition that is whole by itself.
fn whole(definition: Definition) -> Result<ObjectType, ApiError> {
    if definition.dry_run {
        let message = "`dry_run` is for object-types.update, which can say what would break";
        return Err(ApiError::field("dry_run", message));
    }
    let name = &definition.name;
    let start = json!({
        "plural": default_plural(name), "id_prefix": default_prefix(name), "schema": {},
    });
    put_over(start, definition)
}

/// A definition with what was sent written over what was there; null clears.
fn put_over(before: Value, sent: Definition) -> Result<ObjectType, ApiError> {
    let internal = |error: serde_json::Error| ApiError::new(Code::Internal, error.to_string());
    let Value::Object(mut whole) = before else {
        return Err(ApiError::new(Code::Internal, "a definition is no object"));
    };
    if let Value::Object(sent) = serde_json::to_value(sent).map_err(internal)? {
        for (name, value) in sent {
            if value.is_null() {
                whole.remove(&name);
            } else {
                whole.insert(name, value);
            }
        }
    }
    // The rest is typed; of these, each has its own shape.
    for (name, expected) in [
        (
            "display_id",
            "a prefix such as \"TKT\", or {\"by\": FIELD, \"prefixes\": {VALUE: PREFIX}}",
        ),
        ("references", "fields, each with the name of a type or a list of names"),
        ("display_name", "text"),
        ("description", "text"),
        ("title_field", "the name of a field"),
        ("event_member", "a name"),
    ] {
        let Some(value) = whole.get(name) else { continue };
        let mut probe = json!({ "name": "a", "plural": "as", "id_prefix": "a", "schema": {} });
        probe[name] = value.clone();
        if serde_json::from_value::<ObjectType>(probe).is_err() {
            return Err(ApiError::field(name, format!("`{name}`: expected {expected}")));
        }
    }
    serde_json::from_value(Value::Object(whole))
        .map_err(|error| ApiError::new(Code::BadRequest, error.to_string()))
}

fn shown(api: &Api, kind: &KnownType) -> Result<Shown, ApiError> {
    let record = &kind.record;
    let definition = kind.current();
    let packages = api.services.store.read(|tables| {
        let packages = record.origin.packages.iter().map(|it| {
            Ok(tables.package(*it)?.map_or_else(|| it.to_string(), |package| package.slug))
        });
        packages.collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Shown {
        name: definition.name.clone(),
        plural: definition.plural.clone(),
        display_name: definition.display_name.clone(),
        description: definition.description.clone(),
        id_prefix: definition.id_prefix.clone(),
        title_field: definition.title_field.clone(),
        display_id: json!(definition.display_id),
        indexed: definition.indexed.clone(),
        references: json!(definition.references),
        plain_references: definition.plain_references.clone(),
        summary: definition.summary.clone(),
        filter_aliases: definition.filter_aliases.clone(),
        input_aliases: definition.input_aliases.clone(),
        ignored: definition.ignored.clone(),
        event_member: definition.event_member.clone(),
        schema: definition.schema.clone(),
        calls: definition.plural.replace('_', "-"),
        object_count: api.objects.count_of(kind)?,
        is_changing: record.candidate.is_some(),
        defined_by: DefinedBy { administrator: record.origin.admin, packages },
        created_date: time(record.created_ms),
        created_by: record.created_by.clone(),
        modified_date: time(record.modified_ms),
        modified_by: record.modified_by.clone(),
    })
}

fn broken_object(it: &crate::engine::objects::BrokenObject) -> Broken {
    Broken {
        id: it.id.clone(),
        display_id: it.display_id.clone(),
        fields: it.problems.iter().map(|it| json!(it)).collect(),
    }
}

/// A change that objects would break on.
pub(super) fn broken(message: String, report: &TypeUpdate) -> ApiError {
    let broken: Vec<Broken> = report.broken.iter().map(broken_object).collect();
    ApiError::new(Code::Conflict, message)
        .with("checked", json!(report.checked))
        .with("broken_count", json!(report.broken_count))
        .listing("broken", &broken)
}

pub(super) fn who(caller: &Caller) -> Who {
    Who { name: caller.principal.name(), cause: caller.cause }
}
