// The form for the times and limits of a sale: a new sale, or a change of a sale.
//
// Times are shown and typed in the reader's time zone. A change sends only the changed fields, so that changes from a second
// tab are kept.

import { call } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { t } from "../shared/i18n.js";
import { link } from "../shared/route.js";
import { Empty, Skeleton } from "../shared/shell.js";
import { html } from "../shared/view.js";
import { Field, Form, nameFailure, numberFailure, onlyFailures, useForm } from "../staff/form.js";
import { Stale } from "../shared/poll.js";
import { refusalAt } from "../staff/refusal.js";
import { useActivities, useCoupon } from "./offers.js";

const NAME_LENGTH_MAX = 60;
const SPEED_MAX = 4_294_967_295;
const BUY_LIMIT_MAX = 100;
const NETWORK_WINNERS_MAX = 1_000;
const TICKET_BITS_MAX = 22;
/** The end of the year 9999, in seconds since 1970. */
const TIME_MAX = 253_402_300_799;
const STATUSES = ["sale.status-normal", "sale.status-stopped", "sale.status-sold-out"];

/** @param {{product: number}} props */
export function NewSale({ product }) {
    const { coupon, failed } = useCoupon(product);
    if (!coupon) return html`<${Unknown} thing=${coupon} failed=${failed} product=${product} />`;
    // One hour, from the next full hour.
    const start = Math.ceil(serverMs() / 3_600_000) * 3_600;
    const activity = {
        activity_name: coupon.name, start_time: start, end_time: start + 3_600, total: 0, sec_speed: 0, buy_limit: 1, buy_rate: "1",
    };
    return html`<${SaleForm} coupon=${coupon} activity=${activity} />`;
}

/** @param {{product: number, activity: number}} props */
export function ChangeSale({ product, activity }) {
    const { coupon, failed } = useCoupon(product);
    const { activities } = useActivities(product);
    const found = activities && (activities.find(({ activity_id }) => activity_id === activity) ?? null);
    if (!coupon || !found) return html`<${Unknown} thing=${coupon && found} failed=${failed} product=${product} />`;
    return html`<${SaleForm} coupon=${coupon} activity=${found} />`;
}

function Unknown({ thing, failed, product }) {
    if (thing === null) return html`<${Back} product=${product} /><${Empty} title=${t("sale.gone")} />`;
    return failed ? html`<${Stale} />` : html`<${Skeleton} lines=${8} />`;
}

const Back = ({ product, name }) => html`
    <p><a href=${link("coupon", String(product))}>← <bdi>${name ?? t("sale.back")}</bdi></a></p>`;

