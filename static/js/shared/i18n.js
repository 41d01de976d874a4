// Sentences, numbers and times of the pages in the reader's language.
//
// The reader's choice is kept in localStorage for all tabs. Without a choice, the language list of the browser decides.
// Values are inserted into sentences as text, so markup in a name stays text.

import { createStore, useEffect, useStore } from "./view.js";
import en from "../i18n/en.js";
import zh from "../i18n/zh.js";

const KEY = "couponrush.language";
const CATALOGUES = { en, zh };
/** The languages, each with a name for readers and a tag for the browser. */
export const LANGUAGES = [
    { language: "en", name: "English", tag: "en" },
    { language: "zh", name: "中文", tag: "zh-CN" },
];

function initialLanguage() {
    let stored = null;
    try {
        stored = localStorage.getItem(KEY);
    } catch {
        // Storage is forbidden. The language list of the browser decides.
    }
    const wanted = [stored, ...navigator.languages].map((tag) => tag?.slice(0, 2).toLowerCase());
    return wanted.find((language) => Object.hasOwn(CATALOGUES, language ?? "")) ?? "en";
}

const current = createStore(initialLanguage());

/** Adds the sentences of a single page. Called before the page is rendered. */
export function extend(catalogues) {
    for (const language of Object.keys(CATALOGUES)) Object.assign(CATALOGUES[language], catalogues[language]);
}

/** The reader's language. The component is rendered again when the language changes. */
export const useLanguage = () => useStore(current);

export function choose(language) {
    try {
        localStorage.setItem(KEY, language);
    } catch {
        // Storage is forbidden. The choice lasts until the page is closed.
    }
    current.set(language);
}

const tag = () => LANGUAGES.find(({ language }) => language === current.get()).tag;

/** Sets the language and the title of the document. */
export function useDocument(title) {
    const language = useLanguage();
    useEffect(() => {
        document.documentElement.lang = tag();
        document.title = title;
    }, [language, title]);
}

/**
 * The sentence of `key`, with `{name}` replaced by the value called `name`. Text is inserted unchanged. Numbers are
 * formatted by the language, and `{name:ordinal}` as an ordinal: "57th".
 */
export function t(key, values = {}) {
    const sentence = CATALOGUES[current.get()][key];
    if (sentence === undefined) throw new Error(`no sentence ${key}`);
    return sentence.replace(/\{(\w+)(:ordinal)?\}/g, (_, name, ordinal) => {
        const value = values[name];
        if (typeof value !== "number") return value;
        return ordinal ? toOrdinal(value) : toNumber(value);
    });
}

/** A number in the format of the language. */
export const toNumber = (value) => new Intl.NumberFormat(tag()).format(value);

function toOrdinal(value) {
    const form = new Intl.PluralRules(tag(), { type: "ordinal" }).select(value);
    return toNumber(value) + t(`ordinal.${form}`);
}

/** Date and time of `seconds` since 1970, in the reader's time zone. */
export function toTime(seconds) {
    return new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1_000);
}

/** Hours, minutes and seconds of `seconds` since 1970, in the reader's time zone. */
export const toClock = (seconds) => new Intl.DateTimeFormat(tag(), { timeStyle: "medium", hourCycle: "h23" }).format(seconds * 1_000);

/** A duration in seconds as a countdown, for example "2 d 03:04:05". Negative durations count as 0. */
export function toCountdown(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const left = Math.max(0, seconds);
    const days = Math.floor(left / 86_400);
    const clock = [Math.floor(left / 3_600) % 24, Math.floor(left / 60) % 60, left % 60].map(two).join(":");
    return days > 0 ? t("time.days", { days, clock }) : clock;
}
