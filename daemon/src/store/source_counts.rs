//! What became of the inputs of event sources, as it was when it was last written down.

use redb::ReadableTable;

use super::record::decode;
use super::records::SourceCountsRecord;
use super::tables::{ReadTables, WriteTables, put};
use super::{StoreError, schema};
use crate::model::id::SourceId;

impl WriteTables<'_> {
    /// Writes counts down. Answers the sources among them that are gone: nothing is kept of those.
    pub fn put_source_counts(
        &mut self,
        counts: &[(SourceId, SourceCountsRecord)],
    ) -> Result<Vec<SourceId>, StoreError> {
        let mut gone = Vec::new();
        for (source, record) in counts {
            if self.sources()?.get(source.0)?.is_some() {
                put(self.source_counts()?, source.0, record)?;
            } else {
                gone.push(*source);
            }
        }
        Ok(gone)
    }

    /// A source is gone for good.
    pub(super) fn forget_source_counts(&mut self, source: SourceId) -> Result<(), StoreError> {
        self.source_counts()?.remove(source.0)?;
        Ok(())
    }
}

impl ReadTables {
    /// The counts of all sources.
    pub fn source_counts(&self) -> Result<Vec<(SourceId, SourceCountsRecord)>, StoreError> {
        let rows = self.table(schema::SOURCE_COUNTS)?;
        let rows = rows.iter()?.map(|row| {
            let (source, record) = row?;
            Ok((SourceId(source.value()), decode(record.value())?))
        });
        rows.collect()
    }
}
