// The form for a new coupon. The form for the first sale follows.

import { call } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { link, replace } from "../shared/route.js";
import { html } from "../shared/view.js";
import { Field, Form, nameFailure, numberFailure, onlyFailures, useForm } from "../staff/form.js";
import { refusalAt } from "../staff/refusal.js";

const NAME_LENGTH_MAX = 60;
/** Invisible characters are often pasted unnoticed. Those in emoji are left to the service. */
const WRONG_NAME = /[/\p{Cc}]|^\.\.?$|(?![\u200d\ufe0f])\p{Default_Ignorable_Code_Point}/u;
const DESCRIPTION_LENGTH_MAX = 255;
const AMOUNT_MAX = 10_000_000;
const STOCK_MAX = 1_000_000_000;
/** The code of the flash-sale interface for a taken name. Invalid values have the code 1001. */
const NAME_TAKEN = "400";

export function NewCoupon() {
    const form = useForm(send);
    const { failures } = form;
    return html`
        <p><a href="#">← ${t("saler.coupons")}</a></p>
        <section class="card narrow">
            <h1>${t("saler.new")}</h1>
            <${Form} form=${form} action=${t("new.make")}>
                <${Field} name="product_name" label=${t("new.name")} hint=${t("new.name-hint")} failures=${failures} dir="auto" autocomplete="off" />
                <${Field} name="product_total" label=${t("new.amount")} hint=${t("new.amount-hint")} failures=${failures} inputmode="numeric" autocomplete="off" />
                <${Field} name="stock" label=${t("new.stock")} hint=${t("new.stock-hint")} failures=${failures} inputmode="numeric" autocomplete="off" />
                <${Field} name="description" label=${t("new.description")} failures=${failures} as="textarea" rows="3" dir="auto" />
            <//>
        </section>`;
}

/** Creates the coupon and opens the form for the first sale. Returns the failures by field. */
async function send(fields) {
    const name = fields.product_name.trim();
    const stock = fields.stock.trim() || "0";
    const failures = onlyFailures({
        product_name: nameFailure(name, NAME_LENGTH_MAX) || (WRONG_NAME.test(name) ? t("new.name-wrong") : ""),
        product_total: numberFailure(fields.product_total, 1, AMOUNT_MAX),
        stock: numberFailure(stock, 0, STOCK_MAX),
        description: [...fields.description].length > DESCRIPTION_LENGTH_MAX ? t("staff.too-long", { max: DESCRIPTION_LENGTH_MAX }) : "",
    });
    if (Object.keys(failures).length > 0) return failures;
    const body = { product_name: name, product_total: Number(fields.product_total), stock: Number(stock), description: fields.description };
    const answer = await call("POST", "/product/create", { body });
    if (answer.status !== 200) {
        if (answer.code === NAME_TAKEN) return { product_name: t("staff.name-taken") };
        return refusalAt(answer, Object.keys(body));
    }
    replace(link("coupon", String(answer.body.data.product_id), "schedule"));
    return {};
}
