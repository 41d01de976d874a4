// Tickets for sales that ask for one: the browser solves a challenge, which takes a second or more.

import { call } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";

/** How long before the start of a sale a page gets a ticket in advance, in seconds. */
export const EARLY_SECONDS = 600;
/** A ticket that ends within this time is replaced. */
const SPARE_MS = 5_000;

/** Tickets by activity and customer. @type {Map<string, {ticket: string, expires_at: number}>} */
const tickets = new Map();
/** Challenges that are being solved, with those who want to know the progress. */
const pending = new Map();

const keyOf = ({ activity_id }, customer) => JSON.stringify([activity_id, customer]);

/**
 * A valid ticket for a sale, from an earlier call or a new one. Empty without a ticket: the sale gives none here, or the service
 * cannot be reached.
 * @param {{product_id: number, activity_id: number}} sale
 * @param {string} customer the name of the customer
 * @param {(done: number) => void} [onProgress] called with the share of the expected work, which may exceed 1
 * @returns {Promise<string>}
 */
export async function ticketFor(sale, customer, onProgress) {
    const key = keyOf(sale, customer);
    const known = tickets.get(key);
    if (known && known.expires_at * 1_000 > serverMs() + SPARE_MS) return known.ticket;
    if (!pending.has(key)) {
        const listeners = new Set();
        const done = fetchTicket(sale.product_id, (share) => listeners.forEach((listener) => listener(share)));
        pending.set(key, { listeners, done: done.catch(() => null).finally(() => pending.delete(key)) });
    }
    const { listeners, done } = pending.get(key);
    if (onProgress) listeners.add(onProgress);
    const given = await done;
    if (given) tickets.set(key, given);
    return given?.ticket ?? "";
}

/** Forgets a ticket that the service has refused. */
export const forgetTicket = (sale, customer) => tickets.delete(keyOf(sale, customer));

/** A new ticket, or null. */
async function fetchTicket(product, onProgress) {
    const { body: given } = await call("GET", `/sec/ticket?product_id=${product}`);
    const { challenge, bits } = given?.data || {};
    if (!challenge) return null;
    const nonce = await solve(challenge, bits, onProgress);
    const { body } = await call("POST", "/sec/ticket", { body: { challenge, nonce }, repeatable: true });
    return body?.data?.ticket ? body.data : null;
}

/** The nonce that solves a challenge. */
function solve(challenge, bits, onProgress) {
    return new Promise((resolve, reject) => {
        const worker = new Worker(new URL("./proof.js", import.meta.url), { type: "module" });
        worker.onerror = (event) => {
            worker.terminate();
            reject(new Error(event.message));
        };
        worker.onmessage = ({ data: { nonce, done } }) => {
            if (nonce === undefined) return onProgress(done);
            worker.terminate();
            resolve(nonce);
        };
        worker.postMessage({ challenge, bits });
    });
}
