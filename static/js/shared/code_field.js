// The field of the login for a code of the second factor.

import { extend, t } from "./i18n.js";
import { html, useEffect, useRef } from "./view.js";
import en from "../i18n/account/en.js";
import zh from "../i18n/account/zh.js";

extend({ en, zh });

export function CodeField() {
    const field = useRef(null);
    useEffect(() => field.current.focus(), []);
    return html`
        <label>${t("login.code")}
            <input ref=${field} name="otp" required autocomplete="one-time-code" autocapitalize="none" spellcheck=${false}
                aria-describedby="login-code-hint" />
        </label>
        <p class="hint" id="login-code-hint">${t("login.code-hint")}</p>`;
}
