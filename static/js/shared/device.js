// Marks of this browser, one for each name that has logged in here.
//
// The service gives a mark with each login. A mark is no login: it lets the next login through while others guess at the
// name. localStorage keeps the marks for all tabs and after they close. A browser without storage has no marks.

const KEY = "couponrush.devices";
/** Names with a mark. The name that logged in longest ago is forgotten. */
const NAMES_MAX = 8;

/** @returns {[string, string][]} names and marks, the latest first */
function read() {
    try {
        const marks = JSON.parse(localStorage.getItem(KEY) ?? "[]");
        return Array.isArray(marks) ? marks.filter((mark) => Array.isArray(mark)) : [];
    } catch {
        return [];
    }
}

/** The headers of a login. @param {string} name */
export function deviceHeaders(name) {
    const mark = read().find(([other]) => other === name)?.[1];
    return typeof mark === "string" && /^[\w.-]+$/.test(mark) ? { "Login-Device": mark } : {};
}

/** Keeps the mark of a login. @param {string} name @param {string | null} mark */
export function keepDevice(name, mark) {
    if (!mark) return;
    const others = read().filter(([other]) => other !== name);
    try {
        localStorage.setItem(KEY, JSON.stringify([[name, mark], ...others].slice(0, NAMES_MAX)));
    } catch {
        // Storage is forbidden or full. The next login has no mark.
    }
}
