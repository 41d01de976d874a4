// Polls the service while the page is visible.

import { call } from "./api.js";
import { session } from "./session.js";
import { html, jittered, useEffect, useRef, useState } from "./view.js";
import { t } from "./i18n.js";
import { Notice } from "./shell.js";

const PATIENCE_MS_MAX = 2_000;
/** Shortest pause after a failed request. The usual pause after a failure is a quarter of the period. */
const RETRY_MS_MIN = 1_000;

/**
 * Polls `path` every `ms`. A failed request keeps the last answer and is retried earlier. A hidden page does not poll.
 * @param {string} path
 * @param {number} ms
 * @param {object} [options]
 * @param {boolean} [options.anyone] whether to poll without a session too
 * @param {(before: any, now: any) => any} [options.merge] combines the last and the new answer; the same at each render
 * @returns {{answer: any, failed: boolean, again: () => void}} the last answer (undefined before the first), whether the last
 *     request failed, and a function that polls at once
 */
export function usePoll(path, ms, { anyone = false, merge = replace } = {}) {
    const [state, setState] = useState({ path, answer: undefined, failed: false });
    const ask = useRef(() => {});
    useEffect(() => {
        let timer = 0;
        let stopped = false;
        let requests = 0;
        async function refresh() {
            clearTimeout(timer);
            if (stopped || document.hidden) return;
            const request = (requests += 1);
            const allowed = anyone || session.get() !== null;
            const answer = allowed ? await call("GET", path, { patience: Math.min(ms / 2, PATIENCE_MS_MAX) }) : null;
            // A newer request is under way; its answer is used instead.
            if (stopped || request !== requests) return;
            const good = answer !== null && (answer.status === 200 || answer.status === 204);
            const kept = (before) => (before.path === path ? before.answer : undefined);
            setState((before) => ({ path, answer: good ? merge(kept(before), answer.body ?? null) : kept(before), failed: !good }));
            timer = setTimeout(refresh, jittered(good ? ms : Math.max(ms / 4, RETRY_MS_MIN)));
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

const replace = (_, now) => now;

/** Warns that the answers on the page are old. */
export const Stale = () => html`<${Notice} kind="warn">${t("shell.unreachable")}<//>`;
