// The till: checks the code of a customer and redeems the claim once.
//
// A check changes nothing. Redeeming is idempotent, and the service answers with the time of the first use. If the answer to
// a redeem was lost, the view says so, because "used before" would blame an honest customer.

import { call } from "../shared/api.js";
import { serverMs } from "../shared/clock.js";
import { t, toTime } from "../shared/i18n.js";
import { session } from "../shared/session.js";
import { Notice } from "../shared/shell.js";
import { html, useRef, useState } from "../shared/view.js";
import { Facts } from "../staff/page.js";
import { refusalText } from "../staff/refusal.js";
import { Camera, hasCamera } from "./camera.js";

/** Longer than every claim token, and short enough for the body limit of the service. */
const TOKEN_LENGTH_MAX = 3_000;

export function Check() {
    const [token, setToken] = useState("");
    const [result, setResult] = useState(null);
    const [busy, setBusy] = useState(false);
    const [scanning, setScanning] = useState(false);
    const field = useRef(null);

    async function check(text) {
        const code = text.trim();
        if (busy || code === "") return;
        setBusy(true);
        setResult(await checkToken(code));
        setBusy(false);
    }

    async function use() {
        setBusy(true);
        const used = await redeem(token.trim());
        setResult({ ...result, ...used });
        setBusy(false);
    }

    const checkScanned = (text) => {
        setScanning(false);
        setToken(text);
        check(text);
    };
    const next = () => {
        setToken("");
        setResult(null);
        field.current?.focus();
    };
    return html`
        <section class="card narrow check">
            <h1>${t("saler.check")}</h1>
            <p>${t("check.how")}</p>
            ${hasCamera && (scanning
                ? html`<${Camera} onCode=${checkScanned} onStop=${() => setScanning(false)} />`
                : html`<button type="button" onClick=${() => { setResult(null); setScanning(true); }}>${t("check.camera")}</button>`)}
            <form onSubmit=${(event) => { event.preventDefault(); check(token); }} aria-busy=${busy}>
                <label for="token">${t("check.token")}</label>
                <textarea id="token" name="token" ref=${field} class="token" rows="4" value=${token} autocomplete="off" spellcheck=${false}
                    onInput=${(event) => { setToken(event.currentTarget.value); setResult(null); }}></textarea>
                <button type="submit" class=${hasCamera ? "outline" : ""} disabled=${busy || token.trim() === ""}>${t(busy ? "staff.busy" : "check.look")}</button>
            </form>
            <div aria-live="assertive">${result && html`<${Result} ...${result} />`}</div>
            ${result?.state === "unused" && html`<button type="button" disabled=${busy} onClick=${use}>${t("check.use")}</button>`}
            ${result && result.state !== "unused" && html`<button type="button" class="outline" onClick=${next}>${t("check.next")}</button>`}
        </section>`;
}

/** The kind of the notice for each state. */
const KINDS = { unused: "info", first: "good", "first-probably": "good", used: "bad", forged: "bad", foreign: "bad", failed: "warn" };

function Result({ state, claim, at, why }) {
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

/** Checks a token without redeeming the claim. */
async function checkToken(token) {
    if (token.length > TOKEN_LENGTH_MAX) return { state: "forged" };
    const answer = await call("POST", "/sec/token", { body: { token }, repeatable: true });
    if (answer.status === 400) return { state: "forged" };
    if (answer.status !== 200) return { state: "failed", why: refusalText(answer) };
    const claim = answer.body.data;
    if (!claim.valid) return { state: "forged" };
    if (claim.saler !== session.get()?.saler) return { state: "foreign", claim };
    return claim.redeemed_at === null ? { state: "unused", claim } : { state: "used", claim, at: claim.redeemed_at };
}

/** Redeems the claim of a token. */
async function redeem(token) {
    const start = Math.floor(serverMs() / 1_000);
    const answer = await call("POST", "/sec/redeem", { body: { token }, repeatable: true });
    if (answer.status === 403) return { state: "foreign" };
    if (answer.status === 400) return { state: "forged" };
    if (answer.status !== 200) return { state: "failed", why: refusalText(answer) };
    const { first, redeemed_at: at } = answer.body.data;
    if (first) return { state: "first", at };
    // The claim was used after the start of this call, most likely by an attempt of this call with a lost answer. Browsers
    // repeat requests after a broken connection without telling the page. One second is the resolution of the times.
    return { state: at >= start - 1 ? "first-probably" : "used", at };
}
