// Lines over time, drawn by uPlot in the page's colours.
//
// The library comes with the first chart. A chart is a picture: what it says is in its label too, for whoever cannot see it, and
// the latest numbers stand beside it as text.

import { toClock, toNumber, useLanguage } from "../shared/i18n.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";

const HEIGHT_PX = 160;
const SECONDS_MIN = 60;
const AXIS_PX = 46;
/** Between two numbers of an axis at least. */
const GRID_PX = 32;
const CLOCKS_PX = 90;

/**
 * @param {{lines: string[], points: (number | null)[][], seconds: number, label: string}} props
 *     `lines`: the names of their colours, as in `--chart-NAME`; `points`: the times in seconds, then each line's values, null
 *     where nothing is known; `seconds`: how much time is shown
 */
export function Chart({ lines, points, seconds, label }) {
    const place = useRef(null);
    const plot = useRef(null);
    const latest = useRef(points);
    latest.current = points;
    const language = useLanguage();
    const dark = useDark();
    useEffect(() => {
        let stopped = false;
        const resized = new ResizeObserver(([entry]) => {
            plot.current?.setSize({ width: entry.contentRect.width, height: HEIGHT_PX });
        });
        async function draw() {
            const { default: uPlot } = await import("../../vendor/uplot.js");
            if (stopped) return;
            plot.current = new uPlot(options(lines, seconds, place.current.clientWidth), latest.current, place.current);
            resized.observe(place.current);
        }
        draw().catch(() => {}); // the numbers beside it say as much
        return () => {
            stopped = true;
            resized.disconnect();
            plot.current?.destroy();
            plot.current = null;
        };
    }, [dark, language, seconds, lines.join()]);
    useEffect(() => plot.current?.setData(points), [points]);
    return html`<div class="chart" role="img" aria-label=${label} ref=${place}></div>`;
}

function options(lines, seconds, width) {
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const axis = {
        stroke: color("--pico-muted-color"),
        grid: { stroke: color("--line"), width: 1 },
        ticks: { show: false },
        font: "12px system-ui, sans-serif",
    };
    const now = Date.now() / 1_000; // until there is something to show
    return {
        width,
        height: HEIGHT_PX,
        padding: [8, 28, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
            x: { time: true, range: (_, low, high) => span(low ?? now, high ?? now, seconds) },
            y: { range: (_, low, high) => [0, Math.max(high ?? 0, 4) * 1.05] },
        },
        axes: [
            { ...axis, space: CLOCKS_PX, size: 28, values: (_, times) => times.map((time) => toClock(time)) },
            { ...axis, space: GRID_PX, size: AXIS_PX, incrs: WHOLE, values: (_, values) => values.map(short) },
        ],
        series: [{}, ...lines.map((name) => ({ stroke: color(`--chart-${name}`), width: 2, points: { show: false } }))],
    };
}

/** From the first note on, but a minute at least and `seconds` at most. */
const span = (low, high, seconds) => [Math.max(high - seconds, Math.min(low, high - SECONDS_MIN)), high];

/** Steps of an axis of whole things. */
const WHOLE = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** 12,000 as 12k: an axis has room for little. */
const short = (value) => (value >= 10_000 ? `${toNumber(value / 1_000)}k` : toNumber(value));

/** Whether the system is dark now. */
function useDark() {
    const [dark, setDark] = useState(scheme.matches);
    useEffect(() => {
        const changed = () => setDark(scheme.matches);
        scheme.addEventListener("change", changed);
        return () => scheme.removeEventListener("change", changed);
    }, []);
    return dark;
}

const scheme = matchMedia("(prefers-color-scheme: dark)");
