// One coupon: live figures, sales, and the form for the amount.

import { call, part } from "../shared/api.js";
import { useServerSeconds } from "../shared/clock.js";
import { t, toNumber, toTime } from "../shared/i18n.js";
import { link } from "../shared/route.js";
import { session } from "../shared/session.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Confirm } from "../staff/confirm.js";
import { Field, Form, numberFailure, useForm } from "../staff/form.js";
import { Badge, Facts, LinkButton } from "../staff/page.js";
import { Stale } from "../shared/poll.js";
import { refusalAt, refusalText } from "../staff/refusal.js";
import { SaleState } from "./coupons.js";
import { Live } from "./live.js";
import { STATE_KINDS, foremost, stateOf, useActivities, useCoupon } from "./offers.js";

const AMOUNT_MAX = 10_000_000;

/** @param {{product: number}} props */
export function Coupon({ product }) {
    const { coupon, failed, again } = useCoupon(product);
    const { activities, again: listAgain } = useActivities(product);
    const now = useServerSeconds();
    const back = html`<p><a href="#">← ${t("saler.coupons")}</a></p>`;
    if (coupon === null) return html`${back}<${Empty} title=${t("sale.gone")} />`;
    if (!coupon) return html`${back}${failed ? html`<${Stale} />` : html`<${Skeleton} lines=${6} />`}`;
    const { name, description, stock, amount, left, scheduled, archived } = coupon;
    const here = link("coupon", String(product));
    return html`
        ${back}
        ${failed && html`<${Stale} />`}
        <div class="head">
            <h1><bdi>${name}</bdi></h1>
            <${LinkButton} outline=${true} href=${`${here}/claims`}>${t("offer.claims")}<//>
        </div>
        ${description && html`<p class="description" dir="auto">${description}</p>`}
        <p class="by"><${SaleState} activity=${activities && foremost(activities, now)} scheduled=${scheduled} archived=${archived} left=${left} now=${now} /></p>
        <${Facts} facts=${[
            [t("offer.amount"), toNumber(amount)],
            ...(stock > 0 ? [[t("offer.value"), toNumber(stock)]] : []),
        ]} />
        <${Live} product=${product} left=${left} />
        <div class="head"><h2>${t("sale.all")}</h2><${LinkButton} outline=${true} href=${`${here}/schedule`}>${t("sale.new")}<//></div>
        <ul class="rows">
            ${activities?.map((activity) => html`
                <${Sale} key=${activity.activity_id} activity=${activity} amount=${amount} now=${now} here=${here} onChange=${listAgain} />`)}
        </ul>
        ${activities?.length === 0 && html`<p class="none">${t(scheduled ? "sale.none" : "sale.none-open")}</p>`}
        <${Amount} coupon=${coupon} onChange=${again} />
        <${Archive} coupon=${coupon} onChange=${again} />`;
}

/** Actions open in each state: key of the sentence, and the new status of the activity. */
const ACTIONS = {
    before: [["sale.stop", 1]],
    open: [["sale.stop", 1], ["sale.declare", 2]],
    stopped: [["sale.reopen", 0]],
    "sold-out": [["sale.reopen", 0]],
    over: [],
};

