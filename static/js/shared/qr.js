// QR codes.

import { generate } from "../../vendor/lean-qr.js";
import { html } from "./view.js";

/** The quiet zone around a QR code, in modules. The value is required by the standard. */
const MARGIN = 4;

/**
 * Text as a QR code, drawn as one path to be sharp at every size. Black on white in dark mode too, because scanners need it.
 * @param {{text: string, label: string}} props
 */
export function QrCode({ text, label }) {
    const code = generate(text);
    let path = "";
    for (let y = 0; y < code.size; y += 1) {
        for (let x = 0; x < code.size; x += 1) {
            if (code.get(x, y)) path += `M${x + MARGIN} ${y + MARGIN}h1v1h-1z`;
        }
    }
    const size = code.size + 2 * MARGIN;
    return html`
        <svg class="qr" role="img" aria-label=${label} viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges">
            <rect width=${size} height=${size} fill="#fff" /><path d=${path} fill="#000" />
        </svg>`;
}
