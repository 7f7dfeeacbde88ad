// Who is connected: search, order, one in detail, disconnect.
import {badge, bytes, button, clear, confirm, count, duration, empty, field, h, moment, notify, whole} from "./dom.js";
import {get, post} from "./api.js";
import {on, store} from "./store.js";
import {Detail} from "./detail.js";
import {List} from "./list.js";

// Many agents are a long answer: it is asked for less often then.
const pauseFor = (agents) => agents < 2000 ? 3000 : 10000;

const limit = (value, format) => value ? format(value) : "none";

export function agents(main, chosen) {
    const shown = {all: [], sorted: [], text: "", role: "", sort: "id", descending: false, selected: chosen || null};
    const search = h("input", {type: "search", placeholder: "id, label, tool or intent", oninput: () => {
        shown.text = search.value.toLowerCase();
        refresh();
    }});
    const role = h("select", {onchange: () => {
        shown.role = role.value;
        refresh();
    }}, h("option", {value: ""}, "all roles"));
    const perSecond = (agent, which) => count(agent[which]);
    const list = new List({
        label: "Agents", key: (agent) => agent.id, open, none: "Nobody is connected.",
        sort: (key) => {
            shown.descending = shown.sort === key ? !shown.descending : !["id", "role"].includes(key);
            shown.sort = key;
            sort();
        },
        columns: [
            {name: "Agent", width: "minmax(120px, 2.4fr)", sort: "id", cell: (a) => h("span", {class: "strong"}, a.id)},
            {name: "Role", width: "minmax(50px, 1fr)", sort: "role", cell: (a) => a.role},
            {name: "Labels", width: "minmax(90px, 1fr)", spare: true, cell: (a) => a.labels.slice(0, 3).map((label) => badge(String(label)))},
            {name: "Sent / s", width: "66px", number: true, sort: "sends", cell: (a) => perSecond(a, "sends")},
            {name: "Received / s", width: "96px", number: true, wide: true, sort: "receives", cell: (a) => perSecond(a, "receives")},
            {name: "Waiting", width: "66px", number: true, sort: "waiting", cell: (a) => count(a.waiting)},
            {name: "Tasks", width: "68px", number: true, wide: true, sort: "openTasks", cell: (a) => `${a.openTasks ?? 0} / ${a.maxConcurrentTasks}`},
            {name: "Errors", width: "64px", number: true, wide: true, sort: "errorCount",
                cell: (a) => h("span", {class: a.errorCount ? "bad-text" : "dim"}, count(a.errorCount))},
            {name: "Up", width: "104px", number: true, spare: true, sort: "uptime", cell: (a) => duration(a.uptime / 1000)},
        ],
    });
    const detail = new Detail(list, "Agent", () => {
        shown.selected = null;
        history.replaceState(null, "", "#/agents");
    });
    main.append(h("div", {class: "title"}, h("h1", {}, "Agents"),
        h("div", {class: "bar"}, field("Search", search), field("Role", role))), detail.element);

    function matches(agent) {
        if (shown.role && agent.role !== shown.role) {
            return false;
        }
        agent.search ??= [agent.id, agent.role, ...agent.labels, ...agent.intents,
            ...agent.tools.map((tool) => tool?.name ?? tool)].join("\n").toLowerCase();
        return agent.search.includes(shown.text);
    }

    function value(agent) {
        return agent[shown.sort] ?? -1;
    }

    // Sorted when what is sorted has changed; a search takes out of that.
    function sort() {
        const sign = shown.descending ? -1 : 1;
        for (const agent of shown.all) {
            agent.rank = value(agent);
        }
        shown.sorted = shown.all.slice().sort((a, b) =>
            a.rank < b.rank ? -sign : a.rank > b.rank ? sign : a.id < b.id ? -1 : 1);
        list.showSort(shown.sort, shown.descending);
        refresh();
    }

    function refresh() {
        const found = shown.text || shown.role ? shown.sorted.filter(matches) : shown.sorted;
        list.show(found);
        list.state.textContent = found.length === shown.all.length ? `${whole(found.length)} agents`
            : `${whole(found.length)} of ${whole(shown.all.length)} agents`;
    }

    // In pieces: with ten thousand a second piece of work should not make anybody wait.
    async function takeRates(before, now, seconds) {
        const then = new Map(before.map((agent) => [agent.id, agent]));
        for (let i = 0; i < now.length; i++) {
            const agent = now[i], was = then.get(agent.id);
            if (was && was.connectedAt === agent.connectedAt && seconds > 0) {
                agent.sends = Math.max(0, agent.messageCount - was.messageCount) / seconds;
                agent.receives = Math.max(0, agent.receivedCount - was.receivedCount) / seconds;
            }
            if (i % 1000 === 999) {
                await new Promise((resolve) => setTimeout(resolve));
            }
        }
    }

    function takeRoles() {
        const roles = [...new Set(shown.all.map((agent) => agent.role))].sort().slice(0, 200);
        if (roles.join("\n") !== shown.roles) {
            shown.roles = roles.join("\n");
            clear(role, h("option", {value: ""}, "all roles"), roles.map((name) =>
                h("option", {value: name, selected: name === shown.role}, name)));
        }
    }

    let timer, askedAt = 0, ended = false, quick;
    async function ask() {
        clearTimeout(timer);
        try {
            if (!document.hidden || askedAt === 0) {
                const now = (await get("/agents")).agents, at = performance.now();
                await takeRates(shown.all, now, (at - askedAt) / 1000);
                shown.all = now;
                askedAt = at;
                takeRoles();
                sort();
                showDetail();
            }
        } catch (refusal) {
            list.fail(refusal.message);
        }
        if (!ended) {
            timer = setTimeout(ask, pauseFor(shown.all.length));
        }
    }

    // --- One of them ---

    const cells = {};
    async function open(agent) {
        shown.selected = agent.id;
        history.replaceState(null, "", `#/agents/${encodeURIComponent(agent.id)}`);
        build(agent);
        showDetail();
        clear(cells.history, empty("Reading…"));
        try {
            const {history: envelopes} = await get("/history", {agentId: agent.id, limit: 8});
            clear(cells.history, envelopes.length === 0 ? empty("Nothing in the history.") : h("table", {}, h("tbody", {},
                envelopes.reverse().map((envelope) => h("tr", {}, h("td", {class: "dim"}, envelope.from === agent.id ? "to" : "from"),
                    h("td", {}, envelope.from === agent.id ? envelope.to ?? "all" : envelope.from),
                    h("td", {}, envelope.intent))))));
        } catch (refusal) {
            clear(cells.history, empty(refusal.message));
        }
    }

    function build(agent) {
        const limits = {...store.session.limits, ...agent.limits}; // its credential's go before the config's
        const names = ["Sent", "Received", "Waiting", "Errors", "Open tasks", "Connected", "Last seen"];
        cells.values = names.map(() => h("dd", {}, "–"));
        cells.history = h("div");
        cells.gone = h("p", {class: "banner", hidden: true}, "It is not connected any more.");
        const tags = (title, values) => h("div", {}, h("h3", {}, title), h("div", {class: "wrap"}, values.length === 0
            ? h("span", {class: "dim"}, "none") : values.map((each) => badge(String(each?.name ?? each)))));
        detail.show([h("h2", {}, agent.id), badge(agent.role, "accent")],
            cells.gone,
            h("dl", {class: "facts"}, names.map((name, index) => h("div", {}, h("dt", {}, name), cells.values[index]))),
            tags("Labels", agent.labels), tags("Tools", agent.tools), tags("Intents", agent.intents),
            h("div", {}, h("h3", {}, "Limits"), h("dl", {class: "facts"}, [
                ["Messages / s", limit(limits.messagesPerSecond, count)], ["Bytes / s", limit(limits.bytesPerSecond, bytes)],
                ["Of one message", bytes(limits.messageBytes)], ["Send queue", limit(limits.sendQueueBytes, bytes)],
                ["Mailbox", `${count(limits.mailboxEnvelopes)}, ${bytes(limits.mailboxBytes)}`],
                ["Tasks at once", String(agent.maxConcurrentTasks)],
            ].map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text))))),
            h("div", {}, h("h3", {}, "Newest envelopes"), cells.history),
            h("div", {class: "actions"},
                button("Follow", {onclick: () => {
                    location.hash = `#/envelopes/${encodeURIComponent(agent.id)}`;
                }}, "envelopes"),
                button("Send to it", {onclick: () => {
                    location.hash = `#/send/${encodeURIComponent(agent.id)}`;
                }}, "send"),
                button("Disconnect", {class: "danger", disabled: !store.session.admin, onclick: () => disconnect(agent.id)})),
            !store.session.admin && h("small", {}, "Disconnecting is for administrators."));
    }

    function showDetail() {
        if (shown.selected === null) {
            return;
        }
        const agent = shown.all.find((each) => each.id === shown.selected);
        if (agent && detail.pane.hidden) {
            list.select(agent.id);
            open(agent);
            return;
        } else if (!cells.values) {
            return;
        }
        cells.gone.hidden = agent !== undefined;
        if (agent) {
            const texts = [`${count(agent.messageCount)} (${perSecond(agent, "sends")}/s)`,
                `${count(agent.receivedCount)} (${perSecond(agent, "receives")}/s)`,
                `${count(agent.waiting)} (${bytes(agent.waitingBytes)})`, count(agent.errorCount),
                `${agent.openTasks ?? 0} of ${agent.maxConcurrentTasks}`, moment(agent.connectedAt), moment(agent.lastSeen)];
            texts.forEach((text, index) => {
                cells.values[index].textContent = text;
            });
        }
    }

    async function disconnect(id) {
        if (!await confirm(`Disconnect ${id}?`, "Its connection is closed with 1008. What waits for it stays in its mailbox, and it may connect again.",
            "Disconnect")) {
            return;
        }
        try {
            await post("/admin/disconnect", {agent: id});
            notify(`${id} is being disconnected.`);
            setTimeout(ask, 300);
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
    }

    // Who comes and goes is shown soon, and a crowd once.
    const off = on("agent", () => {
        quick ??= setTimeout(() => {
            quick = undefined;
            ask();
        }, shown.all.length < 2000 ? 400 : 5000);
    });
    ask();
    return () => {
        ended = true;
        clearTimeout(timer);
        clearTimeout(quick);
        off();
        list.end();
    };
}