function SaleForm({ coupon, activity }) {
    const isNew = activity.activity_id === undefined;
    const form = useForm((fields) => send(coupon, activity, fields));
    const { failures } = form;
    const before = toFields(activity);
    const zone = t("sale.zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone });
    return html`
        <${Back} product=${coupon.product_id} name=${coupon.name} />
        <section class="card narrow">
            <h1>${t(isNew ? "sale.new" : "sale.change")}</h1>
            <${Form} form=${form} action=${t(isNew ? "sale.make" : "sale.save")}>
                <${Field} name="activity_name" label=${t("sale.name")} failures=${failures} defaultValue=${before.activity_name} dir="auto" autocomplete="off" />
                <div class="pair">
                    <${Field} name="start_time" label=${t("sale.start")} hint=${zone} failures=${failures} type="datetime-local" step="1" defaultValue=${before.start_time} />
                    <${Field} name="end_time" label=${t("sale.end")} failures=${failures} type="datetime-local" step="1" defaultValue=${before.end_time} />
                </div>
                <div class="pair">
                    <${Field} name="total" label=${t("sale.total")} hint=${t("sale.total-hint", { amount: coupon.amount })} failures=${failures} inputmode="numeric" defaultValue=${before.total} />
                    <${Field} name="speed" label=${t("sale.speed")} hint=${t("sale.speed-hint")} failures=${failures} inputmode="numeric" defaultValue=${before.speed} />
                    <${Field} name="buy_limit" label=${t("sale.buy-limit")} hint=${t("sale.buy-limit-hint")} failures=${failures} inputmode="numeric" defaultValue=${before.buy_limit} />
                    <${Field} name="buy_rate" label=${t("sale.buy-rate")} hint=${t("sale.buy-rate-hint")} failures=${failures} inputmode="decimal" defaultValue=${before.buy_rate} />
                </div>
                <details open=${hasConditions(activity)}>
                    <summary>${t("sale.conditions")}</summary>
                    <${Field} name="registered_before" label=${t("sale.registered")} hint=${t("sale.registered-hint")} failures=${failures} type="datetime-local" step="1" defaultValue=${before.registered_before} />
                    <div class="pair">
                        <${Field} name="network_winners" label=${t("sale.network")} hint=${t("sale.network-hint")} failures=${failures} inputmode="numeric" defaultValue=${before.network_winners} />
                        <${Field} name="ticket" label=${t("sale.ticket")} hint=${t("sale.ticket-hint")} failures=${failures} inputmode="numeric" defaultValue=${before.ticket} />
                    </div>
                </details>
                ${!isNew && html`
                    <${Field} name="status" label=${t("sale.status")} failures=${failures} as="select" defaultValue=${before.status}>
                        ${STATUSES.map((key, status) => html`<option value=${status} selected=${String(status) === before.status}>${t(key)}</option>`)}
                    <//>`}
            <//>
        </section>`;
}

/** The values of the fields for an activity. */
function toFields({ activity_name, start_time, end_time, total, sec_speed, buy_limit, buy_rate, status, ...conditions }) {
    const { registered_before, network_winners = 0, ticket = 0 } = conditions;
    return {
        activity_name,
        start_time: toLocal(start_time),
        end_time: toLocal(end_time),
        total: String(total),
        speed: String(sec_speed),
        buy_limit: String(buy_limit),
        buy_rate: String(Math.round(Number(buy_rate) * 10_000) / 100),
        registered_before: registered_before ? toLocal(registered_before) : "",
        network_winners: String(network_winners),
        ticket: String(ticket),
        status: String(status ?? 0),
    };
}

/** Whether a sale has a condition that holds off robots. */
const hasConditions = ({ registered_before, network_winners, ticket }) => Boolean(registered_before || network_winners || ticket);

/** Converts the text of each field to the value for the service. */
const VALUES = {
    activity_name: (text) => text.trim(),
    start_time: toSeconds,
    end_time: toSeconds,
    total: Number,
    speed: Number,
    buy_limit: Number,
    buy_rate: (percent) => Number(percent) / 100,
    registered_before: (local) => (local ? toSeconds(local) : 0),
    network_winners: Number,
    ticket: Number,
    status: Number,
};

/** Saves the sale and returns to the coupon. Returns the failures by field. */
async function send(coupon, activity, fields) {
    const failures = fieldFailures(coupon, fields);
    if (Object.keys(failures).length > 0) return failures;
    const isNew = activity.activity_id === undefined;
    const before = toFields(activity);
    const changed = Object.keys(fields).filter((name) => isNew || fields[name] !== before[name]);
    if (changed.length === 0) return { form: t("sale.nothing-changed") };
    const values = Object.fromEntries(changed.map((name) => [name, VALUES[name](fields[name])]));
    const answer = isNew
        ? await call("POST", "/activity/create", { body: { product_id: coupon.product_id, ...values } })
        : await call("POST", "/activity/update", { body: { activity_id: activity.activity_id, ...values }, repeatable: true });
    if (answer.status !== 200) return refusalAt(answer, Object.keys(fields));
    location.hash = link("coupon", String(coupon.product_id));
    return {};
}

/** The failures that the page finds itself, by field. */
function fieldFailures(coupon, fields) {
    const rate = Number(fields.buy_rate);
    const [start, end] = [toSeconds(fields.start_time), toSeconds(fields.end_time)];
    return onlyFailures({
        activity_name: nameFailure(fields.activity_name.trim(), NAME_LENGTH_MAX),
        start_time: isTime(start) ? "" : t("sale.no-time"),
        end_time: !isTime(end) ? t("sale.no-time") : end <= start ? t("staff.end-before-start") : "",
        total: numberFailure(fields.total, 0, coupon.amount),
        speed: numberFailure(fields.speed, 0, SPEED_MAX),
        buy_limit: numberFailure(fields.buy_limit, 1, BUY_LIMIT_MAX),
        registered_before: !fields.registered_before || toSeconds(fields.registered_before) * 1_000 <= serverMs() ? "" : t("sale.registered-later"),
        network_winners: numberFailure(fields.network_winners, 0, NETWORK_WINNERS_MAX),
        ticket: fields.ticket.trim() === "-1" ? "" : numberFailure(fields.ticket, 0, TICKET_BITS_MAX),
        buy_rate: fields.buy_rate.trim() && rate >= 0 && rate <= 100 ? "" : t("sale.rate-wrong"),
    });
}

const isTime = (seconds) => seconds >= 0 && seconds <= TIME_MAX;

/** `seconds` since 1970 in the format of a datetime-local field: 2026-11-20T10:00:00. */
function toLocal(seconds) {
    const date = new Date(seconds * 1_000);
    const two = (number) => String(number).padStart(2, "0");
    const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
    return `${day}T${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** The value of a datetime-local field in seconds since 1970; NaN for an invalid time. */
function toSeconds(local) {
    return Math.floor(new Date(local).getTime() / 1_000);
}
