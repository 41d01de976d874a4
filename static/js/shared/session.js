// Who is logged in, in this tab.
//
// The token lives in sessionStorage, which belongs to one tab: reloading and going back keep it, closing the tab ends it (a
// shared computer remembers nobody), and a merchant and a customer can sit side by side in two tabs. localStorage would log
// every tab in as whoever came last; memory alone would log people out at each reload, which is what they do while they
// wait. Script from elsewhere, which could read it, does not run: see the Content-Security-Policy. The token is never part
// of an address.

import { createStore, useStore } from "./view.js";

const KEY = "couponrush.session";

/** @typedef {{token: string, name: string, kind: "customer" | "saler" | "admin"}} Session */

/** @returns {Session | null} */
function read() {
    try {
        return fromToken(sessionStorage.getItem(KEY) ?? "");
    } catch {
        return null; // storage is forbidden; then the session lasts as long as the page
    }
}

/** What a token says of its user; null where it is none. It is the server that checks it. */
function fromToken(token) {
    const payload = token && readPayload(token);
    return payload ? { token, name: payload.sub, kind: payload.kind } : null;
}

/** The payload of a signed token, unchecked; null where it cannot be read. */
export function readPayload(token) {
    try {
        const base64 = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
        const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
        return JSON.parse(new TextDecoder().decode(bytes));
    } catch {
        return null;
    }
}

export const session = createStore(read());
/** True from when the server has refused a token until somebody logs in: the person did not log out. */
export const expired = createStore(false);

function set(next) {
    try {
        if (next) sessionStorage.setItem(KEY, next.token);
        else sessionStorage.removeItem(KEY);
    } catch {
        // As above.
    }
    session.set(next);
}

export function begin(token) {
    expired.set(false);
    set(fromToken(token));
}

export function end() {
    set(null);
}

/** The server does not accept `token` any more; nothing where it is not the one in use. */
export function expire(token) {
    if (session.get()?.token !== token) return;
    expired.set(true);
    set(null);
}

/** @returns {Session | null} */
export const useSession = () => useStore(session);

// A page that comes back by the back button is shown as it was left; somebody may have logged out since.
addEventListener("pageshow", (event) => event.persisted && session.set(read()));
