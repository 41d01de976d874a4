// An estimate of the server's clock, which decides when a sale starts. The browser's own clock may be wrong by hours.
//
// Every answer carries a time: seconds in the Date header, milliseconds in the stream of units. The server reads the time
// after the request was sent and before the answer arrived. So each answer gives a lower and an upper bound for the offset
// between the two clocks. Together the bounds soon narrow the offset to less than a tenth of a second. The local clock is
// performance.now(), because a user cannot change its time.

import { createStore, useStore } from "./view.js";

/** Uncertainty of the Date header: a resolution of 1 s, and the server renews the header up to 0.5 s late. */
const DATE_WIDTH_MS = 1_500;
const TICK_MS = 100;

let lowest = -Infinity;
let highest = Infinity;
let offset = Date.now() - performance.now(); // the browser's clock, used until the first answer

/** Narrows the offset: the server's clock was between `ms` and `ms + width` at a local time from `sent` to `received`. */
export function observe(ms, width, sent, received) {
    const [low, high] = [ms - received, ms + width - sent];
    // The server's clock was changed, or the computer slept: drop the earlier bounds.
    if (Math.max(lowest, low) > Math.min(highest, high)) [lowest, highest] = [-Infinity, Infinity];
    [lowest, highest] = [Math.max(lowest, low), Math.min(highest, high)];
    offset = highest === Infinity ? lowest : (lowest + highest) / 2;
    tick();
}

/** Narrows the offset by the Date header of an answer. */
export function observeDate(headers, sent, received) {
    const ms = Date.parse(headers.get("Date") ?? "");
    if (!Number.isNaN(ms)) observe(ms, DATE_WIDTH_MS, sent, received);
}

/** The server's time, in milliseconds since 1970. */
export const serverMs = () => performance.now() + offset;

const seconds = createStore(Math.floor(serverMs() / 1_000));

function tick() {
    seconds.set(Math.floor(serverMs() / 1_000));
}

setInterval(tick, TICK_MS);

/** The server's time, in whole seconds since 1970. The component is rendered again every second. */
export const useServerSeconds = () => useStore(seconds);
