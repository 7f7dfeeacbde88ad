// Requests and streams. The token lives in this tab alone, and goes out in a header, never in an address.

const KEY = "luaduct-token";
let token = sessionStorage.getItem(KEY);
let refused = () => {};

// Everything lies beside /console, wherever a proxy puts that.
const BASE = location.pathname.replace(/\/console\/?$/, "");

const TIMEOUT_MS = 30000;

// What the bridge, or whatever is between, has said no to. Status 0: it did not answer.
export class Refusal extends Error {
    constructor(status, code, text, retryAfter) {
        super(text);
        this.status = status;
        this.code = code;
        this.retryAfter = retryAfter; // seconds; 0: nothing was said of that
    }
}

export function setToken(value) {
    token = value || null;
    if (token) {
        sessionStorage.setItem(KEY, token);
    } else {
        sessionStorage.removeItem(KEY);
    }
}

export function hasToken() {
    return token !== null;
}

// Called when the bridge does not know the token (any more).
export function onRefused(callback) {
    refused = callback;
}

function headers(more) {
    return token ? {...more, Authorization: `Bearer ${token}`} : more;
}

async function refusalOf(response) {
    let body = {};
    try {
        body = await response.json();
    } catch { /* a proxy's page */ }
    const text = typeof body.error === "string" ? body.error : `the bridge answered ${response.status}`;
    const seconds = Number.parseInt(response.headers.get("Retry-After") ?? "", 10) || 0;
    return new Refusal(response.status, body.code ?? "",
        seconds ? `${text.replace(": see Retry-After", "")}; again in ${seconds} s` : text, seconds);
}

async function request(path, options) {
    let response;
    try {
        response = await fetch(BASE + path, {cache: "no-store", credentials: "same-origin", redirect: "error", ...options});
    } catch (error) {
        if (error.name === "AbortError") {
            throw error;
        }
        throw new Refusal(0, "", error.name === "TimeoutError" ? "the bridge takes too long to answer" : "the bridge does not answer");
    }
    if (!response.ok) {
        const refusal = await refusalOf(response);
        if (refusal.status === 401) {
            refused(refusal);
        }
        throw refusal;
    }
    return response;
}

// Views ask again and again: what was too much is not asked for until the bridge wants to hear it.
let refusal = null, until = 0;

export async function getText(path) {
    if (performance.now() < until) {
        throw refusal;
    }
    try {
        return await (await request(path, {headers: headers({}), signal: AbortSignal.timeout(TIMEOUT_MS)})).text();
    } catch (error) {
        if (error.status === 429 && error.retryAfter > 0) {
            refusal = error;
            until = performance.now() + 1000 * error.retryAfter;
        }
        throw error.name === "TimeoutError" ? new Refusal(0, "", "the bridge takes too long to answer") : error;
    }
}

export async function get(path, parameters) {
    const query = parameters ? `?${new URLSearchParams(parameters)}` : "";
    return JSON.parse(await getText(path + query));
}

export async function post(path, body) {
    const response = await request(path, {
        method: "POST",
        headers: headers({"Content-Type": "application/json"}),
        signal: AbortSignal.timeout(TIMEOUT_MS),
        body: typeof body === "string" ? body : JSON.stringify(body ?? {}),
    });
    return response.json();
}

// Server-sent events out of the text as it comes; a line without its end waits for the rest.
async function read(response, take) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", event = "message", data = "";
    for (;;) {
        const {done, value} = await reader.read();
        if (done) {
            return;
        }
        const lines = (rest + value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
            if (line === "") {
                if (data !== "") {
                    take(event, data);
                }
                event = "message";
                data = "";
            } else if (line.startsWith("event: ")) {
                event = line.slice(7);
            } else if (line.startsWith("data: ")) {
                data += line.slice(6);
            }
        }
    }
}

// Listens until stop() is called; a stream that ends is begun again, at first soon, then every 10 s. `take` gets each
// event and its data as text, `state` "live", "waiting" and why, or a Refusal that ends it.
export function listen(path, take, state) {
    const control = new AbortController();
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    (async () => {
        for (let wait = 500; !control.signal.aborted; wait = Math.min(wait * 2, 10000)) {
            let why = null;
            try {
                const response = await request(path, {headers: headers({}), signal: control.signal});
                wait = 500;
                state("live");
                await read(response, take);
            } catch (error) {
                if (control.signal.aborted) {
                    return;
                } else if (error instanceof Refusal && [400, 401, 403, 404].includes(error.status)) {
                    state(error);
                    return;
                }
                why = error instanceof Refusal ? error : null;
            }
            state("waiting", why);
            await pause(Math.max(wait, 1000 * (why?.retryAfter ?? 0)));
        }
    })();
    return {stop: () => control.abort()};
}
