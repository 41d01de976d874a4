// A confirmation before an action that would do harm by mistake.

import { t } from "../shared/i18n.js";
import { html, useEffect, useRef } from "../shared/view.js";

/**
 * A modal dialog. The browser keeps the focus inside. Escape means no.
 * @param {{title: string, text: string, action: string, onAnswer: (yes: boolean) => void}} props
 */
export function Confirm({ title, text, action, onAnswer }) {
    const dialog = useRef(null);
    useEffect(() => dialog.current.showModal(), []);
    return html`
        <dialog ref=${dialog} aria-labelledby="confirm-title" onCancel=${(event) => { event.preventDefault(); onAnswer(false); }}>
            <article>
                <h2 id="confirm-title">${title}</h2>
                <p>${text}</p>
                <footer>
                    <button type="button" class="outline" onClick=${() => onAnswer(false)}>${t("confirm.no")}</button>
                    <button type="button" class="danger" onClick=${() => onAnswer(true)}>${action}</button>
                </footer>
            </article>
        </dialog>`;
}
