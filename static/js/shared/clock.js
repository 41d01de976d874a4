// The server's clock, which decides when a sale begins; the browser's own may be wrong by hours.
//
// Every answer says when it was made: to the second in its Date line, to the millisecond in the stream of units. It was
// made after the question was sent and before the answer came, so each one bounds the difference between the server's
// clock and ours from both sides, and all of them together soon to less than a tenth of a second. Ours is
// performance.now(), which nobody can set.

import { createStore, useStore } from "./view.js";

/** The Date line's resolution, and how late the server renews it. */
const DATE_WIDTH_MS = 1_500;
const TICK_MS = 100;

let lowest = -Infinity;
let highest = Infinity;
let offset = Date.now() - performance.now(); // until the first answer

/** Takes in that the server's clock was between `ms` and `ms + width` at some time from `sent` to `received` of ours. */
export function observe(ms, width, sent, received) {
    const [low, high] = [ms - received, ms + width - sent];
    // A clock was set, or the computer slept: what was known before is worth nothing.
    if (Math.max(lowest, low) > Math.min(highest, high)) [lowest, highest] = [-Infinity, Infinity];
    [lowest, highest] = [Math.max(lowest, low), Math.min(highest, high)];
    offset = highest === Infinity ? lowest : (lowest + highest) / 2;
    tick();
}

/** Takes in an answer's Date line. */
export function observeDate(headers, sent, received) {
    const ms = Date.parse(headers.get("Date") ?? "");
    if (!Number.isNaN(ms)) observe(ms, DATE_WIDTH_MS, sent, received);
}

/** The server's time in ms since 1970. */
export const serverMs = () => performance.now() + offset;

const seconds = createStore(Math.floor(serverMs() / 1_000));

function tick() {
    seconds.set(Math.floor(serverMs() / 1_000));
}

setInterval(tick, TICK_MS);

/** The server's time in whole seconds since 1970; the component is shown again when it changes. */
export const useServerSeconds = () => useStore(seconds);
