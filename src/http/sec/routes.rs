//! The endpoints of the flash-sale interface.

use Class::{Claim, Glance, Read, Redeem, Stream, Write};

use super::{activities, events, kill, products, sales, tickets, tokens, units};
use crate::admission::Class;
use crate::http::openapi::SALES;
use crate::http::route::{Endpoint, endpoint};

/// The endpoints, in the order of their load.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint(SALES, Claim, kill::kill, kill::__path_kill),
        endpoint(SALES, Glance, sales::show_sale, sales::__path_show_sale),
        endpoint(SALES, Glance, sales::list_sales, sales::__path_list_sales),
        endpoint(SALES, Glance, units::show_units, units::__path_show_units),
        endpoint(SALES, Stream, events::show_events, events::__path_show_events),
        endpoint(SALES, Read, tickets::show_challenge, tickets::__path_show_challenge),
        endpoint(SALES, Read, tickets::give_ticket, tickets::__path_give_ticket),
        endpoint(SALES, Read, tokens::show_token, tokens::__path_show_token),
        endpoint(SALES, Redeem, tokens::redeem, tokens::__path_redeem),
        endpoint(SALES, Write, products::create_product, products::__path_create_product),
        endpoint(SALES, Read, products::list_products, products::__path_list_products),
        endpoint(SALES, Write, activities::create_activity, activities::__path_create_activity),
        endpoint(SALES, Read, activities::list_activities, activities::__path_list_activities),
        endpoint(SALES, Write, activities::update_activity, activities::__path_update_activity),
    ]
}
