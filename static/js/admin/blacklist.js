// The blacklist: a list of all blocks, and a form to look up, block and unblock a user or an address.

import { call, part } from "../shared/api.js";
import { t, toTime } from "../shared/i18n.js";
import { Stale, usePoll } from "../shared/poll.js";
import { link } from "../shared/route.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Field, Form, useForm } from "../staff/form.js";
import { Facts, Pages } from "../staff/page.js";
import { refusalText } from "../staff/refusal.js";
import { callProven } from "./proven.js";

/** The durations of a block, in seconds; 0 has no end. */
const DURATIONS = [600, 3_600, 86_400, 604_800, 0];

/** Tells two 404 answers apart: no such user, and a user without a block. Both have the same code and no `field`. */
const NO_SUCH_USER = "No such user.";
/** Blocks per page of the service. */
const PAGE_SIZE = 100;
const REFRESH_MS = 5_000;

/**
 * @param {object} props
 * @param {any} props.status the answer of `/admin/status`
 * @param {number} props.page of the list, from 1
 */
export function Blacklist({ status, page }) {
    const [found, setFound] = useState(null);
    const { answer: list, failed, again } = usePoll(`/admin/blacklist?page=${page}`, REFRESH_MS);
    const showChange = (found) => {
        setFound(found);
        again();
    };
    /** Looks up a user or an address. Returns the failures by field. */
    async function lookUp(kind, value) {
        setFound(null);
        const path = `/admin/blacklist/${kind}/${part(value)}`;
        const answer = await call("GET", path);
        if (answer.status === 404 && answer.body?.errMsg === NO_SUCH_USER) return { value: t("blacklist.nobody") };
        if (answer.body?.field === "value") return { value: t("blacklist.no-address") };
        if (answer.status !== 200 && answer.status !== 404) return { form: refusalText(answer) };
        setFound({ path, kind, value, block: answer.status === 200 ? answer.body : null, notice: null });
        return {};
    }
    const form = useForm(({ kind, value }) => (value.trim() === "" ? { value: t("staff.needed") } : lookUp(kind, value.trim())));
    return html`
        <h1>${t("admin.view-blacklist")}</h1>
        <p>${t("blacklist.how")} ${status && t("blacklist.count", { count: status.blocks })}</p>
        <section class="card narrow left-aligned">
            <${Form} form=${form} action=${t("blacklist.look")}>
                <div class="pair">
                    <${Field} name="kind" label=${t("blacklist.kind")} failures=${form.failures} as="select">
                        <option value="users">${t("blacklist.users")}</option><option value="ips">${t("blacklist.ips")}</option>
                    <//>
                    <${Field} name="value" label=${t("blacklist.value")} failures=${form.failures} autocomplete="off" autocapitalize="none" spellcheck=${false} dir="auto" />
                </div>
            <//>
        </section>
        <div aria-live="polite">${found && html`<${Entry} key=${found.path} found=${found} onChange=${showChange} />`}</div>
        <h2 class="section" id="listed">${t("blacklist.list")}</h2>
        ${failed && html`<${Stale} />`}
        ${list === undefined && !failed && html`<${Skeleton} lines=${4} />`}
        ${list === null && html`<${Empty} title=${t(page > 1 ? "blacklist.no-more" : "blacklist.empty")} />`}
        ${list && html`<${List} blocks=${list.data} onLookUp=${lookUp} />`}
        <${Pages} page=${page} isLast=${(list?.data.length ?? 0) < PAGE_SIZE} href=${(other) => link("blacklist", String(other))} />`;
}

const List = ({ blocks, onLookUp }) => html`
    <div class="table" role="region" aria-labelledby="listed" tabindex="0">
        <table>
            <thead><tr>${["value", "until", "since", "by", "reason"].map((column) => html`<th key=${column} scope="col">${t(`blacklist.${column}`)}</th>`)}</tr></thead>
            <tbody>${blocks.map((block) => html`
                <tr key=${`${block.kind}/${block.value}`}>
                    <th scope="row"><button type="button" class="quiet" onClick=${() => onLookUp(block.kind, block.value)}><bdi>${block.value}</bdi></button></th>
                    ${facts(block).map(([name, value]) => html`<td key=${name}>${value}</td>`)}
                </tr>`)}</tbody>
        </table>
    </div>`;

/** The user or address that was looked up, with buttons to block and unblock. */
function Entry({ found, onChange }) {
    const { path, value, block, notice } = found;
    const [busy, setBusy] = useState(false);
    async function act(method, seconds) {
        setBusy(true);
        const answer = await callProven(method, path, { body: seconds ? { seconds } : undefined, repeatable: true });
        setBusy(false);
        // 404 to an unblock: a second operator has removed the block already.
        const isDone = answer.status === 200 || (method === "DELETE" && answer.status === 404);
        const newBlock = method === "PUT" ? answer.body : null;
        if (isDone) onChange({ ...found, block: newBlock, notice: { kind: "good", text: changeText(value, newBlock) } });
        else onChange({ ...found, notice: { kind: "bad", text: refusalText(answer) } });
    }
    return html`
        <section class="card narrow left-aligned" aria-busy=${busy}>
            <h2><bdi>${value}</bdi></h2>
            ${notice && html`<${Notice} kind=${notice.kind}>${notice.text}<//>`}
            ${block ? html`<${Block} block=${block} />` : html`<p>${t("blacklist.not-blocked")}</p>`}
            <p id="block-for">${t(block ? "blacklist.replace" : "blacklist.block-for")}</p>
            <div class="buttons">
                ${DURATIONS.map((seconds) => html`
                    <button key=${seconds} type="button" class="outline small" disabled=${busy} aria-describedby="block-for" onClick=${() => act("PUT", seconds)}>${t(`blacklist.for-${seconds}`)}</button>`)}
                ${block && html`<button type="button" class="small" disabled=${busy} onClick=${() => act("DELETE")}>${t("blacklist.let-in")}</button>`}
            </div>
        </section>`;
}

function changeText(value, block) {
    if (!block) return t("blacklist.is-in", { value });
    return block.until === null ? t("blacklist.is-out-for-ever", { value }) : t("blacklist.is-out", { value, time: toTime(block.until) });
}

const Block = ({ block }) => html`<${Facts} facts=${facts(block)} />`;

/** The properties of a block, each with a name. */
const facts = ({ until, since, by, reason }) => [
    [t("blacklist.until"), until === null ? t("blacklist.for-ever") : toTime(until)],
    [t("blacklist.since"), toTime(since)],
    [t("blacklist.by"), by ? html`<bdi>${by}</bdi>` : t("blacklist.by-itself")],
    [t("blacklist.reason"), t(`blacklist.reason-${reason}`)],
];
