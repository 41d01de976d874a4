//! Every route, asked by everybody: without a token, with tokens that count no more, and by each kind of user for objects
//! of others. Every answer is the documented one, and a refused request changes nothing.

use std::collections::BTreeSet;

use couponrush::domain::{Kind, UserName};
use couponrush::mysql::users::find_by_name;
use serde_json::{Value, json};

use crate::helpers::{Answer, TestApp};

/// Who asks: the customer `ann` and the saler `shop` own the objects of the paths.
const ASKERS: [&str; 5] = ["ann", "bob", "shop", "cafe", "root"];
/// Sessions that are none, with the code of the refusal.
const NO_SESSIONS: [(&str, &str); 5] = [
    ("", "not-logged-in"),
    ("expired", "token-expired"),
    ("ended", "not-logged-in"),
    ("forged", "not-logged-in"),
    ("disabled", "not-logged-in"),
];

/// A request, and the statuses of the answers to the [`ASKERS`].
struct Row {
    method: &'static str,
    /// The path in the OpenAPI document.
    route: &'static str,
    path: &'static str,
    body: &'static str,
    statuses: [u16; 5],
    /// Whether it needs a session.
    is_private: bool,
}

const fn open(method: &'static str, path: &'static str, body: &'static str, status: u16) -> Row {
    Row { method, route: path, path, body, statuses: [status; 5], is_private: false }
}

const fn private(
    method: &'static str,
    route: &'static str,
    path: &'static str,
    body: &'static str,
    statuses: [u16; 5],
) -> Row {
    Row { method, route, path, body, statuses, is_private: true }
}

const COUPONS: &str = "/api/users/{user}/coupons";
const COUPON: &str = "/api/users/{user}/coupons/{name}";
const TEN: &str = "/api/users/shop/coupons/ten";
const BLOCK: &str = "/admin/blacklist/{kind}/{value}";
const ACCOUNT: &str = "/admin/users/{name}";
const EVE: &str = "/admin/blacklist/users/eve";
const STAFF: &str = "/api/users/{user}/staff";
const KEYS: &str = "/api/users/{user}/keys";
/// Nobody but the saler of the path manages staff and keys.
const OWN: [u16; 5] = [401, 401, 200, 401, 200];
const OPERATORS: [u16; 5] = [403, 403, 403, 403, 200];

