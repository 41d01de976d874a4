// The base of all components: htm templates over Preact, and stores for shared state.

import { h, render } from "../../vendor/preact.js";
import { useEffect, useRef, useState } from "../../vendor/preact-hooks.js";
import htm from "../../vendor/htm.js";

export const html = htm.bind(h);
export { render, useEffect, useRef, useState };

/**
 * A value shared by components. Setting an equal value does not notify the listeners.
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
        /** Calls `listener` at each change. Returns a function that ends the subscription. */
        subscribe(listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
        },
    };
}

/** The value of a store. The component is rendered again when the value changes. */
export function useStore(store) {
    const [value, setValue] = useState(store.get());
    useEffect(() => {
        setValue(() => store.get()); // the value may have changed since the first render
        return store.subscribe((next) => setValue(() => next));
    }, [store]);
    return value;
}

/** A promise that resolves after `ms`. */
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** `ms` plus up to 50 % at random, to spread the retries of many browsers. */
export const jittered = (ms) => ms * (1 + Math.random() / 2);
