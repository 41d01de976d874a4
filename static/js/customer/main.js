// The customers' page: what is on sale, and what one has.

import { LogIn } from "../shared/login.js";
import { t, useDocument, useLanguage } from "../shared/i18n.js";
import { link, replace, useRoute } from "../shared/route.js";
import { useSession } from "../shared/session.js";
import { Notice, Shell } from "../shared/shell.js";
import { html, render, useEffect } from "../shared/view.js";
import { Coupon } from "./coupon.js";
import { Coupons } from "./coupons.js";
import { forget, loadMore } from "./holdings.js";
import { Sales } from "./sales.js";

/** Where logging in was asked for; logging in leads back there. */
let cameFrom = "#";
addEventListener("hashchange", (event) => {
    if (location.hash === "#log-in") cameFrom = new URL(event.oldURL).hash || "#";
});

function Page() {
    useLanguage();
    const session = useSession();
    const [view, ...rest] = useRoute();
    useDocument(`${t(isHolders(view) ? "coupons.title" : "customer.title")} · couponrush`);
    // Another person's coupons are not for this one.
    useEffect(() => {
        forget();
        if (session?.kind === "customer") loadMore();
    }, [session?.token]);

    const links = [
        ["#", "customer.sales", view === ""],
        ["#coupons", "customer.coupons", isHolders(view)],
        ...(session || asksWho(view, session) ? [] : [["#log-in", "shell.log-in", false]]),
    ];
    return html`
        <${Shell} home="#" links=${links}>
            ${session && session.kind !== "customer" && html`<${Staff} kind=${session.kind} />`}
            <${View} view=${view} rest=${rest} session=${session} />
        <//>`;
}

const isHolders = (view) => view === "coupons" || view === "coupon";

/** Whether the form to log in is shown. */
const asksWho = (view, session) => view === "log-in" || (isHolders(view) && !session);

function View({ view, rest, session }) {
    if (view === "log-in") return html`<${LogIn} kind="customer" onDone=${() => replace(cameFrom)} />`;
    if (asksWho(view, session)) return html`<${LogIn} kind="customer" why=${t("coupons.log-in")} />`;
    if (view === "coupons") return html`<${Coupons} />`;
    if (view === "coupon") return html`<${Coupon} key=${link(...rest)} saler=${rest[0] ?? ""} name=${rest[1] ?? ""} />`;
    return html`<${Sales} />`;
}

/** A merchant or an operator on the customers' page. */
function Staff({ kind }) {
    const [key, href] = kind === "saler" ? ["customer.merchant", "/saler"] : ["customer.admin", "/admin"];
    return html`<${Notice} kind="warn">${t(key)} <a href=${href}>${href}</a><//>`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${Page} />`, place);
