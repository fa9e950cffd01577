//! The outbox: effects of lifecycle changes that have not been carried out yet.

use redb::ReadableTable;

use super::record::decode;
use super::records::EffectRecord;
use super::tables::{ReadTables, WriteTables};
use super::{StoreError, schema};
use crate::lifecycle::snap_in::Effect;
use crate::model::id::{EffectId, SnapInId};

/// An effect to be carried out (again) after a restart.
#[derive(Clone, Debug)]
pub struct PendingEffect {
    /// Its id.
    pub id: EffectId,
    /// The snap-in whose lifecycle gave rise to it.
    pub snap_in: SnapInId,
    /// What is to be done.
    pub effect: Effect,
}

impl WriteTables<'_> {
    /// Takes an effect out that is done and has no outcome to report.
    pub fn effect_done(&mut self, id: EffectId) -> Result<(), StoreError> {
        self.outbox()?.remove(id.0)?;
        Ok(())
    }
}

impl ReadTables {
    /// Everything in the outbox, oldest first.
    pub fn pending_effects(&self) -> Result<Vec<PendingEffect>, StoreError> {
        let mut effects = Vec::new();
        for row in self.table(schema::OUTBOX)?.iter()? {
            let (id, value) = row?;
            let record: EffectRecord = decode(value.value())?;
            effects.push(PendingEffect {
                id: EffectId(id.value()),
                snap_in: record.snap_in,
                effect: record.effect,
            });
        }
        Ok(effects)
    }
}
