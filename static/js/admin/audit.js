// The audit trail: who did what, when, and from where. Newest first, with filters and a button for older events.

import { call } from "../shared/api.js";
import { extend, t, toNumber, toTime } from "../shared/i18n.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useEffect, useState } from "../shared/view.js";
import { Field, Form, useForm } from "../staff/form.js";
import { refusalText } from "../staff/refusal.js";
import en from "../i18n/admin/audit/en.js";
import zh from "../i18n/admin/audit/zh.js";

extend({ en, zh });

/** Events per page of the service. */
const PAGE_SIZE = 100;
const COLUMNS = ["at", "user", "event", "object", "status", "address", "request"];

/** @typedef {{id: number, at_ms: number, user: string, kind: string, event: string, object: string, address: string,
 *     request_id: string, status: number, repeated: number}} Entry */

export function Audit() {
    const { entries, hasOlder, failure, loading, find, older } = useTrail();
    const form = useForm(async ({ user, event }) => {
        await find(user.trim(), event.trim());
        return {};
    });
    return html`
        <h1>${t("admin.view-audit")}</h1>
        <p>${t("audit.how")}</p>
        <section class="card narrow left-aligned">
            <${Form} form=${form} action=${t("audit.find")}>
                <div class="pair">
                    <${Field} name="user" label=${t("audit.by-user")} failures=${form.failures} autocomplete="off" autocapitalize="none" spellcheck=${false} dir="auto" />
                    <${Field} name="event" label=${t("audit.by-event")} hint=${t("audit.by-event-hint")} failures=${form.failures} autocomplete="off" autocapitalize="none" spellcheck=${false} />
                </div>
            <//>
        </section>
        <div aria-live="polite">${failure && html`<${Notice} kind="bad">${failure}<//>`}</div>
        ${entries === null && loading && html`<${Skeleton} lines=${6} />`}
        ${entries?.length === 0 && html`<${Empty} title=${t("audit.none")} />`}
        ${entries?.length > 0 && html`<${Trail} entries=${entries} />`}
        ${hasOlder && html`<button type="button" class="outline" disabled=${loading} onClick=${older}>${t("audit.older")}</button>`}`;
}

/** The events of a filter, read page by page. Without polling, because a moving list cannot be read. */
function useTrail() {
    const [trail, setTrail] = useState({ user: "", event: "", entries: null, hasOlder: false, failure: "", loading: true });
    async function read(user, event, before) {
        setTrail({ ...trail, loading: true, failure: "" });
        const after = before.length > 0 ? `&after=${before.at(-1).id}` : "";
        const answer = await call("GET", `/admin/audit?user=${encodeURIComponent(user)}&event=${encodeURIComponent(event)}${after}`);
        if (answer.status !== 200 && answer.status !== 204) {
            setTrail({ ...trail, loading: false, failure: refusalText(answer) });
            return;
        }
        const found = answer.body?.data ?? [];
        setTrail({ user, event, entries: [...before, ...found], hasOlder: found.length === PAGE_SIZE, failure: "", loading: false });
    }
    useEffect(() => {
        read("", "", []);
    }, []);
    const { user, event, entries } = trail;
    return { ...trail, find: (user, event) => read(user, event, []), older: () => read(user, event, entries) };
}

const Trail = ({ entries }) => html`
    <div class="table" role="region" aria-label=${t("admin.view-audit")} tabindex="0">
        <table>
            <thead><tr>${COLUMNS.map((column) => html`<th key=${column} scope="col">${t(`audit.${column}`)}</th>`)}</tr></thead>
            <tbody>${entries.map((entry) => html`<${Row} key=${entry.id} entry=${entry} />`)}</tbody>
        </table>
    </div>`;

/** @param {{entry: Entry}} props */
function Row({ entry: { at_ms, user, event, object, status, repeated, address, request_id } }) {
    return html`
        <tr>
            <td>${toTime(at_ms / 1_000)}</td>
            <td>${user ? html`<bdi>${user}</bdi>` : "–"}</td>
            <td>${event}</td>
            <td><bdi>${object}</bdi></td>
            <td>${status}${repeated > 0 && html` <small>${t("audit.repeated", { count: toNumber(repeated) })}</small>`}</td>
            <td>${address}</td>
            <td><bdi>${request_id}</bdi></td>
        </tr>`;
}
