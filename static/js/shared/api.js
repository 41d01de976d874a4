// Asks the service, and asks again where that is right.
//
// 429 and 503 say that nothing has happened, and when to come back; 408, that the request was not read. No answer at all, and
// `unknown-outcome`, say that something may have happened: such a call is repeated only where repeating is safe, and whoever
// gives up is told that it is not known. Nothing is repeated for longer than the caller's patience.

import { observeDate } from "./clock.js";
import { expire, session } from "./session.js";
import { jittered, sleep } from "./view.js";

/** How long one attempt may take: longer than the server itself waits for anything but a password's turn. */
const ATTEMPT_MS = 10_000;
/** How long a call is repeated, unless the caller says otherwise. */
const PATIENCE_MS = 15_000;
/** Pauses where the server did not say how long: the first, doubled each time, and the longest. */
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 8_000;

/** What a 401 says of a token that counts. */
const WITH_GOOD_TOKEN = ["wrong-kind", "not-yours", "wrong-password"];

/**
 * @typedef {object} Answer
 * @property {number} status 0 where none came
 * @property {Headers} headers
 * @property {any} body what was sent as JSON; otherwise null
 * @property {string} code the wire's; `unreachable` where no answer came; empty for a success
 * @property {number} retryAfter seconds; 0 where nothing was said
 * @property {boolean} unsure it may have happened, in this attempt or in an earlier one
 */

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: object, headers?: object, repeatable?: boolean, patience?: number, onWait?: (ms: number) => void}} options
 *     `repeatable`: doing it twice is the same as doing it once; so for every GET
 * @returns {Promise<Answer>}
 */
export async function call(method, path, options = {}) {
    const { body, headers, repeatable = method === "GET", patience = PATIENCE_MS, onWait } = options;
    const deadline = performance.now() + patience;
    let unsure = false;
    for (let attempt = 0; ; attempt += 1) {
        const answer = await ask(method, path, body, headers);
        unsure ||= method !== "GET" && answer.unsure;
        const again = answer.unsure ? repeatable : [408, 429, 503].includes(answer.status);
        const pause = jittered(answer.retryAfter * 1_000 || Math.min(PAUSE_MS * 2 ** attempt, PAUSE_MS_MAX));
        if (!again || performance.now() + pause > deadline) return { ...answer, unsure };
        onWait?.(pause);
        await sleep(pause);
    }
}

/** @returns {Promise<Answer>} */
async function ask(method, path, body, headers) {
    const token = session.get()?.token;
    const sent = performance.now();
    try {
        const response = await fetch(path, {
            method,
            headers: { ...(token && { Authorization: token }), ...headers },
            body: body && JSON.stringify(body),
            signal: AbortSignal.timeout(ATTEMPT_MS),
        });
        observeDate(response.headers, sent, performance.now());
        const text = await response.text();
        const json = text && response.headers.get("Content-Type")?.startsWith("application/json");
        const parsed = json ? JSON.parse(text) : null;
        const code = response.ok ? "" : String(parsed?.code ?? "unavailable");
        if (response.status === 401 && token && !WITH_GOOD_TOKEN.includes(code)) expire(token);
        return {
            status: response.status,
            headers: response.headers,
            body: parsed,
            code,
            retryAfter: Number(response.headers.get("Retry-After")) || 0,
            unsure: ["unknown-outcome", "1008"].includes(code),
        };
    } catch {
        // No answer, or half of one.
        return { status: 0, headers: new Headers(), body: null, code: "unreachable", retryAfter: 0, unsure: true };
    }
}

/** A part of a path: names may hold anything. */
export const part = encodeURIComponent;
