//! The routes of the flash-sale interface.

use super::{activities, events, kill, products, sales, tokens};
use crate::http::openapi::sales as of;
use crate::http::route::Path;

/// Routes by expected load, highest first.
pub fn paths() -> Vec<Path> {
    vec![
        Path::at("/sec/kill").post(kill::kill, of::kill),
        Path::at("/sec/info").get(sales::show_sale, of::show_sale),
        Path::at("/sec/list").get(sales::list_sales, of::list_sales),
        Path::at("/sec/events").get(events::show_events, of::show_events),
        Path::at("/sec/token").post(tokens::show_token, of::show_token),
        Path::at("/sec/redeem").post(tokens::redeem, of::redeem),
        Path::at("/product/create").post(products::create_product, of::create_product),
        Path::at("/product/list").get(products::list_products, of::list_products),
        Path::at("/activity/create").post(activities::create_activity, of::create_activity),
        Path::at("/activity/list").get(activities::list_activities, of::list_activities),
        Path::at("/activity/update").post(activities::update_activity, of::update_activity),
    ]
}
