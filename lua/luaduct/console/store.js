// What the bridge says all the time, kept for the views: ten minutes of figures, those of before the page was opened too.
import {get, listen} from "./api.js";

const SAMPLES = 600;

const target = new EventTarget();
let stream = null;

export const store = {
    session: null,
    samples: [],  // oldest first
    latest: null, // the figures as they came
    state: "waiting",
    why: null,    // the refusal that a state of "waiting" is for
    drains: false, // it was told to from here
    heard: 0,     // when the latest came, by performance.now()
    lost: 0,      // events that found no room on their way here
};

// Tells "figures", "filled" (the past has come), "agent", "alert", "engine", "memory" and "state" to who asked; gives what ends that.
export function on(kind, callback) {
    const take = (event) => callback(event.detail);
    target.addEventListener(kind, take);
    return () => target.removeEventListener(kind, take);
}

function tell(kind, detail) {
    target.dispatchEvent(new CustomEvent(kind, {detail}));
}

const COUNTERS = ["accepted", "delivered", "refused", "bytesIn", "bytesOut", "tasksCompleted", "collections"];

// What counters were becomes rates; a bridge that has begun anew has none at first.
function add(list, sample) {
    const before = list.at(-1);
    const seconds = before ? (sample.at - before.at) / 1000 : 0;
    for (const name of COUNTERS) {
        const change = before ? sample.counters[name] - before.counters[name] : -1;
        sample[name] = seconds > 0 && change >= 0 ? change / seconds : null;
    }
    list.push(sample);
    if (list.length > SAMPLES) {
        list.shift();
    }
}

function sampleOf(figures) {
    const {messages, workers} = figures;
    return {
        at: new Date(figures.time).getTime(),
        counters: {...messages, tasksCompleted: workers.tasksCompleted, collections: figures.collector.totalGCTriggers},
        p50: figures.latency?.p50 ?? null,
        p90: figures.latency?.p90 ?? null,
        p99: figures.latency?.p99 ?? null,
        memory: figures.memory.used,
        luaHeaps: figures.memory.luaHeaps,
        agents: figures.agents,
        currentWorkers: workers.currentWorkers,
        busyWorkers: workers.busyWorkers,
        forecastWorkers: workers.forecastWorkers,
        queuedTasks: workers.queuedTasks,
    };
}

// What was before this page listened, and while it did not, comes from the bridge's own history.
async function fill(current) {
    let history;
    try {
        history = await get("/metrics/history");
    } catch {
        return; // who may not see it sees the charts grow
    }
    if (current !== stream) {
        return;
    }
    const list = [];
    for (const row of history.samples) {
        const sample = Object.fromEntries(history.columns.map((name, index) => [name, row[index]]));
        sample.at = sample.time;
        sample.counters = Object.fromEntries(COUNTERS.map((name) => [name, sample[name]]));
        add(list, sample);
    }
    const until = (list.at(-1)?.at ?? 0) + 500; // the figures of an event are those of a sample, a moment later
    store.samples.filter((sample) => sample.at > until).forEach((sample) => add(list, sample));
    store.samples = list;
    tell("filled");
}

function take(kind, data) {
    const value = JSON.parse(data);
    if (kind === "lost") {
        store.lost += value.count;
        return;
    }
    if (kind === "figures") {
        store.drains &&= value.draining || value.uptime >= (store.latest?.uptime ?? 0); // another process does not
        store.latest = value;
        store.heard = performance.now();
        add(store.samples, sampleOf(value));
    }
    tell(kind, value);
}

export function begin(session) {
    store.session = session;
    stream?.stop();
    stream = listen("/events?kinds=figures,agent,alert,engine,memory", take, (state, why) => {
        store.state = state;
        store.why = why ?? null;
        tell("state", state);
        if (state === "live") {
            fill(stream);
        }
    });
}

export function end() {
    stream?.stop();
    stream = null;
    store.session = store.latest = null;
    store.samples = [];
}
