// Changes that need password and code of an operator who has a second factor.

import { call } from "../shared/api.js";

/**
 * Sends a change as `call` does. If the service asks for a proof, a dialog asks the operator, and the change is sent again
 * with password and code. If the operator closes the dialog, the answer is the refusal.
 * @returns {Promise<import("../shared/api.js").Answer>}
 */
export async function callProven(method, path, options) {
    const answer = await call(method, path, options);
    if (answer.code !== "reauthentication-required") return answer;
    const { askForProof } = await import("./proof.js");
    // Not repeatable: a code counts once, so a repeated request would be refused.
    const send = (proof) => call(method, path, { ...options, body: { ...options.body, ...proof }, repeatable: false });
    return (await askForProof(send)) ?? answer;
}
