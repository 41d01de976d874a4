// HTTP calls to the service, with bounded retries.
//
// Statuses 408, 429 and 503 mean that nothing has happened, so every call may be retried. `Retry-After` gives the pause.
// No answer and `unknown-outcome` mean that the call may have happened. Only repeatable calls are retried after them. When
// the retries end without a clear answer, `unsure` tells the caller. No call is retried for longer than its patience.

import { observeDate } from "./clock.js";
import { expire, session } from "./session.js";
import { jittered, sleep } from "./view.js";

/** Timeout of one attempt. Longer than every wait inside the server, except the queue for password hashing. */
const ATTEMPT_MS = 10_000;
/** Default time during which a call is retried. */
const PATIENCE_MS = 15_000;
/** First and longest pause between attempts without a `Retry-After`. The pause doubles with each attempt. */
const PAUSE_MS = 500;
const PAUSE_MS_MAX = 8_000;

/** Codes of a 401 answer to a request with a valid token. */
const VALID_TOKEN_CODES = ["wrong-kind", "not-yours", "wrong-password", "otp-required", "reauthentication-required"];

/**
 * @typedef {object} Answer
 * @property {number} status 0 without an answer
 * @property {Headers} headers
 * @property {any} body the parsed JSON, or null
 * @property {string} code the error code of the body; `unreachable` without an answer; empty for a success
 * @property {number} retryAfter in seconds; 0 without the header
 * @property {boolean} unsure whether this attempt or an earlier attempt may have happened
 */

/**
 * Sends a request and retries as described above.
 * @param {string} method
 * @param {string} path
 * @param {object} [options]
 * @param {object} [options.body] sent as JSON
 * @param {object} [options.headers]
 * @param {boolean} [options.repeatable] whether the request is idempotent; true for a GET by default
 * @param {number} [options.patience] in ms
 * @param {(ms: number) => void} [options.onWait] called before each pause
 * @returns {Promise<Answer>}
 */
export async function call(method, path, options = {}) {
    const { body, headers, repeatable = method === "GET", patience = PATIENCE_MS, onWait } = options;
    const deadline = performance.now() + patience;
    let unsure = false;
    for (let attempt = 0; ; attempt += 1) {
        const answer = await attemptOnce(method, path, body, headers);
        unsure ||= method !== "GET" && answer.unsure;
        const again = answer.unsure ? repeatable : [408, 429, 503].includes(answer.status);
        const pause = jittered(answer.retryAfter * 1_000 || Math.min(PAUSE_MS * 2 ** attempt, PAUSE_MS_MAX));
        if (!again || performance.now() + pause > deadline) return { ...answer, unsure };
        onWait?.(pause);
        await sleep(pause);
    }
}

/** One attempt. @returns {Promise<Answer>} */
async function attemptOnce(method, path, body, headers) {
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
        if (response.status === 401 && token && !VALID_TOKEN_CODES.includes(code)) expire(token);
        return {
            status: response.status,
            headers: response.headers,
            body: parsed,
            code,
            retryAfter: Number(response.headers.get("Retry-After")) || 0,
            unsure: ["unknown-outcome", "1008"].includes(code),
        };
    } catch {
        // No answer, or an incomplete answer.
        return { status: 0, headers: new Headers(), body: null, code: "unreachable", retryAfter: 0, unsure: true };
    }
}

/** Encodes a name, which may hold any character, as one part of a path. */
export const part = encodeURIComponent;
