// The form for login and registration.

import { call } from "./api.js";
import { deviceHeaders, keepDevice } from "./device.js";
import { t, useLanguage } from "./i18n.js";
import { begin, expired } from "./session.js";
import { Notice } from "./shell.js";
import { html, useEffect, useRef, useState, useStore } from "./view.js";

const NAME_LENGTH_MAX = 64;
const PASSWORD_LENGTH_MAX = 256;
/** A login may wait long in the server's queue for password hashing. */
export const PATIENCE_MS = 45_000;

/**
 * @param {object} props
 * @param {"customer" | "saler" | "admin"} props.kind the kind of user to register (admins cannot register)
 * @param {string} [props.why] a sentence above the form
 * @param {() => void} [props.onDone] called after the login
 */
export function LogIn({ kind, why, onDone }) {
    useLanguage();
    const wasExpired = useStore(expired);
    const [isNew, setIsNew] = useState(false);
    const [failure, setFailure] = useState("");
    const [busy, setBusy] = useState(false);
    const [CodeField, setCodeField] = useState(null);
    const first = useRef(null);
    useEffect(() => first.current?.focus(), []);

    async function submit(event) {
        event.preventDefault();
        if (busy) return;
        const form = new FormData(event.currentTarget);
        const user = { username: form.get("username").trim(), password: form.get("password"), otp: form.get("otp") ?? undefined };
        setBusy(true);
        setFailure("");
        const failed = (isNew && (await register(user, kind))) || (await logIn(user));
        setBusy(false);
        // The field is loaded by the first login that needs it. A component is a function, which a state would call.
        if (failed === "otp-required") import("./code_field.js").then((module) => setCodeField(() => module.CodeField), () => setFailure("unreachable"));
        else if (failed) setFailure(failed === "wrong-password" && user.otp ? "wrong-code" : failed);
        else onDone?.();
    }

    const action = isNew ? "login.register" : "login.log-in";
    return html`
        <section class="card login" aria-labelledby="login-title">
            <h1 id="login-title">${t(isNew ? "login.title-new" : `login.title-${kind}`)}</h1>
            ${wasExpired && html`<${Notice} kind="warn">${t("login.expired")}<//>`}
            ${why && html`<p>${why}</p>`}
            <form onSubmit=${submit} aria-busy=${busy}>
                <label>${t("login.name")}
                    <input ref=${first} name="username" autocomplete="username" autocapitalize="none" spellcheck=${false}
                        required maxlength=${NAME_LENGTH_MAX} dir="auto" />
                </label>
                <label>${t("login.password")}
                    <input name="password" type="password" required maxlength=${PASSWORD_LENGTH_MAX}
                        autocomplete=${isNew ? "new-password" : "current-password"} />
                </label>
                ${CodeField && html`<${CodeField} />`}
                <div aria-live="assertive">${failure && html`<p class="failure">${failureText(failure)}</p>`}</div>
                <button type="submit" disabled=${busy}>${t(busy ? "login.busy" : action)}</button>
            </form>
            ${kind !== "admin" && html`
                <p class="other">${t(isNew ? "login.have" : "login.have-not")}${" "}
                    <button type="button" class="link" onClick=${() => { setIsNew(!isNew); setFailure(""); }}>
                        ${t(isNew ? "login.log-in" : "login.register")}
                    </button>
                </p>`}
        </section>`;
}

/** Registers a user. Returns the error code; empty if the user exists now. */
async function register(user, kind) {
    const answer = await call("POST", "/api/users", { body: { ...user, kind }, repeatable: true, patience: PATIENCE_MS });
    // A lost answer may have registered the name already. The login decides.
    if (answer.status === 201 || (answer.code === "name-taken" && answer.unsure)) return "";
    return answer.code === "bad-request" && answer.body?.errMsg?.includes("common") ? "common-password" : answer.code;
}

/** Logs in and stores the session. Returns the error code; empty for a success. */
export async function logIn(user) {
    const headers = deviceHeaders(user.username);
    // A code counts once. After a lost answer, the same code is wrong.
    const answer = await call("POST", "/api/auth", { body: user, headers, repeatable: !user.otp, patience: PATIENCE_MS });
    if (answer.status !== 200) return answer.code;
    keepDevice(user.username, answer.headers.get("Login-Device"));
    begin(answer.headers.get("Authorization"));
    return "";
}

/** Codes with a sentence `login.failed-CODE`. */
const CODES = ["wrong-password", "wrong-code", "name-taken", "bad-request", "common-password", "rate-limited", "blocked", "unreachable"];

const failureText = (code) => t(`login.failed-${CODES.includes(code) ? code : "unavailable"}`);
