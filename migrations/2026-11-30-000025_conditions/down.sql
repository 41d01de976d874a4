ALTER TABLE activities
    DROP registered_before,
    DROP last_user_id,
    DROP network_winners,
    DROP ticket;
