// The dialog that asks an operator for password and code.

import { extend, t } from "../shared/i18n.js";
import { html, render, useEffect, useRef, useState } from "../shared/view.js";
import en from "../i18n/admin/factor/en.js";
import zh from "../i18n/admin/factor/zh.js";

extend({ en, zh });

/** Answers after which the operator may try again. */
const FAILURES = ["wrong-password", "rate-limited"];

/**
 * Asks until the service accepts the proof, and returns its answer to the change; null if the operator closes the dialog.
 * @param {(proof: {password: string, otp: string}) => Promise<import("../shared/api.js").Answer>} send
 */
export function askForProof(send) {
    const place = document.createElement("div");
    document.body.append(place);
    return new Promise((resolve) => {
        const onDone = (answer) => {
            render(null, place);
            place.remove();
            resolve(answer);
        };
        render(html`<${ProofDialog} send=${send} onDone=${onDone} />`, place);
    });
}

/** A modal dialog. The browser keeps the focus inside. Escape closes it. */
function ProofDialog({ send, onDone }) {
    const dialog = useRef(null);
    const [failure, setFailure] = useState("");
    const [busy, setBusy] = useState(false);
    useEffect(() => dialog.current.showModal(), []);

    async function submit(event) {
        event.preventDefault();
        if (busy) return;
        const form = new FormData(event.currentTarget);
        setBusy(true);
        setFailure("");
        const answer = await send({ password: form.get("password"), otp: form.get("otp") });
        setBusy(false);
        if (FAILURES.includes(answer.code)) setFailure(answer.code);
        else onDone(answer);
    }

    return html`
        <dialog ref=${dialog} aria-labelledby="proof-title" onCancel=${(event) => { event.preventDefault(); onDone(null); }}>
            <article>
                <h2 id="proof-title">${t("proof.title")}</h2>
                <p>${t("proof.why")}</p>
                <form onSubmit=${submit} aria-busy=${busy}>
                    <label>${t("factor.password")}<input name="password" type="password" required autocomplete="current-password" /></label>
                    <label>${t("factor.otp")}<input name="otp" required autocomplete="one-time-code" autocapitalize="none" spellcheck=${false} /></label>
                    <p class="hint">${t("factor.otp-hint")}</p>
                    <div aria-live="assertive">${failure && html`<p class="failure">${t(`proof.failed-${failure}`)}</p>`}</div>
                    <button type="submit" disabled=${busy}>${t(busy ? "staff.busy" : "proof.action")}</button>
                    <button type="button" class="outline" onClick=${() => onDone(null)}>${t("proof.cancel")}</button>
                </form>
            </article>
        </dialog>`;
}
