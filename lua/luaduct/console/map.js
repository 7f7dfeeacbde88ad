// Who talks to whom: a sample of the envelopes that pass, drawn as a net that settles by springs. Beside it the same as
// a table, for who cannot see it or wants figures.
import {clear, count, empty, h} from "./dom.js";
import {get, listen} from "./api.js";
import {store} from "./store.js";
import {prepare, theme} from "./chart.js";

const PACE = 200, NODES = 80, EDGES = 400, HALF_LIFE = 30000, SETTLED = 0.02;

// Whom a decision means, as it is written in a trace (to{"a", "b"}, all{role = "writer"}, broadcast() …): [kind, name],
// kind "agent", or "group" for those who are meant together.
export function targets(decision) {
    const found = [];
    let kind = "", group = null;
    for (const [token, word] of decision.matchAll(/\b(to|all|any|broadcast|reply|drop)[({]|"(?:[^"\\]|\\.)*"/g)) {
        if (word === "reply" || word === "drop") {
            break;
        } else if (word === "broadcast") {
            found.push(["group", "everybody"]);
        } else if (word) {
            kind = word;
            group = null;
        } else if (kind === "to") {
            found.push(["agent", JSON.parse(token)]);
        } else if (kind && !group) {
            group = ["group", `${kind} ${JSON.parse(token)}`];
            found.push(group);
        } else if (kind) {
            group[1] += `, ${JSON.parse(token)}`;
        }
    }
    return found;
}

function cut(context, text, width) {
    let shown = text;
    while (shown.length > 4 && context.measureText(shown).width > width) {
        shown = `${shown.slice(0, -2)}`;
    }
    return shown === text ? text : `${shown}…`;
}

export function map(main) {
    const nodes = new Map(), edges = new Map(), pulses = [];
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const canvas = h("canvas", {role: "img", "aria-label": "Who talks to whom"});
    const body = h("tbody"), state = h("p", {class: "dim"}, "");
    const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "From"), h("th", {scope: "col"}, "To"),
        h("th", {scope: "col", class: "number"}, "Lately"))), body);
    main.append(h("div", {class: "title"}, h("h1", {}, "Map"), state),
        h("div", {class: "columns"}, h("div", {class: "map"}, canvas),
            h("section", {class: "card pairs", tabindex: "0", "aria-label": "Who talks most"}, h("h2", {}, "Who talks most"), table)));
    let heat = 1, frame, stream = null, pointer = null, held = null, ended = false;

    function decay(thing, now) {
        thing.weight *= 0.5 ** ((now - thing.at) / HALF_LIFE);
        thing.at = now;
        return thing.weight;
    }

    function weakest(things, now) {
        let least = null;
        for (const thing of things.values()) {
            decay(thing, now);
            least = !least || thing.weight < least.weight ? thing : least;
        }
        return least;
    }

    function touch(things, key, most, make) {
        const now = performance.now();
        let thing = things.get(key);
        if (!thing) {
            if (things.size >= most) {
                const gone = weakest(things, now);
                if (gone.weight > 1) {
                    return null; // all that there is is livelier
                }
                things.delete(gone.key);
                if (things === nodes) {
                    for (const [name, edge] of edges) {
                        if (edge.from === gone || edge.to === gone) {
                            edges.delete(name);
                        }
                    }
                }
            }
            thing = Object.assign({key, weight: 0, at: now}, make());
            things.set(key, thing);
            heat = Math.max(heat, 0.6);
        }
        decay(thing, now);
        thing.weight++;
        return thing;
    }

    function node(kind, name) {
        const angle = nodes.size * 2.4, radius = 40 + 14 * Math.sqrt(nodes.size);
        return touch(nodes, `${kind}:${name}`, NODES, () => ({kind, name, x: radius * Math.cos(angle), y: radius * Math.sin(angle), vx: 0, vy: 0}));
    }

    function take(trace, moves) {
        if (trace.outcome === "refused" || trace.outcome === "dropped") {
            return;
        }
        const from = node("agent", trace.from ?? "?");
        const meant = trace.decision ? targets(trace.decision) : [trace.to ? ["agent", trace.to] : ["group", "everybody"]];
        for (const [kind, name] of meant.slice(0, 12)) {
            const to = node(kind, name);
            const edge = from && to && from !== to && touch(edges, `${from.key}\n${to.key}`, EDGES, () => ({from, to}));
            if (edge && moves && !calm && pulses.length < 120) {
                pulses.push({edge, begun: performance.now()});
            }
        }
        wake();
    }

    // --- Springs ---

    function settle() {
        const all = [...nodes.values()];
        for (let i = 0; i < all.length; i++) {
            const a = all[i];
            for (let j = i + 1; j < all.length; j++) {
                const b = all[j];
                let dx = a.x - b.x, dy = a.y - b.y;
                const square = Math.max(60, dx * dx + dy * dy);
                const push = 8000 / square;
                const length = Math.sqrt(square);
                dx /= length;
                dy /= length;
                a.vx += dx * push;
                a.vy += dy * push;
                b.vx -= dx * push;
                b.vy -= dy * push;
            }
            a.vx -= a.x * 0.010;
            a.vy -= a.y * 0.016;
        }
        for (const edge of edges.values()) {
            const dx = edge.to.x - edge.from.x, dy = edge.to.y - edge.from.y;
            const length = Math.max(1, Math.hypot(dx, dy)), pull = (length - 95) * 0.018;
            edge.from.vx += dx / length * pull;
            edge.from.vy += dy / length * pull;
            edge.to.vx -= dx / length * pull;
            edge.to.vy -= dy / length * pull;
        }
        for (const one of all) {
            if (one !== held) {
                one.x += Math.max(-12, Math.min(12, one.vx)) * heat;
                one.y += Math.max(-12, Math.min(12, one.vy)) * heat;
            }
            one.vx *= 0.72;
            one.vy *= 0.72;
        }
        heat *= 0.985;
    }

    // --- Drawing ---

    let scale = 1, middle = {x: 0, y: 0};

    function fit(width, height) {
        let x = 120, y = 90;
        for (const one of nodes.values()) {
            x = Math.max(x, Math.abs(one.x));
            y = Math.max(y, Math.abs(one.y));
        }
        const wanted = Math.min(1.5, (width / 2 - 70) / x, (height / 2 - 34) / y);
        scale += (wanted - scale) * (calm ? 1 : 0.12);
        middle = {x: width / 2, y: height / 2};
    }

    const at = (one) => [middle.x + one.x * scale, middle.y + one.y * scale];
    let most = 1, mostOfPairs = 1; // the liveliest
    const size = (one) => 6 + 11 * Math.sqrt(Math.min(1, one.weight / most));

    function draw() {
        frame = undefined;
        if (ended) {
            return;
        }
        const now = performance.now();
        for (let i = 0; i < (calm ? 40 : 1) && heat > SETTLED; i++) {
            settle();
        }
        const {context, width, height} = prepare(canvas);
        fit(width, height);
        context.font = "12px system-ui, sans-serif";
        context.textBaseline = "middle";
        most = Math.max(4, ...[...nodes.values()].map((one) => one.weight));
        mostOfPairs = Math.max(2, ...[...edges.values()].map((edge) => edge.weight));
        const near = pointer && [...nodes.values()].find((one) => Math.hypot(at(one)[0] - pointer.x, at(one)[1] - pointer.y) < size(one) + 6);
        for (const edge of edges.values()) {
            const weight = decay(edge, now), [x1, y1] = at(edge.from), [x2, y2] = at(edge.to);
            const lit = near && (edge.from === near || edge.to === near);
            const share = Math.min(1, weight / mostOfPairs);
            context.strokeStyle = lit ? theme.accent : theme["series-2"];
            context.globalAlpha = lit ? 0.9 : (near ? 0.3 : 1) * (0.12 + 0.6 * share);
            context.lineWidth = 0.7 + 2.8 * share;
            context.beginPath();
            context.moveTo(x1, y1);
            context.lineTo(x2, y2);
            context.stroke();
        }
        context.globalAlpha = 1;
        for (let i = pulses.length - 1; i >= 0; i--) {
            const part = (now - pulses[i].begun) / 700, {from, to} = pulses[i].edge;
            if (part >= 1) {
                pulses.splice(i, 1);
                continue;
            }
            const [x1, y1] = at(from), [x2, y2] = at(to);
            context.fillStyle = theme.accent;
            context.beginPath();
            context.arc(x1 + (x2 - x1) * part, y1 + (y2 - y1) * part, 2.4, 0, 7);
            context.fill();
        }
        for (const one of nodes.values()) {
            drawNode(context, one, near, now);
        }
        if (nodes.size === 0) {
            context.fillStyle = theme.dim;
            context.textAlign = "center";
            context.fillText("Nothing has passed yet.", width / 2, height / 2);
        }
        if (heat > SETTLED || pulses.length > 0 || Math.abs(scale - lastScale) > 0.001) {
            wake();
        }
        lastScale = scale;
    }

    let lastScale = 0;

    function drawNode(context, one, near, now) {
        const [x, y] = at(one), radius = size(one), weight = decay(one, now);
        context.globalAlpha = near && near !== one ? 0.55 : 1;
        context.fillStyle = one.kind === "group" ? theme["series-3"] : weight > 0.5 ? theme.accent : theme["line-strong"];
        context.strokeStyle = theme.panel;
        context.lineWidth = 2;
        context.beginPath();
        if (one.kind === "group") {
            context.roundRect(x - radius, y - radius, 2 * radius, 2 * radius, 4);
        } else {
            context.arc(x, y, radius, 0, 7);
        }
        context.fill();
        context.stroke();
        if (nodes.size < 45 || weight > 4 || near === one) {
            const text = cut(context, one.name, near === one ? 400 : 130);
            context.textAlign = "center";
            context.lineWidth = 4;
            context.lineJoin = "round";
            context.strokeStyle = theme.panel;
            context.strokeText(text, x, y + radius + 11);
            context.fillStyle = near === one ? theme.text : theme.dim;
            context.fillText(text, x, y + radius + 11);
        }
        context.globalAlpha = 1;
    }

    function wake() {
        frame ??= requestAnimationFrame(draw);
    }

    // --- The same in words ---

    function showTable() {
        const now = performance.now();
        const lively = [...edges.values()].map((edge) => [decay(edge, now), edge]).filter(([weight]) => weight >= 0.5)
            .sort((a, b) => b[0] - a[0]).slice(0, 40);
        clear(body, lively.length === 0 ? h("tr", {}, h("td", {colspan: "3"}, empty("Nobody, lately."))) : lively.map(([weight, edge]) =>
            h("tr", {}, h("td", {}, edge.from.name), h("td", {}, edge.to.name), h("td", {class: "number"}, count(Math.round(weight))))));
        canvas.setAttribute("aria-label", `Who talks to whom: ${nodes.size} agents and groups, ${edges.size} pairs. The table beside it says the same.`);
    }

    const place = (event) => ({x: event.offsetX, y: event.offsetY});
    canvas.addEventListener("pointermove", (event) => {
        pointer = place(event);
        if (held) {
            held.x = (pointer.x - middle.x) / scale;
            held.y = (pointer.y - middle.y) / scale;
            heat = Math.max(heat, 0.3);
        }
        wake();
    });
    canvas.addEventListener("pointerleave", () => {
        pointer = held = null;
        wake();
    });
    canvas.addEventListener("pointerdown", (event) => {
        pointer = place(event);
        held = [...nodes.values()].find((one) => Math.hypot(at(one)[0] - pointer.x, at(one)[1] - pointer.y) < size(one) + 6) ?? null;
    });
    canvas.addEventListener("pointerup", () => {
        held = null;
    });
    const observer = new ResizeObserver(wake);
    observer.observe(canvas);

    (async () => {
        try {
            const {history} = await get("/history", {limit: 300});
            history.forEach((envelope) => take({from: envelope.from, to: envelope.to}, false));
        } catch (refusal) {
            state.textContent = refusal.message;
        }
        showTable();
    })();
    if (store.session.admin) {
        stream = listen(`/admin/trace?pace=${PACE}`, (kind, data) => kind === "trace" && take(JSON.parse(data), true), (now) => {
            state.textContent = now === "live" ? `a sample, at most ${PACE} envelopes a second` : now === "waiting" ? "waiting for the bridge" : now.message;
        });
    } else {
        state.textContent = "from the history: live is for administrators";
    }
    const timer = setInterval(showTable, 2000);
    wake();
    return () => {
        ended = true;
        stream?.stop();
        clearInterval(timer);
        observer.disconnect();
    };
}
