// The merchants' page: coupons, sales, live figures, and the till.

import { extend, t, useDocument, useLanguage } from "../shared/i18n.js";
import { lazy } from "../shared/lazy.js";
import { useRoute } from "../shared/route.js";
import { html, render } from "../shared/view.js";
import { StaffPage } from "../staff/page.js";
import staffEn from "../i18n/staff/en.js";
import staffZh from "../i18n/staff/zh.js";
import en from "../i18n/saler/en.js";
import zh from "../i18n/saler/zh.js";
import { Coupons } from "./coupons.js";

const Check = lazy(() => import("./check.js").then((module) => module.Check));
const Claims = lazy(() => import("./claims.js").then((module) => module.Claims));
const Coupon = lazy(() => import("./coupon.js").then((module) => module.Coupon));
const NewCoupon = lazy(() => import("./new_coupon.js").then((module) => module.NewCoupon));
const NewSale = lazy(() => import("./sale_form.js").then((module) => module.NewSale));
const ChangeSale = lazy(() => import("./sale_form.js").then((module) => module.ChangeSale));

extend({ en: { ...staffEn, ...en }, zh: { ...staffZh, ...zh } });

function Page() {
    useLanguage();
    const [view, id, ...rest] = useRoute();
    useDocument(`${t(view === "check" ? "saler.check" : "saler.coupons")} · couponrush`);
    const links = [
        ["#", "saler.coupons", view !== "check"],
        ["#check", "saler.check", view === "check"],
    ];
    return html`
        <${StaffPage} kind="saler" subtitle=${t("saler.title")} links=${links}>
            <${View} key=${[view, id, ...rest].join("/")} view=${view} product=${Number(id)} rest=${rest} />
        <//>`;
}

function View({ view, product, rest: [part, activity] }) {
    if (view === "check") return html`<${Check} />`;
    if (view === "new") return html`<${NewCoupon} />`;
    if (view === "page") return html`<${Coupons} page=${product} />`;
    if (view !== "coupon") return html`<${Coupons} page=${1} />`;
    if (part === "claims") return html`<${Claims} product=${product} />`;
    if (part === "schedule") return html`<${NewSale} product=${product} />`;
    if (part === "sale") return html`<${ChangeSale} product=${product} activity=${Number(activity)} />`;
    return html`<${Coupon} product=${product} />`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${Page} />`, place);
