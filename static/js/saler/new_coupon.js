// A new coupon: what it is and how many there are. When it is sold is said afterwards.

import { call } from "../shared/api.js";
import { t } from "../shared/i18n.js";
import { link, replace } from "../shared/route.js";
import { html } from "../shared/view.js";
import { Field, Form, onlyWrong, useForm, wrongName, wrongNumber } from "../staff/form.js";
import { refusalAt } from "../staff/refusal.js";

const NAME_LENGTH_MAX = 60;
const DESCRIPTION_LENGTH_MAX = 255;
const AMOUNT_MAX = 10_000_000;
const STOCK_MAX = 1_000_000_000;

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

/** Makes it and leads to its first sale; answers with what is wrong. */
async function send(fields) {
    const name = fields.product_name.trim();
    const stock = fields.stock.trim() || "0";
    const wrong = onlyWrong({
        product_name: wrongName(name, NAME_LENGTH_MAX) || (/[/\p{Cc}]|^\.\.?$/u.test(name) ? t("new.name-wrong") : ""),
        product_total: wrongNumber(fields.product_total, 1, AMOUNT_MAX),
        stock: wrongNumber(stock, 0, STOCK_MAX),
        description: [...fields.description].length > DESCRIPTION_LENGTH_MAX ? t("staff.too-long", { max: DESCRIPTION_LENGTH_MAX }) : "",
    });
    if (Object.keys(wrong).length > 0) return wrong;
    const body = { product_name: name, product_total: Number(fields.product_total), stock: Number(stock), description: fields.description };
    const answer = await call("POST", "/product/create", { body });
    if (answer.status !== 200) {
        if (answer.body?.msg?.startsWith("Create failed")) return { product_name: t("staff.name-taken") };
        return refusalAt(answer, Object.keys(body));
    }
    replace(link("coupon", String(answer.body.data.product_id), "schedule"));
    return {};
}
