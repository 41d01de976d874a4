// How a sale goes: units left and claims a second, as lines of the last minutes.
//
// The stream tells what is left whenever that changes; once a second it is noted. While nothing is heard nothing is noted,
// and the first note after that spreads what happened meanwhile over the time that it took: a cut connection looks like a
// gap and not like a rush.

import { serverMs } from "../shared/clock.js";
import { t, toNumber } from "../shared/i18n.js";
import { watchUnits } from "../shared/units.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { Chart } from "../staff/chart.js";

/** What the chart shows, and how many notes that is. */
const SECONDS = 300;
const NOTE_EVERY_MS = 1_000;

/** @param {{product: number, left: number}} props `left`: as the list says it, until the stream says it */
export function Live({ product, left: listed }) {
    const { times, lefts, rates, hearing } = useNotes(product);
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
            <p class="hearing" role="status">${hearing ? "" : t("live.not-hearing")}</p>
        </section>`;
}

const LEFT = ["left"];
const RATE = ["rate"];

/** What was noted: times in seconds, units left, and claims a second since the note before; null where nothing was heard. */
function useNotes(product) {
    const [notes, setNotes] = useState({ times: [], lefts: [], rates: [], hearing: true });
    const heard = useRef({ left: null, hearing: true });
    useEffect(() => {
        let before = null;
        const stop = watchUnits(
            product,
            (left) => (heard.current.left = left),
            (hearing) => (heard.current.hearing = hearing),
        );
        const timer = setInterval(() => {
            const { left, hearing } = heard.current;
            if (document.hidden) return;
            const time = serverMs() / 1_000;
            // Nothing may have been heard yet when the service goes away.
            const known = hearing && left !== null;
            // A raised amount is no claim.
            const rate = known && before ? Math.max(0, before.left - left) / Math.max(time - before.time, 1) : null;
            if (known) before = { time, left };
            setNotes((notes) => noted(notes, time, known ? left : null, rate, hearing));
        }, NOTE_EVERY_MS);
        return () => {
            stop();
            clearInterval(timer);
        };
    }, [product]);
    return notes;
}

/** The notes with one more; those that are too old are forgotten. */
function noted({ times, lefts, rates }, time, left, rate, hearing) {
    const old = times.findIndex((noted) => noted >= time - SECONDS);
    const from = old < 0 ? times.length : old;
    const add = (values, value) => [...values.slice(from), value];
    return { times: add(times, time), lefts: add(lefts, left), rates: add(rates, rate), hearing };
}
