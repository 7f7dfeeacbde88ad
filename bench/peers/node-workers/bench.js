// What a Node program does with worker_threads for the work of bench/micro/operations.c, on the same inputs:
//   node bench.js [--seconds S] [NAME]...
// prints "name<TAB>compute<TAB>round trip<TAB>compute<TAB>round trip" a line, in milliseconds of a call: inside of the
// worker alone, and with the data posted to the worker and the result posted back, as a program has to that wants its
// main thread free; the second pair is the processor time of the whole process.
"use strict";
const { Worker, isMainThread, parentPort } = require("node:worker_threads");
const crypto = require("node:crypto");
const zlib = require("node:zlib");

const ROWS = 2000, DIMENSIONS = 256, DOT_NUMBERS = 4096, TEXT_BYTES = 1 << 20, SORT_NUMBERS = 1000000, RECORDS = 9000;

function xorshift() {
    let x = 1;
    return () => {
        x ^= x << 13;
        x ^= x >>> 17;
        x ^= x << 5;
        return (x >>>= 0);
    };
}

function vector(count, Kind) {
    const next = xorshift(), numbers = new Kind(count);
    for (let i = 0; i < count; i++) {
        numbers[i] = Math.fround(next() / 4294967296 - 0.5);
    }
    return numbers;
}

function records() {
    const next = xorshift(), parts = [];
    for (let i = 0; i < RECORDS; i++) {
        const cents = next() % 100000;
        parts.push(`{"id":${i},"name":"user ${(i * 7) >>> 0}","score":${Math.floor(cents / 100)}.${(cents % 9) + 1},` +
            `"active":${i % 2 === 1},"tags":["red","green","blue"],"point":[${i % 100},${i % 7}],"note":null}`);
    }
    return `[${parts.join(",")}]`;
}

function words() {
    const next = xorshift(), letters = "eeeettaaooiinnsshrdlu   cm@.", bytes = Buffer.alloc(TEXT_BYTES);
    for (let i = 0; i < TEXT_BYTES; i++) {
        bytes[i] = letters.charCodeAt(next() % 28);
    }
    return bytes;
}

function numbers() {
    const next = xorshift(), list = new Float64Array(SORT_NUMBERS);
    for (let i = 0; i < SORT_NUMBERS; i++) {
        list[i] = (next() / 4294967296) * 1e6;
    }
    return list;
}

function topK({ query, matrix, k }) {
    let own = 0;
    for (let i = 0; i < query.length; i++) {
        own += query[i] * query[i];
    }
    const best = [];
    for (let row = 0; row * query.length < matrix.length; row++) {
        let dot = 0, square = 0;
        const at = row * query.length;
        for (let i = 0; i < query.length; i++) {
            const x = matrix[at + i];
            dot += x * query[i];
            square += x * x;
        }
        const score = square > 0 && own > 0 ? dot / Math.sqrt(square * own) : 0;
        if (best.length < k || score > best[best.length - 1].score) {
            let place = best.length;
            while (place > 0 && best[place - 1].score < score) {
                place--;
            }
            best.splice(place, 0, { index: row, score });
            best.length = Math.min(best.length, k);
        }
    }
    return best;
}

function dot({ a, b }) {
    let sum = 0;
    for (let i = 0; i < a.length; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

const search = (Kind) => ({ query: vector(DIMENSIONS, Kind), matrix: vector(ROWS * DIMENSIONS, Kind), k: 10 });

const benchmarks = {
    topk: { make: () => search(Float32Array), run: topK },
    topk_numbers: { make: () => search(Float64Array), run: topK },
    dot: { make: () => ({ a: vector(DOT_NUMBERS, Float32Array), b: vector(DOT_NUMBERS, Float32Array) }), run: dot },
    json_parse: { make: records, run: JSON.parse },
    json_stringify: { make: () => JSON.parse(records()), run: (value) => JSON.stringify(value) },
    sha256: { make: words, run: (bytes) => crypto.createHash("sha256").update(bytes).digest("hex") },
    gzip: { make: words, run: (bytes) => zlib.gzipSync(bytes, { level: 6 }) },
    sort: { make: numbers, run: (list) => list.slice().sort() },
    regex: { make: () => words().toString("latin1"), run: (text) => text.match(/[a-z]+@[a-z]+\.[a-z]+/g) },
};

const now = () => Number(process.hrtime.bigint()) / 1e6;
const used = (since) => {
    const { user, system } = process.cpuUsage(since);
    return (user + system) / 1000;
};

function measureHere(name, seconds) {
    const { make, run } = benchmarks[name], data = make();
    let calls = 0;
    for (const end = now() + 300; now() < end;) {
        run(data);
    }
    const cpu = process.cpuUsage(), begun = now(), end = begun + seconds * 1000;
    for (; now() < end; calls++) {
        run(data);
    }
    return { wall: (now() - begun) / calls, cpu: used(cpu) / calls };
}

async function measureTrips(ask, name, seconds) {
    const data = benchmarks[name].make();
    let calls = 0;
    for (const end = now() + 300; now() < end;) {
        await ask({ name, data });
    }
    const cpu = process.cpuUsage(), begun = now(), end = begun + seconds * 1000;
    for (; now() < end; calls++) {
        await ask({ name, data });
    }
    return { wall: (now() - begun) / calls, cpu: used(cpu) / calls };
}

async function main(words) {
    let seconds = 0.5;
    if (words[0] === "--seconds") {
        seconds = Number(words[1]);
        words = words.slice(2);
    }
    for (const name of words.length > 0 ? words : Object.keys(benchmarks)) {
        const worker = new Worker(__filename); // a fresh one: what one benchmark taught the compiler stays there
        let answer;
        worker.on("message", (result) => answer(result));
        const ask = (message) => new Promise((resolve) => {
            answer = resolve;
            worker.postMessage(message);
        });
        const here = await ask({ measure: name, seconds });
        const trips = await measureTrips(ask, name, seconds);
        await worker.terminate();
        const figures = [here.wall, trips.wall, here.cpu, trips.cpu].map((figure) => figure.toPrecision(6));
        console.log(`${name}\t${figures.join("\t")}`);
    }
}

if (isMainThread) {
    main(process.argv.slice(2));
} else {
    parentPort.on("message", (message) => {
        if (message.measure) {
            parentPort.postMessage(measureHere(message.measure, message.seconds));
        } else {
            parentPort.postMessage(benchmarks[message.name].run(message.data));
        }
    });
}
