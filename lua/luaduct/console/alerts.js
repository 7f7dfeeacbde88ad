// What an operator should look at, and what is over.
import {badge, card, clear, empty, h, moment} from "./dom.js";
import {get} from "./api.js";
import {on} from "./store.js";

const KINDS = {ALERT: "bad", SHED: "bad", WARN: "warn", SCALE_UP: "accent"};

function row(alert) {
    return h("li", {class: "alert"}, badge(alert.severity || "ALERT", alert.active ? KINDS[alert.severity] ?? "warn" : ""),
        h("div", {}, h("p", {class: "strong"}, alert.name), h("p", {}, alert.text),
            h("p", {class: "dim"}, [alert.done && `done: ${alert.done}`, alert.count > 1 && `${alert.count} times`].filter(Boolean).join(" · "))),
        h("p", {class: "dim"}, alert.active ? `since ${moment(alert.since)}` : `over ${moment(alert.until)}`));
}

export function alerts(main) {
    const active = h("ul"), over = h("ul"), engines = h("ul");
    main.append(h("div", {class: "title"}, h("h1", {}, "Alerts")),
        card("Active", active), card("Over", over), card("What the bridge said while you watched", engines));
    const said = [];

    async function ask() {
        try {
            const list = (await get("/alerts")).alerts;
            const now = list.filter((alert) => alert.active), past = list.filter((alert) => !alert.active);
            clear(active, now.length ? now.map(row) : h("li", {}, empty("Nothing to look at.")));
            clear(over, past.length ? past.map(row) : h("li", {}, empty("Nothing has passed.")));
        } catch (refusal) {
            clear(active, h("li", {}, empty(refusal.message)));
            clear(over, h("li", {}, empty("–")));
        }
    }

    function note(text, event) {
        said.unshift(h("li", {}, h("span", {class: "dim"}, moment(event.time)), ` ${text}`));
        said.length = Math.min(said.length, 50);
        clear(engines, said);
    }
    clear(engines, h("li", {}, empty("Nothing yet.")));

    const offs = [
        on("alert", ask),
        on("engine", (event) => note(`engine ${event.engine}: ${event.state}${event.reason ? `, ${event.reason}` : ""}`, event)),
        on("memory", (event) => note(`memory: ${event.was} became ${event.level}`, event)),
    ];
    const timer = setInterval(() => document.hidden || ask(), 10000);
    ask();
    return () => {
        offs.forEach((off) => off());
        clearInterval(timer);
    };
}
