//! Requests right after the start.

use crate::helpers::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_first_requests_after_a_start_are_served() {
    let mut app = TestApp::start().await;
    let ann = app.client().user("ann", "customer").await;
    for _ in 0..3 {
        app.stop().await;
        app.start_another().await;
        let claims = (0..8).map(|_| app.client().claim("shop", "none", &ann));
        for answer in futures_util::future::join_all(claims).await {
            assert_eq!((answer.status, answer.result()), (204, "no-such-coupon"));
        }
    }
}
