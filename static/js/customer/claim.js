// A press of the button, until it has one clear outcome.
//
// Asking twice takes nothing twice: each attempt says which of the customer's coupons it is for (`Claim-Nth`), and one that
// he has already is answered with the same claim. So whatever is uncertain is asked again, and what was granted is never
// shown as a failure.

import { call, part } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { readPayload } from "../shared/session.js";
import { jittered, sleep } from "../shared/view.js";

/** How long one press goes on asking. */
const PATIENCE_MS = 60_000;
/** An attempt without an answer is over, one way or the other, after as long. */
const FINAL_MS = 1_000;
/** A button that opened a moment early asks again as often, until the start is so long ago. */
const EARLY_MS = 250;
const EARLY_MS_MAX = 5_000;

/**
 * @typedef {object} Outcome
 * @property {string} kind a `Claim-Result` of the wire, or rate-limited, blocked, busy, unknown, not-logged-in, wrong-kind
 * @property {number} [seq] which unit it is
 * @property {string} [token] what proves it
 */

/**
 * @param {{saler: string, name: string, start_time?: number}} coupon with the start of its sale, in seconds since 1970
 * @param {number} nth which of his own this is to be, from 1
 * @param {() => void} [onWait] called before each pause
 * @returns {Promise<Outcome>}
 */
export async function claim(coupon, nth, onWait) {
    const path = `/api/users/${part(coupon.saler)}/coupons/${part(coupon.name)}`;
    const deadline = performance.now() + PATIENCE_MS;
    let unsure = false;
    for (;;) {
        const patience = Math.max(deadline - performance.now(), 0);
        const options = { headers: { "Claim-Nth": String(nth) }, repeatable: true, patience, onWait };
        const answer = await call("PATCH", path, options);
        unsure ||= answer.unsure;
        const outcome = outcomeOf(answer, unsure);
        const pause = pauseAfter(outcome, unsure, coupon);
        if (pause === 0 || performance.now() + pause > deadline) return outcome;
        onWait?.();
        await sleep(jittered(pause));
    }
}

/** How long to wait before asking again, in ms; 0 where the outcome stands. */
function pauseAfter(outcome, unsure, { start_time }) {
    // A draw says nothing about an attempt before it.
    if (outcome.kind === "try-again" && unsure) return FINAL_MS;
    const early = outcome.kind === "not-started" && Math.abs(serverMs() - start_time * 1_000) < EARLY_MS_MAX;
    return early ? EARLY_MS : 0;
}

/** @returns {Outcome} */
function outcomeOf(answer, unsure) {
    const result = answer.headers.get("Claim-Result");
    const token = answer.headers.get("Claim-Token");
    // Had already, it is what an attempt got whose answer was lost.
    if (token) return { kind: unsure ? "claimed" : result, seq: readPayload(token)?.seq, token };
    if (result) return { kind: result };
    if (["token-expired", "not-logged-in"].includes(answer.code)) return { kind: "not-logged-in" };
    if (unsure) return { kind: "unknown" };
    if (["rate-limited", "blocked", "wrong-kind"].includes(answer.code)) return { kind: answer.code };
    return { kind: "busy" };
}

/** The claim token of the nth that the customer has; empty where the service does not say. */
export async function proof(coupon, nth) {
    const { token } = await claim(coupon, nth);
    return token ?? "";
}
