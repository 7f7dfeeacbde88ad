// Figures of the whole bridge as they move.
import {bytes, card, clear, count, duration, h, milliseconds, percent, whole} from "./dom.js";
import {on, store} from "./store.js";
import {Chart} from "./chart.js";

const RANGES = [[60, "1 min"], [300, "5 min"], [600, "10 min"]];

function tile(name, link) {
    const value = h("dd", {}, "–"), more = h("dd", {}, "\u00a0");
    const label = link ? h("a", {href: link}, name) : name;
    return {element: h("dl", {class: "tile"}, h("dt", {}, label), value, more), set(text, detail) {
        value.textContent = text;
        more.textContent = detail || "\u00a0";
    }};
}

function facts(names) {
    const values = names.map(() => h("dd", {}, "–"));
    return {
        element: h("dl", {class: "facts"}, names.map((name, index) => h("div", {}, h("dt", {}, name), values[index]))),
        set(...texts) {
            texts.forEach((text, index) => {
                if (values[index].textContent !== text) {
                    values[index].textContent = text;
                }
            });
        },
    };
}

function charts() {
    return {
        messages: new Chart({title: "Messages per second", format: count, least: 5, series: [
            {name: "accepted", value: (s) => s.accepted, color: 1, fill: true},
            {name: "delivered", value: (s) => s.delivered, color: 2},
            {name: "refused", value: (s) => s.refused, color: 3}]}),
        latency: new Chart({title: "Latency in the bridge", format: milliseconds, least: 0.01, series: [
            {name: "p50", value: (s) => s.p50, color: 1, fill: true},
            {name: "p90", value: (s) => s.p90, color: 2},
            {name: "p99", value: (s) => s.p99, color: 3}]}),
        memory: new Chart({title: "Memory", format: bytes, binary: true, least: 1024 * 1024, series: [
            {name: "resident", value: (s) => s.memory, color: 1, fill: true},
            {name: "Lua heaps", value: (s) => s.luaHeaps, color: 2}],
            marks: ({memory, collector}) => memory.budget === null ? [] : [
                {value: memory.budget, text: "budget"},
                {value: memory.budget * collector.configuration.memoryThreshold, text: "pressure begins"}],
            ahead: ({memory}) => memory.trend === null ? null : {perSecond: memory.trend}}),
        workers: new Chart({title: "Workers", format: count, least: 2, series: [
            {name: "threads", value: (s) => s.currentWorkers, color: 2},
            {name: "busy", value: (s) => s.busyWorkers, color: 1, fill: true},
            {name: "forecast", value: (s) => s.forecastWorkers, color: 4},
            {name: "tasks waiting", value: (s) => s.queuedTasks, color: 3}]}),
    };
}

// Its cells stay, so that who reads or scrolls the table is not thrown out of it.
function poolTable() {
    const body = h("tbody");
    const place = h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Object pools"}, h("table", {},
        h("thead", {}, h("tr", {}, ["Pool", "In use", "Kept", "Hits", "Memory"].map((name, index) =>
            h("th", {scope: "col", class: index ? "number" : ""}, name)))), body));
    let names = null;
    return {element: place, show(pools) {
        const rows = [...Object.entries(pools.bridge).sort(), ...Object.entries(pools.lua).sort().map(([name, pool]) => [`script: ${name}`, pool])];
        const now = rows.map(([name]) => name).join("\n");
        if (now !== names) {
            names = now;
            clear(body, rows.map(([name]) => h("tr", {}, h("th", {scope: "row"}, name),
                [0, 1, 2, 3].map(() => h("td", {class: "number"})))));
        }
        rows.forEach(([, pool], row) => [count(pool.acquired), count(pool.available), percent(pool.hitRate), bytes(pool.bytes)]
            .forEach((text, column) => {
                body.children[row].children[column + 1].textContent = text;
            }));
    }};
}

