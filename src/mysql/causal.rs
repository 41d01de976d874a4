//! Reads that see all earlier commits of a cluster.
//!
//! A node of a cluster may not have applied the last commits of another node. Recovery decides by what it reads, so its
//! connections wait for them.

use diesel::QueryResult;
use diesel::prelude::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::{AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};

#[derive(QueryableByName)]
struct Variable {
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "Variable_name")]
    name: String,
    #[diesel(sql_type = Text)]
    #[diesel(column_name = "Value")]
    value: String,
}

/// Lets the reads, updates and deletes of a connection wait for all earlier commits, if the server is a node of Galera or
/// of group replication.
///
/// # Errors
/// The error of MySQL.
pub(super) async fn wait_for_earlier_commits(connection: &mut AsyncMysqlConnection) -> QueryResult<()> {
    let query = "SHOW SESSION VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_consistency')";
    let variables: Vec<Variable> = diesel::sql_query(query).load(connection).await?;
    for Variable { name, value } in variables {
        match (name.as_str(), value.as_str()) {
            ("wsrep_on", "ON") => connection.batch_execute("SET SESSION wsrep_sync_wait = 3").await?,
            ("group_replication_consistency", _) => {
                connection.batch_execute("SET SESSION group_replication_consistency = 'BEFORE'").await?;
            }
            _ => {}
        }
    }
    Ok(())
}
