// The banner with all current faults and their start times. Red: no coupon can be sold, or the state is unknown. Amber:
// sales go on.

import { t, toTime, toClock } from "../shared/i18n.js";
import { html } from "../shared/view.js";

/** Claims that wait longer for MySQL are reported. The sweep of the outbox takes 2 s. */
const OLDEST_MS_MAX = 10_000;

/** The healthy states of each part. */
export const GOOD_STATES = { redis: ["up"], mysql: ["up"], etcd: ["up", "off"], ledger: ["storing"], gate: ["open"] };
export const PARTS = Object.keys(GOOD_STATES);

/** Switches that stop the sale for some users. The remaining switches only save work. */
const SWITCHES = ["claim", "login", "register", "pages"];

/** Whether customers can claim coupons now. */
export const canSell = (status) => status.ready && status.switches.claim;

/** Reasons why Redis refuses writes. The gate is closed for the same reason. */
const WRITE_REFUSALS = ["read-only", "out-of-memory", "not-persisting", "no-replicas", "no-permission", "elsewhere", "moving"];

const sentenceOf = (part, state) =>
    part === "gate" && WRITE_REFUSALS.includes(state) ? "banner.gate-refused" : `banner.${part}-${state}`;

/** All faults as [key of the sentence, start in seconds since 1970 or 0 if unknown], and whether they are severe. */
function findFaults({ status, failed, failedSince }) {
    if (failed) return { isSevere: true, faults: [["banner.silent", failedSince]] };
    if (!status) return { isSevere: false, faults: [] };
    const parts = PARTS.filter((part) => !GOOD_STATES[part].includes(status[part].state));
    const faults = parts.map((part) => [sentenceOf(part, status[part].state), status[part].since]);
    const oldest = status.outbox?.oldest_ms ?? 0;
    if (status.draining) faults.push(["banner.draining", 0]);
    if (oldest > OLDEST_MS_MAX) faults.push(["banner.behind", Math.floor(Date.now() / 1_000 - oldest / 1_000)]);
    for (const name of SWITCHES.filter((name) => !status.switches[name])) faults.push([`banner.off-${name}`, 0]);
    if (status.poisoned_claims > 0) faults.push(["banner.poisoned", 0]);
    return { isSevere: !canSell(status) || status.poisoned_claims > 0, faults };
}

/** Screen readers announce each change of the banner, so the banner holds no counters. */
export function Banner(props) {
    const { isSevere, faults } = findFaults(props);
    const { status } = props;
    return html`
        <div role="alert">${faults.length > 0 && html`
            <div class="banner banner-${isSevere ? "bad" : "warn"}">
                <strong>${t(props.failed ? "banner.title-silent" : canSell(status) ? "banner.title-degraded" : "banner.title-down")}</strong>
                <ul>${faults.map(([key, since]) => html`<li key=${key}>${t(key)} ${since > 0 && t("banner.since", { time: sinceText(since) })}</li>`)}</ul>
            </div>`}
        </div>
        ${status?.warnings.length > 0 && html`
            <div class="banner banner-warn"><strong>${t("banner.unsafe")}</strong>
                <ul>${status.warnings.map((warning) => html`<li lang="en">${warning}</li>`)}</ul></div>`}
        ${status?.unreadable_rows.length > 0 && html`
            <div class="banner banner-warn"><strong>${t("banner.unreadable")}</strong>
                <ul>${status.unreadable_rows.map((row) => html`<li key=${row.table + row.id}>${t("banner.unreadable-row", row)}</li>`)}</ul></div>`}`;
}

/** A start time; without the day if less than 12 hours ago. */
const sinceText = (seconds) => (Date.now() / 1_000 - seconds < 43_200 ? toClock(seconds) : toTime(seconds));
