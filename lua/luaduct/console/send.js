// An envelope from here: what an agent would get.
import {clear, field, h} from "./dom.js";
import {get, post} from "./api.js";
import {pretty} from "./json.js";

export function send(main, to) {
    const result = h("div", {"aria-live": "polite"});
    const names = h("datalist", {id: "agents-there"});
    const all = h("input", {type: "checkbox", id: "to-all", onchange: () => {
        who.disabled = all.checked;
    }});
    const who = h("input", {type: "text", value: to ?? "", list: "agents-there", autocomplete: "off"});
    const from = h("input", {type: "text", placeholder: "api", autocomplete: "off"});
    const intent = h("input", {type: "text", placeholder: "agent.message", autocomplete: "off"});
    const task = h("input", {type: "text", placeholder: "none", autocomplete: "off"});
    const priority = h("select", {}, ["normal", "high", "low"].map((name) => h("option", {}, name)));
    const payload = h("textarea", {spellcheck: "false", rows: "9"}, '{"text": "hello"}');

    // The payload goes out as it was written: numbers keep their digits.
    function body() {
        JSON.parse(payload.value);
        const parts = [`"payload":${payload.value}`, `"priority":${JSON.stringify(priority.value)}`];
        const add = (name, value) => value && parts.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
        add("to", all.checked ? "" : who.value);
        add("from", from.value);
        add("intent", intent.value);
        add("taskId", task.value);
        return `{${parts.join(",")}}`;
    }

    async function submit(event) {
        event.preventDefault();
        let text;
        try {
            text = body();
        } catch (error) {
            clear(result, h("p", {class: "banner bad"}, `The payload is no JSON: ${error.message}`));
            payload.focus();
            return;
        }
        try {
            const answer = await post(all.checked ? "/broadcast" : "/send", text);
            clear(result, h("p", {class: answer.status === "queued" ? "banner good" : "banner"}, answer.status === "queued" ? "Accepted." : `Dropped by the script: ${answer.reason || "no reason given"}`),
                answer.envelope && h("pre", {class: "text", tabindex: "0"}, pretty(JSON.stringify(answer.envelope))));
        } catch (refusal) {
            clear(result, h("p", {class: "banner bad"}, `${refusal.message}${refusal.code ? ` (${refusal.code})` : ""}`));
        }
    }

    main.append(h("div", {class: "title"}, h("h1", {}, "Send an envelope")),
        h("section", {class: "card"}, h("form", {class: "form", onsubmit: submit},
            field("To", who), names, field("From", from, "another than api: for administrators, or an agent of your own"),
            field("Intent", intent), field("Task", task), field("Priority", priority),
            h("div", {class: "check full"}, all, h("label", {for: "to-all"}, "To everybody (a broadcast)")),
            h("div", {class: "full"}, field("Payload, JSON", payload)),
            h("div", {class: "actions full"}, h("button", {type: "submit", class: "primary"}, "Send"))), result));
    get("/agents").then(({agents}) => clear(names, agents.slice(0, 500).map((agent) => h("option", {value: agent.id}))), () => {});
    return () => {};
}
