// How many units of a product are left, as they go: from the stream of the service, or by asking again and again where there
// is none.
//
// A browser has six connections for all tabs of a site, and a stream holds one for as long as it lives: more than two of
// them in a page could keep a claim waiting. So a page has two at most, the others ask; and a page that nobody looks at has
// none. A stream that breaks is asked for again, ever more slowly, and meanwhile the page asks.

import { call } from "./api.js";
import { observe } from "./clock.js";
import { jittered } from "./view.js";

const STREAMS_MAX = 2;
const ASK_EVERY_MS = 3_000;
/** Pauses before a stream is asked for again: the first, doubled each time, and the longest. */
const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** After a silence as long a stream is compared with an answer: it may be dead without anybody having said so. */
const SILENCE_MS = 20_000;
/** How long an event of a stream may have been on its way. */
const STREAM_DELAY_MS_MAX = 300;

let streams = 0;

/**
 * Tells how many units of `product` are left, whenever that changes, until what it returns is called.
 * @param {number} product
 * @param {(left: number) => void} tell
 * @param {(hearing: boolean) => void} [tellHearing] called at each answer and each failure, changed or not
 */
export function watchUnits(product, tell, tellHearing = () => {}) {
    let source = null;
    let timer = 0;
    let failures = 0;
    let streamFrom = 0;
    let last = null;
    let stopped = false;

    const told = (left) => {
        if (stopped) return;
        tellHearing(true);
        if (left === last) return;
        last = left;
        tell(left);
    };

    const later = (ms, step) => {
        clearTimeout(timer);
        timer = setTimeout(step, ms);
    };

    function begin() {
        clearTimeout(timer);
        if (stopped || document.hidden) return;
        if (streams < STREAMS_MAX && performance.now() >= streamFrom) open();
        else askAgain();
    }

    function open() {
        streams += 1;
        source = new EventSource(`/sec/events?product_id=${product}`);
        source.addEventListener("units", (event) => {
            const { left, time_ms } = JSON.parse(event.data);
            const now = performance.now();
            observe(time_ms, 0, now - STREAM_DELAY_MS_MAX, now);
            failures = 0;
            told(left);
            later(SILENCE_MS, compare);
        });
        source.addEventListener("error", () => lost());
        later(SILENCE_MS, compare);
    }

    function close() {
        if (!source) return;
        source.close();
        source = null;
        streams -= 1;
    }

    function lost() {
        close();
        tellHearing(false);
        failures += 1;
        streamFrom = performance.now() + jittered(Math.min(PAUSE_MS * 2 ** failures, PAUSE_MS_MAX));
        begin();
    }

    async function askLeft() {
        const answer = await call("GET", `/sec/info?product_id=${product}`, { patience: ASK_EVERY_MS });
        return answer.status === 200 ? (answer.body.data?.left ?? null) : null;
    }

    async function askAgain() {
        const left = await askLeft();
        if (left !== null) told(left);
        else tellHearing(false);
        if (!stopped && !source) later(jittered(ASK_EVERY_MS), begin);
    }

    async function compare() {
        const before = last;
        const left = await askLeft();
        if (stopped || !source) return;
        // It said nothing meanwhile either.
        if (left !== null && left !== before && last === before) {
            told(left);
            lost();
        } else {
            later(SILENCE_MS, compare);
        }
    }

    const seenOrNot = () => {
        if (document.hidden) {
            clearTimeout(timer);
            close();
        } else if (!source) {
            begin();
        }
    };

    document.addEventListener("visibilitychange", seenOrNot);
    begin();
    return () => {
        stopped = true;
        clearTimeout(timer);
        close();
        document.removeEventListener("visibilitychange", seenOrNot);
    };
}
