// What the service says of itself, and what its counts come to a second.
//
// Each instance counts since its own start. So a rate is the difference of two answers of one instance; where another one
// answered, or it has started anew, there is a gap.

import { useRef } from "../shared/view.js";
import { usePoll } from "../shared/poll.js";

const ASK_EVERY_MS = 2_000;
/** What charts show. */
export const SECONDS = 600;

/** What attempts come to, as an operator sorts them: granted, refused by the rules, kept out, or not served. */
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
 * @returns {{status: any, failed: boolean, failedSince: number, rates: {points: (number | null)[][], responses: Record<string, number>}}}
 *     `rates.points`: times in seconds, then a line for each of `KIND_NAMES`; `rates.responses`: answers a second by status
 */
export function useStatus() {
    const { answer: status, failed } = usePoll("/admin/status", ASK_EVERY_MS);
    const history = useRef({ last: null, points: [[], ...KIND_NAMES.map(() => [])], responses: {} });
    const silence = useRef(0);
    if (!failed) silence.current = 0;
    else if (silence.current === 0) silence.current = Date.now() / 1_000;
    if (status && history.current.last?.status !== status) history.current = noted(history.current, status);
    return { status, failed, failedSince: silence.current, rates: history.current };
}

function noted({ last, points }, status) {
    const now = { status, at: performance.now() / 1_000, time: Date.now() / 1_000 };
    const passed = last ? now.at - last.at : 0;
    const isSame = last?.status.instance === status.instance && passed > 0;
    const rate = (before, after) => (isSame && after >= before ? (after - before) / passed : null);
    const values = KIND_NAMES.map((name) => rate(last && KINDS[name](last.status), KINDS[name](status)));
    const [times] = points;
    const old = times.findIndex((time) => time >= now.time - SECONDS);
    const from = old < 0 ? times.length : old;
    const responses = Object.entries(status.responses).map(([code, count]) => [code, rate(last?.status.responses[code] ?? 0, count)]);
    return {
        last: now,
        points: [now.time, ...values].map((value, line) => [...points[line].slice(from), value]),
        responses: Object.fromEntries(responses),
    };
}
