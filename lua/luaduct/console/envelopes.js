// Envelopes as they are routed, each with its way: who sent it, what the hook decided, how it came out.
import {badge, button, clear, clock, empty, field, h, whole} from "./dom.js";
import {get, getText, listen} from "./api.js";
import {store} from "./store.js";
import {Detail} from "./detail.js";
import {List} from "./list.js";
import {member, pretty} from "./json.js";

const KEPT = 2000, PACE = 200;

const KINDS = {accepted: "good", dropped: "warn", refused: "bad", history: ""};

function fromTrace(data, number) {
    const trace = JSON.parse(data);
    return {number, trace, raw: member(data, "envelope"), id: trace.id, time: trace.time, from: trace.from, to: trace.to,
        intent: trace.intent, outcome: trace.outcome};
}

function fromHistory(envelope, number) {
    return {number, trace: null, raw: JSON.stringify(envelope), id: envelope.id, time: envelope.timestamp,
        from: envelope.from, to: envelope.to, intent: envelope.intent, outcome: "history"};
}

function way({trace}) {
    const sender = trace.sender;
    const step = (kind, title, ...lines) => h("li", {class: kind}, h("b", {}, title), lines.filter(Boolean).map((line) => h("p", {}, line)));
    const notes = [trace.cached && "known from before", trace.waited && "the hook waited", trace.failed && "the hook failed"];
    const outcome = {
        accepted: ["", `Accepted for ${trace.recipients} ${trace.recipients === 1 ? "recipient" : "recipients"}`],
        dropped: ["warn", "Dropped by the script", trace.reason],
        refused: ["bad", "Refused", trace.code],
    }[trace.outcome] ?? ["", trace.outcome];
    return h("ol", {class: "way"},
        step("", "Received", sender ? `from ${sender.id ?? sender.identity ?? "somebody"}${sender.role ? `, role ${sender.role}` : ""}` : "over HTTP",
            sender?.identity && `identity ${sender.identity}`, `on reactor ${trace.reactor}`),
        step(trace.failed ? "bad" : "", `Hook ${trace.hook}, version ${trace.version}`,
            `${trace.us < 1000 ? `${trace.us} µs` : `${(trace.us / 1000).toFixed(2)} ms`}${notes.filter(Boolean).map((note) => `, ${note}`).join("")}`),
        step("", "Decided", trace.decision ?? "nothing: the default rule, or the envelope is dropped"),
        step(...outcome));
}

