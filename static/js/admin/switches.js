// Which parts are on. Turning one off is asked about; turning one on is not.

import { call } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Badge } from "../staff/page.js";
import { Stale, usePoll } from "../shared/poll.js";
import { refusalText } from "../staff/refusal.js";
import { Confirm } from "./confirm.js";

const REFRESH_MS = 5_000;
/** In the order in which they are turned off while a sale is too much; what hurts most comes last. */
const SWITCHES = ["events", "pages", "docs", "list", "register", "register_saler", "login", "claim"];

export function Switches() {
    const { answer: switches, failed, again } = usePoll("/admin/switches", REFRESH_MS);
    const [asking, setAsking] = useState("");
    const [busy, setBusy] = useState("");
    const [told, setTold] = useState(null);

    async function set(name, on) {
        setBusy(name);
        setTold(await change(name, on));
        setBusy("");
        again();
    }
    const answered = (yes) => {
        setAsking("");
        if (yes) set(asking, false);
    };
    return html`
        <h1>${t("admin.view-switches")}</h1>
        <p>${t("switches.how")}</p>
        ${failed && html`<${Stale} />`}
        <div aria-live="polite">${told && html`<${Notice} kind=${told.kind}>${told.text}<//>`}</div>
        ${!switches && !failed && html`<${Skeleton} lines=${8} />`}
        <ul class="rows">
            ${switches && SWITCHES.map((name) => html`
                <li key=${name} class="card switch">
                    <div><h2 id="switch-${name}">${t(`switches.${name}`)} <${Badge} kind=${switches[name] ? "good" : "bad"}>${t(switches[name] ? "switches.on" : "switches.off")}<//></h2>
                        <p class="by">${t(`switches.${name}-text`)}</p></div>
                    <button type="button" class="outline small" disabled=${busy !== ""} aria-describedby="switch-${name}"
                        onClick=${() => (switches[name] ? setAsking(name) : set(name, true))}>${t(switches[name] ? "switches.turn-off" : "switches.turn-on")}</button>
                </li>`)}
        </ul>
        ${asking && html`
            <${Confirm} title=${t("switches.sure", { name: t(`switches.${asking}`) })} text=${t(`switches.${asking}-danger`)}
                action=${t("switches.yes")} onAnswer=${answered} />`}`;
}

/** Changes one and nothing else: the others stay as they are at this moment, whoever changed them. */
async function change(name, on) {
    const now = await call("GET", "/admin/switches");
    const answer = now.status === 200 ? await call("PUT", "/admin/switches", { body: { ...now.body, [name]: on }, repeatable: true }) : now;
    if (answer.status !== 200) return { kind: "bad", text: refusalText(answer) };
    const state = (is) => t(is ? "switches.on" : "switches.off");
    return { kind: "good", text: t("admin.changed", { name: t(`switches.${name}`), before: state(now.body[name]), after: state(answer.body[name]) }) };
}
