// The view "My coupons": the customer's coupons, newest first.

import { t, toNumber } from "../shared/i18n.js";
import { link } from "../shared/route.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useEffect } from "../shared/view.js";
import { loadMore, reload, useHoldings } from "./holdings.js";

export function Coupons() {
    const { items, state } = useHoldings();
    // A second tab may have claimed a coupon since.
    useEffect(reload, []);
    const loading = state === "loading" || state === "new";
    return html`
        <h1>${t("coupons.title")}</h1>
        <ul class="coupons">${items.map((item) => html`<${Item} key=${link(item.saler, item.name)} item=${item} />`)}</ul>
        ${loading && html`<${Skeleton} />`}
        ${state === "failed" && html`<${Notice} kind="warn">${t("coupons.failed")}${" "}
            <button type="button" class="link" onClick=${loadMore}>${t("shell.try-again")}</button><//>`}
        ${state === "all" && items.length === 0 && html`
            <${Empty} title=${t("coupons.none")}>${t("coupons.none-hint")} <a href="#">${t("coupons.to-sales")}</a><//>`}
        ${state === "more" && html`<button type="button" class="outline" onClick=${loadMore}>${t("coupons.more")}</button>`}`;
}

function Item({ item }) {
    const { saler, name, stock, description, count } = item;
    return html`
        <li class="card ticket">
            <div>
                <h2><bdi>${name}</bdi></h2>
                <p class="by">${t("sales.by")} <bdi>${saler}</bdi></p>
                ${description && html`<p class="description" dir="auto">${description}</p>`}
                <p class="facts">
                    ${stock > 0 && html`<span>${t("coupons.value", { stock: toNumber(stock) })}</span>`}
                    ${count > 1 && html`<span>${t("coupons.count", { count })}</span>`}
                </p>
            </div>
            <a class="button" role="button" href=${link("coupon", saler, name)}>${t("coupons.show")}<span class="hidden"> <bdi>${name}</bdi></span></a>
        </li>`;
}
