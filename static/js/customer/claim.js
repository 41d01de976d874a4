// The attempts of one press of the button, until the outcome is clear.
//
// Claims are idempotent. Each attempt names the n-th claim of this coupon by this customer in `Claim-Nth`, and a claim that
// is already held is answered again. So an uncertain attempt is retried, and a granted claim is never shown as a failure.

import { call, part } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { readPayload, session } from "../shared/session.js";
import { jittered, sleep } from "../shared/view.js";
import { forgetTicket, ticketFor } from "./ticket.js";

/** How long one press is retried. */
const PATIENCE_MS = 60_000;
/** An attempt without an answer has its final outcome within this time. */
const FINAL_MS = 1_000;
/** A press before the start is retried every `EARLY_MS`, within `EARLY_MS_MAX` of the start. */
const EARLY_MS = 250;
const EARLY_MS_MAX = 5_000;

/**
 * @typedef {object} Outcome
 * @property {string} kind a `Claim-Result`, or rate-limited, blocked, busy, unknown, not-logged-in, wrong-kind
 * @property {number} [seq] the number of the unit
 * @property {string} [token] the claim token, which proves the claim
 */

/**
 * Claims the n-th unit of a coupon for the customer who is logged in. A sale that asks for a ticket gets one.
 * @param {{saler: string, name: string, product_id?: number, activity_id?: number, ticket?: number, start_time?: number}} coupon
 *     with its sale, whose start is in seconds since 1970
 * @param {number} nth from 1
 * @param {{onWait?: () => void, onProof?: (done: number) => void}} [events] `onWait` is called before each pause, and
 *     `onProof` during the proof of work for a ticket
 * @returns {Promise<Outcome>}
 */
export async function claim(coupon, nth, { onWait, onProof } = {}) {
    const path = `/api/users/${part(coupon.saler)}/coupons/${part(coupon.name)}`;
    const deadline = performance.now() + PATIENCE_MS;
    const customer = session.get()?.name;
    let unsure = false;
    let ticket = coupon.ticket > 0 ? await ticketFor(coupon, customer, onProof) : "";
    let attempts = 0;
    for (;;) {
        const patience = Math.max(deadline - performance.now(), 0);
        const headers = { "Claim-Nth": String(nth), ...(ticket && { "Claim-Ticket": ticket }) };
        const answer = await call("PATCH", path, { headers, repeatable: true, patience, onWait });
        unsure ||= answer.unsure;
        const outcome = outcomeOf(answer, unsure);
        // The sale asks for a ticket since a moment ago, or the ticket does not count any more.
        if (outcome.kind === "ticket-required" && coupon.activity_id && attempts === 0) {
            attempts += 1;
            forgetTicket(coupon, customer);
            ticket = await ticketFor(coupon, customer, onProof);
            if (ticket) continue;
        }
        const pause = pauseAfter(outcome, unsure, coupon);
        if (pause === 0 || performance.now() + pause > deadline) return outcome;
        onWait?.();
        await sleep(jittered(pause));
    }
}

/** The pause before the next attempt, in ms; 0 for a final outcome. */
function pauseAfter(outcome, unsure, { start_time }) {
    // A lost draw says nothing about the outcome of an earlier attempt.
    if (outcome.kind === "try-again" && unsure) return FINAL_MS;
    const early = outcome.kind === "not-started" && Math.abs(serverMs() - start_time * 1_000) < EARLY_MS_MAX;
    return early ? EARLY_MS : 0;
}

/** @returns {Outcome} */
function outcomeOf(answer, unsure) {
    const result = answer.headers.get("Claim-Result");
    const token = answer.headers.get("Claim-Token");
    // After a lost answer, an already held claim is the result of the lost attempt.
    if (token) return { kind: unsure ? "claimed" : result, seq: readPayload(token)?.seq, token };
    if (result) return { kind: result };
    if (["token-expired", "not-logged-in"].includes(answer.code)) return { kind: "not-logged-in" };
    if (unsure) return { kind: "unknown" };
    if (["rate-limited", "blocked", "wrong-kind"].includes(answer.code)) return { kind: answer.code };
    return { kind: "busy" };
}

/** The claim token of the n-th unit that the customer holds; empty after a failure. */
export async function fetchToken(coupon, nth) {
    const { token } = await claim(coupon, nth);
    return token ?? "";
}