export function overview(main) {
    const tiles = {
        agents: tile("Agents", "#/agents"), messages: tile("Messages / s"), latency: tile("Latency p99"),
        memory: tile("Memory"), workers: tile("Workers busy", "#/tasks"), alerts: tile("Alerts", "#/alerts"),
    };
    const drawn = charts();
    const gauge = h("i"), threshold = h("u");
    const bar = h("div", {class: "gauge", role: "img", "aria-label": "Memory against its budget"}, gauge, threshold);
    const memory = facts(["Of the budget", "Level", "Trend", "Pressure in", "Mailboxes", "History"]);
    const collector = facts(["Cycles", "Longest cycle", "Pause p50", "Pause p99", "Longest pause", "Reclaimed"]);
    const delivery = facts(["In mailboxes", "Undeliverable", "Dropped by scripts", "Refused", "Received", "Sent"]);
    const pools = poolTable(), banner = h("div", {class: "banners"});
    const workers = facts(["Completed", "Failed", "Waiting", "Average run", "Average wait", "Longest run"]);
    drawn.memory.element.append(bar, memory.element);
    drawn.workers.element.append(workers.element);

    const ranges = RANGES.map(([seconds, name]) => h("button", {type: "button", "aria-pressed": String(seconds === 60),
        onclick: (event) => {
            ranges.forEach((each) => each.setAttribute("aria-pressed", String(each === event.currentTarget)));
            Object.values(drawn).forEach((chart) => {
                chart.seconds = seconds;
                chart.refresh();
            });
        }}, name));
    const subtitle = h("p", {}, "");
    main.append(
        h("div", {class: "title"}, h("h1", {}, "Overview"), subtitle,
            h("div", {class: "segments", role: "group", "aria-label": "Time shown"}, ranges)),
        banner,
        h("div", {class: "tiles"}, Object.values(tiles).map((each) => each.element)),
        h("div", {class: "grid"}, drawn.messages.element, drawn.latency.element, drawn.memory.element, drawn.workers.element),
        h("div", {class: "grid"}, card("Delivery", delivery.element), card("Collectors of the scripts", collector.element),
            card("Object pools", pools.element)));

    function showMemory(figures) {
        const {memory: of, collector: by} = figures, share = of.budget ? of.used / of.budget : null;
        gauge.style.setProperty("width", `${Math.min(100, (share ?? 0) * 100)}%`);
        threshold.style.setProperty("left", `${by.configuration.memoryThreshold * 100}%`);
        bar.className = `gauge ${of.level === "critical" ? "bad" : of.level === "high" ? "warn" : ""}`;
        bar.setAttribute("aria-label", `Memory: ${percent(share)} of the budget, level ${of.level}`);
        const ahead = of.predictedSecondsToThreshold;
        memory.set(of.budget ? `${percent(share)} of ${bytes(of.budget)}` : "no budget", of.level,
            of.trend === null ? "–" : `${bytes(of.trend)}/s`, ahead === null ? "not in sight" : duration(ahead),
            bytes(of.mailboxes), bytes(of.history));
        tiles.memory.set(bytes(of.used), share === null ? of.level : `${percent(share)} of the budget`);
    }

    function show() {
        const now = store.samples.at(-1);
        if (!now || !store.latest) {
            return;
        }
        const figures = store.latest, {messages, workers: pool} = figures;
        subtitle.textContent = `up ${duration(figures.uptime)} · scripts version ${figures.script.number}`;
        clear(banner, figures.degraded.map((one) => h("p", {class: "banner"}, `${one.name}: ${one.reason}`)));
        tiles.agents.set(whole(figures.agents), `${whole(figures.connections)} connections`);
        tiles.messages.set(count(now.accepted), `${count(messages.accepted)} since the start`);
        tiles.latency.set(milliseconds(now.p99), `p50 ${milliseconds(now.p50)}`);
        tiles.workers.set(`${pool.busyWorkers} / ${pool.currentWorkers}`, `${count(pool.queuedTasks)} tasks waiting`);
        tiles.alerts.set(String(figures.alerts), figures.alerts ? "active now" : "nothing to look at");
        showMemory(figures);
        workers.set(count(pool.tasksCompleted), count(pool.tasksFailed), count(pool.queuedTasks),
            milliseconds(pool.averageTaskTime), milliseconds(pool.averageWaitTime), milliseconds(pool.maxTaskTime));
        const pauses = figures.collector.pauses;
        collector.set(count(figures.collector.totalGCTriggers), milliseconds(figures.collector.maxGCTime),
            milliseconds(pauses.p50), milliseconds(pauses.p99), milliseconds(pauses.max), bytes(figures.collector.memoryReclaimed));
        const lost = Object.values(messages.undeliverable).reduce((sum, each) => sum + each, 0);
        delivery.set(count(figures.queued), count(lost), count(messages.dropped), count(messages.refused),
            now.bytesIn === null ? "–" : `${bytes(now.bytesIn)}/s`, now.bytesOut === null ? "–" : `${bytes(now.bytesOut)}/s`);
        pools.show(figures.pools);
        Object.values(drawn).forEach((chart) => chart.refresh());
    }

    const offs = [on("figures", show), on("filled", () => Object.values(drawn).forEach((chart) => chart.refresh()))];
    show();
    return () => {
        offs.forEach((off) => off());
        Object.values(drawn).forEach((chart) => chart.end());
    };
}
