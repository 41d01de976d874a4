// Asking again and again while somebody looks: the last answer, and whether the last question failed.

import { call } from "../shared/api.js";
import { session } from "../shared/session.js";
import { html, jittered, useEffect, useRef, useState } from "../shared/view.js";
import { t } from "../shared/i18n.js";
import { Notice } from "../shared/shell.js";

/**
 * What `path` answers, asked for every `ms`. A failed question keeps what is known and is asked again sooner.
 * @param {string} path
 * @param {number} ms
 * @returns {{answer: any, failed: boolean, again: () => void}} `answer`: the last body; undefined until there is one
 */
export function usePoll(path, ms) {
    const [state, setState] = useState({ path, answer: undefined, failed: false });
    const ask = useRef(() => {});
    useEffect(() => {
        let timer = 0;
        let stopped = false;
        let asked = 0;
        async function refresh() {
            clearTimeout(timer);
            if (stopped || document.hidden) return;
            const mine = (asked += 1);
            const answer = session.get() ? await call("GET", path, { patience: ms / 2 }) : null;
            // Somebody asked again meanwhile, and will hear something newer.
            if (stopped || mine !== asked) return;
            const good = answer !== null && (answer.status === 200 || answer.status === 204);
            const kept = (before) => (before.path === path ? before.answer : undefined);
            setState((before) => ({ path, answer: good ? (answer.body ?? null) : kept(before), failed: !good }));
            timer = setTimeout(refresh, jittered(ms));
        }
        ask.current = refresh;
        document.addEventListener("visibilitychange", refresh);
        refresh();
        return () => {
            stopped = true;
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", refresh);
        };
    }, [path, ms]);
    const known = state.path === path ? state : { answer: undefined, failed: false };
    return { ...known, again: () => ask.current() };
}

/** What is shown is old. */
export const Stale = () => html`<${Notice} kind="warn">${t("shell.unreachable")}<//>`;
