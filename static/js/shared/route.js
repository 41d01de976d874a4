// The current view of a page. The part of the URL after # names the view, so the back button, reload and links work.

import { createStore, useStore } from "./view.js";

/** The decoded parts of the URL after #. `#coupon/shop/ten` is ["coupon", "shop", "ten"]. */
function read() {
    try {
        return location.hash.slice(1).split("/").map(decodeURIComponent);
    } catch {
        return [""]; // an invalid % sequence
    }
}

const route = createStore(read());
addEventListener("hashchange", () => route.set(read()));

export const useRoute = () => useStore(route);

/** The link to a view, from its decoded parts. */
export const link = (...parts) => `#${parts.map(encodeURIComponent).join("/")}`;

/** Replaces the current view in the history, so the back button skips the replaced view. */
export function replace(hash) {
    history.replaceState(null, "", hash === "#" ? location.pathname : hash);
    route.set(read());
}
