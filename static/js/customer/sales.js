// The list of current and coming sales.

import { useServerSeconds } from "../shared/clock.js";
import { t } from "../shared/i18n.js";
import { Stale, usePoll } from "../shared/poll.js";
import { Empty, Skeleton } from "../shared/shell.js";
import { html } from "../shared/view.js";
import { Sale } from "./sale.js";

const REFRESH_MS = 10_000;
/** How long a sale is shown after the end, so that people can read the outcome. */
const OVER_SECONDS = 60;

export function Sales() {
    const { answer: sales, failed } = usePoll("/sec/list", REFRESH_MS, { anyone: true, merge: withEnded });
    const now = useServerSeconds();
    if (!sales) return failed ? html`<${Stale} />` : html`<${Skeleton} lines=${4} /><${Skeleton} lines=${4} />`;
    const current = sales.filter((sale) => sale.start_time <= now && now < sale.end_time + OVER_SECONDS);
    const coming = sales.filter((sale) => now < sale.start_time);
    return html`
        ${failed && html`<${Stale} />`}
        <h1 class="hidden">${t("customer.title")}</h1>
        ${current.length + coming.length === 0 && html`<${Empty} title=${t("sales.none")}>${t("sales.none-hint")}<//>`}
        <${Section} title=${t("sales.now")} sales=${current} />
        <${Section} title=${t("sales.coming")} sales=${coming} />`;
}

function Section({ title, sales }) {
    if (sales.length === 0) return null;
    return html`
        <section>
            <h2 class="section">${title}</h2>
            <div class="cards">${sales.map((sale) => html`<${Sale} key=${sale.activity_id} sale=${sale} />`)}</div>
        </section>`;
}

/** The sales of `now`, plus ended sales that `now` no longer lists. `Sales` shows an ended sale for `OVER_SECONDS`. */
function withEnded(before, { data: now }) {
    const ids = new Set(now.map((sale) => sale.activity_id));
    return [...(before ?? []).filter((sale) => !ids.has(sale.activity_id)), ...now];
}
