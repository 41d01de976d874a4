// The merchant's coupons, each with the state of its sale.

import { part } from "../shared/api.js";
import { useServerSeconds } from "../shared/clock.js";
import { t, toTime } from "../shared/i18n.js";
import { Stale, usePoll } from "../shared/poll.js";
import { link } from "../shared/route.js";
import { session, useSession } from "../shared/session.js";
import { Empty, Notice, Progress, Skeleton } from "../shared/shell.js";
import { html } from "../shared/view.js";
import { Badge, LinkButton, Pages } from "../staff/page.js";
import { PAGE_SIZE, STATE_KINDS, foremost, stateOf, useActivities, useCoupons } from "./offers.js";

/** How often the page asks whether the merchant is approved. */
const ACCOUNT_MS = 30_000;

/** @param {{page: number}} props from 1 */
export function Coupons({ page }) {
    const { coupons, failed } = useCoupons(`page=${page}`);
    const { activities } = useActivities();
    const { answer: own } = usePoll(`/api/users/${part(useSession()?.name ?? "")}`, ACCOUNT_MS);
    const now = useServerSeconds();
    return html`
        ${own?.awaits_approval && html`<${Notice} kind="warn" title=${t("saler.awaits-approval")}>${t("saler.awaits-approval-text")}<//>`}
        <div class="head"><h1>${t("saler.coupons")}</h1>${session.get()?.rights.manage && html`<${LinkButton} href="#new">${t("saler.new")}<//>`}</div>
        ${failed && html`<${Stale} />`}
        ${!coupons && !failed && html`<${Skeleton} /><${Skeleton} />`}
        ${coupons?.length === 0 && page === 1 && html`<${Empty} title=${t("saler.none")}>${t("saler.none-hint")}<//>`}
        <ul class="rows">
            ${coupons?.map((coupon) => html`
                <${Item} key=${coupon.product_id} coupon=${coupon} now=${now}
                    activity=${foremost(activities?.filter(({ product_id }) => product_id === coupon.product_id) ?? [], now)} />`)}
        </ul>
        <${Pages} page=${page} isLast=${(coupons?.length ?? 0) < PAGE_SIZE} href=${(other) => link("page", String(other))} />`;
}

function Item({ coupon, activity, now }) {
    const { product_id, name, amount, left, scheduled, archived } = coupon;
    const units = t("saler.left-of", { left, amount });
    return html`
        <li class="card row">
            <div class="row-name">
                <h2><a href=${link("coupon", String(product_id))}><bdi>${name}</bdi></a></h2>
                <p class="by"><${SaleState} activity=${activity} scheduled=${scheduled} archived=${archived} left=${left} now=${now} /></p>
            </div>
            <div class="row-units">
                <${Progress} value=${left} whole=${amount} label=${units} />
                <p aria-hidden="true">${units}</p>
            </div>
        </li>`;
}

/** The state of a coupon's sale, as a badge with the time of the next change. */
export function SaleState({ activity, scheduled, archived, left, now }) {
    if (archived) return html`<${Badge}>${t("saler.archived")}<//>`;
    if (!activity) {
        const key = scheduled ? "saler.not-scheduled" : left > 0 ? "saler.open-to-all" : "saler.all-gone";
        return html`<${Badge} kind=${key === "saler.open-to-all" ? "good" : "none"}>${t(key)}<//>`;
    }
    const state = stateOf(activity, now);
    if (state === "open" && left === 0) return html`<${Badge}>${t("saler.all-gone")}<//>`;
    const [key, time] = state === "before" ? ["saler.from", activity.start_time] : ["saler.until", activity.end_time];
    return html`<${Badge} kind=${STATE_KINDS[state]}>${t(`sale.state-${state}`)}<//>${" "}${t(key, { time: toTime(time) })}`;
}
