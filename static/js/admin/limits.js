// The form for rate limits, automatic blocks and exempt addresses.

import { call } from "../shared/api.js";
import { extend, t, toNumber } from "../shared/i18n.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useEffect, useState } from "../shared/view.js";
import { Field, Form, numberFailure, onlyFailures, useForm } from "../staff/form.js";
import { Stale } from "../shared/poll.js";
import { refusalAt } from "../staff/refusal.js";
import { callProven } from "./proven.js";
import en from "../i18n/admin/limits/en.js";
import zh from "../i18n/admin/limits/zh.js";

extend({ en, zh });

const RATE_MAX = 1_000_000;
const SECONDS_MAX = 31_536_000;
const NUMBERS = {
    user_per_second: RATE_MAX,
    user_per_minute: RATE_MAX,
    ip_per_second: RATE_MAX,
    ip_per_minute: RATE_MAX,
    ip_glances_per_minute: RATE_MAX,
    user_reads_per_minute: RATE_MAX,
    ip_reads_per_minute: RATE_MAX,
    user_exports_per_minute: RATE_MAX,
    ip_exports_per_minute: RATE_MAX,
    user_writes_per_minute: RATE_MAX,
    ip_writes_per_minute: RATE_MAX,
    ip_hashes_per_minute: RATE_MAX,
    offences_per_minute: RATE_MAX,
    offender_seconds: SECONDS_MAX,
};
/** Their labels need no hint. */
const RATES = Object.keys(NUMBERS).filter((name) => /^(user|ip)_/.test(name));
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
        ${limits && html`<${LimitsForm} limits=${limits} onChange=${setLimits} />`}`;
}

function LimitsForm({ limits, onChange }) {
    const [changes, setChanges] = useState(null);
    const form = useForm(async (fields) => {
        setChanges(null);
        const failures = onlyFailures(Object.fromEntries(Object.entries(NUMBERS).map(([name, max]) => [name, numberFailure(fields[name], 0, max)])));
        if (Object.keys(failures).length > 0) return failures;
        const body = Object.fromEntries(FIELDS.map((name) => [name, LISTS.includes(name) ? toLines(fields[name]) : Number(fields[name])]));
        const answer = await callProven("PUT", "/admin/limits", { body, repeatable: true });
        if (answer.status !== 200) {
            const refused = refusalAt(answer, FIELDS);
            const list = LISTS.find((name) => refused[name]);
            return list ? { [list]: t(`limits.${list}-wrong`) } : refused;
        }
        const changed = FIELDS.filter((name) => toText(limits[name]) !== toText(answer.body[name]));
        setChanges(changed.map((name) => [name, limits[name], answer.body[name]]));
        onChange(answer.body);
        return {};
    });
    return html`
        <section class="card narrow left-aligned">
            <${Form} form=${form} action=${t("limits.save")}>
                <div class="pair">
                    ${Object.keys(NUMBERS).map((name) => html`
                        <${Field} key=${name} name=${name} label=${t(`limits.${name}`)} hint=${RATES.includes(name) ? undefined : t(`limits.${name}-hint`)} failures=${form.failures}
                            inputmode="numeric" autocomplete="off" defaultValue=${String(limits[name])} />`)}
                </div>
                ${LISTS.map((name) => html`
                    <${Field} key=${name} name=${name} label=${t(`limits.${name}`)} hint=${t(`limits.${name}-hint`)} failures=${form.failures}
                        as="textarea" rows="3" spellcheck=${false} defaultValue=${limits[name].join("\n")} />`)}
            <//>
            <div aria-live="polite">${changes && html`<${Changes} changes=${changes} />`}</div>
        </section>`;
}

/** The limits that were changed, with old and new value. */
function Changes({ changes }) {
    if (changes.length === 0) return html`<${Notice} kind="info">${t("limits.nothing-changed")}<//>`;
    return html`
        <${Notice} kind="good" title=${t("limits.changed")}>
            <ul>${changes.map(([name, before, after]) => html`
                <li>${t("admin.changed", { name: t(`limits.${name}`), before: toText(before), after: toText(after) })}</li>`)}</ul>
        <//>`;
}

const toText = (value) => (Array.isArray(value) ? value.join(", ") || "–" : toNumber(value));

const toLines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
