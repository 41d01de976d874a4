// Forms of merchants and operators: fields that say what is wrong with them, in words, where it is.
//
// What the service would refuse is said before it is asked, in the reader's language; the service decides all the same, and
// a refusal that names a field is shown at that field.

import { t } from "../shared/i18n.js";
import { Notice } from "../shared/shell.js";
import { html, useRef, useState } from "../shared/view.js";

/**
 * A field with its label, its hint and what is wrong with it.
 * @param {{name: string, label: string, hint?: string, failures: Record<string, string>, as?: string}} props
 *     `as`: the element; everything else is the element's
 */
export function Field({ name, label, hint, failures, as = "input", children, ...rest }) {
    const failure = failures[name];
    const described = [failure && `${name}-failure`, hint && `${name}-hint`].filter(Boolean).join(" ");
    return html`
        <div class="field">
            <label for=${`field-${name}`}>${label}</label>
            <${as} id=${`field-${name}`} name=${name} aria-invalid=${failure ? "true" : undefined}
                aria-describedby=${described || undefined} ...${rest}>${children}<//>
            ${failure && html`<p class="failure" id=${`${name}-failure`}>${failure}</p>`}
            ${hint && html`<p class="hint" id=${`${name}-hint`}>${hint}</p>`}
        </div>`;
}

/**
 * The state of a form: what is wrong with it, and whether it is on its way.
 *
 * `send` gets what the fields say and answers with the failures: by name of a field, or by "form"; none is success.
 * @param {(fields: Record<string, string>) => Promise<Record<string, string>>} send
 */
export function useForm(send) {
    const [failures, setFailures] = useState({});
    const [busy, setBusy] = useState(false);
    const form = useRef(null);

    async function submit(event) {
        event.preventDefault();
        if (busy) return;
        setBusy(true);
        setFailures({});
        const found = await send(Object.fromEntries(new FormData(form.current)));
        setBusy(false);
        setFailures(found);
        const first = [...form.current?.elements ?? []].find((element) => element.name && found[element.name]);
        first?.focus();
    }

    return { failures, busy, submit, form };
}

/** The form around its fields. `form` is what `useForm` gave. */
export function Form({ form: { failures, busy, submit, form }, action, children }) {
    return html`
        <form ref=${form} class="fields" novalidate onSubmit=${submit} aria-busy=${busy}>
            ${children}
            <div aria-live="assertive">${failures.form && html`<${Notice} kind="bad">${failures.form}<//>`}</div>
            <button type="submit" disabled=${busy}>${busy ? t("staff.busy") : action}</button>
        </form>`;
}

/** What is wrong with a text that must have 1 to `max` characters; empty where nothing is. */
export function wrongName(text, max) {
    const length = [...text].length;
    if (length === 0) return t("staff.needed");
    if (length > max) return t("staff.too-long", { max });
    return "";
}

/** What is wrong with a whole number from `min` to `max`. */
export function wrongNumber(text, min, max) {
    if (text.trim() === "") return t("staff.needed");
    const number = Number(text);
    if (!/^\d+$/.test(text.trim()) || number < min || number > max) return t("staff.whole-number", { min, max });
    return "";
}

/** Only what is wrong. */
export const onlyWrong = (failures) => Object.fromEntries(Object.entries(failures).filter(([, failure]) => failure));
