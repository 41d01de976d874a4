// The view of a merchant's staff and keys, for the merchant alone.

import { call, part } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { t, toTime } from "../shared/i18n.js";
import { Stale, usePoll } from "../shared/poll.js";
import { session } from "../shared/session.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Confirm } from "../staff/confirm.js";
import { Field, Form, nameFailure, numberFailure, onlyFailures, useForm } from "../staff/form.js";
import { refusalAt, refusalText } from "../staff/refusal.js";

const REFRESH_MS = 10_000;
const RIGHTS = ["redeem", "view", "manage"];
const USER_NAME_LENGTH_MAX = 64;
const KEY_NAME_LENGTH_MAX = 60;
const PASSWORD_LENGTH_MIN = 12;
const DAYS_MAX = 3_650;
const DAY_SECONDS = 86_400;

export function People() {
    const own = `/api/users/${part(session.get()?.name ?? "")}`;
    return html`
        <h1>${t("people.title")}</h1>
        <p>${t("people.how")}</p>
        <${Staff} path=${`${own}/staff`} />
        <${Keys} path=${`${own}/keys`} />`;
}

function Staff({ path }) {
    const { answer, failed, again } = usePoll(path, REFRESH_MS);
    const form = useForm(async (fields) => {
        const { username, password } = fields;
        const failures = onlyFailures({
            username: nameFailure(username, USER_NAME_LENGTH_MAX),
            password: [...password].length < PASSWORD_LENGTH_MIN ? t("people.password-short", { min: PASSWORD_LENGTH_MIN }) : "",
            form: rightsFailure(fields),
        });
        if (Object.keys(failures).length > 0) return failures;
        const answer = await call("POST", path, { body: { username, password, rights: rightsOf(fields) } });
        if (answer.status !== 201) return refusal(answer, ["username", "password"]);
        form.form.current?.reset();
        again();
        return {};
    });
    const staff = answer?.data?.map(({ username, rights }) => ({ id: username, name: username, rights }));
    return html`
        <section class="card narrow left-aligned">
            <h2>${t("people.staff")}</h2>
            <${List} items=${staff} isRead=${answer !== undefined} failed=${failed} path=${path} none="people.no-staff" onChange=${again} />
            <${Form} form=${form} action=${t("people.add")}>
                <${Field} name="username" label=${t("login.name")} failures=${form.failures} dir="auto" autocomplete="off" />
                <${Field} name="password" type="password" label=${t("login.password")} hint=${t("people.password-hint")} failures=${form.failures} autocomplete="new-password" />
                <${Rights} />
            <//>
        </section>`;
}

function Keys({ path }) {
    const { answer, failed, again } = usePoll(path, REFRESH_MS);
    const [made, setMade] = useState("");
    const form = useForm(async (fields) => {
        setMade("");
        const { name, days } = fields;
        const failures = onlyFailures({
            name: nameFailure(name.trim(), KEY_NAME_LENGTH_MAX),
            days: days.trim() === "" ? "" : numberFailure(days, 1, DAYS_MAX),
            form: rightsFailure(fields),
        });
        if (Object.keys(failures).length > 0) return failures;
        const end = days.trim() && { expires_at: Math.floor(serverMs() / 1_000) + Number(days) * DAY_SECONDS };
        const answer = await call("POST", path, { body: { name: name.trim(), rights: rightsOf(fields), ...end } });
        if (answer.status !== 201) return refusal(answer, ["name"]);
        form.form.current?.reset();
        setMade(answer.body.key);
        again();
        return {};
    });
    return html`
        <section class="card narrow left-aligned">
            <h2>${t("people.keys")}</h2>
            <${List} items=${answer?.data} isRead=${answer !== undefined} failed=${failed} path=${path} none="people.no-keys" onChange=${again} />
            <${Form} form=${form} action=${t("people.make")}>
                <${Field} name="name" label=${t("people.key-name")} hint=${t("people.key-name-hint")} failures=${form.failures} dir="auto" autocomplete="off" />
                <${Field} name="days" label=${t("people.days")} hint=${t("people.days-hint")} failures=${form.failures} inputmode="numeric" autocomplete="off" />
                <${Rights} />
            <//>
            <div aria-live="polite">
                ${made && html`<${Notice} kind="good" title=${t("people.made")}><input class="made-key" readonly aria-label=${t("people.key")} value=${made} /><//>`}
            </div>
        </section>`;
}

/** Staff or keys, each with a button that deletes after a confirmation. */
function List({ items, isRead, failed, path, none, onChange }) {
    const [asked, setAsked] = useState(null);
    const [failure, setFailure] = useState("");

    async function answer(yes) {
        const { id } = asked;
        setAsked(null);
        if (!yes) return;
        // 404 means that an earlier attempt has deleted the staff or the key.
        const answer = await call("DELETE", `${path}/${part(String(id))}`, { repeatable: true });
        setFailure([200, 404].includes(answer.status) ? "" : refusalText(answer));
        onChange();
    }

    if (!isRead) return failed ? html`<${Stale} />` : html`<${Skeleton} />`;
    return html`
        ${failed && html`<${Stale} />`}
        ${!items && html`<p class="by">${t(none)}</p>`}
        <ul class="rows">
            ${items?.map((item) => html`
                <li class="head" key=${item.id}>
                    <div>
                        <strong id=${`item-${item.id}`}><bdi>${item.name}</bdi></strong>
                        <p class="facts">${facts(item).map((fact) => html`<span>${fact}</span>`)}</p>
                    </div>
                    <button type="button" class="outline small" aria-describedby=${`item-${item.id}`} onClick=${() => setAsked(item)}>${t("people.delete")}</button>
                </li>`)}
        </ul>
        <div aria-live="assertive">${failure && html`<${Notice} kind="bad">${failure}<//>`}</div>
        ${asked && html`<${Confirm} title=${t("people.sure", { name: asked.name })} text=${t("people.danger")} action=${t("people.yes")} onAnswer=${answer} />`}`;
}

/** The properties of staff or of a key. Only keys have times. */
function facts({ rights, id, created_at, expires_at, last_used_at }) {
    const named = rights.map((right) => t(`people.${right}`));
    if (created_at === undefined) return named;
    return [
        ...named,
        t("people.number", { id }),
        last_used_at === null ? t("people.unused") : t("people.used", { time: toTime(last_used_at) }),
        ...(expires_at === null ? [] : [t("people.expires", { time: toTime(expires_at) })]),
    ];
}

const Rights = () => html`
    <fieldset>
        <legend>${t("people.rights")}</legend>
        ${RIGHTS.map((right) => html`<label key=${right}><input type="checkbox" name=${right} /> ${t(`people.${right}-right`)}</label>`)}
    </fieldset>`;

const rightsOf = (fields) => RIGHTS.filter((right) => fields[right] !== undefined);

const rightsFailure = (fields) => (rightsOf(fields).length === 0 ? t("people.no-right") : "");

/** The sentence for a refusal. Limits and names have sentences of their own. */
function refusal(answer, fields) {
    if (answer.code === "name-taken") return { username: t("people.taken") };
    if (answer.code === "quota") return { form: t("people.too-many") };
    return refusalAt(answer, fields);
}
