//! The OpenAPI document and its page.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use couponrush::domain::Kind;
use serde_json::{Value, json};

use crate::helpers::{TestApp, without_rates};

/// The checks of schemathesis for every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,allow_header_conformance";
/// Random requests for every operation, besides its examples and edge cases. The number and the seed are fixed, so that
/// a failure can be repeated.
const EXAMPLES: &str = "10";
/// In `make test-long`: more than 10,000 requests.
const EXAMPLES_LONG: &str = "150";
const SEED: &str = "7";

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The methods of a path in the document.
fn described(item: &Value) -> BTreeSet<String> {
    let item = item.as_object().expect("an object");
    METHODS.into_iter().filter(|method| item.contains_key(&method.to_lowercase())).map(str::to_owned).collect()
}

/// A path of the document with its placeholders filled.
fn filled(template: &str) -> String {
    ["{user}", "{name}", "{value}", "{staff}", "{id}"]
        .into_iter()
        .fold(template.to_owned(), |path, name| path.replace(name, "nobody"))
        .replace("{kind}", "users")
        .replace("{file}", "start.js")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_has_every_method_of_every_path_and_no_other() {
    let app = TestApp::start().await;
    let document = app.client().get("/openapi.json", "").await;
    assert_eq!(document.header("Content-Type"), "application/json; charset=utf-8");
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 25, "{paths:?}");
    for (template, item) in paths {
        let answer = app.client().send("OPTIONS", &filled(template), "", None).await;
        assert_eq!(answer.status, 405, "{template}: {answer:?}");
        let allowed: BTreeSet<String> = answer.header("Allow").split(", ").map(str::to_owned).collect();
        let known = allowed.into_iter().filter(|method| method != "HEAD").collect::<BTreeSet<_>>();
        assert_eq!(known, described(item), "{template}");
    }
}

