// The frame of every page (name, views, language, account), and small components that all views share.

import { call } from "./api.js";
import { LANGUAGES, choose, t, useLanguage } from "./i18n.js";
import { end, useSession } from "./session.js";
import { html, useState } from "./view.js";

/** The ticket of `logo.svg` in the colours of the page. */
const Logo = () => html`
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
        <path class="logo-ticket" d="M5 6h22a3 3 0 0 1 3 3v4a3 3 0 0 0 0 6v4a3 3 0 0 1-3 3H5a3 3 0 0 1-3-3v-4a3 3 0 0 0 0-6V9a3 3 0 0 1 3-3z" />
        <path class="logo-flash" d="M17.6 8.5 10 17.4h4.9L13.6 23.5 22 14h-5.2z" />
    </svg>`;

/**
 * A page. Each entry of `links` is [href, key of the name, whether the link leads to the current view].
 * @param {{home: string, subtitle?: string, links: [string, string, boolean][], children: any}} props
 */
export function Shell({ home, subtitle, links, children }) {
    useLanguage();
    return html`
        <a class="skip" href="#main" onClick=${skipToMain}>${t("shell.skip")}</a>
        <header class="bar">
            <div class="container bar-in">
                <a class="brand" href=${home}><${Logo} /><span>couponrush${subtitle && html` <small>${subtitle}</small>`}</span></a>
                <nav class="views" aria-label=${t("shell.views")}>
                    ${links.map(([href, key, isCurrent]) => html`<a href=${href} aria-current=${isCurrent ? "page" : undefined}>${t(key)}</a>`)}
                </nav>
                <div class="tools"><${LanguageSwitch} /><${Account} /></div>
            </div>
        </header>
        <main id="main" class="container" tabindex="-1">${children}</main>`;
}

/** Moves the focus to the content. An href cannot do so, because the part after # names the view. */
function skipToMain(event) {
    event.preventDefault();
    document.getElementById("main").focus();
}

function LanguageSwitch() {
    const language = useLanguage();
    const other = LANGUAGES.find((known) => known.language !== language);
    return html`<button type="button" class="quiet" lang=${other.tag} onClick=${() => choose(other.language)}>${other.name}</button>`;
}

function Account() {
    const session = useSession();
    const [Dialog, setDialog] = useState(null);
    if (!session) return null;
    const change = t("shell.password", { name: session.name });
    // The dialog is loaded by the first press. A component is a function, which a state would call.
    const open = () => import("./password.js").then(({ PasswordDialog }) => setDialog(() => PasswordDialog), () => {});
    return html`
        <button type="button" class="quiet who" title=${change} aria-label=${change} aria-haspopup="dialog" onClick=${open}>
            <bdi>${session.name}</bdi></button>
        <button type="button" class="quiet" onClick=${logOut}>${t("shell.log-out")}</button>
        ${Dialog && html`<${Dialog} onClose=${() => setDialog(null)} />`}`;
}

/** Ends the session at once. The server revokes the token in the background. */
function logOut() {
    call("POST", "/api/auth/logout", { repeatable: true });
    end();
}

/** A message to the user, announced by screen readers. `kind` is good, info, warn or bad. */
export function Notice({ kind = "info", title, children }) {
    return html`
        <div class="notice notice-${kind}" role=${kind === "bad" ? "alert" : "status"}>
            ${title && html`<strong>${title}</strong>`}
            ${children && html`<div>${children}</div>`}
        </div>`;
}

/** An empty list, which is no failure. */
export const Empty = ({ title, children }) => html`
    <div class="empty"><p class="empty-title">${title}</p>${children && html`<p>${children}</p>`}</div>`;

/** A placeholder for content that is loading. */
export const Skeleton = ({ lines = 3 }) => html`
    <div class="card skeleton" role="status" aria-label=${t("shell.loading")}>
        ${Array.from({ length: lines }, () => html`<div class="skeleton-line"></div>`)}
    </div>`;

/** A bar of `value` out of `whole`. Screen readers read `label`. */
export function Progress({ value, whole, label }) {
    return html`<progress class="units" value=${value} max=${Math.max(whole, 1)} aria-label=${label}></progress>`;
}
