// Reads a QR code with the camera. Most browsers on phones have a BarcodeDetector, and few on desktop computers.
//
// Pictures stay in the browser. The camera is on only while the picture is shown.

import { t } from "../shared/i18n.js";
import { Notice } from "../shared/shell.js";
import { html, sleep, useEffect, useRef, useState } from "../shared/view.js";

const DETECT_EVERY_MS = 200;

/** Whether the browser can read codes. The button for the camera is hidden otherwise. */
export const hasCamera = "BarcodeDetector" in globalThis && Boolean(navigator.mediaDevices?.getUserMedia);

/** @param {{onCode: (text: string) => void, onStop: () => void}} props */
export function Camera({ onCode, onStop }) {
    const video = useRef(null);
    const [failed, setFailed] = useState(false);
    useEffect(() => {
        let stopped = false;
        let stream = null;
        async function watch() {
            stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
            if (stopped) return;
            video.current.srcObject = stream;
            await video.current.play();
            const detector = new BarcodeDetector({ formats: ["qr_code"] });
            while (!stopped) {
                const [code] = await detector.detect(video.current);
                if (code && !stopped) onCode(code.rawValue);
                await sleep(DETECT_EVERY_MS);
            }
        }
        watch()
            .catch(() => !stopped && setFailed(true)) // no camera, or no permission
            .finally(() => stream?.getTracks().forEach((track) => track.stop()));
        return () => {
            stopped = true;
            stream?.getTracks().forEach((track) => track.stop());
        };
    }, []);
    return html`
        ${failed
            ? html`<${Notice} kind="warn">${t("check.camera-failed")}<//>`
            : html`<video class="camera" ref=${video} muted playsinline aria-label=${t("check.camera-on")}></video>`}
        <button type="button" class="outline" onClick=${onStop}>${t("check.camera-stop")}</button>`;
}
