// The frame of the merchants' and the operators' page.
//
// A user of the wrong kind gets a link to the right page. After an expired session the content is hidden, not removed, so a
// half-filled form survives the login.

import { t, useLanguage } from "../shared/i18n.js";
import { LogIn } from "../shared/login.js";
import { expired, useSession } from "../shared/session.js";
import { Notice, Shell } from "../shared/shell.js";
import { html, useRef } from "../shared/view.js";

/** The page for each kind of user. */
const PAGES = { customer: "/", saler: "/saler", staff: "/saler", admin: "/admin" };

/** @param {{kind: "saler" | "admin", subtitle: string, links: [string, string, boolean][], children: any}} props */
export function StaffPage({ kind, subtitle, links, children }) {
    useLanguage();
    const session = useSession();
    /** The user whose content is kept. */
    const owner = useRef(null);
    // Staff work on the page of their merchant.
    const isAllowed = session !== null && PAGES[session.kind] === PAGES[kind];
    if (isAllowed) owner.current = session.name;
    else if (session || !expired.get()) owner.current = null;
    return html`
        <${Shell} home="#" subtitle=${subtitle} links=${isAllowed ? links : []}>
            ${!session && html`<${LogIn} kind=${kind} />`}
            ${session && !isAllowed && html`<${WrongPage} kind=${session.kind} wanted=${kind} />`}
            ${owner.current !== null && html`<div key=${owner.current} hidden=${!isAllowed}>${children}</div>`}
        <//>`;
}

function WrongPage({ kind, wanted }) {
    return html`
        <${Notice} kind="warn" title=${t(`staff.only-${wanted}`)}>
            ${t(`staff.you-are-${kind}`)} <a href=${PAGES[kind]}>${PAGES[kind]}</a>
        <//>`;
}

/** A link to a view, drawn as a button. */
export const LinkButton = ({ href, outline, children }) => html`
    <a class="button ${outline ? "outline" : ""}" role="button" href=${href}>${children}</a>`;

/**
 * Links to the previous and the next page of a list.
 * @param {{page: number, isLast: boolean, href: (page: number) => string}} props
 */
export function Pages({ page, isLast, href }) {
    if (page <= 1 && isLast) return null;
    return html`
        <nav class="pages" aria-label=${t("staff.pages")}>
            ${page > 1 && html`<${LinkButton} outline=${true} href=${href(page - 1)}>← ${t("staff.previous")}<//>`}
            <span>${t("staff.page", { page })}</span>
            ${!isLast && html`<${LinkButton} outline=${true} href=${href(page + 1)}>${t("staff.next")} →<//>`}
        </nav>`;
}

/** A list of names with values. @param {{facts: [string, any][]}} props */
export const Facts = ({ facts }) => html`
    <dl class="numbers">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** A short label for a state. `kind` is good, info, warn, bad or none. */
export const Badge = ({ kind = "none", children }) => html`<span class="badge badge-${kind}">${children}</span>`;
