// Every sentence of the pages, in the reader's language.
//
// The browser's languages choose, unless the reader has; that is remembered in localStorage, for all tabs. Values are put
// into a sentence as text: markup in a name stays text.

import { createStore, useEffect, useStore } from "./view.js";
import en from "../i18n/en.js";
import zh from "../i18n/zh.js";

const KEY = "couponrush.language";
const CATALOGUES = { en, zh };
/** Each language in its own words, and its tag for the browser. */
export const LANGUAGES = [
    { language: "en", name: "English", tag: "en" },
    { language: "zh", name: "中文", tag: "zh-CN" },
];

function chosen() {
    let remembered = null;
    try {
        remembered = localStorage.getItem(KEY);
    } catch {
        // Storage is forbidden; the browser's choice is as good.
    }
    const wanted = [remembered, ...navigator.languages].map((tag) => tag?.slice(0, 2).toLowerCase());
    return wanted.find((language) => Object.hasOwn(CATALOGUES, language ?? "")) ?? "en";
}

const current = createStore(chosen());

/** Adds the sentences that only some pages say, before these are shown. */
export function extend(catalogues) {
    for (const language of Object.keys(CATALOGUES)) Object.assign(CATALOGUES[language], catalogues[language]);
}

/** The reader's language, for what shows sentences. */
export const useLanguage = () => useStore(current);

export function choose(language) {
    try {
        localStorage.setItem(KEY, language);
    } catch {
        // Then it is forgotten with the page.
    }
    current.set(language);
}

const tag = () => LANGUAGES.find(({ language }) => language === current.get()).tag;

/** Keeps the document's language and title. */
export function useDocument(title) {
    const language = useLanguage();
    useEffect(() => {
        document.documentElement.lang = tag();
        document.title = title;
    }, [language, title]);
}

/**
 * The sentence of that key. `{name}` in it becomes the value of that name: text as it stands, numbers as the language
 * writes them; `{name:ordinal}` becomes "57th".
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

/** A number as the language writes it. */
export const toNumber = (value) => new Intl.NumberFormat(tag()).format(value);

function toOrdinal(value) {
    const form = new Intl.PluralRules(tag(), { type: "ordinal" }).select(value);
    return toNumber(value) + t(`ordinal.${form}`);
}

/** A time in seconds since 1970, by the reader's calendar and time zone. */
export function toTime(seconds) {
    return new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1_000);
}

/** The time of a day, to the second. */
export const toClock = (seconds) => new Intl.DateTimeFormat(tag(), { timeStyle: "medium", hourCycle: "h23" }).format(seconds * 1_000);

/** What is left of a time: 2 d 03:04:05. */
export function toCountdown(seconds) {
    const two = (number) => String(number).padStart(2, "0");
    const left = Math.max(0, seconds);
    const days = Math.floor(left / 86_400);
    const clock = [Math.floor(left / 3_600) % 24, Math.floor(left / 60) % 60, left % 60].map(two).join(":");
    return days > 0 ? t("time.days", { days, clock }) : clock;
}
