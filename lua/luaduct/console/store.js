// What the bridge says all the time, kept for the views: ten minutes of figures, and the newest events of other kinds.
import {listen} from "./api.js";

export const SAMPLES = 600;

const target = new EventTarget();
let stream = null;

export const store = {
    session: null,
    samples: [],  // oldest first
    latest: null, // the figures as they came
    state: "waiting",
    lost: 0,      // events that found no room on their way here
};

// Tells "figures", "agent", "alert", "engine", "memory" and "state" to who asked; gives what ends that.
export function on(kind, callback) {
    const take = (event) => callback(event.detail);
    target.addEventListener(kind, take);
    return () => target.removeEventListener(kind, take);
}

function tell(kind, detail) {
    target.dispatchEvent(new CustomEvent(kind, {detail}));
}

// Counters become rates.
function sample(figures, before) {
    const at = new Date(figures.time).getTime();
    const seconds = before ? (at - before.at) / 1000 : 0;
    const rate = (now, then) => seconds > 0 && now >= then ? (now - then) / seconds : null;
    const messages = figures.messages, last = before?.figures.messages ?? {};
    return {
        at,
        figures,
        accepted: rate(messages.accepted, last.accepted),
        delivered: rate(messages.delivered, last.delivered),
        refused: rate(messages.refused, last.refused),
        bytesIn: rate(messages.bytesIn, last.bytesIn),
        bytesOut: rate(messages.bytesOut, last.bytesOut),
        p50: figures.latency?.p50 ?? null,
        p90: figures.latency?.p90 ?? null,
        p99: figures.latency?.p99 ?? null,
        used: figures.memory.used,
        heaps: figures.memory.luaHeaps,
        cycles: rate(figures.collector.totalGCTriggers, before?.figures.collector.totalGCTriggers),
        agents: figures.agents,
        workers: figures.workers.currentWorkers,
        busy: figures.workers.busyWorkers,
        forecast: figures.workers.forecastWorkers,
        waiting: figures.workers.queuedTasks,
        done: rate(figures.workers.tasksCompleted, before?.figures.workers.tasksCompleted),
        alerts: figures.alerts,
    };
}

function take(kind, data) {
    const value = JSON.parse(data);
    if (kind === "lost") {
        store.lost += value.count;
        return;
    }
    if (kind === "figures") {
        const before = store.samples.at(-1);
        const restarted = before && value.uptime < before.figures.uptime;
        store.latest = value;
        store.samples.push(sample(value, restarted ? null : before));
        if (store.samples.length > SAMPLES) {
            store.samples.shift();
        }
    }
    tell(kind, value);
}

export function begin(session) {
    store.session = session;
    stream?.stop();
    stream = listen("/events?kinds=figures,agent,alert,engine,memory", take, (state) => {
        store.state = state;
        tell("state", state);
    });
}

export function end() {
    stream?.stop();
    stream = null;
    store.session = store.latest = null;
    store.samples = [];
}
