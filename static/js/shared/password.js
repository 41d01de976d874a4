// Changing a password: the dialog of whoever is logged in, and the view behind a link that an operator has made.

import { call, part } from "./api.js";
import { extend, t, useLanguage } from "./i18n.js";
import { PATIENCE_MS, logIn } from "./login.js";
import { replace } from "./route.js";
import { session } from "./session.js";
import { Notice } from "./shell.js";
import { html, useEffect, useRef, useState } from "./view.js";
import en from "../i18n/account/en.js";
import zh from "../i18n/account/zh.js";

extend({ en, zh });

/**
 * A modal dialog. The browser keeps the focus inside. Escape closes it.
 * @param {{onClose: () => void}} props
 */
export function PasswordDialog({ onClose }) {
    useLanguage();
    const dialog = useRef(null);
    const [failure, setFailure] = useState("");
    const [busy, setBusy] = useState(false);
    const [done, setDone] = useState(false);
    useEffect(() => dialog.current.showModal(), []);

    async function submit(event) {
        event.preventDefault();
        if (busy) return;
        const form = new FormData(event.currentTarget);
        setBusy(true);
        setFailure("");
        const failed = await change(form.get("old"), form.get("new"));
        setBusy(false);
        setFailure(failed);
        setDone(!failed);
    }

    return html`
        <dialog ref=${dialog} aria-labelledby="password-title" onCancel=${(event) => { event.preventDefault(); onClose(); }}>
            <article>
                <h2 id="password-title">${t("password.title")}</h2>
                ${done
                    ? html`<${Notice} kind="good">${t("password.done")}<//>
                        <button type="button" onClick=${onClose}>${t("password.close")}</button>`
                    : html`<form onSubmit=${submit} aria-busy=${busy}>
                        <label>${t("password.old")}
                            <input name="old" type="password" required autocomplete="current-password" /></label>
                        <label>${t("password.new")}
                            <input name="new" type="password" required autocomplete="new-password" /></label>
                        <p class="hint">${t("password.hint")}</p>
                        <div aria-live="assertive">${failure && html`<p class="failure">${t(`password.failed-${failure}`)}</p>`}</div>
                        <button type="submit" disabled=${busy}>${t(busy ? "password.busy" : "password.action")}</button>
                        <button type="button" class="outline" onClick=${onClose}>${t("password.cancel")}</button>
                    </form>`}
            </article>
        </dialog>`;
}

/** Changes the password, and goes on with a new session. Returns the end of a key `password.failed-`; empty for a success. */
async function change(old, fresh) {
    const { name } = session.get();
    const path = `/api/users/${part(name)}/password`;
    // Not repeatable: after a lost answer, the old password may be wrong.
    const answer = await call("PUT", path, { body: { old, new: fresh }, patience: PATIENCE_MS });
    if (answer.status === 200) {
        // The old session has ended. If the login fails, the page asks for the new password.
        await logIn({ username: name, password: fresh });
        return "";
    }
    return answer.code === "wrong-password" ? "old" : failureOf(answer);
}

/** The end of a key `password.failed-` for a refused new password. */
function failureOf(answer) {
    if (answer.body?.field === "token") return "link";
    if (answer.code === "bad-request") {
        return ["common", "long"].find((word) => answer.body?.errMsg?.includes(word)) ?? "short";
    }
    if (["rate-limited", "blocked"].includes(answer.code)) return answer.code;
    return answer.unsure ? "unknown" : "unavailable";
}

/**
 * The view `#reset/TOKEN` sets a password without the old one.
 * @param {{token: string}} props
 */
export function Reset({ token }) {
    useLanguage();
    const [failure, setFailure] = useState("");
    const [busy, setBusy] = useState(false);
    const [done, setDone] = useState(false);

    async function submit(event) {
        event.preventDefault();
        if (busy) return;
        const fresh = new FormData(event.currentTarget).get("new");
        setBusy(true);
        setFailure("");
        const answer = await call("POST", "/api/auth/reset", { body: { token, new: fresh }, patience: PATIENCE_MS });
        setBusy(false);
        if (answer.status === 200) setDone(true);
        else setFailure(failureOf(answer));
    }

    return html`
        <section class="card login" aria-labelledby="reset-title">
            <h1 id="reset-title">${t("reset.title")}</h1>
            ${done
                ? html`<${Notice} kind="good">${t("reset.done")}<//>
                    <button type="button" onClick=${() => replace("#log-in")}>${t("login.log-in")}</button>`
                : html`<form onSubmit=${submit} aria-busy=${busy}>
                    <label>${t("password.new")}
                        <input name="new" type="password" required autocomplete="new-password" /></label>
                    <p class="hint">${t("password.hint")}</p>
                    <div aria-live="assertive">${failure && html`<p class="failure">${t(`password.failed-${failure}`)}</p>`}</div>
                    <button type="submit" disabled=${busy}>${t(busy ? "password.busy" : "reset.action")}</button>
                </form>`}
        </section>`;
}