export function envelopes(main, about) {
    const all = [];   // newest first
    let fresh = [], number = 0, stream = null, paused = false, skipped = 0, lost = 0, state = "waiting", due;
    const admin = store.session.admin;
    const agent = h("input", {type: "text", value: about ?? "", placeholder: "any agent"});
    const intent = h("input", {type: "text", placeholder: "any intent"});
    const text = h("input", {type: "search", placeholder: "in what is shown"});
    const list = new List({
        label: "Envelopes, newest first", key: (each) => each.number, open, none: "No envelopes yet.",
        columns: [
            {name: "Time", width: "74px", cell: (e) => h("span", {class: "dim"}, clock(e.time))},
            {name: "From", width: "minmax(80px, 1fr)", cell: (e) => h("span", {class: "strong"}, e.from ?? "–")},
            {name: "To", width: "minmax(80px, 1fr)", cell: (e) => e.to ?? "all"},
            {name: "Intent", width: "minmax(90px, 1fr)", wide: true, cell: (e) => e.intent ?? "–"},
            {name: "Outcome", width: "96px", cell: (e) => badge(e.outcome, KINDS[e.outcome])},
            {name: "Took", width: "84px", number: true, wide: true,
                cell: (e) => e.trace ? e.trace.us < 1000 ? `${e.trace.us} µs` : `${(e.trace.us / 1000).toFixed(1)} ms` : "–"},
        ],
    });
    const detail = new Detail(list, "Envelope");
    const pause = button("Pause", {"aria-pressed": "false", disabled: !admin, onclick: () => {
        paused = !paused;
        pause.setAttribute("aria-pressed", String(paused));
        pause.lastChild.textContent = paused ? "Go on" : "Pause";
        refresh();
    }});
    const filter = h("form", {class: "bar", onsubmit: (event) => {
        event.preventDefault();
        begin();
    }}, field("Agent", agent), field("Intent", intent), field("Find", text),
        h("button", {type: "submit"}, "Filter"), pause, button("Clear", {onclick: () => {
            all.length = 0;
            fresh = [];
            lost = 0;
            refresh();
        }}));
    main.append(h("div", {class: "title"}, h("h1", {}, "Envelopes"),
        h("p", {}, admin ? `as they are routed, at most ${PACE} a second` : "from the history: the live tail is for administrators")),
        filter, detail.element);
    text.addEventListener("input", () => refresh(true));

    function found() {
        const wanted = text.value.toLowerCase();
        return wanted === "" ? all : all.filter((each) => `${each.from}\n${each.to}\n${each.intent}\n${each.id}\n${each.raw}`.toLowerCase().includes(wanted));
    }

    // A few times a second: faster nobody reads.
    function refresh(soon) {
        due ??= setTimeout(() => {
            due = undefined;
            let moved = 0;
            if (!paused && fresh.length > 0) {
                moved = fresh.length;
                all.unshift(...fresh.reverse());
                all.length = Math.min(all.length, KEPT);
                fresh = [];
            }
            const shown = found();
            list.show(shown, shown === all ? moved : 0);
            clear(list.state, h("span", {}, state), h("span", {}, `${whole(shown.length)} shown, the newest ${whole(KEPT)} are kept`),
                paused && h("span", {}, `${fresh.length} came while paused`),
                lost > 0 && h("span", {}, `${lost} missed: they came too fast`));
        }, soon ? 0 : 200);
    }

    function take(kind, data) {
        if (kind === "lost") {
            lost += JSON.parse(data).count;
        } else if (kind === "trace") {
            fresh.push(fromTrace(data, ++number));
            if (fresh.length > KEPT) {
                fresh.shift();
            }
        }
        refresh();
    }

    async function readHistory() {
        const parameters = {limit: 200};
        if (agent.value) {
            parameters.agentId = agent.value;
        }
        if (intent.value) {
            parameters.intent = intent.value;
        }
        try {
            const {history} = await get("/history", parameters);
            const seen = new Set(all.map((each) => each.id));
            all.push(...history.reverse().filter((each) => !seen.has(each.id)).map((each) => fromHistory(each, ++number)));
        } catch (refusal) {
            list.options.none = refusal.message;
        }
        list.reading = false;
        refresh();
    }

    function begin() {
        state = "waiting";
        clear(list.state, state); // at once: what was live was another filter
        list.reading = true;
        list.options.none = "No envelopes yet.";
        stream?.stop();
        all.length = 0;
        fresh = [];
        readHistory();
        if (!admin) {
            state = "history";
            return;
        }
        const parameters = new URLSearchParams({pace: PACE});
        if (agent.value) {
            parameters.set("agent", agent.value);
        }
        if (intent.value) {
            parameters.set("intent", intent.value);
        }
        stream = listen(`/admin/trace?${parameters}`, take, (now, why) => {
            state = typeof now === "string" ? why?.message ?? now : now.message;
            refresh();
        });
    }

    function open(each) {
        detail.show([h("h2", {}, each.intent ?? "Envelope"), badge(each.outcome, KINDS[each.outcome])],
            h("p", {class: "mono dim"}, each.id ?? ""),
            each.trace ? way(each) : h("p", {class: "dim"}, "Out of the history: nobody watched its way."),
            h("div", {}, h("h3", {}, "As it was sent"), each.raw && each.raw !== "null"
                ? h("pre", {class: "text", tabindex: "0"}, pretty(each.raw))
                : empty("It takes more than 16 KiB, which the trace leaves out.")));
    }

    begin();
    return () => {
        stream?.stop();
        clearTimeout(due);
        list.end();
    };
}
