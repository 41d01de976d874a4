//! The tables after all migrations. `tests/api/migrations.rs` compares this file with a real database.

diesel::table! {
    users (id) {
        id -> Unsigned<Bigint>,
        username -> Varchar,
        kind -> Varchar,
        password_hash -> Varchar,
        token_generation -> Unsigned<Integer>,
        approved -> Bool,
        awaits_approval -> Bool,
        sales_withheld -> Bool,
        erased_at -> Nullable<Unsigned<Bigint>>,
        acts_for -> Nullable<Unsigned<Bigint>>,
        rights -> Unsigned<TinyInt>,
    }
}

diesel::table! {
    freed_names (name_hash) {
        name_hash -> Varbinary,
    }
}

diesel::table! {
    coupons (id) {
        id -> Unsigned<Bigint>,
        saler_id -> Unsigned<Bigint>,
        name -> Varchar,
        amount -> Unsigned<Integer>,
        left_count -> Integer,
        face_value -> Unsigned<Integer>,
        description -> Varchar,
        scheduled -> Bool,
        revision -> Unsigned<Bigint>,
        published_revision -> Unsigned<Bigint>,
        activity_revision -> Unsigned<Bigint>,
        archived -> Bool,
        unloaded -> Bool,
        shard -> Varchar,
        withheld -> Bool,
        changed_by -> Varchar,
    }
}

diesel::table! {
    activities (id) {
        id -> Unsigned<Integer>,
        coupon_id -> Unsigned<Bigint>,
        name -> Varchar,
        start_time -> Unsigned<Bigint>,
        end_time -> Unsigned<Bigint>,
        total -> Unsigned<Integer>,
        status -> Unsigned<TinyInt>,
        speed -> Unsigned<Integer>,
        buy_limit -> Unsigned<TinyInt>,
        buy_rate -> Double,
        revision -> Unsigned<Bigint>,
        etcd_revision -> Unsigned<Bigint>,
        registered_before -> Unsigned<Bigint>,
        last_user_id -> Unsigned<Bigint>,
        network_winners -> Unsigned<Smallint>,
        ticket -> TinyInt,
    }
}

diesel::table! {
    claims (coupon_id, seq) {
        coupon_id -> Unsigned<Bigint>,
        seq -> Unsigned<Integer>,
        user_id -> Unsigned<Bigint>,
        nth -> Unsigned<TinyInt>,
        activity_id -> Unsigned<Integer>,
        claimed_at -> Unsigned<Bigint>,
        redeemed_at -> Nullable<Unsigned<Bigint>>,
        redeemed_by -> Nullable<Varchar>,
    }
}

diesel::table! {
    shards (shard) {
        shard -> Varchar,
        epoch -> Unsigned<Integer>,
        run_id -> Varchar,
        state -> Varchar,
        token -> Varchar,
        next_epoch -> Unsigned<Integer>,
        found_live -> Nullable<Varchar>,
        previous_run_id -> Varchar,
        joined -> Unsigned<Integer>,
        redis_address -> Varchar,
        format -> Unsigned<TinyInt>,
        wanted_format -> Unsigned<TinyInt>,
    }
}

diesel::table! {
    ledgers (shard, process) {
        shard -> Varchar,
        process -> Varchar,
        epoch -> Unsigned<Integer>,
        counter -> Unsigned<Bigint>,
    }
}

diesel::table! {
    instances (instance, shard) {
        instance -> Varchar,
        process -> Varchar,
        acknowledged_epoch -> Unsigned<Integer>,
        oldest_entry -> Nullable<Varchar>,
        redis_run_id -> Varchar,
        redis_address -> Varchar,
        label -> Varchar,
        beat_number -> Unsigned<Bigint>,
        format -> Unsigned<TinyInt>,
        shard -> Varchar,
        draining -> Bool,
        mysql_server -> Varchar,
    }
}

diesel::table! {
    revoked_tokens (user_id, jti) {
        user_id -> Unsigned<Bigint>,
        jti -> Varchar,
        generation -> Unsigned<Integer>,
        expires_at -> Unsigned<Bigint>,
    }
}

