// Asking again and again while somebody looks: the last answer, and whether the last question failed.

import { call } from "./api.js";
import { session } from "./session.js";
import { html, jittered, useEffect, useRef, useState } from "./view.js";
import { t } from "./i18n.js";
import { Notice } from "./shell.js";

const PATIENCE_MS_MAX = 2_000;
/** After a question that failed the next one comes sooner, but no sooner than this. */
const AGAIN_MS_MIN = 1_000;

/**
 * What `path` answers, asked for every `ms`. A failed question keeps what is known and is asked again sooner.
 * @param {string} path
 * @param {number} ms
 * @param {{anyone?: boolean, merge?: (before: any, now: any) => any}} [how] `anyone`: also where nobody is logged in;
 *     `merge`: what an answer and the one before it come to, the same function at each call
 * @returns {{answer: any, failed: boolean, again: () => void}} `answer`: the last body; undefined until there is one
 */
export function usePoll(path, ms, { anyone = false, merge = newest } = {}) {
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
            const may = anyone || session.get() !== null;
            const answer = may ? await call("GET", path, { patience: Math.min(ms / 2, PATIENCE_MS_MAX) }) : null;
            // Somebody asked again meanwhile, and will hear something newer.
            if (stopped || mine !== asked) return;
            const good = answer !== null && (answer.status === 200 || answer.status === 204);
            const kept = (before) => (before.path === path ? before.answer : undefined);
            setState((before) => ({ path, answer: good ? merge(kept(before), answer.body ?? null) : kept(before), failed: !good }));
            timer = setTimeout(refresh, jittered(good ? ms : Math.max(ms / 4, AGAIN_MS_MIN)));
        }
        ask.current = refresh;
        document.addEventListener("visibilitychange", refresh);
        refresh();
        return () => {
            stopped = true;
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", refresh);
        };
    }, [path, ms, anyone, merge]);
    const known = state.path === path ? state : { answer: undefined, failed: false };
    return { ...known, again: () => ask.current() };
}

const newest = (_, now) => now;

/** What is shown is old. */
export const Stale = () => html`<${Notice} kind="warn">${t("shell.unreachable")}<//>`;
