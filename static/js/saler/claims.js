// The claims of a coupon, page by page, and all claims as a CSV file.

import { part } from "../shared/api.js";
import { t, toNumber, toTime } from "../shared/i18n.js";
import { link } from "../shared/route.js";
import { expire, session } from "../shared/session.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Stale, usePoll } from "../shared/poll.js";
import { useCoupon } from "./offers.js";

/** Claims per page of the service. */
const PAGE_SIZE = 100;
const REFRESH_MS = 5_000;
/** How long the URL of a download is kept. Every browser has started to save the file by then. */
const DOWNLOAD_URL_MS = 60_000;

/** @param {{product: number}} props */
export function Claims({ product }) {
    const { coupon, failed } = useCoupon(product);
    const back = html`<p><a href=${link("coupon", String(product))}>← <bdi>${coupon?.name ?? t("sale.back")}</bdi></a></p>`;
    if (coupon === null) return html`${back}<${Empty} title=${t("sale.gone")} />`;
    if (!coupon) return html`${back}${failed ? html`<${Stale} />` : html`<${Skeleton} lines=${6} />`}`;
    return html`${back}<h1>${t("offer.claims")}</h1><${Table} coupon=${coupon} />`;
}

function Table({ coupon }) {
    /** The last `seq` before each page up to the current one. */
    const [starts, setStarts] = useState([0]);
    const page = starts.length;
    const path = `/api/users/${part(session.get()?.saler ?? "")}/coupons/${part(coupon.name)}/claims`;
    const { answer, failed } = usePoll(`${path}?after=${starts[page - 1]}`, REFRESH_MS);
    const pages = Math.max(1, Math.ceil((coupon.amount - coupon.left) / PAGE_SIZE), page);
    const claims = answer?.data ?? [];
    const isLast = page === pages || claims.length < PAGE_SIZE;
    return html`
        ${failed && html`<${Stale} />`}
        <div class="head">
            <p class="by">${t("claims.count", { count: coupon.amount - coupon.left })}</p>
            <${Download} path=${`${path}.csv`} name=${coupon.name} />
        </div>
        ${answer === undefined && !failed && html`<${Skeleton} lines=${6} />`}
        ${answer !== undefined && claims.length === 0 && html`<${Empty} title=${t("claims.none")} />`}
        ${claims.length > 0 && html`
            <div class="table" role="region" aria-label=${t("offer.claims")} tabindex="0">
                <table>
                    <thead><tr>${["seq", "username", "at", "redeemed"].map((column) => html`<th scope="col">${t(`claims.${column}`)}</th>`)}</tr></thead>
                    <tbody>${claims.map((claim) => html`<${Row} key=${claim.seq} claim=${claim} />`)}</tbody>
                </table>
            </div>`}
        ${pages > 1 && html`
            <nav class="pages" aria-label=${t("staff.pages")}>
                <button type="button" class="outline" disabled=${page === 1} onClick=${() => setStarts(starts.slice(0, -1))}>← ${t("staff.previous")}</button>
                <span aria-live="polite">${t("claims.page", { page, pages })}</span>
                <button type="button" class="outline" disabled=${isLast} onClick=${() => setStarts([...starts, claims[PAGE_SIZE - 1].seq])}>${t("staff.next")} →</button>
            </nav>`}`;
}

function Row({ claim: { seq, username, nth, claimed_at, redeemed_at } }) {
    return html`
        <tr>
            <td>${toNumber(seq)}</td>
            <td><bdi>${username}</bdi>${nth > 1 && html` <small>${t("claims.nth", { nth })}</small>`}</td>
            <td>${toTime(claimed_at)}</td>
            <td>${redeemed_at === null ? "–" : toTime(redeemed_at)}</td>
        </tr>`;
}

/** Downloads the file by fetch, so that the token travels in a header and not in a URL. */
function Download({ path, name }) {
    const [state, setState] = useState("");
    async function download() {
        setState("busy");
        const blob = await fetchFile(path);
        setState(blob ? "" : "failed");
        if (!blob) return;
        const anchor = document.createElement("a");
        anchor.href = URL.createObjectURL(blob);
        anchor.download = `${name}.csv`;
        anchor.click();
        setTimeout(() => URL.revokeObjectURL(anchor.href), DOWNLOAD_URL_MS);
    }
    return html`
        <div>
            <button type="button" class="outline" disabled=${state === "busy"} onClick=${download}>${t(state === "busy" ? "staff.busy" : "claims.download")}</button>
            <div aria-live="assertive">${state === "failed" && html`<${Notice} kind="bad">${t("claims.download-failed")}<//>`}</div>
        </div>`;
}

/** The bytes of the file, or null for an incomplete download. */
async function fetchFile(path) {
    const token = session.get()?.token;
    try {
        const response = await fetch(path, { headers: { Authorization: token }, cache: "no-store", credentials: "omit" });
        if (response.status === 401) expire(token);
        return response.ok ? await response.blob() : null;
    } catch {
        return null;
    }
}
