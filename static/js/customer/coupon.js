// One coupon to show at the counter, with the claim token as a QR code and as text.
//
// The token is fetched by repeating the claim. A claim for a unit that the customer does not hold would take a unit. So only
// units on the customer's list are fetched, and a link to a coupon never takes a unit.

import { generate } from "../../vendor/lean-qr.js";
import { call } from "../shared/api.js";
import { t, toTime } from "../shared/i18n.js";
import { readPayload } from "../shared/session.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useEffect, useState } from "../shared/view.js";
import { fetchToken } from "./claim.js";
import { heldCount, keepToken, knownToken, loadMore, useHoldings } from "./holdings.js";

/** The quiet zone around a QR code, in modules. The value is required by the standard. */
const MARGIN = 4;

/** @param {{saler: string, name: string}} coupon */
export function Coupon({ saler, name }) {
    const all = useHoldings();
    const count = heldCount(all, saler, name);
    const { state } = all;
    useEffect(() => {
        if (count === 0 && (state === "more" || state === "new")) loadMore();
    }, [count, state]);
    return html`
        <p><a href="#coupons">← ${t("coupon.back")}</a></p>
        <h1><bdi>${name}</bdi></h1>
        <p class="by">${t("sales.by")} <bdi>${saler}</bdi></p>
        ${count === 0 && html`<${SearchState} state=${state} />`}
        ${Array.from({ length: count }, (_, place) => html`<${Unit} key=${place} saler=${saler} name=${name} nth=${place + 1} />`)}`;
}

function SearchState({ state }) {
    if (state === "all") return html`<${Notice} kind="info">${t("coupon.missing")}<//>`;
    if (state === "failed") return html`<${Notice} kind="warn">${t("coupons.failed")}${" "}
        <button type="button" class="link" onClick=${loadMore}>${t("shell.try-again")}</button><//>`;
    return html`<${Skeleton} />`;
}

/** The n-th unit of a coupon that the customer holds. */
function Unit({ saler, name, nth }) {
    const [token, setToken] = useState(knownToken({ saler, name }, nth));
    const [redeemed, setRedeemed] = useState(null);
    useEffect(() => {
        let stopped = false;
        (async () => {
            const found = token ?? (await fetchToken({ saler, name }, nth));
            if (stopped) return;
            if (found) keepToken({ saler, name }, nth, found);
            setToken(found);
            const answer = found ? await call("POST", "/sec/token", { body: { token: found }, repeatable: true }) : null;
            if (!stopped) setRedeemed(answer?.body?.data?.redeemed_at ?? null);
        })();
        return () => {
            stopped = true;
        };
    }, []);
    if (token === undefined) return html`<${Skeleton} lines=${6} />`;
    if (token === "") return html`<${Notice} kind="warn">${t("coupon.failed")}<//>`;
    const { seq, claimed_at } = readPayload(token) ?? {};
    return html`
        <article class="card unit ${redeemed ? "unit-used" : ""}">
            <h2>${t("coupon.number", { seq })}</h2>
            ${redeemed
                ? html`<${Notice} kind="info">${t("coupon.used", { time: toTime(redeemed) })}<//>`
                : html`<p>${t("coupon.at-counter")}</p>`}
            <${QrCode} text=${token} label=${t("coupon.qr")} />
            <p class="by">${t("coupon.got", { time: toTime(Math.floor(claimed_at / 1_000)) })}</p>
            <${TokenText} token=${token} />
        </article>`;
}

function TokenText({ token }) {
    const [copied, setCopied] = useState(false);
    // If the browser forbids copying, the customer can still select the text.
    const copy = () => navigator.clipboard?.writeText(token).then(() => setCopied(true), () => setCopied(false));
    return html`
        <label>${t("coupon.token")}<textarea class="token" readonly rows="4" value=${token} onFocus=${(event) => event.target.select()}></textarea></label>
        <button type="button" class="outline" onClick=${copy}>${t(copied ? "coupon.copied" : "coupon.copy")}</button>`;
}

/**
 * Text as a QR code, drawn as one path to be sharp at every size. Black on white in dark mode too, because scanners need it.
 * @param {{text: string, label: string}} props
 */
function QrCode({ text, label }) {
    const code = generate(text);
    let path = "";
    for (let y = 0; y < code.size; y += 1) {
        for (let x = 0; x < code.size; x += 1) {
            if (code.get(x, y)) path += `M${x + MARGIN} ${y + MARGIN}h1v1h-1z`;
        }
    }
    const size = code.size + 2 * MARGIN;
    return html`
        <svg class="qr" role="img" aria-label=${label} viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges">
            <rect width=${size} height=${size} fill="#fff" /><path d=${path} fill="#000" />
        </svg>`;
}
