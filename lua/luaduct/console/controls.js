// What an operator does to a bridge that runs: engines, a collection, the log's levels, and going away.
import {badge, bytes, button, card, clear, confirm, count, empty, field, h, notify} from "./dom.js";
import {get, post} from "./api.js";
import {on, store} from "./store.js";

const STATES = {on: "good", off: "", degraded: "bad"};

// What each engine does, and what is without it.
const ENGINES = {
    objectPooling: ["Memory of envelopes, arrays and buffers is used again.",
        "Memory comes from malloc: more processor time, nothing else changes."],
    gcOptimization: ["The memory budget is kept: scripts are collected between messages, and input waits when memory is short.",
        "Nothing is refused, paused or given back when memory is short; LuaJIT collects inside hooks. Levels are still shown."],
    workerPool: ["Tasks run on threads of their own.",
        "Tasks that run are cancelled, new ones are refused with overloaded. Agents and messages are not touched."],
};

const LEVELS = ["debug", "info", "warn", "error"];

function engineCard() {
    const list = h("ul", {class: "engines"}, h("li", {}, empty("Reading…")));
    let timer, ended = false;

    async function order(name, wanted) {
        if (!wanted && !await confirm(`Switch ${name} off?`, ENGINES[name]?.[1] ?? "", "Switch off")) {
            return;
        }
        try {
            await post("/admin/engines", {[name]: wanted});
            notify(`${name} is being switched ${wanted ? "on" : "off"}.`);
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
        ask(200);
    }

    const shown = new Map();
    function show(name, engine) {
        let row = shown.get(name);
        if (!row) {
            row = {badge: h("span"), reason: h("p", {class: "bad-text"}),
                button: h("button", {type: "button", onclick: () => order(name, !row.enabled)})};
            row.element = h("li", {}, h("div", {class: "about"}, h("p", {}, h("span", {class: "strong"}, `${name} `), row.badge),
                h("p", {class: "dim"}, ENGINES[name]?.[0] ?? ""), row.reason), row.button);
            shown.set(name, row);
        }
        row.enabled = engine.enabled;
        clear(row.badge, badge(engine.state, STATES[engine.state]));
        const retry = engine.retryInMs === null ? "" : `; tried again in ${Math.ceil(engine.retryInMs / 1000)} s`;
        row.reason.textContent = "";
        row.reason.hidden = engine.reason === null;
        clear(row.reason, `${engine.reason}${retry}`);
        row.button.textContent = engine.enabled ? "Switch off" : "Switch on";
        row.button.setAttribute("aria-label", `${row.button.textContent} ${name}`);
        return row.element;
    }

    async function ask(soon) {
        clearTimeout(timer);
        if (soon) {
            timer = setTimeout(ask, soon);
            return;
        }
        try {
            const {engines} = await get("/admin/engines");
            const rows = Object.entries(engines).sort().map(([name, engine]) => show(name, engine));
            if (rows.some((row, index) => list.children[index] !== row)) {
                clear(list, rows);
            }
        } catch (refusal) {
            if (shown.size === 0) {
                clear(list, h("li", {}, empty(refusal.message)));
            }
        }
        if (!ended) {
            timer = setTimeout(ask, 5000);
        }
    }

    const off = on("engine", () => ask(50));
    ask();
    return {element: card("Engines", list), end() {
        ended = true;
        clearTimeout(timer);
        off();
    }};
}

function memoryCard() {
    const names = ["Resident", "Level", "Lua heaps", "Cycles", "Of these asked for", "Reclaimed"];
    const values = names.map(() => h("dd", {}, "–"));
    const result = h("p", {class: "dim", role: "status"}, "");
    let since = null;
    const collect = button("Collect now", {onclick: async () => {
        collect.disabled = true;
        try {
            since = await post("/admin/gc");
            result.textContent = "Collecting, in steps beside the traffic …";
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
        collect.disabled = false;
        collect.focus();
    }});

    function show() {
        const {memory, collector} = store.latest ?? {};
        if (!memory) {
            return;
        }
        [bytes(memory.used), memory.level, bytes(memory.luaHeaps), count(collector.totalGCTriggers), count(collector.manualTriggers),
            bytes(collector.memoryReclaimed)].forEach((text, index) => {
            values[index].textContent = text;
        });
        if (since && collector.manualTriggers > since.manualTriggers && collector.underWay === 0) {
            result.textContent = `Collected: ${bytes(collector.memoryReclaimed - since.memoryReclaimed)} of Lua's memory reclaimed.`;
            since = null;
        }
    }

    const off = on("figures", show);
    show();
    return {element: card("Memory", h("p", {class: "dim"}, "Collects every Lua state, and gives unused memory back to the system."),
        h("dl", {class: "facts"}, names.map((name, index) => h("div", {}, h("dt", {}, name), values[index]))),
        h("div", {class: "actions"}, collect, result)), end: off};
}

function logCard() {
    const body = h("div", {class: "rooms"}, empty("Reading…")), about = h("p", {class: "dim"}, "");
    const apply = h("button", {type: "submit", class: "primary", disabled: true}, "Apply");
    const undo = button("Undo", {disabled: true, onclick: () => show()});
    let known = null, general, rooms = new Map();

    const level = (chosen, first) => h("select", {onchange: mark}, first && h("option", {value: ""}, first),
        LEVELS.map((name) => h("option", {value: name, selected: name === chosen}, name)));

    function change() {
        const order = {};
        if (general.value !== known.level) {
            order.level = general.value;
        }
        for (const [name, select] of rooms) {
            const room = known.rooms[name];
            if (select.value !== (room.own ? room.level : "")) {
                order.rooms ??= {};
                order.rooms[name] = select.value || null;
            }
        }
        return order;
    }

    function mark() {
        apply.disabled = undo.disabled = Object.keys(change()).length === 0;
    }

    function show() {
        general = level(known.level);
        rooms = new Map(Object.entries(known.rooms).sort().map(([name, room]) => [name, level(room.own ? room.level : null, "as general")]));
        clear(body, field("General level", general), [...rooms].map(([name, select]) => field(name, select)));
        about.textContent = `Holds until the next reload or start. Access log ${known.access ? "on" : "off"}; `
            + `${count(known.lost)} ${known.lost === 1 ? "line" : "lines"} lost.`;
        mark();
    }

    async function submit(event) {
        event.preventDefault();
        try {
            known = await post("/admin/log", change());
            show();
            general.focus();
            notify("The log's levels are changed.");
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
    }

    let timer;
    async function ask() {
        try {
            known = await get("/admin/log");
            show();
        } catch (refusal) {
            clear(body, empty(refusal.message));
            timer = setTimeout(ask, 5000);
        }
    }

    ask();
    return {element: card("Log", about, h("form", {onsubmit: submit}, body, h("div", {class: "actions"}, apply, undo))),
        end: () => clearTimeout(timer)};
}

function drainCard() {
    const now = h("p", {class: "dim"}, "");
    const drain = button("Drain", {class: "danger", onclick: async () => {
        const agents = store.latest?.agents;
        if (!await confirm("Drain, and end the bridge?", [
            "At once: no new agents, and /ready says 503, so that load balancers look elsewhere.",
            `${agents === undefined ? "The agents" : agents === 1 ? "The one agent that is connected" : `The ${count(agents)} agents that are connected`}: what waits for them is delivered, then they are disconnected with 1001 and told when to come back.`,
            "What waits for agents that are not connected is lost, unless luaduct export has kept it.",
            "Then the process ends. This page cannot start it again, nor call it back.",
        ], "Drain")) {
            return;
        }
        try {
            const {status} = await post("/admin/drain");
            store.drains = true;
            show();
            notify(status === "started" ? "The bridge drains." : "It was draining before.");
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
    }});

    function show() {
        const draining = store.drains || store.latest?.draining === true, agents = store.latest?.agents;
        const number = agents === 1 ? "one agent is" : `${count(agents)} agents are`;
        drain.disabled = draining;
        now.textContent = draining ? `It drains: ${number} left.` :
            `The bridge goes away in order, as after SIGTERM${agents === undefined ? "" : `; ${number} connected`}.`;
    }

    const off = on("figures", show);
    show();
    return {element: card("Drain", now, h("div", {class: "actions"}, drain)), end: off};
}

export function controls(main) {
    main.append(h("div", {class: "title"}, h("h1", {}, "Controls")));
    if (!store.session.admin) {
        main.append(card("Controls", empty("Switching engines, collecting, the log's levels and draining are for administrators.")));
        return () => {};
    }
    const [engines, memory, log, drain] = [engineCard(), memoryCard(), logCard(), drainCard()], cards = [engines, memory, log, drain];
    main.append(h("div", {class: "grid"}, h("div", {class: "stack wide"}, engines.element, log.element),
        h("div", {class: "stack wide"}, memory.element, drain.element)));
    return () => cards.forEach((each) => each.end());
}
