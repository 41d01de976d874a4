// The units left of a product, live: from the event stream of the service, or by polling while no stream is open. All polled
// products of the page are asked for in one call.
//
// A browser opens at most six connections to a site, over all tabs, and an open stream holds a connection. More than two
// streams in a page could delay a claim. So a page opens at most two streams, and further products are polled. A hidden
// page neither streams nor polls. A broken stream is opened again with growing pauses, and the product is polled meanwhile.

import { call } from "./api.js";
import { observe } from "./clock.js";
import { jittered } from "./view.js";

const STREAMS_MAX = 2;
const POLL_EVERY_MS = 3_000;
/** Products in one call; the maximum of the service. */
const PRODUCTS_MAX = 50;
/** How long a call waits for further products. */
const GATHER_MS = 50;
/** Unit and longest pause before a broken stream is opened again. The pause doubles with each failure. */
const PAUSE_MS = 1_000;
const PAUSE_MS_MAX = 60_000;
/** A stream that is silent for longer is compared with a polled answer, because a stream can die without an error. */
const SILENCE_MS = 20_000;
/** Longest delay of an event on the way to the browser. */
const STREAM_DELAY_MS_MAX = 300;

/** Open streams of the page. */
let streams = 0;
/** The local time of the next poll, which all products share. */
let nextPoll = 0;
/** Products of the next call, with those who wait for the number. @type {Map<number, ((left: number | null) => void)[]>} */
let asked = new Map();

/** Time until the next poll in ms. */
function untilNextPoll() {
    const now = performance.now();
    if (nextPoll <= now) nextPoll = now + jittered(POLL_EVERY_MS);
    return nextPoll - now;
}

/** The units left of a product, or null after a failure. */
function fetchLeft(product) {
    return new Promise((resolve) => {
        if (asked.size === 0) setTimeout(fetchAll, GATHER_MS);
        if (!asked.has(product)) asked.set(product, []);
        asked.get(product).push(resolve);
    });
}

function fetchAll() {
    const all = [...asked];
    asked = new Map();
    for (let from = 0; from < all.length; from += PRODUCTS_MAX) fetchSome(all.slice(from, from + PRODUCTS_MAX));
}

async function fetchSome(some) {
    const ids = some.map(([product]) => product).join(",");
    const answer = await call("GET", `/sec/units?product_ids=${ids}`, { patience: POLL_EVERY_MS });
    const found = new Map((answer.body?.data || []).map((units) => [units.product_id, units.left]));
    for (const [product, waiting] of some) {
        for (const resolve of waiting) resolve(found.get(product) ?? null);
    }
}

/**
 * Watches the units left of `product`. Returns a function that ends the watch.
 * @param {number} product
 * @param {(left: number) => void} onLeft called when the number changes
 * @param {(isLive: boolean) => void} [onState] called at each answer and each failure, also without a change
 */
export function watchUnits(product, onLeft, onState = () => {}) {
    const watch = new UnitsWatch(product, onLeft, onState);
    return () => watch.stop();
}

class UnitsWatch {
    constructor(product, onLeft, onState) {
        Object.assign(this, { product, onLeft, onState });
        /** The open stream, or null while the product is polled. */
        this.source = null;
        this.timer = 0;
        /** Failures of the stream since the last event. */
        this.failures = 0;
        /** No stream is opened before this local time. */
        this.streamFrom = 0;
        /** The number last reported. */
        this.last = null;
        this.isStopped = false;
        this.onVisibility = () => this.followVisibility();
        document.addEventListener("visibilitychange", this.onVisibility);
        this.begin();
    }

    stop() {
        this.isStopped = true;
        clearTimeout(this.timer);
        this.close();
        document.removeEventListener("visibilitychange", this.onVisibility);
    }

    followVisibility() {
        if (document.hidden) {
            clearTimeout(this.timer);
            this.close();
        } else if (!this.source) {
            this.begin();
        }
    }

    /** Opens a stream if allowed, and polls otherwise. */
    begin() {
        clearTimeout(this.timer);
        if (this.isStopped || document.hidden) return;
        if (streams < STREAMS_MAX && performance.now() >= this.streamFrom) this.open();
        else this.poll();
    }

    open() {
        streams += 1;
        this.source = new EventSource(`/sec/events?product_id=${this.product}`);
        this.source.addEventListener("units", (event) => {
            const { left, time_ms } = JSON.parse(event.data);
            const now = performance.now();
            observe(time_ms, 0, now - STREAM_DELAY_MS_MAX, now);
            this.failures = 0;
            this.report(left);
            this.schedule(SILENCE_MS, () => this.compare());
        });
        this.source.addEventListener("error", () => this.reopenLater());
        this.schedule(SILENCE_MS, () => this.compare());
    }

    close() {
        if (!this.source) return;
        this.source.close();
        this.source = null;
        streams -= 1;
    }

    reopenLater() {
        this.close();
        this.onState(false);
        this.failures += 1;
        this.streamFrom = performance.now() + jittered(Math.min(PAUSE_MS * 2 ** this.failures, PAUSE_MS_MAX));
        this.begin();
    }

    async poll() {
        const left = await fetchLeft(this.product);
        if (left !== null) this.report(left);
        else this.onState(false);
        if (!this.isStopped && !this.source) this.schedule(untilNextPoll(), () => this.begin());
    }

    /** Closes a stream that has missed a change. */
    async compare() {
        const before = this.last;
        const left = await fetchLeft(this.product);
        if (this.isStopped || !this.source) return;
        const hasMissed = left !== null && left !== before && this.last === before;
        if (hasMissed) {
            this.report(left);
            this.reopenLater();
        } else {
            this.schedule(SILENCE_MS, () => this.compare());
        }
    }

    report(left) {
        if (this.isStopped) return;
        this.onState(true);
        if (left === this.last) return;
        this.last = left;
        this.onLeft(left);
    }

    schedule(ms, step) {
        clearTimeout(this.timer);
        this.timer = setTimeout(step, ms);
    }
}
