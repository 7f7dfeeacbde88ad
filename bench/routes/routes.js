// The same routes as those in Lua beside this file, as a Node program would have them: a function of the parsed
// envelope that returns a decision as data. `node routes.js ENVELOPES NAME`:
//   --seconds S    prints nanoseconds of a decision, in processor time of the whole process
//   --text         with JSON.parse of the message before each
//   --show         instead: prints the decisions, one a line
"use strict";
const fs = require("node:fs");

const bridge = {
    to: (id) => ({ kind: "to", ids: [id] }),
    any: (selector) => ({ kind: "any", selector }),
    label: (label) => ({ kind: "all", selector: { label } }),
    drop: (reason) => ({ kind: "drop", reason }),
};

const roles = new Map([
    ["code.review", "reviewer"], ["code.write", "coder"], ["text.translate", "translator"],
    ["text.summarise", "writer"], ["image.draw", "painter"],
]);

function hash(text, start) {
    let value = start;
    for (let i = 0; i < text.length; i++) {
        value = (value * 33 + text.charCodeAt(i)) % 4294967296;
    }
    return value;
}

const WORKERS = 32;

const routes = {
    trivial: (envelope) => bridge.to(envelope.to ?? "nobody"),

    typical(envelope) {
        const intent = envelope.intent;
        if (intent.startsWith("system.") && envelope.role !== "operator") {
            return bridge.drop("for operators only");
        }
        const role = roles.get(intent);
        if (role !== undefined) {
            return bridge.any(envelope.priority === "high" ? { role, label: "fast" } : { role });
        }
        if (envelope.to) {
            return bridge.to(envelope.to);
        }
        return bridge.label(/^([A-Za-z0-9]+)\./.exec(intent)?.[1] ?? "unsorted");
    },

    heavy(envelope) {
        const key = hash(envelope.channel, hash(envelope.from, 5381));
        let best = null, most = -1;
        for (let number = 1; number <= WORKERS; number++) {
            const name = "worker-" + number, weight = hash(name, key);
            if (weight > most) {
                best = name;
                most = weight;
            }
        }
        return bridge.to(best);
    },
};

function write(decision) {
    const text = JSON.stringify;
    switch (decision.kind) {
    case "to":
        return `to{${decision.ids.map(text).join(", ")}}`;
    case "drop":
        return `drop(${text(decision.reason)})`;
    default: {
        const parts = ["role", "label"].filter((key) => decision.selector[key] !== undefined)
            .map((key) => `${key} = ${text(decision.selector[key])}`);
        return `${decision.kind}{${parts.join(", ")}}`;
    }
    }
}

const words = process.argv.slice(2);
const seconds = words.includes("--seconds") ? Number(words[words.indexOf("--seconds") + 1]) : 0.2;
const [file, name] = words.filter((word, i) => !word.startsWith("--") && words[i - 1] !== "--seconds");
const texts = fs.readFileSync(file, "utf8").trimEnd().split("\n");
const route = routes[name];
const read = (text) => JSON.parse(text).envelope;
const envelopes = texts.map(read);
let sink = 0;

// One pass over all; its result is used, so that nothing of it can be left out.
const pass = words.includes("--text")
    ? () => {
        for (const text of texts) {
            sink += route(read(text)).kind.length;
        }
    }
    : () => {
        for (const envelope of envelopes) {
            sink += route(envelope).kind.length;
        }
    };

function run(duration) {
    const start = process.cpuUsage();
    let passes = 0, used;
    do {
        for (let i = 0; i < 10; i++) {
            pass();
        }
        passes += 10;
        const { user, system } = process.cpuUsage(start);
        used = user + system;
    } while (used < duration * 1e6);
    return (used * 1000) / (passes * texts.length);
}

if (words.includes("--show")) {
    envelopes.forEach((envelope) => console.log(write(route(envelope))));
} else {
    run(0.2); // V8 compiles meanwhile
    console.log(run(seconds).toFixed(2));
    process.exitCode = sink > 0 ? 0 : 1;
}
