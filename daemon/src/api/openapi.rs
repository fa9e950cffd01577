//! The OpenAPI 3.1 document, made from the table of routes and the wire types. It is made by a test and built
//! in: making it took 8 MiB that a daemon never got rid of again.

use actix_web::HttpResponse;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::dispatch::Route;
use super::error::Code;
use super::routes::Table;

/// The document.
pub fn document() -> Value {
    let table = Table::new();
    let mut generator = SchemaSettings::draft2020_12()
        .with(|it| it.definitions_path = "/components/schemas".into())
        .into_generator();
    let mut paths = Map::new();
    for route in table.all() {
        let request = (route.request)(&mut generator).to_value();
        let response = (route.response)(&mut generator).to_value();
        let mut item = Map::new();
        item.insert("post".to_owned(), operation(route, Some(request.clone()), &response));
        if route.reads {
            item.insert("get".to_owned(), operation(route, None, &response));
        }
        paths.insert(format!("/api/v1/{}", route.name), Value::Object(item));
    }
    let codes: Vec<_> = Code::ALL.iter().map(|it| it.text()).collect();
    let mut schemas = generator.take_definitions(true);
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "required": ["type", "title", "status", "code", "detail", "message"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "code": { "type": "string", "enum": codes },
                "detail": { "type": "string" },
                "message": { "type": "string" },
                "field": { "type": "string" },
                "allowed": { "type": "array", "items": { "type": "string" } },
                "problems": { "type": "array", "items": { "type": "object" } },
            },
        }),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mortise",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Calls that read can be made with GET too, their parameters in the query.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "What was wrong, and what is allowed",
                    "content": { "application/problem+json": {
                        "schema": { "$ref": "#/components/schemas/Problem" },
                    } },
                },
            },
        },
    })
}

fn operation(route: &Route, request: Option<Value>, response: &Value) -> Value {
    let (resource, verb) = route.name.split_once('.').unwrap_or((route.name, ""));
    let method = if request.is_some() { "post" } else { "get" };
    let mut description = format!("Needs the right `{}`.", route.right.name());
    let more = [route.audit.about(), route.remembered.about().map(str::to_owned)];
    for about in more.into_iter().flatten() {
        description.push(' ');
        description.push_str(&about);
    }
    let mut operation = json!({
        "operationId": format!("{method}_{}_{}", resource.replace('-', "_"), verb.replace('-', "_")),
        "tags": [resource],
        "summary": route.summary,
        "description": description,
        "responses": {
            (route.status.as_str()): {
                "description": "Done",
                "content": { "application/json": { "schema": response } },
            },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    if response.pointer("/type").is_some_and(|it| it == "null") {
        operation["responses"][route.status.as_str()] =
            json!({ "description": "Done, without a body" });
    }
    if let (Some(request), Some(members)) = (request, operation.as_object_mut()) {
        let body = json!({ "content": { "application/json": { "schema": request } } });
        members.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The document as [`document`] makes it.
const STORED: &str = include_str!("../../openapi.json");

/// Serves it.
pub(super) async fn serve() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(STORED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_document_is_in_step_with_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let made = format!("{:#}\n", document());
        if std::fs::read_to_string(path).unwrap_or_default() != made {
            std::fs::write(path, made).expect("the document can be written");
            panic!(
                "the API changed; daemon/openapi.json was written anew, read its diff and commit it"
            );
        }
    }
}
