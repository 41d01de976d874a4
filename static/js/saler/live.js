// Charts of units left and claims per second over the last minutes.
//
// The number of units left is sampled once a second. Without an answer from the service a sample is null. The first sample
// after a gap divides the claims by the length of the gap. So a lost connection looks like a gap and not like a rush.

import { serverMs } from "../shared/clock.js";
import { t, toNumber } from "../shared/i18n.js";
import { watchUnits } from "../shared/units.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { Chart } from "../staff/chart.js";

/** Time range of the charts. */
const SECONDS = 300;
const SAMPLE_EVERY_MS = 1_000;

/**
 * @param {object} props
 * @param {number} props.product
 * @param {number} props.left the number of the list, shown until the first live number
 */
export function Live({ product, left: listed }) {
    const { times, lefts, rates, isLive } = useSamples(product);
    const left = lefts.at(-1) ?? listed;
    const rate = rates.at(-1) ?? 0;
    const peak = rates.reduce((highest, value) => Math.max(highest, value ?? 0), 0);
    const rateText = t("live.rate", { rate: Math.round(rate) });
    return html`
        <section class="charts" aria-label=${t("live.title")}>
            <div class="card">
                <h2 class="section">${t("live.left")}</h2>
                <p class="figure figure-left" aria-live="off">${toNumber(left)}</p>
                <${Chart} lines=${LEFT} points=${[times, lefts]} seconds=${SECONDS} label=${t("live.left-label", { left })} />
            </div>
            <div class="card">
                <h2 class="section">${t("live.rates")}</h2>
                <p class="figure figure-rate">${rateText} <small>${t("live.peak", { peak: Math.round(peak) })}</small></p>
                <${Chart} lines=${RATE} points=${[times, rates]} seconds=${SECONDS} label=${t("live.rates-label", { rate: Math.round(rate), peak: Math.round(peak) })} />
            </div>
            <p class="hearing" role="status">${isLive ? "" : t("live.not-hearing")}</p>
        </section>`;
}

const LEFT = ["left"];
const RATE = ["rate"];

/** Samples of the last minutes: times in seconds, units left, claims per second. Unknown values are null. */
function useSamples(product) {
    const [samples, setSamples] = useState({ times: [], lefts: [], rates: [], isLive: true });
    const latest = useRef({ left: null, isLive: true });
    useEffect(() => {
        let before = null;
        const stop = watchUnits(
            product,
            (left) => (latest.current.left = left),
            (isLive) => (latest.current.isLive = isLive),
        );
        const timer = setInterval(() => {
            const { left, isLive } = latest.current;
            if (document.hidden) return;
            const time = serverMs() / 1_000;
            // The service may have gone away before the first number arrived.
            const known = isLive && left !== null;
            // A raised amount is not a negative rate.
            const rate = known && before ? Math.max(0, before.left - left) / Math.max(time - before.time, 1) : null;
            if (known) before = { time, left };
            setSamples((samples) => withSample(samples, time, known ? left : null, rate, isLive));
        }, SAMPLE_EVERY_MS);
        return () => {
            stop();
            clearInterval(timer);
        };
    }, [product]);
    return samples;
}

/** The samples with one more, without samples older than `SECONDS`. */
function withSample({ times, lefts, rates }, time, left, rate, isLive) {
    const first = times.findIndex((earlier) => earlier >= time - SECONDS);
    const from = first < 0 ? times.length : first;
    const add = (values, value) => [...values.slice(from), value];
    return { times: add(times, time), lefts: add(lefts, left), rates: add(rates, rate), isLive };
}
