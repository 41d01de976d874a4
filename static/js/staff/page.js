// The page of one kind of people who work here: who is somebody else is told where to go, and a session that ends takes
// nothing away that was being written.

import { t, useLanguage } from "../shared/i18n.js";
import { LogIn } from "../shared/login.js";
import { expired, useSession } from "../shared/session.js";
import { Notice, Shell } from "../shared/shell.js";
import { html, useRef } from "../shared/view.js";

/** Where each kind of user belongs. */
const HOMES = { customer: "/", saler: "/saler", admin: "/admin" };

/** @param {{kind: "saler" | "admin", subtitle: string, links: [string, string, boolean][], children: any}} props */
export function StaffPage({ kind, subtitle, links, children }) {
    useLanguage();
    const session = useSession();
    const worker = useRef(null);
    const here = session?.kind === kind;
    if (here) worker.current = session.name;
    else if (session || !expired.get()) worker.current = null;
    return html`
        <${Shell} home="#" subtitle=${subtitle} links=${here ? links : []}>
            ${!session && html`<${LogIn} kind=${kind} />`}
            ${session && !here && html`<${Elsewhere} kind=${session.kind} wanted=${kind} />`}
            ${worker.current !== null && html`<div key=${worker.current} hidden=${!here}>${children}</div>`}
        <//>`;
}

function Elsewhere({ kind, wanted }) {
    return html`
        <${Notice} kind="warn" title=${t(`staff.only-${wanted}`)}>
            ${t(`staff.you-are-${kind}`)} <a href=${HOMES[kind]}>${HOMES[kind]}</a>
        <//>`;
}

/** A button that leads to a view. */
export const LinkButton = ({ href, outline, children }) => html`
    <a class="button ${outline ? "outline" : ""}" role="button" href=${href}>${children}</a>`;

/** The way to the pages before and after this one. @param {{page: number, isLast: boolean, href: (page: number) => string}} props */
export function Pages({ page, isLast, href }) {
    if (page <= 1 && isLast) return null;
    return html`
        <nav class="pages" aria-label=${t("staff.pages")}>
            ${page > 1 && html`<${LinkButton} outline=${true} href=${href(page - 1)}>← ${t("staff.previous")}<//>`}
            <span>${t("staff.page", { page })}</span>
            ${!isLast && html`<${LinkButton} outline=${true} href=${href(page + 1)}>${t("staff.next")} →<//>`}
        </nav>`;
}

/** Numbers with their names. @param {{facts: [string, any][]}} props */
export const Facts = ({ facts }) => html`
    <dl class="numbers">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** A state in one word. `kind` is good, info, warn, bad or none. */
export const Badge = ({ kind = "none", children }) => html`<span class="badge badge-${kind}">${children}</span>`;