diesel::table! {
    known_networks (user_id, network) {
        user_id -> Unsigned<Bigint>,
        network -> Varchar,
        seen_at -> Unsigned<Bigint>,
    }
}

diesel::table! {
    poisoned_claims (id) {
        id -> Unsigned<Bigint>,
        entry -> Varchar,
        claim -> Varchar,
        reason -> Varchar,
        acknowledged_at -> Nullable<Datetime>,
        acknowledged_by -> Nullable<Varchar>,
    }
}

diesel::table! {
    import_sources (id) {
        id -> Unsigned<Smallint>,
        name -> Varchar,
        rows_taken_at -> Nullable<Datetime>,
    }
}

diesel::table! {
    imported_users (import_source_id, source_id) {
        import_source_id -> Unsigned<Smallint>,
        source_id -> Bigint,
        user_id -> Unsigned<Bigint>,
    }
}

diesel::table! {
    settings (name) {
        name -> Varchar,
        value -> Text,
        revision -> Unsigned<Bigint>,
        etcd_revision -> Unsigned<Bigint>,
        changed_by -> Varchar,
    }
}

diesel::table! {
    audit_trail (id) {
        id -> Unsigned<Bigint>,
        at_ms -> Unsigned<Bigint>,
        actor -> Varchar,
        actor_kind -> Varchar,
        event -> Varchar,
        object -> Varchar,
        address -> Varchar,
        request_id -> Varchar,
        status -> Unsigned<Smallint>,
        repeated -> Unsigned<Integer>,
    }
}

diesel::table! {
    blocks (kind, value) {
        kind -> Varchar,
        value -> Varchar,
        ends_at -> Nullable<Unsigned<Bigint>>,
        since -> Unsigned<Bigint>,
        blocked_by -> Varchar,
        reason -> Varchar,
    }
}

diesel::table! {
    installation (id) {
        id -> Unsigned<TinyInt>,
        mysql_server -> Varchar,
        id_moves -> Unsigned<Integer>,
        installation_id -> Varchar,
    }
}

diesel::table! {
    saler_skeletons (skeleton) {
        skeleton -> Varbinary,
        user_id -> Unsigned<Bigint>,
    }
}

diesel::table! {
    merchant_keys (id) {
        id -> Unsigned<Integer>,
        saler_id -> Unsigned<Bigint>,
        name -> Varchar,
        rights -> Unsigned<TinyInt>,
        secret_hash -> Binary,
        created_at -> Unsigned<Bigint>,
        expires_at -> Nullable<Unsigned<Bigint>>,
        last_used_at -> Nullable<Unsigned<Bigint>>,
        ended_at -> Nullable<Unsigned<Bigint>>,
        changed_at -> Datetime,
    }
}

diesel::table! {
    second_factors (user_id) {
        user_id -> Unsigned<Bigint>,
        secret -> Nullable<Varbinary>,
        last_step -> Unsigned<Bigint>,
        tries -> Unsigned<Integer>,
        tries_since -> Unsigned<Bigint>,
        pending -> Nullable<Varbinary>,
        pending_at -> Unsigned<Bigint>,
    }
}

diesel::table! {
    recovery_codes (user_id, code_hash) {
        user_id -> Unsigned<Bigint>,
        code_hash -> Varbinary,
    }
}

diesel::joinable!(coupons -> users (saler_id));
diesel::joinable!(claims -> users (user_id));
diesel::joinable!(known_networks -> users (user_id));
diesel::joinable!(activities -> coupons (coupon_id));
diesel::joinable!(imported_users -> users (user_id));
diesel::joinable!(saler_skeletons -> users (user_id));
diesel::joinable!(merchant_keys -> users (saler_id));
diesel::allow_tables_to_appear_in_same_query!(
    users,
    coupons,
    activities,
    claims,
    imported_users,
    known_networks,
    merchant_keys,
    saler_skeletons
);
