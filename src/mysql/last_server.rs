//! The MySQL server that this process last issued an id through.
//!
//! After a failover from server A to B and back, the row of `installation` on A can name A although B has issued ids
//! meanwhile. The process remembers that it used B.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A server, and the row of `installation` that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerRow {
    /// The identity of the server.
    pub(super) server: String,
    /// The server that the row names. Empty if the row names none.
    pub(super) named: String,
    /// How often ids were moved on, according to the row.
    pub(super) moves: u32,
}

/// What must be done before a server issues an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BeforeNewId {
    Nothing,
    /// No id was issued since the migration, and a migration loses no rows. The row must name the server.
    NameServer,
    /// The server may lack the last rows of the server `before`. Ids must be moved on.
    MoveOn {
        before: String,
        /// The number of moves, at least 1. A move that the row lacks counts, because ids were issued behind it.
        moves: u32,
    },
}

/// The server that this process last issued an id through.
#[derive(Debug, Default)]
pub struct LastServer {
    /// The server, and how often ids had been moved on there. `None` before the first id.
    last: Mutex<Option<(String, u32)>>,
    moved: AtomicU64,
}

impl LastServer {
    /// What must be done before `row.server` issues an id. [`BeforeNewId::Nothing`] makes the server the last one.
    pub(super) fn judge(&self, row: &ServerRow) -> BeforeNewId {
        let mut last = self.last();
        let Some((server, moves)) = &*last else {
            if row.named.is_empty() {
                return BeforeNewId::NameServer;
            }
            if row.named != row.server {
                return BeforeNewId::MoveOn { before: row.named.clone(), moves: 1 };
            }
            *last = Some((row.server.clone(), row.moves));
            return BeforeNewId::Nothing;
        };
        // If the row has more moves than the process remembers, another process has moved on for this server.
        let is_current = row.moves > *moves || (row.moves == *moves && row.server == *server);
        if row.named != row.server || !is_current {
            let moves = 1 + moves.saturating_sub(row.moves);
            return BeforeNewId::MoveOn { before: server.clone(), moves };
        }
        *last = Some((row.server.clone(), row.moves));
        BeforeNewId::Nothing
    }

    /// Remembers that the row names `server` and has `moves` moves.
    pub(super) fn note_named(&self, server: &str, moves: u32) {
        let mut last = self.last();
        // Another connection may have noted a later move meanwhile.
        if last.as_ref().is_none_or(|(_, known)| *known <= moves) {
            *last = Some((server.to_owned(), moves));
        }
    }

    /// Remembers that ids were moved on at `server`. `moves` is the number in the row afterwards.
    pub(super) fn note_moved(&self, server: &str, moves: u32) {
        self.note_named(server, moves);
        self.moved.fetch_add(1, Ordering::Relaxed);
    }

    /// How often this process has moved ids on.
    pub fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn last(&self) -> MutexGuard<'_, Option<(String, u32)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, named: &str, moves: u32) -> ServerRow {
        ServerRow { server: server.to_owned(), named: named.to_owned(), moves }
    }

    fn move_on(before: &str, moves: u32) -> BeforeNewId {
        BeforeNewId::MoveOn { before: before.to_owned(), moves }
    }

    /// The memory of a process that last issued an id through `server`.
    fn after(server: &str, moves: u32) -> LastServer {
        let last = LastServer::default();
        assert_eq!(last.judge(&row(server, server, moves)), BeforeNewId::Nothing);
        last
    }

    #[test]
    fn a_new_process_trusts_the_row() {
        assert_eq!(LastServer::default().judge(&row("a", "", 0)), BeforeNewId::NameServer);
        assert_eq!(LastServer::default().judge(&row("a", "a", 3)), BeforeNewId::Nothing);
        assert_eq!(LastServer::default().judge(&row("b", "a", 3)), move_on("a", 1));
    }

    #[test]
    fn another_server_moves_on_once_for_all_processes() {
        assert_eq!(after("a", 0).judge(&row("b", "a", 0)), move_on("a", 1));
        assert_eq!(after("a", 0).judge(&row("b", "b", 1)), BeforeNewId::Nothing);
    }

    #[test]
    fn a_server_that_comes_back_moves_on_behind_the_ids_of_the_other() {
        assert_eq!(after("b", 1).judge(&row("a", "a", 0)), move_on("b", 2));
        // The first server has the row of the second one.
        assert_eq!(after("b", 1).judge(&row("a", "b", 1)), move_on("b", 1));
        // Both have moved on once, and neither knows the move of the other.
        assert_eq!(after("b", 1).judge(&row("a", "a", 1)), move_on("b", 1));
    }

    #[test]
    fn a_row_that_went_back_moves_on() {
        assert_eq!(after("a", 1).judge(&row("a", "", 0)), move_on("a", 2));
        assert_eq!(after("a", 0).judge(&row("a", "", 0)), move_on("a", 1));
        assert_eq!(after("a", 1).judge(&row("a", "a", 0)), move_on("a", 2));
    }

    #[test]
    fn a_move_is_remembered_and_counted() {
        let last = after("a", 0);
        last.note_moved("b", 1);
        assert_eq!((last.judge(&row("b", "b", 1)), last.moved()), (BeforeNewId::Nothing, 1));
        assert_eq!(last.judge(&row("a", "a", 0)), move_on("b", 2));
    }
}
