// The card of one sale: countdown, units left and the button.

import { useServerSeconds } from "../shared/clock.js";
import { t, toCountdown, toTime } from "../shared/i18n.js";
import { link } from "../shared/route.js";
import { useSession } from "../shared/session.js";
import { Notice, Progress } from "../shared/shell.js";
import { watchUnits } from "../shared/units.js";
import { html, useEffect, useRef, useState } from "../shared/view.js";
import { claim } from "./claim.js";
import { heldCount, keepToken, reload, useHoldings } from "./holdings.js";
import { EARLY_SECONDS, ticketFor } from "./ticket.js";

/** How long before the start the live units are watched. */
const WATCH_SECONDS = 60;
/** Outcomes with a claim, and outcomes after which a second press may help. */
const GOOD = ["claimed", "already-claimed"];
const RETRYABLE = ["try-again", "rate-limited", "busy", "unknown", "not-started"];

/** @param {{sale: object}} props an entry of `/sec/list` */
export function Sale({ sale }) {
    const now = useServerSeconds();
    const session = useSession();
    const card = useRef(null);
    const isOnScreen = useIsOnScreen(card);
    const left = useUnitsLeft(sale, now, isOnScreen);
    const wantsTicket = sale.ticket > 0 && session?.kind === "customer" && isOnScreen && now > sale.start_time - EARLY_SECONDS;
    // In advance, because everybody wants a ticket at the start.
    useEffect(() => {
        if (wantsTicket) ticketFor(sale, session.name);
    }, [wantsTicket, session?.name]);
    const listed = heldCount(useHoldings(), sale.saler, sale.name);
    const [attempt, setAttempt] = useState({ state: "none" });
    // The next user must not see the outcome of the last user. A user whose session has expired stays the last user.
    const lastUser = useRef(session?.name);
    useEffect(() => {
        if (session && lastUser.current && session.name !== lastUser.current) setAttempt({ state: "none" });
        lastUser.current = session?.name ?? lastUser.current;
    }, [session?.name]);

    const phase = now < sale.start_time ? "before" : now < sale.end_time ? "within" : "over";
    const count = Math.max(listed, attempt.outcome && GOOD.includes(attempt.outcome.kind) ? attempt.nth : 0);

    async function press() {
        if (attempt.state === "asking") return;
        if (!session) {
            location.hash = "#log-in";
            return;
        }
        const nth = count + 1;
        setAttempt({ state: "asking", nth });
        const outcome = await claim(sale, nth, {
            onWait: () => setAttempt({ state: "asking", nth, again: true }),
            onProof: (done) => setAttempt({ state: "asking", nth, proof: done }),
        });
        if (outcome.token) {
            keepToken(sale, nth, outcome.token);
            reload();
        }
        setAttempt({ state: "done", nth, outcome });
    }

    const titleId = `sale-${sale.activity_id}`;
    return html`
        <article ref=${card} class="card sale sale-${phase}" aria-labelledby=${titleId} aria-busy=${attempt.state === "asking"}>
            <h3 id=${titleId}><bdi>${sale.name}</bdi></h3>
            <p class="by">${t("sales.by")} <bdi>${sale.saler}</bdi>${sale.approved && html`${" "}<span class="badge badge-good">✓ ${t("sales.approved")}</span>`}
                ${sale.activity_name !== sale.name && html` · <bdi>${sale.activity_name}</bdi>`}</p>
            <${Countdown} sale=${sale} phase=${phase} now=${now} />
            <${Left} sale=${sale} left=${left} phase=${phase} />
            <div class="outcome" aria-live="assertive">
                ${attempt.state === "done" && html`<${OutcomeNotice} sale=${sale} outcome=${attempt.outcome} />`}
            </div>
            <${Actions} sale=${sale} phase=${phase} now=${now} left=${left} count=${count} attempt=${attempt}
                loggedIn=${Boolean(session)} press=${press} />
            <p class="hidden" aria-live="polite">${phase === "within" && now < sale.start_time + 10 ? t("sales.opened") : ""}</p>
        </article>`;
}

