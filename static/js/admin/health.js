// The state of each part, the claims waiting for MySQL, and the rates of answers.

import { t, toNumber, toTime } from "../shared/i18n.js";
import { Progress, Skeleton } from "../shared/shell.js";
import { html } from "../shared/view.js";
import { Chart } from "../staff/chart.js";
import { Badge, Facts } from "../staff/page.js";
import { GOOD_STATES, PARTS, canSell } from "./banner.js";
import { KIND_NAMES, SECONDS } from "./status.js";

export function Health({ status, rates }) {
    if (!status) return html`<${Skeleton} lines=${6} />`;
    return html`
        <div class="head"><h1>${t("admin.view-health")}</h1>
            <${Badge} kind=${canSell(status) ? "good" : "bad"}>${t(canSell(status) ? "health.ready" : "health.not-ready")}<//></div>
        <ul class="parts">${PARTS.map((part) => html`<${Part} key=${part} name=${part} part=${status[part]} />`)}</ul>
        <${Rates} points=${rates.points} />
        <${Backlog} status=${status} />
        <${Responses} status=${status} rates=${rates.responses} />
        <p class="by">${t("health.instance")} <bdi>${status.instance}</bdi></p>`;
}

function Part({ name, part }) {
    const good = GOOD_STATES[name].includes(part.state);
    return html`
        <li class="card part">
            <h2>${t(`health.${name}`)}</h2>
            <${Badge} kind=${good ? (part.state === "off" ? "none" : "good") : "bad"}>${t(`state.${part.state}`)}<//>
            <p class="by">${t("banner.since", { time: toTime(part.since) })}</p>
        </li>`;
}

function Rates({ points }) {
    const now = points.slice(1).map((line) => line.at(-1) ?? null);
    const rates = KIND_NAMES.map((name, line) => `${t(`rates.${name}`)} ${rateText(now[line])}`);
    return html`
        <section class="card">
            <h2>${t("rates.title")}</h2>
            <ul class="legend">
                ${KIND_NAMES.map((name, line) => html`
                    <li key=${name}><span class="line line-${name}" aria-hidden="true"></span>${t(`rates.${name}`)} <strong>${rateText(now[line])}</strong></li>`)}
            </ul>
            <${Chart} lines=${KIND_NAMES} points=${points} seconds=${SECONDS} label=${t("rates.label", { rates: rates.join(", ") })} />
            <p class="hint">${t("rates.hint")}</p>
        </section>`;
}

/** A rate, with one decimal below 10. */
const rateText = (rate) => (rate === null ? "–" : t("rates.rate", { rate: rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate) }));

function Backlog({ status: { ledger, outbox, gate } }) {
    const channel = t("backlog.of", { count: ledger.backlog, max: ledger.backlog_max });
    return html`
        <section class="card">
            <h2>${t("backlog.title")}</h2>
            <${Progress} value=${ledger.backlog} whole=${ledger.backlog_max} label=${t("backlog.channel")} />
            <${Facts} facts=${[
                [t("backlog.channel"), channel],
                [t("backlog.lag"), seconds(ledger.lag_ms)],
                [t("backlog.outbox"), outbox ? toNumber(outbox.claims) : "–"],
                [t("backlog.oldest"), outbox ? seconds(outbox.oldest_ms) : "–"],
                [t("backlog.stored"), toNumber(ledger.stored)],
                [t("backlog.poisoned"), toNumber(ledger.poisoned)],
                [t("backlog.in-flight"), t("backlog.of", { count: gate.in_flight, max: gate.in_flight_limit })],
                [t("backlog.rebuilds"), toNumber(gate.rebuilds)],
            ]} />
        </section>`;
}

const seconds = (ms) => t("backlog.seconds", { seconds: Math.round(ms / 100) / 10 });

function Responses({ status: { responses, turned_away, attempts }, rates }) {
    const results = Object.entries(attempts).filter(([, count]) => count > 0);
    return html`
        <div class="charts">
            <section class="card">
                <h2>${t("responses.title")}</h2>
                <table><thead><tr><th scope="col">${t("responses.status")}</th><th scope="col" class="number">${t("responses.now")}</th><th scope="col" class="number">${t("responses.total")}</th></tr></thead>
                    <tbody>${Object.entries(responses).map(([code, count]) => html`
                        <tr key=${code}><th scope="row">${code}</th><td class="number">${rateText(rates[code] ?? null)}</td><td class="number">${toNumber(count)}</td></tr>`)}
                    </tbody></table>
            </section>
            <section class="card">
                <h2>${t("attempts.title")}</h2>
                <table><thead><tr><th scope="col">${t("attempts.result")}</th><th scope="col" class="number">${t("responses.total")}</th></tr></thead>
                    <tbody>${[...results, ...Object.entries(turned_away)].map(([name, count]) => html`
                        <tr key=${name}><th scope="row">${t(`attempts.${name.replaceAll("_", "-")}`)}</th><td class="number">${toNumber(count)}</td></tr>`)}
                    </tbody></table>
            </section>
        </div>`;
}
