//! Figures for operators, and what the runbook says of them.

use crate::helpers::TestApp;

const RUNBOOK: &str = include_str!("../../docs/OPERATIONS.md");

#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_tells_of_every_figure() {
    let app = TestApp::start().await;
    let text = app.instances[0].ops.get("/metrics", "").await.text;
    let names: Vec<&str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').next()).collect();
    assert!(names.len() > 20, "{text}");
    let untold: Vec<&&str> = names.iter().filter(|name| !RUNBOOK.contains(&format!("`{name}`"))).collect();
    assert!(untold.is_empty(), "{untold:?}");
    let ready = app.instances[0].ops.get("/readyz", "").await.json();
    assert!(ready["activities"]["age_ms"].as_u64().is_some_and(|age| age < 10_000), "{ready}");
}
