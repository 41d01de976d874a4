// Sentences for refusals, in the reader's language if known, else in the words of the service.

import { t } from "../shared/i18n.js";

/** Sentences by code. In the flash-sale interface, a refusal without a special code has the HTTP status as the code. */
const BY_CODE = {
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
    "reauthentication-required": "staff.failed-unproven",
    "wrong-kind": "staff.failed-not-yours",
    "not-yours": "staff.failed-not-yours",
    403: "staff.failed-not-yours",
    "not-found": "staff.failed-gone",
    404: "staff.failed-gone",
};

/** Sentences by blamed fields. The forms check each value before sending, so each field has one reason left. */
const BY_FIELDS = {
    "start_time, end_time": "staff.overlaps",
    end_time: "staff.end-before-start",
    total: "staff.total-above",
    amount: "staff.below-claimed",
};

/** The wire contract fixes this sentence. The refusal blames no field and shares the code with invalid requests. */
const TOO_MANY_COUPONS = "Too many coupons.";

/**
 * Splits a refusal of the service into the blamed fields and a sentence.
 *
 * `errMsg` comes with `field`. In the flash-sale interface, `msg` starts with the names: "start_time, end_time: ...".
 * @param {import("../shared/api.js").Answer} answer
 * @returns {{names: string, sentence: string}} `names`: separated by ", "; empty if no field is to blame
 */
function blame(answer) {
    const { field = "", errMsg, msg = "" } = answer.body ?? {};
    if (errMsg !== undefined) return { names: field, sentence: errMsg };
    const [, names = "", sentence = msg] = /^(\w+(?:, \w+)*): (.*)$/s.exec(msg) ?? [];
    return { names, sentence };
}

/** The sentence for an answer other than a success. @param {import("../shared/api.js").Answer} answer */
export function refusalText(answer) {
    if (answer.unsure && answer.code !== "") return t("staff.failed-unknown");
    if (Object.hasOwn(BY_CODE, answer.code)) return t(BY_CODE[answer.code]);
    const { names, sentence } = blame(answer);
    if (Object.hasOwn(BY_FIELDS, names)) return t(BY_FIELDS[names]);
    if (sentence === TOO_MANY_COUPONS) return t("staff.too-many-coupons");
    return sentence || t("staff.failed-unavailable");
}

/**
 * The sentence at each blamed field, as `{end_time: "..."}`, or `{form: "..."}` if no field of the form is to blame.
 * @param {import("../shared/api.js").Answer} answer
 * @param {string[]} fields the fields of the form
 */
export function refusalAt(answer, fields) {
    const text = refusalText(answer);
    const blamed = answer.unsure ? [] : blame(answer).names.split(", ").filter((name) => fields.includes(name));
    return blamed.length === 0 ? { form: text } : Object.fromEntries(blamed.map((name) => [name, text]));
}
