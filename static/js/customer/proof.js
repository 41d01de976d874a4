// A worker that solves the challenge of a sale, so that the page stays usable meanwhile.
//
// Receives {challenge, bits}. Sends {done} now and then, the share of the hashes that a solution needs on average, and {nonce} at
// the end.

import { sha256 } from "../../vendor/sha2.js";

/** Hashes between two messages. */
const REPORT_EVERY = 20_000;

onmessage = ({ data: { challenge, bits } }) => {
    const encoder = new TextEncoder();
    // The hash of the challenge is computed once, and only continued for each nonce.
    const begun = sha256.create().update(encoder.encode(`${challenge}.`));
    for (let nonce = 0; ; nonce += 1) {
        const hash = begun.clone().update(encoder.encode(String(nonce))).digest();
        if (zeroBits(hash) >= bits) {
            postMessage({ nonce: String(nonce) });
            return;
        }
        if (nonce % REPORT_EVERY === 0) postMessage({ done: nonce / 2 ** bits });
    }
};

/** Zero bits at the beginning, up to 32. */
function zeroBits(hash) {
    return Math.clz32((hash[0] << 24) | (hash[1] << 16) | (hash[2] << 8) | hash[3]);
}
