// The second factor of the operator who is logged in: begin with the password, confirm with a code, keep the recovery codes.

import { generate } from "../../vendor/lean-qr.js";
import { call, part } from "../shared/api.js";
import { keepDevice } from "../shared/device.js";
import { extend, t } from "../shared/i18n.js";
import { PATIENCE_MS } from "../shared/login.js";
import { begin, session } from "../shared/session.js";
import { Notice } from "../shared/shell.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { Field, Form, useForm } from "../staff/form.js";
import { refusalText } from "../staff/refusal.js";
import en from "../i18n/admin/factor/en.js";
import zh from "../i18n/admin/factor/zh.js";

extend({ en, zh });

/** Sends a step of the enrolment. Not repeatable: a code counts once. */
function put(body) {
    const path = `/api/users/${part(session.get().name)}/otp`;
    return call("PUT", path, { body, patience: PATIENCE_MS });
}

/** The sentence at each blamed field. */
function failuresOf(answer) {
    const field = answer.body?.field;
    if (answer.code === "wrong-password" && field) return { [field]: t(`factor.wrong-${field}`) };
    if (answer.code === "bad-request" && field === "otp") return { form: t("factor.too-late") };
    return { form: refusalText(answer) };
}

export function Factor() {
    const [begun, setBegun] = useState(null);
    const [codes, setCodes] = useState(null);
    return html`
        <h1>${t("admin.view-factor")}</h1>
        <p>${t("factor.how")}</p>
        <section class="card narrow left-aligned" aria-live="polite">
            ${codes && html`<${RecoveryCodes} codes=${codes} />`}
            ${!codes && begun && html`<${Confirmation} ...${begun} onDone=${setCodes} onBack=${() => setBegun(null)} />`}
            ${!codes && !begun && html`<${Begin} onDone=${setBegun} />`}
        </section>`;
}

/** Asks for the password, and for a code of the second factor in force if there is one. */
function Begin({ onDone }) {
    const [hasFactor, setHasFactor] = useState(false);
    const form = useForm(async ({ password, old_otp }) => {
        if (password === "") return { password: t("staff.needed") };
        if (hasFactor && old_otp.trim() === "") return { old_otp: t("staff.needed") };
        const answer = await put({ password, old_otp });
        if (answer.status === 200) {
            onDone({ password, secret: answer.body.secret, uri: answer.body.uri });
            return {};
        }
        if (answer.code !== "otp-required") return failuresOf(answer);
        setHasFactor(true);
        return { old_otp: t("factor.has-one") };
    });
    return html`
        <${Form} form=${form} action=${t("factor.begin")}>
            <${Field} name="password" label=${t("factor.password")} failures=${form.failures} type="password" autocomplete="current-password" />
            ${hasFactor && html`
                <${Field} name="old_otp" label=${t("factor.old_otp")} hint=${t("factor.otp-hint")} failures=${form.failures}
                    autocomplete="one-time-code" autocapitalize="none" spellcheck=${false} />`}
        <//>`;
}

/** Shows the new secret, and asks for a code of the telephone. */
function Confirmation({ password, secret, uri, onDone, onBack }) {
    const form = useForm(async ({ otp }) => {
        if (otp.trim() === "") return { otp: t("staff.needed") };
        const answer = await put({ password, otp });
        if (answer.status !== 200) return failuresOf(answer);
        keepDevice(session.get().name, answer.headers.get("Login-Device"));
        // All earlier sessions have ended.
        begin(answer.headers.get("Authorization"));
        onDone(answer.body.recovery_codes);
        return {};
    });
    return html`
        <p>${t("factor.scan")}</p>
        <${QrCode} text=${uri} label=${t("factor.qr")} />
        <p><a href=${uri}>${t("factor.open")}</a></p>
        <p>${t("factor.secret")}<br /><code class="token">${secret}</code></p>
        <${Form} form=${form} action=${t("factor.confirm")}>
            <${Field} name="otp" label=${t("factor.otp")} failures=${form.failures} inputmode="numeric" autocomplete="one-time-code" />
        <//>
        <button type="button" class="outline" onClick=${onBack}>${t("factor.back")}</button>`;
}

/** Black on white in dark mode too, because cameras need it. */
function QrCode({ text, label }) {
    const canvas = useRef(null);
    useEffect(() => {
        generate(text).toCanvas(canvas.current, { on: [0, 0, 0, 255], off: [255, 255, 255, 255] });
    }, [text]);
    return html`<canvas ref=${canvas} class="qr" role="img" aria-label=${label}></canvas>`;
}

const RecoveryCodes = ({ codes }) => html`
    <${Notice} kind="good" title=${t("factor.done")}>${t("factor.keep")}<//>
    <ol>${codes.map((code) => html`<li key=${code}><code class="token">${code}</code></li>`)}</ol>`;
