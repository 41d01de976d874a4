//! The endpoints of the flash-sale interface.

use super::{activities, events, kill, products, sales, tokens};
use crate::http::openapi::SALES;
use crate::http::route::{Endpoint, endpoint};

/// The endpoints, in the order of their load.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(SALES, kill::kill, kill::__path_kill),
        endpoint(SALES, sales::show_sale, sales::__path_show_sale),
        endpoint(SALES, sales::list_sales, sales::__path_list_sales),
        endpoint(SALES, events::show_events, events::__path_show_events),
        endpoint(SALES, tokens::show_token, tokens::__path_show_token),
        endpoint(SALES, tokens::redeem, tokens::__path_redeem),
        endpoint(SALES, products::create_product, products::__path_create_product),
        endpoint(SALES, products::list_products, products::__path_list_products),
        endpoint(SALES, activities::create_activity, activities::__path_create_activity),
        endpoint(SALES, activities::list_activities, activities::__path_list_activities),
        endpoint(SALES, activities::update_activity, activities::__path_update_activity),
    ]
}
