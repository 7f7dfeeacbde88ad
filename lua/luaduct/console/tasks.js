// What the history says of each task, and the workers that do what the bridge is asked to.
import {badge, card, clock, count, field, h, milliseconds, moment} from "./dom.js";
import {getText} from "./api.js";
import {on, store} from "./store.js";
import {Chart} from "./chart.js";
import {Detail} from "./detail.js";
import {List} from "./list.js";
import {member, pretty} from "./json.js";

export function tasks(main) {
    let all = [], timer, ended = false;
    const search = h("input", {type: "search", placeholder: "task, agent or intent", oninput: () => refresh()});
    const names = ["Threads", "Busy", "Waiting high", "Waiting normal", "Waiting low", "Completed", "Failed", "Timeouts", "Average", "Longest"];
    const values = names.map(() => h("dd", {}, "–"));
    const chart = new Chart({title: "Tasks of the workers", format: count, least: 2, series: [
        {name: "done / s", value: (s) => s.tasksCompleted, color: 1, fill: true},
        {name: "waiting", value: (s) => s.queuedTasks, color: 3}]});
    const list = new List({
        label: "Tasks, the newest first", key: (task) => task.taskId, open, none: "No envelope of the history names a task.",
        columns: [
            {name: "Task", width: "minmax(110px, 1.5fr)", cell: (t) => h("span", {class: "strong"}, t.taskId)},
            {name: "Intents", width: "minmax(100px, 2fr)", cell: (t) => t.intents.slice(-3).map((name) => badge(String(name)))},
            {name: "Who", width: "minmax(90px, 1.5fr)", wide: true, cell: (t) => t.participants.join(", ")},
            {name: "Last", width: "84px", number: true, cell: (t) => clock(t.lastUpdate)},
        ],
    });
    const detail = new Detail(list, "Task");
    main.append(h("div", {class: "title"}, h("h1", {}, "Tasks"), h("div", {class: "bar"}, field("Search", search))),
        h("div", {class: "grid"}, chart.element, card("Workers", h("dl", {class: "facts"},
            names.map((name, index) => h("div", {}, h("dt", {}, name), values[index]))))),
        detail.element);

    function showWorkers() {
        const workers = store.latest?.workers;
        if (workers) {
            const texts = [workers.currentWorkers, workers.busyWorkers, workers.depth.high, workers.depth.normal, workers.depth.low,
                workers.tasksCompleted, workers.tasksFailed, workers.timeouts].map(count);
            [...texts, milliseconds(workers.averageTaskTime), milliseconds(workers.maxTaskTime)].forEach((text, index) => {
                values[index].textContent = text;
            });
            chart.refresh();
        }
    }

    function refresh() {
        const wanted = search.value.toLowerCase();
        const found = all.filter((task) => wanted === "" || [task.taskId, ...task.intents, ...task.participants].join("\n").toLowerCase().includes(wanted));
        list.show(found);
        list.state.textContent = `${found.length} of ${all.length} tasks in the history`;
    }

    async function ask() {
        try {
            if (!document.hidden || all.length === 0) {
                all = JSON.parse(await getText("/tasks")).tasks.reverse();
                refresh();
            }
        } catch (refusal) {
            list.fail(refusal.message);
        }
        if (!ended) {
            timer = setTimeout(ask, 5000);
        }
    }

    function open(task) {
        detail.show([h("h2", {}, task.taskId)],
            h("p", {class: "dim"}, `last ${moment(task.lastUpdate)}`),
            h("div", {}, h("h3", {}, "Intents"), h("div", {class: "wrap"}, task.intents.map((name) => badge(String(name))))),
            h("div", {}, h("h3", {}, "Who took part"), h("div", {class: "wrap"}, task.participants.map((name) => badge(String(name))))),
            h("div", {}, h("h3", {}, "Last envelope"), h("pre", {class: "text", tabindex: "0"}, pretty(JSON.stringify(task.lastEnvelope)))));
    }

    const offs = [on("figures", showWorkers), on("filled", () => chart.refresh())];
    showWorkers();
    ask();
    return () => {
        ended = true;
        clearTimeout(timer);
        offs.forEach((off) => off());
        chart.end();
        list.end();
    };
}
