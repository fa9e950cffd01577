//! Tags of manifests as objects. Where there is a type `tag`, each of them is an object of it with the
//! same id, so that functions can mark objects with the tags that they are given.

use serde_json::{Map, Value};

use super::{ObjectError, Objects, Who};
use crate::model::id::TagId;

/// The type that tags are objects of.
const TAG: &str = "tag";

impl Objects {
    /// Makes objects of the tags that have none yet. One that the type does not take is left alone.
    pub async fn adopt_tags(&self, who: &Who) -> Result<(), ObjectError> {
        let catalog = self.catalog();
        let Some(kind) = catalog.get(TAG).filter(|it| it.current().id_prefix == TagId::PREFIX)
        else {
            return Ok(());
        };
        let number = kind.number;
        for (id, tag) in self.read(move |tables| tables.tags_without_object(number)).await? {
            let mut fields = Map::new();
            fields.insert("name".to_owned(), Value::from(tag.name.as_str()));
            if let Some(description) = tag.description {
                fields.insert("description".to_owned(), Value::from(description));
            }
            match self.create_as(who, TAG, fields, Some(id.0)).await {
                Ok(_) => {}
                Err(error @ ObjectError::Fields { .. }) => {
                    tracing::warn!(%id, %error, "a tag of a manifest is no object of the type `tag`");
                }
                // Somebody else was faster.
                Err(ObjectError::TooBusy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
