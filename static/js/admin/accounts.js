// Accounts: merchants who await approval, and one user to approve, disable, log out, or send a password link.

import { call, part } from "../shared/api.js";
import { extend, t, toTime } from "../shared/i18n.js";
import { Stale, usePoll } from "../shared/poll.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Confirm } from "../staff/confirm.js";
import { Field, Form, useForm } from "../staff/form.js";
import { Facts } from "../staff/page.js";
import { refusalText } from "../staff/refusal.js";
import { callProven } from "./proven.js";
import en from "../i18n/admin/accounts/en.js";
import zh from "../i18n/admin/accounts/zh.js";

extend({ en, zh });

const REFRESH_MS = 5_000;

export function Accounts() {
    const [found, setFound] = useState(null);
    const { answer: list, failed, again } = usePoll("/admin/users", REFRESH_MS);
    const showChange = (found) => {
        setFound(found);
        again();
    };
    /** Looks up a user. Returns the failures by field. */
    async function lookUp(name) {
        setFound(null);
        const answer = await call("GET", `/admin/users/${part(name)}`);
        if (answer.status === 404) return { name: t("accounts.nobody") };
        if (answer.status !== 200) return { form: refusalText(answer) };
        setFound({ account: answer.body, notice: null });
        return {};
    }
    const form = useForm(({ name }) => (name.trim() === "" ? { name: t("staff.needed") } : lookUp(name.trim())));
    return html`
        <h1>${t("admin.view-accounts")}</h1>
        <p>${t("accounts.how")}</p>
        <section class="card narrow left-aligned">
            <${Form} form=${form} action=${t("accounts.look")}>
                <${Field} name="name" label=${t("accounts.name")} failures=${form.failures} autocomplete="off" autocapitalize="none" spellcheck=${false} dir="auto" />
            <//>
        </section>
        <div aria-live="polite">${found && html`<${Entry} key=${found.account.username} found=${found} onChange=${showChange} />`}</div>
        <h2 class="section" id="awaiting">${t("accounts.awaiting")}</h2>
        ${failed && html`<${Stale} />`}
        ${list === undefined && !failed && html`<${Skeleton} lines=${3} />`}
        ${list === null && html`<${Empty} title=${t("accounts.none-awaits")} />`}
        ${list && html`<ul class="rows" aria-labelledby="awaiting">${list.data.map((account) => html`
            <li key=${account.id} class="card switch">
                <div><h3><bdi>${account.username}</bdi></h3><p class="by">${toTime(account.registered_at)}</p></div>
                <button type="button" class="outline small" onClick=${() => lookUp(account.username)}>${t("accounts.show")}</button>
            </li>`)}</ul>`}
        <${EndAll} />`;
}

/** The user who was looked up, with buttons for all that can be done. */
function Entry({ found: { account, notice }, onChange }) {
    const [busy, setBusy] = useState(false);
    const [toConfirm, setToConfirm] = useState(false);
    const path = `/admin/users/${part(account.username)}`;
    async function act(send, text) {
        setBusy(true);
        const answer = await send();
        setBusy(false);
        const isDone = answer.status === 200;
        const notice = isDone ? { kind: "good", text: text(answer.body) } : { kind: "bad", text: refusalText(answer) };
        onChange({ account: isDone && answer.body.username ? answer.body : account, notice });
    }
    const change = (body, key) =>
        act(() => callProven("PUT", path, { body, repeatable: true }), () => t(key, { name: account.username }));
    const post = (what, text) => act(() => callProven("POST", `${path}/${what}`, { repeatable: true }), text);
    const sureToDisable = (yes) => {
        setToConfirm(false);
        if (yes) change({ disabled: true }, "accounts.is-disabled");
    };
    return html`
        <section class="card narrow left-aligned" aria-busy=${busy}>
            <h2><bdi>${account.username}</bdi></h2>
            ${notice && html`<${Notice} kind=${notice.kind}>${notice.text}<//>`}
            <${Facts} facts=${facts(account)} />
            <div class="buttons">
                ${account.kind === "saler" && !account.approved && html`
                    <button type="button" class="small" disabled=${busy} onClick=${() => change({ approved: true }, "accounts.is-approved")}>${t("accounts.approve")}</button>`}
                ${account.kind === "saler" && account.approved && html`
                    <button type="button" class="outline small" disabled=${busy} onClick=${() => change({ approved: false }, "accounts.is-not-approved")}>${t("accounts.take-approval")}</button>`}
                ${account.disabled
                    ? html`<button type="button" class="small" disabled=${busy} onClick=${() => change({ disabled: false }, "accounts.is-enabled")}>${t("accounts.enable")}</button>`
                    : html`<button type="button" class="outline small" disabled=${busy} onClick=${() => setToConfirm(true)}>${t("accounts.disable")}</button>`}
                <button type="button" class="outline small" disabled=${busy} onClick=${() => post("end-sessions", () => t("accounts.sessions-ended", { name: account.username }))}>${t("accounts.end-sessions")}</button>
                <button type="button" class="outline small" disabled=${busy} onClick=${() => post("password", linkText)}>${t("accounts.password-link")}</button>
            </div>
            ${toConfirm && html`
                <${Confirm} title=${t("accounts.sure-to-disable", { name: account.username })} text=${t("accounts.disable-danger")}
                    action=${t("accounts.disable")} onAnswer=${sureToDisable} />`}
        </section>`;
}

const linkText = ({ link, expires_at }) => t("accounts.link", { link: location.origin + link, time: toTime(expires_at) });

/** The button that ends all sessions of all users. The operator's own session ends, too. */
function EndAll() {
    const [toConfirm, setToConfirm] = useState(false);
    const [failure, setFailure] = useState("");
    async function end(yes) {
        setToConfirm(false);
        if (!yes) return;
        const answer = await callProven("POST", "/admin/end-sessions", { repeatable: true });
        setFailure(answer.status === 200 ? "" : refusalText(answer));
    }
    return html`
        <h2 class="section">${t("accounts.all")}</h2>
        ${failure && html`<${Notice} kind="bad">${failure}<//>`}
        <button type="button" class="outline" onClick=${() => setToConfirm(true)}>${t("accounts.end-all")}</button>
        ${toConfirm && html`
            <${Confirm} title=${t("accounts.sure-to-end-all")} text=${t("accounts.end-all-danger")} action=${t("accounts.end-all")} onAnswer=${end} />`}`;
}

/** The properties of an account, each with a name. */
const facts = ({ kind, disabled, approved, awaits_approval, sales_withheld, registered_at }) => [
    [t("accounts.kind"), t(`accounts.kind-${kind}`)],
    [t("accounts.registered"), toTime(registered_at)],
    [t("accounts.may-log-in"), t(disabled ? "accounts.no" : "accounts.yes")],
    ...(kind === "saler"
        ? [
              [t("accounts.approval"), t(approved ? "accounts.yes" : awaits_approval ? "accounts.awaits" : "accounts.not-asked")],
              [t("accounts.sells"), t(sales_withheld ? "accounts.no" : "accounts.yes")],
          ]
        : []),
];
