// The coupons that the customer holds, loaded page by page, and the claim tokens seen by this page.

import { call, part } from "../shared/api.js";
import { session } from "../shared/session.js";
import { createStore, useStore } from "../shared/view.js";

/** Coupons per page of the service. */
const PAGE_SIZE = 20;

/**
 * @typedef {{saler: string, name: string, stock: number, description: string, count?: number}} Holding newest first
 * @typedef {{items: Holding[], pages: number, state: "new" | "loading" | "more" | "all" | "failed"}} Holdings
 */

/** @type {{get(): Holdings, set(next: Holdings): void}} */
const holdings = createStore({ items: [], pages: 0, state: "new" });

/** Claim tokens seen by this page, so that a coupon can be shown without the network. */
const tokens = new Map();

/** @returns {Holdings} */
export const useHoldings = () => useStore(holdings);

/** The known number of units of a coupon that the customer holds. */
export function heldCount(all, saler, name) {
    const holding = all.items.find((item) => item.saler === saler && item.name === name);
    return holding ? (holding.count ?? 1) : 0;
}

/** Drops all data of the last customer. */
export function forget() {
    tokens.clear();
    holdings.set({ items: [], pages: 0, state: "new" });
}

/** Loads the next page. Does nothing while a page is loading. */
export async function loadMore() {
    const before = holdings.get();
    const customer = session.get();
    if (!customer || before.state === "loading") return;
    holdings.set({ ...before, state: "loading" });
    const page = before.pages + 1;
    const answer = await call("GET", `/api/users/${part(customer.name)}/coupons?page=${page}`);
    if (session.get()?.token !== customer.token) return;
    const now = holdings.get();
    if (answer.status !== 200 && answer.status !== 204) {
        holdings.set({ ...now, state: "failed" });
        return;
    }
    const listed = answer.body?.data ?? [];
    // A claim since the last page has moved known coupons to this page.
    const known = new Set(now.items.map(id));
    const items = [...now.items, ...listed.filter((item) => !known.has(id(item)))];
    holdings.set({ items, pages: page, state: listed.length < PAGE_SIZE ? "all" : "more" });
}

/** Drops the list and loads the first page. */
export function reload() {
    if (holdings.get().state === "loading") return;
    holdings.set({ items: [], pages: 0, state: "new" });
    loadMore();
}

const id = ({ saler, name }) => JSON.stringify([saler, name]);

/** Remembers the claim token of the n-th unit of a coupon. */
export function keepToken(coupon, nth, token) {
    tokens.set(`${id(coupon)} ${nth}`, token);
}

/** The remembered claim token, or undefined. */
export const knownToken = (coupon, nth) => tokens.get(`${id(coupon)} ${nth}`);
