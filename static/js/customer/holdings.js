// What the customer has, as the service last said and as was got since.

import { call, part } from "../shared/api.js";
import { session } from "../shared/session.js";
import { createStore, useStore } from "../shared/view.js";

/** What the service gives at once. */
const PAGE = 20;

/**
 * @typedef {{saler: string, name: string, stock: number, description: string, count?: number}} Holding newest first
 * @typedef {{items: Holding[], pages: number, state: "new" | "loading" | "more" | "all" | "failed"}} Holdings
 */

/** @type {{get(): Holdings, set(next: Holdings): void}} */
const holdings = createStore({ items: [], pages: 0, state: "new" });

/** Claim tokens that this page has seen, so that a coupon can be shown where the network is bad. */
const tokens = new Map();

/** @returns {Holdings} */
export const useHoldings = () => useStore(holdings);

/** How many of a coupon the customer is known to have. */
export function held(all, saler, name) {
    const holding = all.items.find((item) => item.saler === saler && item.name === name);
    return holding ? (holding.count ?? 1) : 0;
}

export function forget() {
    tokens.clear();
    holdings.set({ items: [], pages: 0, state: "new" });
}

/** Loads the next page; nothing while one is on its way. */
export async function loadMore() {
    const before = holdings.get();
    const asked = session.get();
    if (!asked || before.state === "loading") return;
    holdings.set({ ...before, state: "loading" });
    const page = before.pages + 1;
    const answer = await call("GET", `/api/users/${part(asked.name)}/coupons?page=${page}`);
    if (session.get()?.token !== asked.token) return;
    const now = holdings.get();
    if (answer.status !== 200 && answer.status !== 204) {
        holdings.set({ ...now, state: "failed" });
        return;
    }
    const given = answer.body?.data ?? [];
    // What was got meanwhile moved others to the next page.
    const known = new Set(now.items.map(id));
    const items = [...now.items, ...given.filter((item) => !known.has(id(item)))];
    holdings.set({ items, pages: page, state: given.length < PAGE ? "all" : "more" });
}

/** Loads from the first page on again. */
export function reload() {
    if (holdings.get().state === "loading") return;
    holdings.set({ items: [], pages: 0, state: "new" });
    loadMore();
}

const id = ({ saler, name }) => JSON.stringify([saler, name]);

/** Notes the claim token of the nth of a coupon. */
export function noteToken(coupon, nth, token) {
    tokens.set(`${id(coupon)} ${nth}`, token);
}

/** That token; undefined where this page has not seen it. */
export const knownToken = (coupon, nth) => tokens.get(`${id(coupon)} ${nth}`);
