// The status of the service, and rates per second computed from the counters.
//
// Each instance counts from the start of the process. So a rate is the difference between two answers of one instance. If a
// different instance answered, or the instance has restarted, the chart has a gap.

import { useRef } from "../shared/view.js";
import { usePoll } from "../shared/poll.js";

const POLL_EVERY_MS = 2_000;
/** Time range of the charts. */
export const SECONDS = 600;

/** Groups of outcomes: granted, refused by the rules of the sale, kept out by limits or blacklist, not served. */
const KINDS = {
    claimed: ({ attempts }) => attempts.claimed,
    refused: ({ attempts }) => sum(attempts, REFUSALS),
    limited: ({ turned_away }) => turned_away.rate_limited + turned_away.blocked,
    failed: ({ attempts, turned_away }) => sum(attempts, FAILURES) + turned_away.switched_off,
};
const REFUSALS = ["already-claimed", "sold-out", "no-such-coupon", "not-on-sale", "not-started", "ended", "try-again"];
const FAILURES = ["overloaded", "unavailable", "unknown-outcome"];
export const KIND_NAMES = Object.keys(KINDS);

const sum = (counts, names) => names.reduce((total, name) => total + (counts[name] ?? 0), 0);

/**
 * @typedef {object} Rates
 * @property {(number | null)[][]} points times in seconds, then a line for each of `KIND_NAMES`
 * @property {Record<string, number>} responses answers per second by status
 *
 * @typedef {object} Status
 * @property {any} status the last answer of `/admin/status`
 * @property {boolean} failed whether the last request failed
 * @property {number} failedSince the first failure, in local seconds since 1970, or 0
 * @property {Rates} rates
 */

/** Polls the status. @returns {Status} */
export function useStatus() {
    const { answer: status, failed } = usePoll("/admin/status", POLL_EVERY_MS);
    const history = useRef({ last: null, points: [[], ...KIND_NAMES.map(() => [])], responses: {} });
    const failedSince = useRef(0);
    if (!failed) failedSince.current = 0;
    else if (failedSince.current === 0) failedSince.current = Date.now() / 1_000;
    if (status && history.current.last?.status !== status) history.current = withSample(history.current, status);
    return { status, failed, failedSince: failedSince.current, rates: history.current };
}

/** The history with one more sample, without samples older than `SECONDS`. */
function withSample({ last, points }, status) {
    const now = { status, at: performance.now() / 1_000, time: Date.now() / 1_000 };
    const passed = last ? now.at - last.at : 0;
    const isSame = last?.status.instance === status.instance && passed > 0;
    const rate = (before, after) => (isSame && after >= before ? (after - before) / passed : null);
    const values = KIND_NAMES.map((name) => rate(last && KINDS[name](last.status), KINDS[name](status)));
    const [times] = points;
    const first = times.findIndex((time) => time >= now.time - SECONDS);
    const from = first < 0 ? times.length : first;
    const responses = Object.entries(status.responses).map(([code, count]) => [code, rate(last?.status.responses[code] ?? 0, count)]);
    return {
        last: now,
        points: [now.time, ...values].map((value, line) => [...points[line].slice(from), value]),
        responses: Object.fromEntries(responses),
    };
}