/** Whether the element is in view, or nearly. */
function useIsOnScreen(element) {
    const [isOnScreen, setIsOnScreen] = useState(false);
    useEffect(() => {
        const observer = new IntersectionObserver((entries) => setIsOnScreen(entries.at(-1).isIntersecting), { rootMargin: "200px" });
        observer.observe(element.current);
        return () => observer.disconnect();
    }, []);
    return isOnScreen;
}

/** The units left: the live number if known, else the number of the list. Only cards on the screen are watched. */
function useUnitsLeft(sale, now, isOnScreen) {
    const [live, setLive] = useState(null);
    const watched = isOnScreen && sale.start_time - WATCH_SECONDS <= now && now < sale.end_time;
    useEffect(() => (watched ? watchUnits(sale.product_id, setLive) : undefined), [watched, sale.product_id]);
    return live ?? sale.left;
}

function Countdown({ sale, phase, now }) {
    if (phase === "over") return html`<p class="countdown"><span>${t("sales.over")}</span></p>`;
    const [key, until] = phase === "before" ? ["sales.starts-in", sale.start_time] : ["sales.ends-in", sale.end_time];
    return html`
        <p class="countdown">
            <span>${t(key)}</span>
            <strong role="timer">${toCountdown(until - now)}</strong>
            ${phase === "before" && html`<time datetime=${new Date(until * 1_000).toISOString()}>${t("sales.starts-at", { time: toTime(until) })}</time>`}
        </p>`;
}

function Left({ sale, left, phase }) {
    if (phase === "before") return html`<p class="left-before">${t("sales.waiting", { left })}</p>`;
    const text = left === 0 ? t("sales.sold-out") : t("sales.left", { left, total: sale.total });
    return html`
        <div class="left ${left === 0 ? "left-none" : ""}">
            <${Progress} value=${left} whole=${sale.total} label=${text} />
            <p aria-hidden="true">${text}</p>
        </div>`;
}

/** The action that is open to the customer now, if any. */
function Actions({ sale, phase, now, left, count, attempt, loggedIn, press }) {
    const show = count > 0 && html`<a class="button" role="button" href=${link("coupon", sale.saler, sale.name)}>${t("sales.show")}</a>`;
    if (count >= sale.buy_limit || (count > 0 && (phase === "over" || left === 0))) return show;
    const asking = attempt.state === "asking";
    const [key, values, open] = label();
    return html`
        ${show}
        <button type="button" class=${count > 0 || phase === "before" ? "outline" : ""} disabled=${!open} aria-busy=${asking} onClick=${press}>
            ${t(key, values)}
        </button>`;

    function label() {
        if (asking && attempt.proof !== undefined) return ["sales.proving", { percent: percentOf(attempt.proof) }, true];
        if (asking) return [attempt.again ? "sales.asking-again" : "sales.asking", {}, true];
        if (phase === "over") return ["sales.over", {}, false];
        if (!loggedIn && left > 0) return [phase === "before" ? "sales.be-ready" : "sales.get-logged-out", {}, true];
        if (phase === "before") return ["sales.not-yet", { countdown: toCountdown(sale.start_time - now) }, false];
        if (left === 0) return ["sales.sold-out", {}, false];
        return [count > 0 ? "sales.get-another" : "sales.get", {}, true];
    }
}

/** Progress of a proof of work in percent. The work is a matter of luck, so it may take longer than expected. */
const percentOf = (done) => Math.round(100 * (1 - Math.exp(-done)));

function OutcomeNotice({ sale, outcome }) {
    const kind = GOOD.includes(outcome.kind) ? "good" : RETRYABLE.includes(outcome.kind) ? "info" : "warn";
    const values = { seq: outcome.seq, amount: sale.amount };
    return html`
        <div class="notice notice-${kind}">
            <strong>${t(`outcome.${outcome.kind}`)}</strong>
            <div>${t(`outcome.${outcome.kind}-text`, values)}</div>
        </div>`;
}
