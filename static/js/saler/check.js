// The counter: a customer shows a code, and it is used once.
//
// Looking at a code uses nothing. Using it is safe to repeat: the service says when it was used first, and where an answer
// was lost on its way this says so instead of calling an honest customer's code used.

import { call } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { t, toTime } from "../shared/i18n.js";
import { session } from "../shared/session.js";
import { Notice } from "../shared/shell.js";
import { html, useRef, useState } from "../shared/view.js";
import { Facts } from "../staff/page.js";
import { refusalText } from "../staff/refusal.js";
import { Camera, hasCamera } from "./camera.js";

/** No claim token is as long, and no request may be longer. */
const TOKEN_LENGTH_MAX = 3_000;

export function Check() {
    const [token, setToken] = useState("");
    const [shown, setShown] = useState(null);
    const [busy, setBusy] = useState(false);
    const [scanning, setScanning] = useState(false);
    const field = useRef(null);

    async function look(text) {
        const wanted = text.trim();
        if (busy || wanted === "") return;
        setBusy(true);
        setShown(await lookAt(wanted));
        setBusy(false);
    }

    async function use() {
        setBusy(true);
        const used = await redeem(token.trim());
        setShown({ ...shown, ...used });
        setBusy(false);
    }

    const scanned = (text) => {
        setScanning(false);
        setToken(text);
        look(text);
    };
    const next = () => {
        setToken("");
        setShown(null);
        field.current?.focus();
    };
    return html`
        <section class="card narrow check">
            <h1>${t("saler.check")}</h1>
            <p>${t("check.how")}</p>
            ${hasCamera && (scanning
                ? html`<${Camera} onCode=${scanned} onStop=${() => setScanning(false)} />`
                : html`<button type="button" onClick=${() => { setShown(null); setScanning(true); }}>${t("check.camera")}</button>`)}
            <form onSubmit=${(event) => { event.preventDefault(); look(token); }} aria-busy=${busy}>
                <label for="token">${t("check.token")}</label>
                <textarea id="token" name="token" ref=${field} class="token" rows="4" value=${token} autocomplete="off" spellcheck=${false}
                    onInput=${(event) => { setToken(event.currentTarget.value); setShown(null); }}></textarea>
                <button type="submit" class=${hasCamera ? "outline" : ""} disabled=${busy || token.trim() === ""}>${t(busy ? "staff.busy" : "check.look")}</button>
            </form>
            <div aria-live="assertive">${shown && html`<${Found} ...${shown} />`}</div>
            ${shown?.state === "unused" && html`<button type="button" disabled=${busy} onClick=${use}>${t("check.use")}</button>`}
            ${shown && shown.state !== "unused" && html`<button type="button" class="outline" onClick=${next}>${t("check.next")}</button>`}
        </section>`;
}

/** How each outcome looks. */
const KINDS = { unused: "info", first: "good", "first-probably": "good", used: "bad", forged: "bad", foreign: "bad", failed: "warn" };

function Found({ state, claim, at, why }) {
    return html`
        <${Notice} kind=${KINDS[state]} title=${t(`check.${state}`, { time: at && toTime(at) })}>
            ${why ?? t(`check.${state}-text`, { saler: claim?.saler })}
        <//>
        ${claim && html`
            <${Facts} facts=${[
                [t("check.coupon"), html`<bdi>${claim.name}</bdi>`],
                [t("claims.seq"), String(claim.seq)],
                [t("claims.at"), toTime(claim.claimed_at)],
            ]} />`}`;
}

/** What a token is, without using it. */
async function lookAt(token) {
    if (token.length > TOKEN_LENGTH_MAX) return { state: "forged" };
    const answer = await call("POST", "/sec/token", { body: { token }, repeatable: true });
    if (answer.status === 400) return { state: "forged" };
    if (answer.status !== 200) return { state: "failed", why: refusalText(answer) };
    const claim = answer.body.data;
    if (!claim.valid) return { state: "forged" };
    if (claim.saler !== session.get()?.name) return { state: "foreign", claim };
    return claim.redeemed_at === null ? { state: "unused", claim } : { state: "used", claim, at: claim.redeemed_at };
}

/** Uses it. */
async function redeem(token) {
    const begun = Math.floor(serverMs() / 1_000);
    const answer = await call("POST", "/sec/redeem", { body: { token }, repeatable: true });
    if (answer.status === 403) return { state: "foreign" };
    if (answer.status === 400) return { state: "forged" };
    if (answer.status !== 200) return { state: "failed", why: refusalText(answer) };
    const { first, redeemed_at: at } = answer.body.data;
    if (first) return { state: "first", at };
    // It was used after we asked: most likely by us, and the answer that said "first" was lost. Browsers ask again by themselves
    // where a connection breaks, so that we need not have noticed.
    return { state: at >= begun - 1 ? "first-probably" : "used", at };
}
