// What is degraded, and since when: in red where nothing can be sold or nobody knows, in amber where it goes on.

import { t, toTime, toClock } from "../shared/i18n.js";
import { html } from "../shared/view.js";

/** Claims that wait longer for MySQL than this are told of: the sweep takes two seconds. */
const OLDEST_MS_MAX = 10_000;

/** The states in which a part is as it should be. */
export const GOOD_STATES = { redis: ["up"], mysql: ["up"], etcd: ["up", "off"], ledger: ["storing"], gate: ["open"] };
export const PARTS = Object.keys(GOOD_STATES);

/** Switches that stop the sale for some; the others only spare work. */
const SWITCHES = ["claim", "login", "register", "pages"];

/** Whether anybody can get anything. */
export const sells = (status) => status.ready && status.switches.claim;

/** What is wrong: its sentence and since when, in seconds since 1970; 0 where that is not known. */
function findings({ status, failed, failedSince }) {
    if (failed) return { bad: true, found: [["banner.silent", failedSince]] };
    if (!status) return { bad: false, found: [] };
    const parts = PARTS.filter((part) => !GOOD_STATES[part].includes(status[part].state));
    const found = parts.map((part) => [`banner.${part}-${status[part].state}`, status[part].since]);
    const oldest = status.outbox?.oldest_ms ?? 0;
    if (oldest > OLDEST_MS_MAX) found.push(["banner.behind", Math.floor(Date.now() / 1_000 - oldest / 1_000)]);
    for (const name of SWITCHES.filter((name) => !status.switches[name])) found.push([`banner.off-${name}`, 0]);
    if (status.ledger.poisoned > 0) found.push(["banner.poisoned", 0]);
    return { bad: !sells(status) || status.ledger.poisoned > 0, found };
}

/** Read aloud once when it changes; nothing in it counts. */
export function Banner(props) {
    const { bad, found } = findings(props);
    const { status } = props;
    return html`
        <div role="alert">${found.length > 0 && html`
            <div class="banner banner-${bad ? "bad" : "warn"}">
                <strong>${t(props.failed ? "banner.title-silent" : sells(status) ? "banner.title-degraded" : "banner.title-down")}</strong>
                <ul>${found.map(([key, since]) => html`<li key=${key}>${t(key)} ${since > 0 && t("banner.since", { time: sinceText(since) })}</li>`)}</ul>
            </div>`}
        </div>
        ${status?.warnings.length > 0 && html`
            <div class="banner banner-warn"><strong>${t("banner.unsafe")}</strong>
                <ul>${status.warnings.map((warning) => html`<li lang="en">${warning}</li>`)}</ul></div>`}`;
}

/** Today's times without their day. */
const sinceText = (seconds) => (Date.now() / 1_000 - seconds < 43_200 ? toClock(seconds) : toTime(seconds));
