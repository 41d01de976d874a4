// The merchants' page: coupons, sales, live figures, and the till.

import { extend, t, useDocument, useLanguage } from "../shared/i18n.js";
import { lazy } from "../shared/lazy.js";
import { useRoute } from "../shared/route.js";
import { useSession } from "../shared/session.js";
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
const People = lazy(() => import("./people.js").then((module) => module.People));
const NewSale = lazy(() => import("./sale_form.js").then((module) => module.NewSale));
const ChangeSale = lazy(() => import("./sale_form.js").then((module) => module.ChangeSale));

extend({ en: { ...staffEn, ...en }, zh: { ...staffZh, ...zh } });

function Page() {
    useLanguage();
    const session = useSession();
    const [wanted, id, ...rest] = useRoute();
    const view = allowedView(wanted, session);
    useDocument(`${t(TITLES[view] ?? "saler.coupons")} · couponrush`);
    const links = [
        ...(!session || session.rights.view ? [["#", "saler.coupons", TITLES[view] === undefined]] : []),
        ...(!session || session.rights.redeem ? [["#check", "saler.check", view === "check"]] : []),
        ...(session?.kind === "saler" ? [["#people", "people.title", view === "people"]] : []),
    ];
    return html`
        <${StaffPage} kind="saler" subtitle=${t("saler.title")} links=${links}>
            <${View} key=${[view, id, ...rest].join("/")} view=${view} product=${Number(id)} rest=${rest} />
        <//>`;
}

const TITLES = { check: "saler.check", people: "people.title" };

/** The view, or the till for staff who may only redeem. Only merchants see their staff. */
function allowedView(view, session) {
    if (session?.kind !== "staff") return view;
    if (view === "people") return "";
    return session.rights.view ? view : "check";
}

function View({ view, product, rest: [part, activity] }) {
    if (view === "check") return html`<${Check} />`;
    if (view === "people") return html`<${People} />`;
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
