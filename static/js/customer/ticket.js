// Tickets for sales that ask for one: the browser solves a challenge, which takes a second or more.

import { call } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";

/** A ticket that ends within this time is replaced. */
const SPARE_MS = 5_000;

/** Tickets by activity and customer. @type {Map<string, {ticket: string, expires_at: number}>} */
const tickets = new Map();

/**
 * A valid ticket for the sale of a product, from an earlier call or a new one. Empty without a ticket: the sale gives none here, or
 * the service cannot be reached.
 * @param {{product_id: number, activity_id: number}} sale
 * @param {string} customer the name of the customer
 * @param {(done: number) => void} [onProgress] called with the share of the expected work, which may exceed 1
 * @returns {Promise<string>}
 */
export async function ticketFor({ product_id, activity_id }, customer, onProgress) {
    const key = JSON.stringify([activity_id, customer]);
    const known = tickets.get(key);
    if (known && known.expires_at * 1_000 > serverMs() + SPARE_MS) return known.ticket;
    const { body: given } = await call("GET", `/sec/ticket?product_id=${product_id}`);
    const { challenge, bits } = given?.data || {};
    if (!challenge) return "";
    const nonce = await solve(challenge, bits, onProgress);
    const { body } = await call("POST", "/sec/ticket", { body: { challenge, nonce }, repeatable: true });
    if (!body?.data?.ticket) return "";
    tickets.set(key, body.data);
    return body.data.ticket;
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
            if (nonce === undefined) return onProgress?.(done);
            worker.terminate();
            resolve(nonce);
        };
        worker.postMessage({ challenge, bits });
    });
}
