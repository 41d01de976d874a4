//! Rows that somebody edits by hand. The edits stay while further faults strike.

use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFault {
    /// Gives a coupon an impossible amount and an activity an impossible end, and deletes a coupon.
    Edit,
    /// Undoes the edits.
    Mend,
}

impl RowFault {
    pub async fn strike(self, world: &mut World) {
        match self {
            Self::Edit => world.edit_rows().await,
            Self::Mend => world.mend_rows().await,
        }
    }
}