#[test]
fn routes_are_made_from_the_table_that_the_document_is_made_from() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is a folder") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("source is UTF-8");
            // Web pages are not part of the documented interface.
            if name != "route.rs" && !path.to_string_lossy().contains("pages") {
                assert!(!text.contains("web::resource(") && !text.contains("web::scope("), "{}", path.display());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_what_the_service_answers() {
    let app = TestApp::start().await;
    let served = app.client().get("/openapi.json", "").await.json();
    let output = Command::new(env!("CARGO_BIN_EXE_couponrush")).arg("openapi").output().expect("the program is built");
    assert!(output.status.success());
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).expect("it is JSON"), served);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_has_a_name_of_its_own_a_success_and_words_for_people() {
    let app = TestApp::start().await;
    let document = app.client().get("/openapi.json", "").await.json();
    let mut names = BTreeSet::new();
    for (template, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let place = format!("{method} {template}");
            assert!(names.insert(operation["operationId"].as_str().expect("a name").to_owned()), "{place}");
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{place}");
            let answers = operation["responses"].as_object().expect("answers");
            assert!(answers.keys().any(|status| status.starts_with('2')), "{place}");
            for status in ["429", "503"].into_iter().filter(|status| answers.contains_key(*status)) {
                assert!(answers[status]["headers"]["Retry-After"].is_object(), "{place} {status}");
            }
            // An operation documents a 401 if it needs a token, or if it is the login.
            let needs_token = operation["security"].as_array().is_some_and(|ways| !ways.contains(&json!({})));
            let logs_in = template == "/api/auth";
            assert_eq!(answers.contains_key("401"), needs_token || logs_in, "{place}");
        }
    }
    let claim = &document["paths"]["/api/users/{user}/coupons/{name}"]["patch"]["responses"];
    for (status, headers) in [("201", &["Claim-Result", "Claim-Token"][..]), ("204", &["Claim-Result", "Claim-Token"])]
    {
        for header in headers {
            assert!(claim[status]["headers"][header].is_object(), "{status} {header}");
        }
    }
    assert_eq!(document["components"]["securitySchemes"]["token"]["name"], "Authorization");
    assert_eq!(document["components"]["securitySchemes"]["signature"]["name"], "AuthSign");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_asks_no_other_origin_and_runs_no_script_of_its_own() {
    let app = TestApp::start().await;
    for path in ["/docs", "/docs/"] {
        let page = app.client().get(path, "").await;
        assert_eq!((page.status, page.header("Content-Type")), (200, "text/html; charset=utf-8"), "{path}");
        let policy = page.header("Content-Security-Policy");
        let script = policy.split("; ").find(|part| part.starts_with("script-src"));
        assert_eq!((script, policy.split("; ").next()), (Some("script-src 'self'"), Some("default-src 'none'")));
        assert_eq!(page.header("X-Content-Type-Options"), "nosniff");
        let links: Vec<&str> =
            page.text.split(['"']).filter(|part| part.contains('/') && !part.contains('<')).collect();
        assert_eq!(links.len(), 4, "{links:?}");
        for link in links {
            let file = app.client().get(link, "").await;
            assert_eq!((file.status, file.text.is_empty()), (200, false), "{link}");
            assert_eq!(file.header("X-Content-Type-Options"), "nosniff");
        }
        assert!(!page.text.contains("<script>") && !page.text.contains("onload"), "{}", page.text);
    }
    let start = app.client().get("/docs/start.js", "").await;
    assert_eq!(start.header("Content-Type"), "text/javascript");
    assert!(start.text.contains(r#"url: "/openapi.json""#) && !start.text.contains("http"), "{}", start.text);
    for unknown in ["/docs/index.html", "/docs/%2e%2e%2fCargo.toml", "/docs/swagger-ui.css.map"] {
        assert_eq!(app.client().get(unknown, "").await.status, 404, "{unknown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_can_be_switched_off() {
    let app = TestApp::start().await;
    let admin = app.user("root", Kind::Admin).await;
    assert_eq!(app.client().put("/admin/switches", &admin, &json!({"docs": false})).await.status, 200);
    for path in ["/docs", "/docs/start.js", "/openapi.json"] {
        let answer = app.client().get(path, "").await;
        assert_eq!((answer.status, answer.error().2.as_str()), (503, "unavailable"), "{path}");
        assert_eq!(answer.header("Retry-After"), "1");
    }
}

/// Operations that end the token or switch off parts of the service. They run last, because requests after them would
/// only be refused.
const ENDS: [&str; 4] = ["changeLimits", "changeSwitches", "endAllSessions", "logOut"];

/// Runs schemathesis on the operations selected by `chosen`, with this token. Panics with its report on a failure.
async fn try_out(url: &str, token: &str, chosen: &[[&str; 2]]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/schemathesis/bin/schemathesis");
    assert!(program.exists(), "schemathesis is missing: run scripts/install-schemathesis");
    let examples = std::env::var_os("COUPONRUSH_TEST_LONG").map_or(EXAMPLES, |_| EXAMPLES_LONG);
    let mut command = Command::new(&program);
    // The working folder keeps schemathesis' own files out of the source.
    command.current_dir(root.join("target/schemathesis"));
    command.arg("--config-file").arg(root.join("tests/schemathesis/schemathesis.toml"));
    command.args(["run", &format!("{url}/openapi.json"), "--no-color", "--checks", CHECKS, "--seed", SEED]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", examples, "--request-timeout", "10"]);
    command.args(["--generation-database", "none", "--header", &format!("Authorization: {token}")]);
    command.args(chosen.iter().flatten());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it does not panic").expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    eprintln!("{}", said.lines().filter(|line| line.contains(" generated, ")).collect::<String>().trim());
    // An unresolved reference is only a warning of schemathesis, but a failure here.
    assert!(output.status.success() && !said.contains("unresolvable reference"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_service_answers_as_the_document_says_whatever_it_is_sent() {
    let app = TestApp::start_with(|args| {
        without_rates(args);
        (args.admission.failed_logins_per_minute, args.admission.ip_failed_logins_per_minute) = (0, 0);
    })
    .await;
    // The users and the coupon named in the document's examples.
    let (shop, admin) = (app.user("shop", Kind::Saler).await, app.user("root", Kind::Admin).await);
    let customer = app.user("bob", Kind::Customer).await;
    assert_eq!(app.client().register("ann", "customer").await.status, 201);
    app.client().create_coupon("shop", &shop, "ten-off", 1_000).await;
    let url = format!("http://{}", app.instances[0].address);
    let others = ENDS.map(|id| ["--exclude-operation-id", id]);
    // The customer goes first, while the coupon is unchanged.
    try_out(&url, &customer, &others).await;
    assert!(app.stores.number("SELECT COUNT(*) FROM claims").await > 0, "it never got as far as a claim");
    try_out(&url, &shop, &others).await;
    assert!(app.stores.number("SELECT COUNT(*) FROM coupons").await > 1, "it never got as far as a coupon");
    try_out(&url, &admin, &others).await;
    try_out(&url, &admin, &ENDS.map(|id| ["--include-operation-id", id])).await;
}