const ROWS: &[Row] = &[
    open("GET", "/healthz", "", 200),
    open("GET", "/openapi.json", "", 200),
    open("GET", "/sec/list", "", 200),
    Row { path: "/sec/info?product_id=1", ..open("GET", "/sec/info", "", 200) },
    Row { path: "/sec/units?product_ids=1", ..open("GET", "/sec/units", "", 200) },
    open("POST", "/sec/token", r#"{"token":"x"}"#, 200),
    open("POST", "/api/users", r#"{"username":"ann","password":"secret","kind":"customer"}"#, 400),
    open("POST", "/api/auth", r#"{"username":"ann","password":"wrong"}"#, 401),
    private("GET", COUPONS, "/api/users/ann/coupons", "", [204, 401, 401, 401, 204]),
    private("GET", COUPONS, "/api/users/shop/coupons", "", [200; 5]),
    private(
        "POST",
        COUPONS,
        "/api/users/shop/coupons",
        r#"{"name":"new","amount":1,"stock":1,"description":""}"#,
        [401, 401, 201, 401, 401],
    ),
    private("PUT", COUPON, TEN, r#"{"description":"d"}"#, [401, 401, 200, 401, 401]),
    private("PATCH", COUPON, TEN, "", [201, 201, 401, 401, 401]),
    private(
        "GET",
        "/api/users/{user}/coupons/{name}/claims",
        "/api/users/shop/coupons/ten/claims",
        "",
        [401, 401, 200, 401, 200],
    ),
    private(
        "GET",
        "/api/users/{user}/coupons/{name}/claims.csv",
        "/api/users/shop/coupons/ten/claims.csv",
        "",
        [401, 401, 200, 401, 200],
    ),
    private(
        "PUT",
        "/api/users/{user}/password",
        "/api/users/ann/password",
        r#"{"old":"x","new":"battery staple"}"#,
        [401, 401, 401, 401, 401],
    ),
    open("POST", "/api/auth/reset", r#"{"token":"x","new":"battery staple"}"#, 400),
    private("GET", "/api/users/{user}", "/api/users/ann", "", [200, 401, 401, 401, 401]),
    private("GET", "/api/users/{user}/data", "/api/users/ann/data", "", [200, 401, 401, 401, 401]),
    private("DELETE", "/api/users/{user}", "/api/users/ann", r#"{"password":"x"}"#, [401; 5]),
    private(
        "POST",
        STAFF,
        "/api/users/shop/staff",
        r#"{"username":"helper","password":"correct horse battery","rights":["view"]}"#,
        // By the admin a second time, so the name is taken.
        [401, 401, 201, 401, 400],
    ),
    private("GET", STAFF, "/api/users/shop/staff", "", OWN),
    private("DELETE", "/api/users/{user}/staff/{staff}", "/api/users/shop/staff/helper", "", [401, 401, 200, 401, 404]),
    private("POST", KEYS, "/api/users/shop/keys", r#"{"name":"k","rights":["view"]}"#, [401, 401, 201, 401, 201]),
    private("GET", KEYS, "/api/users/shop/keys", "", OWN),
    private("DELETE", "/api/users/{user}/keys/{id}", "/api/users/shop/keys/1", "", [401, 401, 200, 401, 404]),
    private("PUT", "/api/users/{user}/otp", "/api/users/root/otp", r#"{"password":"wrong"}"#, [401; 5]),
    private("POST", "/sec/kill", "/sec/kill", r#"{"product_id":1}"#, [400, 400, 401, 401, 401]),
    private("GET", "/sec/ticket", "/sec/ticket?product_id=2", "", [404, 404, 401, 401, 401]),
    private("POST", "/sec/ticket", "/sec/ticket", r#"{"challenge":"x","nonce":"1"}"#, [400, 400, 401, 401, 401]),
    private("POST", "/sec/redeem", "/sec/redeem", r#"{"token":"x"}"#, [403, 403, 400, 400, 400]),
    private(
        "POST",
        "/product/create",
        "/product/create",
        r#"{"product_name":"more","product_total":1}"#,
        [403, 403, 200, 200, 200],
    ),
    private("GET", "/product/list", "/product/list", "", [200; 5]),
    private(
        "POST",
        "/activity/create",
        "/activity/create",
        r#"{"activity_name":"a","product_id":1,"start_time":1,"end_time":2,"total":0,"speed":0}"#,
        // By the admin a second time, in the same window.
        [403, 403, 200, 403, 400],
    ),
    private(
        "POST",
        "/activity/update",
        "/activity/update",
        r#"{"activity_id":1,"buy_limit":1}"#,
        [403, 403, 200, 403, 200],
    ),
    private("GET", "/activity/list", "/activity/list", "", [403, 403, 200, 200, 200]),
    private("GET", "/admin/status", "/admin/status", "", OPERATORS),
    private("GET", "/admin/limits", "/admin/limits", "", OPERATORS),
    private("PUT", "/admin/limits", "/admin/limits", r#"{"user_per_second":0,"user_per_minute":0}"#, OPERATORS),
    private("GET", "/admin/switches", "/admin/switches", "", OPERATORS),
    private("PUT", "/admin/switches", "/admin/switches", r#"{"claim":true}"#, OPERATORS),
    private("GET", "/admin/audit", "/admin/audit?user=nobody", "", [403, 403, 403, 403, 204]),
    private("GET", "/admin/users", "/admin/users", "", [403, 403, 403, 403, 204]),
    private("GET", ACCOUNT, "/admin/users/eve", "", OPERATORS),
    private("PUT", ACCOUNT, "/admin/users/cafe", r#"{"approved":true}"#, OPERATORS),
    private("POST", "/admin/users/{name}/password", "/admin/users/eve/password", "", OPERATORS),
    private("POST", "/admin/users/{name}/end-sessions", "/admin/users/eve/end-sessions", "", OPERATORS),
    private("GET", "/admin/blacklist", "/admin/blacklist", "", [403, 403, 403, 403, 204]),
    private("PUT", BLOCK, EVE, "{}", OPERATORS),
    private("GET", BLOCK, EVE, "", OPERATORS),
    private("DELETE", BLOCK, EVE, "", OPERATORS),
    // The last one, because it ends all sessions.
    private("POST", "/admin/end-sessions", "/admin/end-sessions", "", OPERATORS),
];
/// Routes of their own kind: a logout needs no session, streams do not end, and the rest answers pages and health.
const ELSEWHERE: [(&str, &str); 5] = [
    ("POST", "/api/auth/logout"),
    ("GET", "/sec/events"),
    ("GET", "/docs"),
    ("GET", "/docs/{file}"),
    ("GET", "/readyz"),
];

/// What staff and keys may do, by the right that they need. Everything else is refused.
const RIGHTS: [(&str, &str, &str); 11] = [
    ("POST", "/sec/redeem", "redeem"),
    ("GET", COUPONS, "view"),
    ("GET", "/api/users/{user}/coupons/{name}/claims", "view"),
    ("GET", "/api/users/{user}/coupons/{name}/claims.csv", "view"),
    ("GET", "/product/list", "view"),
    ("GET", "/activity/list", "view"),
    ("POST", COUPONS, "manage"),
    ("PUT", COUPON, "manage"),
    ("POST", "/product/create", "manage"),
    ("POST", "/activity/create", "manage"),
    ("POST", "/activity/update", "manage"),
];

/// What a refused request must not change.
const STATE: &str = "SELECT CONCAT_WS('/', \
    (SELECT COALESCE(SUM(revision * id), 0) FROM coupons), (SELECT COALESCE(SUM(revision * id), 0) FROM activities), \
    (SELECT COUNT(*) + SUM(rights) FROM users), (SELECT COUNT(*) - COUNT(ended_at) FROM merchant_keys), \
    (SELECT COALESCE(SUM(token_generation * 8 + approved * 4 + awaits_approval * 2 + sales_withheld), 0) FROM users), \
    (SELECT COUNT(*) FROM blocks), (SELECT COUNT(*) FROM revoked_tokens), (SELECT COALESCE(GROUP_CONCAT(value), '') FROM settings)) AS value";

struct World {
    app: TestApp,
    /// Tokens of the [`ASKERS`].
    tokens: Vec<String>,
}

impl World {
    async fn start() -> Self {
        let app = TestApp::start_without_rates().await;
        let mut tokens = Vec::new();
        for (name, kind) in
            ASKERS.into_iter().zip([Kind::Customer, Kind::Customer, Kind::Saler, Kind::Saler, Kind::Admin])
        {
            tokens.push(app.user(name, kind).await);
        }
        app.user("eve", Kind::Customer).await;
        let product = json!({"product_name": "scheduled", "product_total": 10});
        app.client().create_coupon("shop", &tokens[2], "ten", 10).await;
        app.client().post("/product/create", &tokens[2], &product).await;
        let sale = json!({"activity_name": "a", "product_id": 2, "start_time": 1, "end_time": 4_000_000_000_u64,
            "total": 0, "speed": 0});
        assert_eq!(app.client().post("/activity/create", &tokens[2], &sale).await.status, 200);
        Self { app, tokens }
    }

    async fn ask(&self, row: &Row, token: &str) -> Answer {
        self.app.client().send(row.method, row.path, token, Some(row.body).filter(|body| !body.is_empty())).await
    }

    /// Staff and a key of a saler with these rights.
    async fn mandated(&self, saler: &str, rights: &[&str]) -> [String; 2] {
        let token = &self.tokens[ASKERS.iter().position(|asker| *asker == saler).expect("an asker")];
        let name = format!("{saler}-{}", rights.concat());
        [self.app.staff((saler, token), &name, rights).await, self.app.key((saler, token), rights).await.1]
    }

    async fn state(&self) -> Vec<String> {
        self.app.stores.texts(STATE).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_everybody_as_documented_and_a_refusal_changes_nothing() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for row in ROWS {
        for (place, asker) in ASKERS.into_iter().enumerate() {
            let before = world.state().await;
            let answer = world.ask(row, &world.tokens[place]).await;
            if answer.status != row.statuses[place] {
                wrong.push(format!("{} {} by {asker}: {} {}", row.method, row.path, answer.status, answer.text));
            }
            if answer.status >= 400 && world.state().await != before {
                wrong.push(format!("{} {} by {asker} was refused and changed something", row.method, row.path));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_counts_no_more_is_none_on_every_route() {
    let world = World::start().await;
    let sessions = couponrush::app::signers(&world.app.args.tokens).expect("the secret is good").sessions;
    let mut wrong = Vec::new();
    let mut disabled = Vec::new();
    for kind in [Kind::Customer, Kind::Customer, Kind::Saler, Kind::Saler, Kind::Admin] {
        let name = format!("disabled-{}", disabled.len());
        disabled.push(world.app.user(&name, kind).await);
        let change = json!({"disabled": true});
        let answer = world.app.client().put(&format!("/admin/users/{name}"), &world.tokens[4], &change).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let before = world.state().await;
    for (place, _) in ASKERS.iter().enumerate() {
        let name = UserName::parse(ASKERS[place].to_owned()).expect("a name");
        let user =
            find_by_name(&world.app.stores.db, &name).await.expect("MySQL answers").expect("the user exists").user;
        let expired = sessions.issue(&user, 0, 1);
        let ended = sessions.issue(&user, 0, couponrush::base::now_seconds());
        assert_eq!(world.app.client().post("/api/auth/logout", &ended, &json!({})).await.status, 200);
        let forged = format!("{}x", world.tokens[place]);
        for row in ROWS.iter().filter(|row| row.is_private) {
            for (session, code) in NO_SESSIONS {
                let token = match session {
                    "expired" => &expired,
                    "ended" => &ended,
                    "forged" => &forged,
                    "disabled" => &disabled[place],
                    _ => session,
                };
                let answer = world.ask(row, token).await;
                let found = answer.json()["code"].clone();
                // The flash-sale interface has numbers: 401, and 1003 for a purchase.
                let is_right = found == json!(code) || [json!(401), json!(1003)].contains(&found);
                if answer.status != 401 || !is_right {
                    wrong.push(format!("{} {} {session}: {} {}", row.method, row.path, answer.status, answer.text));
                }
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
    let without_logouts = |state: &[String]| state.iter().map(|text| parts_but_logouts(text)).collect::<Vec<_>>();
    assert_eq!(without_logouts(&world.state().await), without_logouts(&before));
}

/// The state without the number of revoked tokens.
fn parts_but_logouts(state: &str) -> Vec<String> {
    state.split('/').enumerate().filter(|(place, _)| *place != 6).map(|(_, part)| part.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn staff_and_keys_may_do_what_their_right_names_for_their_saler_and_nothing_else() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for right in ["redeem", "view", "manage"] {
        for token in world.mandated("shop", &[right]).await {
            for row in ROWS.iter().filter(|row| row.is_private) {
                let needs = RIGHTS.iter().find(|(method, route, _)| (*method, *route) == (row.method, row.route));
                let may = needs.is_some_and(|(.., needed)| *needed == right) && row.statuses[2] < 401;
                judge(&world, row, &token, may, &format!("{right} of shop"), &mut wrong).await;
            }
        }
    }
    for token in world.mandated("cafe", &["redeem", "view", "manage"]).await {
        for row in ROWS.iter().filter(|row| row.is_private) {
            let is_known = RIGHTS.iter().any(|(method, route, _)| (*method, *route) == (row.method, row.route));
            let may = is_known && row.statuses[3] < 401;
            judge(&world, row, &token, may, "all rights of cafe", &mut wrong).await;
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
}

/// Sends a request, and notes an answer that does not fit.
async fn judge(world: &World, row: &Row, token: &str, may: bool, who: &str, wrong: &mut Vec<String>) {
    let before = world.state().await;
    let answer = world.ask(row, token).await;
    let is_refused = [401, 403].contains(&answer.status);
    let has_changed = is_refused && world.state().await != before;
    if is_refused == may || answer.status >= 500 || has_changed {
        let kind = if token.starts_with("crk_") { "key" } else { "staff" };
        wrong.push(format!("{} {} by {kind} with {who}: {} {}", row.method, row.path, answer.status, answer.text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_staff_and_keys_are_nobody_on_every_route() {
    let world = World::start().await;
    let rights = ["redeem", "view", "manage"];
    let ended = world.mandated("shop", &rights).await;
    for path in ["/api/users/shop/staff/shop-redeemviewmanage", "/api/users/shop/keys/1"] {
        assert_eq!(world.app.client().send("DELETE", path, &world.tokens[2], None).await.status, 200);
    }
    let mut wrong = Vec::new();
    let before = world.state().await;
    for row in ROWS.iter().filter(|row| row.is_private) {
        for token in &ended {
            let answer = world.ask(row, token).await;
            if answer.status != 401 {
                wrong.push(format!("{} {}: {} {}", row.method, row.path, answer.status, answer.text));
            }
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
    assert_eq!(world.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_document_has_a_row() {
    let app = TestApp::start().await;
    let document: Value = app.client().get("/openapi.json", "").await.json();
    let mut documented = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in methods.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    let rows = ROWS.iter().map(|row| (row.method, row.route)).chain(ELSEWHERE);
    let rows: BTreeSet<_> = rows.map(|(method, route)| (method.to_owned(), route.to_owned())).collect();
    let missing: Vec<_> = documented.difference(&rows).filter(|(method, _)| method != "HEAD").collect();
    assert!(missing.is_empty(), "{missing:?}");
}
