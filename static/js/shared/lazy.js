// Views that come when they are first asked for, so that the first one comes soon.

import { t } from "./i18n.js";
import { Notice, Skeleton } from "./shell.js";
import { html, useEffect, useState } from "./view.js";

/**
 * A component that is loaded when it is first shown.
 * @param {() => Promise<any>} load what `import()` gives, mapped to the component
 */
export function lazy(load) {
    let Loaded = null;
    return function Lazy(props) {
        const [state, setState] = useState("coming");
        useEffect(() => {
            if (Loaded) return;
            load().then(
                (component) => {
                    Loaded = component;
                    setState("there");
                },
                () => setState("failed"),
            );
        }, []);
        if (Loaded) return html`<${Loaded} ...${props} />`;
        return state === "failed" ? html`<${Missing} />` : html`<${Skeleton} lines=${4} />`;
    };
}

/** A browser remembers a module that did not come; and another version of the service has others. */
const Missing = () => html`
    <${Notice} kind="warn" title=${t("shell.missing")}><button type="button" onClick=${() => location.reload()}>${t("shell.reload")}</button><//>`;
