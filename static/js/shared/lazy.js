// Views loaded on first use, so that the first view of a page arrives early.

import { t } from "./i18n.js";
import { Notice, Skeleton } from "./shell.js";
import { html, useEffect, useState } from "./view.js";

/**
 * A component loaded at the first render.
 * @param {() => Promise<any>} load imports the module and returns the component
 */
export function lazy(load) {
    let Loaded = null;
    return function Lazy(props) {
        const [state, setState] = useState("loading");
        useEffect(() => {
            if (Loaded) return;
            load().then(
                (component) => {
                    Loaded = component;
                    setState("loaded");
                },
                () => setState("failed"),
            );
        }, []);
        if (Loaded) return html`<${Loaded} ...${props} />`;
        return state === "failed" ? html`<${LoadFailed} />` : html`<${Skeleton} lines=${4} />`;
    };
}

/** Reloading the page is the only retry. A browser caches a failed import, and a new release has new module names. */
const LoadFailed = () => html`
    <${Notice} kind="warn" title=${t("shell.missing")}><button type="button" onClick=${() => location.reload()}>${t("shell.reload")}</button><//>`;
