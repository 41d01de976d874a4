// What is on sale now and soon, with one card each.

import { call } from "../shared/api.js";
import { useServerSeconds } from "../shared/clock.js";
import { t } from "../shared/i18n.js";
import { Empty, Notice, Skeleton } from "../shared/shell.js";
import { html, jittered, useEffect, useState } from "../shared/view.js";
import { Sale } from "./sale.js";

const REFRESH_MS = 10_000;
/** After its end a sale is shown for as long: people read what became of it. */
const OVER_SECONDS = 60;

export function Sales() {
    const { sales, failed } = useSales();
    const now = useServerSeconds();
    if (!sales) return failed ? html`<${Unreachable} />` : html`<${Skeleton} lines=${4} /><${Skeleton} lines=${4} />`;
    const under = sales.filter((sale) => sale.start_time <= now && now < sale.end_time + OVER_SECONDS);
    const coming = sales.filter((sale) => now < sale.start_time);
    return html`
        ${failed && html`<${Unreachable} />`}
        <h1 class="hidden">${t("customer.title")}</h1>
        ${under.length + coming.length === 0 && html`<${Empty} title=${t("sales.none")}>${t("sales.none-hint")}<//>`}
        <${Section} title=${t("sales.now")} sales=${under} />
        <${Section} title=${t("sales.coming")} sales=${coming} />`;
}

const Unreachable = () => html`<${Notice} kind="warn">${t("shell.unreachable")}<//>`;

function Section({ title, sales }) {
    if (sales.length === 0) return null;
    return html`
        <section>
            <h2 class="section">${title}</h2>
            <div class="cards">${sales.map((sale) => html`<${Sale} key=${sale.activity_id} sale=${sale} />`)}</div>
        </section>`;
}

/** The sales as last heard of, and whether the last question failed. Asked again while somebody looks. */
function useSales() {
    const [state, setState] = useState({ sales: null, failed: false });
    useEffect(() => {
        let timer = 0;
        let stopped = false;
        async function refresh() {
            clearTimeout(timer);
            if (document.hidden) return;
            const answer = await call("GET", "/sec/list", { patience: 2_000 });
            if (stopped) return;
            const good = answer.status === 200;
            setState((before) => ({ sales: good ? kept(before.sales, answer.body.data) : before.sales, failed: !good }));
            timer = setTimeout(refresh, jittered(good ? REFRESH_MS : REFRESH_MS / 4));
        }
        document.addEventListener("visibilitychange", refresh);
        refresh();
        return () => {
            stopped = true;
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", refresh);
        };
    }, []);
    return state;
}

/** The sales of `now`, and those that left the list because they ended: their cards say so for a while. */
function kept(before, now) {
    const ids = new Set(now.map((sale) => sale.activity_id));
    return [...(before ?? []).filter((sale) => !ids.has(sale.activity_id)), ...now];
}
