// What the service says when it refuses, in the reader's words where they are known, and in its own otherwise.

import { t } from "../shared/i18n.js";

/** Codes and statuses with a sentence of their own, which is the same wherever they come. */
const SAID = {
    unreachable: "staff.failed-unreachable",
    unavailable: "staff.failed-unavailable",
    overloaded: "staff.failed-unavailable",
    1009: "staff.failed-unavailable",
    "unknown-outcome": "staff.failed-unknown",
    1008: "staff.failed-unknown",
    1004: "staff.failed-too-fast",
    "rate-limited": "staff.failed-too-fast",
    "not-logged-in": "staff.failed-session",
    "token-expired": "staff.failed-session",
    401: "staff.failed-session",
    "wrong-kind": "staff.failed-not-yours",
    "not-yours": "staff.failed-not-yours",
    403: "staff.failed-not-yours",
    "not-found": "staff.failed-gone",
    404: "staff.failed-gone",
};

/** The service's own sentences that name a field, by how they begin, and what is said instead. */
const KNOWN = [
    ["start_time, end_time: activity", "staff.overlaps"],
    ["end_time: it must be after", "staff.end-before-start"],
    ["total: it is above", "staff.total-above"],
    ["Amount is below", "staff.below-claimed"],
    ["Create failed. Maybe", "staff.name-taken"],
    ["Too many coupons", "staff.too-many-coupons"],
];

/** The sentence for an answer that is no success. @param {import("../shared/api.js").Answer} answer */
export function refusalText(answer) {
    if (answer.unsure && answer.code !== "") return t("staff.failed-unknown");
    if (Object.hasOwn(SAID, answer.code)) return t(SAID[answer.code]);
    const said = answer.body?.msg ?? answer.body?.errMsg ?? "";
    const known = KNOWN.find(([start]) => said.startsWith(start));
    return known ? t(known[1]) : said || t("staff.failed-unavailable");
}

/**
 * The same at the fields that it names: `{end_time: "..."}`, or `{form: "..."}` where it names none of them.
 * @param {import("../shared/api.js").Answer} answer
 * @param {string[]} fields
 */
export function refusalAt(answer, fields) {
    const text = refusalText(answer);
    const said = answer.body?.msg ?? answer.body?.errMsg ?? "";
    // "start_time, end_time: ..." or "allow_ips must be ...".
    const [, names, sentence] = /^([\w, ]+?)(?::| must) (.*)$/s.exec(said) ?? [];
    const named = (names ?? "").split(", ").filter((name) => fields.includes(name));
    if (answer.unsure || named.length === 0) return { form: text };
    // The field is where the sentence stands; its name on the wire says nothing there.
    return Object.fromEntries(named.map((name) => [name, text === said && !said.includes(" must ") ? sentence : text]));
}
