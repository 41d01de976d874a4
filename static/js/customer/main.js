// The customers' page: current and coming sales, and the customer's coupons.

import { LogIn } from "../shared/login.js";
import { extend, t, useDocument, useLanguage } from "../shared/i18n.js";
import { lazy } from "../shared/lazy.js";
import { link, replace, useRoute } from "../shared/route.js";
import { useSession } from "../shared/session.js";
import { Notice, Shell } from "../shared/shell.js";
import { html, render, useEffect } from "../shared/view.js";
import en from "../i18n/customer/en.js";
import zh from "../i18n/customer/zh.js";
import { Coupons } from "./coupons.js";
import { forget, loadMore } from "./holdings.js";
import { Sales } from "./sales.js";

const loadCoupon = () => import("./coupon.js").then((module) => module.Coupon);
const Coupon = lazy(loadCoupon);
const Reset = lazy(() => import("../shared/password.js").then((module) => module.Reset));

extend({ en, zh });

/** The view before the login form. A login returns to the view. */
let viewBeforeLogin = "#";
addEventListener("hashchange", (event) => {
    if (location.hash === "#log-in") viewBeforeLogin = new URL(event.oldURL).hash || "#";
});

function Page() {
    useLanguage();
    const session = useSession();
    const [view, ...rest] = useRoute();
    useDocument(`${t(isPrivate(view) ? "coupons.title" : "customer.title")} · couponrush`);
    // The next user must not see the coupons of the last user.
    useEffect(() => {
        forget();
        if (session?.kind !== "customer") return;
        loadMore();
        // Loaded now, because the network may be gone when the coupon is shown at a till.
        loadCoupon().catch(() => {});
    }, [session?.token]);

    const links = [
        ["#", "customer.sales", view === ""],
        ["#coupons", "customer.coupons", isPrivate(view)],
        ...(session || showsLogin(view, session) ? [] : [["#log-in", "shell.log-in", false]]),
    ];
    return html`
        <${Shell} home="#" links=${links}>
            ${session && session.kind !== "customer" && html`<${Staff} kind=${session.kind} />`}
            <${View} view=${view} rest=${rest} session=${session} />
        <//>`;
}

/** Whether a view shows a customer's coupons. */
const isPrivate = (view) => view === "coupons" || view === "coupon";

/** Whether the login form is shown instead of the view. */
const showsLogin = (view, session) => view === "log-in" || (isPrivate(view) && !session);

function View({ view, rest, session }) {
    if (view === "reset") return html`<${Reset} token=${rest[0] ?? ""} />`;
    if (view === "log-in") return html`<${LogIn} kind="customer" onDone=${() => replace(viewBeforeLogin)} />`;
    if (showsLogin(view, session)) return html`<${LogIn} kind="customer" why=${t("coupons.log-in")} />`;
    if (view === "coupons") return html`<${Coupons} />`;
    if (view === "coupon") return html`<${Coupon} key=${link(...rest)} saler=${rest[0] ?? ""} name=${rest[1] ?? ""} />`;
    return html`<${Sales} />`;
}

/** Tells a merchant or an operator on the customers' page where to go. */
function Staff({ kind }) {
    const [key, href] = kind === "admin" ? ["customer.admin", "/admin"] : ["customer.merchant", "/saler"];
    return html`<${Notice} kind="warn">${t(key)} <a href=${href}>${href}</a><//>`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${Page} />`, place);
