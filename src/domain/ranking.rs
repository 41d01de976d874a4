//! The order of sales on the public list.
//!
//! A merchant with a thousand sales must not hide the sales of another merchant. The list therefore begins with the nearest
//! sale of every merchant, then has the second sale of every merchant, and so on. Approved merchants come before all others.

use std::collections::HashMap;

use super::{ActivityId, UserName};

/// Sales of a merchant above this number come last.
const TURNS_MAX: usize = 20;

/// Merchant, start and id of a sale, which decide the place in the list.
#[derive(Debug, Clone, Copy)]
pub struct Placed<'a> {
    pub saler: &'a UserName,
    pub is_approved: bool,
    /// Start in seconds since 1970.
    pub start: u64,
    pub activity: ActivityId,
}

/// Sorts sales at the time `now`, in seconds since 1970. `of` returns the [`Placed`] of a sale. A sale is near if `now` is near
/// its start, before or after.
pub fn rank<'a, T>(sales: &mut Vec<T>, now: u64, of: impl Fn(&T) -> Placed<'a>) {
    sales.sort_by_cached_key(|sale| {
        let Placed { start, activity, .. } = of(sale);
        (start.abs_diff(now), activity)
    });
    let mut turns: HashMap<&UserName, usize> = HashMap::new();
    let mut ranked: Vec<((bool, usize), T)> = Vec::with_capacity(sales.len());
    for sale in sales.drain(..) {
        let Placed { saler, is_approved, .. } = of(&sale);
        let turn = turns.entry(saler).or_default();
        ranked.push(((!is_approved, (*turn).min(TURNS_MAX)), sale));
        *turn += 1;
    }
    // A stable sort, so the nearest of a turn stays first.
    ranked.sort_by_key(|(place, _)| *place);
    sales.extend(ranked.into_iter().map(|(_, sale)| sale));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The order of sales `(saler, start)` at second 1,000, by their places in the list.
    /// Merchants whose name begins with `good` are approved.
    fn order(sales: &[(&str, u64)]) -> Vec<usize> {
        let salers: Vec<UserName> =
            sales.iter().map(|(saler, _)| UserName::parse((*saler).to_owned()).expect("a name")).collect();
        let mut places: Vec<usize> = (0..sales.len()).collect();
        rank(&mut places, 1_000, |place| Placed {
            saler: &salers[*place],
            is_approved: sales[*place].0.starts_with("good"),
            start: sales[*place].1,
            activity: ActivityId(u32::try_from(*place).expect("few sales")),
        });
        places
    }

    #[test]
    fn the_nearest_sale_of_each_merchant_comes_before_anybodys_second() {
        let sales = [("many", 1_001), ("many", 1_002), ("many", 999), ("one", 2_000), ("two", 900), ("two", 1_050)];
        assert_eq!(order(&sales), [0, 5, 3, 2, 4, 1], "first turns 1, 50, 1000; second turns 1, 100; then 2");
    }

    #[test]
    fn of_equally_near_sales_the_one_scheduled_first_comes_first() {
        assert_eq!(order(&[("a", 1_010), ("b", 990), ("c", 1_010)]), [0, 1, 2]);
    }

    #[test]
    fn approved_merchants_come_before_all_others() {
        let sales = [("fake", 1_000), ("good", 5_000), ("good", 9_000), ("good too", 7_000)];
        assert_eq!(order(&sales), [1, 3, 2, 0]);
    }

    #[test]
    fn sales_after_the_twentieth_of_a_merchant_come_last_and_none_is_left_out() {
        let mut sales = vec![("many", 1_000); 1_000];
        sales.extend(vec![("few", 5_000); 25]);
        let order = order(&sales);
        assert_eq!(order.len(), 1_025);
        assert_eq!(order[1], 1_000, "the first of the other");
        let place_of_twentieth = order.iter().position(|place| *place == 1_019).expect("it is there");
        assert_eq!(place_of_twentieth, 39);
        assert_eq!(order[40], 20, "the twenty-first of the one with many");
    }
}
