// Forms of merchants and operators, with a message at each field that has an invalid value.
//
// The pages check values first and report failures in the reader's language. The service checks again. A refusal that names
// a field is shown at the field.

import { t } from "../shared/i18n.js";
import { Notice } from "../shared/shell.js";
import { html, useRef, useState } from "../shared/view.js";

/**
 * A field with a label, a hint and a failure.
 * @param {object} props
 * @param {string} props.name
 * @param {string} props.label
 * @param {string} [props.hint]
 * @param {Record<string, string>} props.failures sentences by name of the field
 * @param {string} [props.as] the element, which gets all remaining props
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
 * The state of a form: failures, and whether a request is under way.
 *
 * `send` gets the values of the fields. The result holds the failures by name of a field, or under "form" if no field is to
 * blame. An empty result means success.
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
        const result = await send(Object.fromEntries(new FormData(form.current)));
        setBusy(false);
        setFailures(result);
        const first = [...form.current?.elements ?? []].find((element) => element.name && result[element.name]);
        first?.focus();
    }

    return { failures, busy, submit, form };
}

/** A form. `form` is the result of `useForm`, `action` the text of the button. */
export function Form({ form: { failures, busy, submit, form }, action, children }) {
    return html`
        <form ref=${form} class="fields" novalidate onSubmit=${submit} aria-busy=${busy}>
            ${children}
            <div aria-live="assertive">${failures.form && html`<${Notice} kind="bad">${failures.form}<//>`}</div>
            <button type="submit" disabled=${busy}>${busy ? t("staff.busy") : action}</button>
        </form>`;
}

/** The failure of a text that must have 1 to `max` characters; empty for a valid text. */
export function nameFailure(text, max) {
    const length = [...text].length;
    if (length === 0) return t("staff.needed");
    if (length > max) return t("staff.too-long", { max });
    return "";
}

/** The failure of a whole number that must lie between `min` and `max`; empty for a valid number. */
export function numberFailure(text, min, max) {
    if (text.trim() === "") return t("staff.needed");
    const number = Number(text);
    if (!/^\d+$/.test(text.trim()) || number < min || number > max) return t("staff.whole-number", { min, max });
    return "";
}

/** Drops the empty sentences. */
export const onlyFailures = (failures) => Object.fromEntries(Object.entries(failures).filter(([, failure]) => failure));
