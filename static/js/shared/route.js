// Which view of a page is shown: the address after its #, so that the back button, reloading and links work.

import { createStore, useStore } from "./view.js";

/** The parts of the address after #, decoded: `#coupon/shop/ten` is ["coupon", "shop", "ten"]. */
function read() {
    try {
        return location.hash.slice(1).split("/").map(decodeURIComponent);
    } catch {
        return [""]; // somebody typed a % that is no character
    }
}

const route = createStore(read());
addEventListener("hashchange", () => route.set(read()));

export const useRoute = () => useStore(route);

/** The link to a view. */
export const link = (...parts) => `#${parts.map(encodeURIComponent).join("/")}`;

/** Shows a view in place of this one: the back button leads past it. */
export function replace(hash) {
    history.replaceState(null, "", hash === "#" ? location.pathname : hash);
    route.set(read());
}
