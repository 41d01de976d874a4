// The switches of the service. Turning a part off needs a confirmation; turning a part on does not.

import { call } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { Notice, Skeleton } from "../shared/shell.js";
import { html, useState } from "../shared/view.js";
import { Badge } from "../staff/page.js";
import { Stale, usePoll } from "../shared/poll.js";
import { refusalText } from "../staff/refusal.js";
import { Confirm } from "../staff/confirm.js";
import { callProven } from "./proven.js";

const REFRESH_MS = 5_000;
/** In the order for turning off under overload, the most harmful switch last. */
const SWITCHES = ["events", "pages", "docs", "list", "register", "register_saler", "login", "claim"];

export function Switches() {
    const { answer: switches, failed, again } = usePoll("/admin/switches", REFRESH_MS);
    const [toConfirm, setToConfirm] = useState("");
    const [busy, setBusy] = useState("");
    const [notice, setNotice] = useState(null);

    async function set(name, on) {
        setBusy(name);
        setNotice(await change(name, on));
        setBusy("");
        again();
    }
    const answer = (yes) => {
        setToConfirm("");
        if (yes) set(toConfirm, false);
    };
    return html`
        <h1>${t("admin.view-switches")}</h1>
        <p>${t("switches.how")}</p>
        ${failed && html`<${Stale} />`}
        <div aria-live="polite">${notice && html`<${Notice} kind=${notice.kind}>${notice.text}<//>`}</div>
        ${!switches && !failed && html`<${Skeleton} lines=${8} />`}
        <ul class="rows">
            ${switches && SWITCHES.map((name) => html`
                <li key=${name} class="card switch">
                    <div><h2 id="switch-${name}">${t(`switches.${name}`)} <${Badge} kind=${switches[name] ? "good" : "bad"}>${t(switches[name] ? "switches.on" : "switches.off")}<//></h2>
                        <p class="by">${t(`switches.${name}-text`)}</p></div>
                    <button type="button" class="outline small" disabled=${busy !== ""} aria-describedby="switch-${name}"
                        onClick=${() => (switches[name] ? setToConfirm(name) : set(name, true))}>${t(switches[name] ? "switches.turn-off" : "switches.turn-on")}</button>
                </li>`)}
        </ul>
        ${toConfirm && html`
            <${Confirm} title=${t("switches.sure", { name: t(`switches.${toConfirm}`) })} text=${t(`switches.${toConfirm}-danger`)}
                action=${t("switches.yes")} onAnswer=${answer} />`}`;
}

/** Changes one switch. A PUT sets all switches, so the current values are read first. Returns a notice. */
async function change(name, on) {
    const now = await call("GET", "/admin/switches");
    const answer = now.status === 200 ? await callProven("PUT", "/admin/switches", { body: { ...now.body, [name]: on }, repeatable: true }) : now;
    if (answer.status !== 200) return { kind: "bad", text: refusalText(answer) };
    const state = (is) => t(is ? "switches.on" : "switches.off");
    return { kind: "good", text: t("admin.changed", { name: t(`switches.${name}`), before: state(now.body[name]), after: state(answer.body[name]) }) };
}
