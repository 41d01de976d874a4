// Line charts over time, drawn by uPlot in the colours of the page.
//
// uPlot is loaded with the first chart. Screen readers read the label of a chart, and each view also shows the latest
// numbers as text.

import { toClock, toNumber, useLanguage } from "../shared/i18n.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";

const HEIGHT_PX = 160;
const SECONDS_MIN = 60;
const AXIS_PX = 46;
/** Smallest distance between two numbers, and between two times, on an axis. */
const NUMBERS_PX = 32;
const TIMES_PX = 90;

/**
 * @param {object} props
 * @param {string[]} props.lines a name for each line, with the colour `--chart-NAME`
 * @param {(number | null)[][]} props.points times in seconds, then the values of each line, null for unknown
 * @param {number} props.seconds the time range
 * @param {string} props.label the text for screen readers
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
        draw().catch(() => {}); // Without uPlot, the numbers beside the chart remain.
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
    const now = Date.now() / 1_000; // the range before the first sample
    return {
        width,
        height: HEIGHT_PX,
        padding: [8, 28, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
            x: { time: true, range: (_, low, high) => timeRange(low ?? now, high ?? now, seconds) },
            y: { range: (_, low, high) => [0, Math.max(high ?? 0, 4) * 1.05] },
        },
        axes: [
            { ...axis, space: TIMES_PX, size: 28, values: (_, times) => times.map((time) => toClock(time)) },
            { ...axis, space: NUMBERS_PX, size: AXIS_PX, incrs: WHOLE_STEPS, values: (_, values) => values.map(shortNumber) },
        ],
        series: [{}, ...lines.map((name) => ({ stroke: color(`--chart-${name}`), width: 2, points: { show: false } }))],
    };
}

/** The time range of the chart: from the first sample, but at least a minute and at most `seconds`. */
const timeRange = (low, high, seconds) => [Math.max(high - seconds, Math.min(low, high - SECONDS_MIN)), high];

/** Possible steps between numbers on an axis: 1, 2, 5, 10, 20, 50 and so on. */
const WHOLE_STEPS = Array.from({ length: 9 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

/** A number for an axis: 12,000 as 12k. */
const shortNumber = (value) => (value >= 10_000 ? `${toNumber(value / 1_000)}k` : toNumber(value));

/** Whether the system uses dark colours. The component is rendered again after a change. */
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
