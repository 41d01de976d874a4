// The session of one tab.
//
// The token is kept in sessionStorage, which belongs to one tab. Reload and the back button keep the session. Closing the
// tab ends the session, so a shared computer keeps no token. A merchant and a customer can use two tabs side by side.
// localStorage would log in every tab as the last user. Memory alone would log people out at each reload, and people reload
// while they wait. The Content-Security-Policy keeps foreign scripts from reading the token. No URL contains the token.

import { createStore, useStore } from "./view.js";

const KEY = "couponrush.session";

/**
 * `saler` is the merchant for whom a merchant or staff work, and `rights` what staff may do. Merchants may do everything.
 * @typedef {{token: string, name: string, kind: "customer" | "saler" | "staff" | "admin", saler: string, rights: Rights}} Session
 * @typedef {{redeem: boolean, view: boolean, manage: boolean}} Rights
 */

/** @returns {Session | null} */
function read() {
    try {
        return fromToken(sessionStorage.getItem(KEY) ?? "");
    } catch {
        return null; // Storage is forbidden. The session lasts until the page is closed.
    }
}

/** The session of a token, or null for an unreadable token. Only the server checks tokens. */
function fromToken(token) {
    const payload = token && readPayload(token);
    if (!payload) return null;
    const { sub: name, kind, acts_for: mandate } = payload;
    const may = (bit) => !mandate || (mandate.rights & bit) !== 0;
    return { token, name, kind, saler: mandate?.sub ?? name, rights: { redeem: may(1), view: may(2), manage: may(4) } };
}

/** The payload of a signed token, without a check of the signature; null for an unreadable token. */
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
/** True after the server has refused the token, until the next login. A logout by the user does not set the flag. */
export const expired = createStore(false);

function set(next) {
    try {
        if (next) sessionStorage.setItem(KEY, next.token);
        else sessionStorage.removeItem(KEY);
    } catch {
        // Storage is forbidden. The session lasts until the page is closed.
    }
    session.set(next);
}

/** Starts a session. */
export function begin(token) {
    expired.set(false);
    set(fromToken(token));
}

/** Ends the session after a logout by the user. */
export function end() {
    set(null);
}

/** Ends the session if the server has refused `token` and `token` is still in use. */
export function expire(token) {
    if (session.get()?.token !== token) return;
    expired.set(true);
    set(null);
}

/** @returns {Session | null} */
export const useSession = () => useStore(session);

// The back button may restore a page from the cache of the browser. The user may have logged out since.
addEventListener("pageshow", (event) => event.persisted && session.set(read()));
