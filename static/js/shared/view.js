// What components are written with: htm's tagged templates over Preact, and one kind of shared state.

import { h, render } from "../../vendor/preact.js";
import { useEffect, useRef, useState } from "../../vendor/preact-hooks.js";
import htm from "../../vendor/htm.js";

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

/**
 * A value that many components show. Setting what it is already tells nobody.
 * @template T
 * @param {T} value
 */
export function createStore(value) {
    const listeners = new Set();
    return {
        get: () => value,
        set(next) {
            if (Object.is(next, value)) return;
            value = next;
            for (const listener of [...listeners]) listener(value);
        },
        /** Calls `listener` at each change, until what it returns is called. */
        subscribe(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
        },
    };
}

/** The store's value; the component is shown again when it changes. */
export function useStore(store) {
    const [value, setValue] = useState(store.get());
    useEffect(() => {
        setValue(() => store.get()); // it may have changed between the first showing and now
        return store.subscribe((next) => setValue(() => next));
    }, [store]);
    return value;
}

/** A promise that is kept after `ms`. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `ms` and up to half as much again, so that browsers that failed together do not come back together. */
export const jittered = (ms) => ms * (1 + Math.random() / 2);