/** One sale with buttons for the actions open now. */
function Sale({ activity, amount, now, here, onChange }) {
    const { activity_id, activity_name, start_time, end_time, total, sec_speed, buy_limit, buy_rate } = activity;
    const [failure, setFailure] = useState("");
    const [busy, setBusy] = useState(false);
    const state = stateOf(activity, now);

    async function set(status) {
        if (busy) return;
        setBusy(true);
        const answer = await call("POST", "/activity/update", { body: { activity_id, status }, repeatable: true });
        setBusy(false);
        setFailure(answer.status === 200 ? "" : refusalText(answer));
        onChange();
    }

    const titleId = `sale-${activity_id}`;
    const percent = Math.round(Number(buy_rate) * 10_000) / 100;
    const terms = [
        t("sale.terms-total", { total: total || amount }),
        t("sale.terms-limit", { limit: buy_limit }),
        ...(sec_speed > 0 ? [t("sale.terms-speed", { speed: sec_speed })] : []),
        ...(percent < 100 ? [t("sale.terms-rate", { percent })] : []),
    ];
    return html`
        <li class="card sale-row" aria-busy=${busy}>
            <div>
                <h3 id=${titleId}><bdi>${activity_name}</bdi> <${Badge} kind=${STATE_KINDS[state]}>${t(`sale.state-${state}`)}<//></h3>
                <p class="by">${toTime(start_time)} – ${toTime(end_time)}</p>
                <p class="facts">${terms.map((term) => html`<span>${term}</span>`)}</p>
            </div>
            <div class="buttons">
                ${ACTIONS[state].map(([key, status]) => html`<button type="button" class="outline small" disabled=${busy} aria-describedby=${titleId} onClick=${() => set(status)}>${t(key)}</button>`)}
                <a class="button outline small" role="button" aria-describedby=${titleId} href=${`${here}/sale/${activity_id}`}>${t("sale.change-it")}</a>
            </div>
            <div aria-live="assertive">${failure && html`<${Notice} kind="bad">${failure}<//>`}</div>
        </li>`;
}

function change(name, body) {
    const path = `/api/users/${part(session.get()?.saler ?? "")}/coupons/${part(name)}`;
    return call("PUT", path, { body, repeatable: true });
}

/** The form for the amount, which can be raised, or lowered to the number of claimed units. */
function Amount({ coupon, onChange }) {
    const { name, amount } = coupon;
    const [done, setDone] = useState("");
    const form = useForm(async ({ amount: text }) => {
        setDone("");
        const failure = numberFailure(text, 1, AMOUNT_MAX);
        if (failure) return { amount: failure };
        const answer = await change(name, { amount: Number(text) });
        onChange();
        if (answer.status !== 200) return refusalAt(answer, ["amount"]);
        setDone(t("amount.done", { amount: Number(text) }));
        return {};
    });
    return html`
        <section class="card narrow left-aligned">
            <h2>${t("amount.title")}</h2>
            <${Form} form=${form} action=${t("amount.save")}>
                <${Field} name="amount" label=${t("offer.amount")} hint=${t("amount.hint")} failures=${form.failures} inputmode="numeric" autocomplete="off" defaultValue=${String(amount)} />
            <//>
            <div aria-live="polite">${done && html`<${Notice} kind="good">${done}<//>`}</div>
        </section>`;
}

/** Archives the coupon after a confirmation, or brings it back. */
function Archive({ coupon, onChange }) {
    const { name, archived = false } = coupon;
    const [asked, setAsked] = useState(false);
    const [busy, setBusy] = useState(false);
    const [failure, setFailure] = useState("");

    async function set(to) {
        setBusy(true);
        const answer = await change(name, { archived: to });
        setBusy(false);
        setFailure(answer.status === 200 ? "" : refusalText(answer));
        onChange();
    }

    function answer(yes) {
        setAsked(false);
        if (yes) set(true);
    }

    return html`
        <section class="card narrow left-aligned" aria-busy=${busy}>
            <h2>${t("archive.title")}</h2>
            <p>${t(archived ? "archive.text-archived" : "archive.text")}</p>
            <button type="button" class="outline" disabled=${busy} onClick=${() => (archived ? set(false) : setAsked(true))}>${t(archived ? "archive.back" : "archive.do")}</button>
            <div aria-live="assertive">${failure && html`<${Notice} kind="bad">${failure}<//>`}</div>
            ${asked && html`<${Confirm} title=${t("archive.sure", { name })} text=${t("archive.danger")} action=${t("archive.yes")} onAnswer=${answer} />`}
        </section>`;
}
