// How much is too much: rates, offenders, and who is not counted.

import { call } from "../shared/api.js";
import { t, toNumber } from "../shared/i18n.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useEffect, useState } from "../shared/view.js";
import { Field, Form, onlyWrong, useForm, wrongNumber } from "../staff/form.js";
import { Stale } from "../shared/poll.js";
import { refusalAt } from "../staff/refusal.js";

const RATE_MAX = 1_000_000;
const SECONDS_MAX = 31_536_000;
const NUMBERS = {
    user_per_second: RATE_MAX,
    user_per_minute: RATE_MAX,
    ip_per_second: RATE_MAX,
    ip_per_minute: RATE_MAX,
    offences_per_minute: RATE_MAX,
    offender_seconds: SECONDS_MAX,
};
const LISTS = ["allow_ips", "allow_referers"];
const FIELDS = [...Object.keys(NUMBERS), ...LISTS];

export function Limits() {
    const [limits, setLimits] = useState(null);
    const [failed, setFailed] = useState(false);
    async function load() {
        const answer = await call("GET", "/admin/limits");
        if (answer.status === 200) setLimits(answer.body);
        setFailed(answer.status !== 200);
    }
    useEffect(() => {
        load();
    }, []);
    return html`
        <h1>${t("admin.view-limits")}</h1>
        <p>${t("limits.how")}</p>
        ${failed && html`<${Stale} /><button type="button" onClick=${load}>${t("shell.try-again")}</button>`}
        ${!limits && !failed && html`<${Skeleton} lines=${8} />`}
        ${limits && html`<${LimitsForm} limits=${limits} changed=${setLimits} />`}`;
}

function LimitsForm({ limits, changed }) {
    const [told, setTold] = useState(null);
    const form = useForm(async (fields) => {
        setTold(null);
        const wrong = onlyWrong(Object.fromEntries(Object.entries(NUMBERS).map(([name, max]) => [name, wrongNumber(fields[name], 0, max)])));
        if (Object.keys(wrong).length > 0) return wrong;
        const body = Object.fromEntries(FIELDS.map((name) => [name, LISTS.includes(name) ? lines(fields[name]) : Number(fields[name])]));
        const answer = await call("PUT", "/admin/limits", { body, repeatable: true });
        if (answer.status !== 200) {
            const refused = refusalAt(answer, FIELDS);
            const list = LISTS.find((name) => refused[name]);
            return list ? { [list]: t(`limits.${list}-wrong`) } : refused;
        }
        setTold(FIELDS.filter((name) => shown(limits[name]) !== shown(answer.body[name])).map((name) => [name, limits[name], answer.body[name]]));
        changed(answer.body);
        return {};
    });
    return html`
        <section class="card narrow left-aligned">
            <${Form} form=${form} action=${t("limits.save")}>
                <div class="pair">
                    ${Object.keys(NUMBERS).map((name) => html`
                        <${Field} key=${name} name=${name} label=${t(`limits.${name}`)} hint=${t(`limits.${name}-hint`)} failures=${form.failures}
                            inputmode="numeric" autocomplete="off" defaultValue=${String(limits[name])} />`)}
                </div>
                ${LISTS.map((name) => html`
                    <${Field} key=${name} name=${name} label=${t(`limits.${name}`)} hint=${t(`limits.${name}-hint`)} failures=${form.failures}
                        as="textarea" rows="3" spellcheck=${false} defaultValue=${limits[name].join("\n")} />`)}
            <//>
            <div aria-live="polite">${told && html`<${Told} changes=${told} />`}</div>
        </section>`;
}

/** What is different now. */
function Told({ changes }) {
    if (changes.length === 0) return html`<${Notice} kind="info">${t("limits.nothing-changed")}<//>`;
    return html`
        <${Notice} kind="good" title=${t("limits.changed")}>
            <ul>${changes.map(([name, before, after]) => html`
                <li>${t("admin.changed", { name: t(`limits.${name}`), before: shown(before), after: shown(after) })}</li>`)}</ul>
        <//>`;
}

const shown = (value) => (Array.isArray(value) ? value.join(", ") || "–" : toNumber(value));

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
