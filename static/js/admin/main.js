// The operators' page: the health of the service, and the controls.

import { extend, t, useDocument, useLanguage } from "../shared/i18n.js";
import { lazy } from "../shared/lazy.js";
import { useRoute } from "../shared/route.js";
import { html, render } from "../shared/view.js";
import { StaffPage } from "../staff/page.js";
import staffEn from "../i18n/staff/en.js";
import staffZh from "../i18n/staff/zh.js";
import en from "../i18n/admin/en.js";
import zh from "../i18n/admin/zh.js";
import { Banner } from "./banner.js";
import { Health } from "./health.js";
import { useStatus } from "./status.js";

const Limits = lazy(() => import("./limits.js").then((module) => module.Limits));
const Switches = lazy(() => import("./switches.js").then((module) => module.Switches));
const Accounts = lazy(() => import("./accounts.js").then((module) => module.Accounts));
const Blacklist = lazy(() => import("./blacklist.js").then((module) => module.Blacklist));
const Factor = lazy(() => import("./factor.js").then((module) => module.Factor));
const Audit = lazy(() => import("./audit.js").then((module) => module.Audit));

extend({ en: { ...staffEn, ...en }, zh: { ...staffZh, ...zh } });

const VIEWS = { "": Health, limits: Limits, switches: Switches, blacklist: Blacklist, accounts: Accounts, audit: Audit, factor: Factor };

function Page() {
    useLanguage();
    const [name, page] = useRoute();
    const view = Object.hasOwn(VIEWS, name) ? name : "";
    useDocument(`${t("admin.title")} · couponrush`);
    const links = Object.keys(VIEWS).map((name) => [`#${name}`, `admin.view-${name || "health"}`, name === view]);
    return html`<${StaffPage} kind="admin" subtitle=${t("admin.title")} links=${links}><${Content} view=${view} page=${Number(page) || 1} /><//>`;
}

/** A view below the banner, which every view shares. */
function Content({ view, page }) {
    const status = useStatus();
    return html`<${Banner} ...${status} /><${VIEWS[view]} key=${view} page=${page} ...${status} />`;
}

const place = document.getElementById("page");
place.replaceChildren();
render(html`<${Page} />`, place);
