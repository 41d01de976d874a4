// The merchant's coupons and activities, polled from the service.

import { part } from "../shared/api.js";
import { session } from "../shared/session.js";
import { useEffect, useState } from "../shared/view.js";
import { usePoll } from "../shared/poll.js";

/** Coupons per page of the service. */
export const PAGE_SIZE = 20;
const REFRESH_MS = 5_000;

/**
 * @typedef {{product_id: number, name: string, description: string, stock: number, amount: number, left: number,
 *     scheduled: boolean, archived?: boolean}} Coupon
 * @typedef {{activity_id: number, activity_name: string, product_id: number, start_time: number, end_time: number,
 *     total: number, status: number, sec_speed: number, buy_limit: number, buy_rate: string}} Activity
 */

/** A page of the merchant's coupons, newest first. @param {string} query `page=N`, or `after=` the last id of the page before */
export function useCoupons(query) {
    const name = session.get()?.saler ?? "";
    const { answer, failed, again } = usePoll(`/api/users/${part(name)}/coupons?${query}`, REFRESH_MS);
    return { coupons: answer === undefined ? undefined : (answer?.data ?? []), failed, again };
}

/**
 * One coupon, searched page by page, because a merchant may have thousands.
 * @returns {{coupon: Coupon | null | undefined, failed: boolean, again: () => void}} `coupon`: undefined while searching, null
 *     if the merchant has no coupon of this number
 */
export function useCoupon(product) {
    const [query, setQuery] = useState("page=1");
    const { coupons, failed, again } = useCoupons(query);
    const found = coupons?.find((coupon) => coupon.product_id === product);
    const isLast = coupons !== undefined && coupons.length < PAGE_SIZE;
    useEffect(() => {
        if (coupons && !found && !isLast) setQuery(`after=${coupons[PAGE_SIZE - 1].product_id}`);
    }, [coupons]);
    return { coupon: found ?? (isLast ? null : undefined), failed, again };
}

/** The merchant's activities, newest first, or only the activities of `product`. */
export function useActivities(product) {
    const { answer, failed, again } = usePoll("/activity/list", REFRESH_MS);
    const all = answer?.data;
    const activities = product === undefined ? all : all?.filter((activity) => activity.product_id === product);
    return { activities, failed, again };
}

/** The state of an activity: before, open, over, stopped, or sold-out (declared by the merchant). */
export function stateOf({ start_time, end_time, status }, now) {
    if (now >= end_time) return "over";
    if (status === 1) return "stopped";
    if (status === 2) return "sold-out";
    return now < start_time ? "before" : "open";
}

/** The kind of badge for each state. */
export const STATE_KINDS = { open: "good", before: "info", over: "none", stopped: "warn", "sold-out": "warn" };

/** The current activity, else the next activity, else the last activity. */
export function foremost(activities, now) {
    const rank = ({ start_time, end_time }) => (now >= end_time ? 2 : now < start_time ? 1 : 0);
    const order = (a, b) => rank(a) - rank(b) || (rank(a) === 2 ? b.start_time - a.start_time : a.start_time - b.start_time);
    return [...activities].sort(order)[0];
}
