//! The table of all routes, with a valid body for every route.

/// A route, in the spelling of the OpenAPI document.
pub struct Route {
    pub methods: &'static [&'static str],
    pub path: &'static str,
    /// A valid JSON object with placeholders: `$new` is an unused name, `$customer` is the name of the
    /// sender's customer, `$now` and `$later` are times, and `$token` is a token. Empty if the route takes no body.
    pub body: &'static str,
    /// Whether the route's changes may make later requests fail.
    pub spoils: bool,
}

const fn reads(path: &'static str) -> Route {
    Route { methods: &["GET", "HEAD"], path, body: "", spoils: false }
}

const fn writes(methods: &'static [&'static str], path: &'static str, body: &'static str) -> Route {
    Route { methods, path, body, spoils: false }
}

const fn spoils(methods: &'static [&'static str], path: &'static str, body: &'static str) -> Route {
    Route { methods, path, body, spoils: true }
}

const COUPON: &str = r#"{"name":"$new","amount":10,"stock":5,"description":"d","scheduled":false}"#;
const CHANGE: &str = r#"{"amount":20,"description":"d","scheduled":false}"#;
const ACTIVITY: &str = r#"{"activity_name":"$new","product_id":3,"start_time":"$now","end_time":"$later","total":5,
    "speed":0,"buy_limit":1,"buy_rate":"0.5","status":0}"#;
const UPDATE: &str = r#"{"activity_id":1,"end_time":"$later","total":5,"speed":1,"status":1}"#;
const KILL: &str = r#"{"product_id":2,"user_id":1,"src":"web","auth_code":"c","time":"$now","nance":"n","nth":1}"#;
const STAFF: &str = r#"{"username":"$new","password":"correct horse battery","rights":["redeem","view"]}"#;
const LIMITS: &str = r#"{"user_per_second":5,"offender_seconds":1,"allow_ips":["10.0.0.0/8"],"allow_referers":[]}"#;
const SWITCHES: &str = r#"{"register":true,"login":false,"list":false,"claim":true,"pages":true}"#;

pub const ROUTES: &[Route] = &[
    writes(&["PATCH", "PUT"], "/api/users/{user}/coupons/{name}", CHANGE),
    writes(&["GET", "HEAD", "POST"], "/api/users/{user}/coupons", COUPON),
    writes(&["POST"], "/sec/kill", KILL),
    reads("/sec/info"),
    reads("/sec/list"),
    reads("/sec/units"),
    writes(&["GET", "HEAD", "POST"], "/sec/ticket", r#"{"challenge":"$token","nonce":"7"}"#),
    writes(&["POST"], "/sec/token", r#"{"token":"$token"}"#),
    writes(&["POST"], "/sec/redeem", r#"{"token":"$token"}"#),
    writes(&["POST"], "/product/create", r#"{"product_name":"$new","product_total":5,"stock":1,"status":1}"#),
    reads("/product/list"),
    writes(&["POST"], "/activity/create", ACTIVITY),
    reads("/activity/list"),
    writes(&["POST"], "/activity/update", UPDATE),
    writes(&["POST"], "/api/auth", r#"{"username":"$customer","password":"wrong"}"#),
    spoils(&["POST"], "/api/auth/logout", ""),
    writes(&["POST"], "/api/users", r#"{"username":"$new","password":"secret","kind":"customer"}"#),
    writes(&["POST"], "/api/auth/reset", r#"{"token":"$token","new":"another password"}"#),
    writes(&["GET", "HEAD", "DELETE"], "/api/users/{user}", r#"{"password":"wrong"}"#),
    reads("/api/users/{user}/data"),
    spoils(&["PUT"], "/api/users/{user}/password", r#"{"old":"p","new":"q"}"#),
    writes(&["GET", "HEAD", "POST"], "/api/users/{user}/staff", STAFF),
    writes(&["DELETE"], "/api/users/{user}/staff/{staff}", ""),
    writes(&["GET", "HEAD", "POST"], "/api/users/{user}/keys", r#"{"name":"$new","rights":["view"]}"#),
    writes(&["DELETE"], "/api/users/{user}/keys/{id}", ""),
    spoils(&["PUT"], "/api/users/{user}/otp", r#"{"password":"p","otp":"123456","old_otp":"654321"}"#),
    reads("/api/users/{user}/coupons/{name}/claims"),
    reads("/api/users/{user}/coupons/{name}/claims.csv"),
    reads("/admin/status"),
    reads("/openapi.json"),
    reads("/docs"),
    reads("/docs/{file}"),
    spoils(&["GET", "PUT"], "/admin/limits", LIMITS),
    spoils(&["GET", "PUT"], "/admin/switches", SWITCHES),
    reads("/admin/audit"),
    reads("/admin/users"),
    spoils(&["GET", "PUT"], "/admin/users/{name}", r#"{"approved":true,"disabled":false}"#),
    spoils(&["POST"], "/admin/users/{name}/password", ""),
    spoils(&["POST"], "/admin/users/{name}/end-sessions", ""),
    reads("/admin/blacklist"),
    spoils(&["GET", "PUT", "DELETE"], "/admin/blacklist/{kind}/{value}", r#"{"seconds":5}"#),
    reads("/healthz"),
    reads("/readyz"),
];
