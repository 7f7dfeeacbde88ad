// Who talks to whom: a sample of the envelopes that pass, drawn as a net that settles by springs. Beside it the same as
// a table, for who cannot see it or wants figures.
import {clear, count, empty, field, h, icon, visible, whole} from "./dom.js";
import {get, listen} from "./api.js";
import {store} from "./store.js";
import {Talk, targets} from "./talk.js";
import {prepare, theme} from "./chart.js";

const PACE = 200, NODES = 80, EDGES = 400, SETTLED = 0.02, NEAREST = 8;
const CROWD = 45, NAMES = 40; // more nodes are drawn less often, and not all of them with their names

const BY = {"": "as fits", agent: "each agent", role: "by role", label: "by label"};

function cut(context, text, width) {
    let shown = text;
    while (shown.length > 4 && context.measureText(shown).width > width) {
        shown = `${shown.slice(0, -2)}`;
    }
    return shown === text ? text : `${shown}…`;
}

// A name that is written from the right does not turn the number behind it around.
const titleOf = (node) => node.kind === "several" ? `\u2068${visible(node.name)}\u2069 (${whole(node.count)})` : visible(node.name);

export function map(main) {
    const talk = new Talk(), nodes = new Map(), pulses = [];
    let all, edges = [], byKey = new Map(), view = {nodes: [], edges: [], agents: 0, found: 0, shown: 0, by: "agent"};
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const canvas = h("canvas", {role: "img", "aria-label": "Who talks to whom"});
    const body = h("tbody"), about = h("p", {class: "about"}, ""), pairs = h("p", {class: "dim"}, "");
    const by = h("select", {onchange: regroup}, Object.entries(BY).map(([value, name]) => h("option", {value}, name)));
    const find = h("input", {type: "search", placeholder: "id, role or label", oninput: () => regroup()});
    const zoomer = (name, label, act) => h("button", {type: "button", class: "quiet", "aria-label": label, title: label, onclick: act}, icon(name));
    const frame = h("div", {class: "map", tabindex: "0", role: "group",
        "aria-label": "Map: plus and minus zoom, arrows move, 0 shows all of it. The table says the same.", onkeydown: press}, canvas,
        h("div", {class: "zoom"}, zoomer("in", "Zoom in", () => zoomBy(1.4)), zoomer("out", "Zoom out", () => zoomBy(1 / 1.4)),
            all = zoomer("whole", "Show all of it", () => {
                showWhole();
                frame.focus();
            })));
    all.disabled = true;
    const table = h("table", {}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "From"), h("th", {scope: "col"}, "To"),
        h("th", {scope: "col", class: "number"}, "Lately"))), body);
    main.append(h("div", {class: "title"}, h("h1", {}, "Map"), h("div", {class: "bar"}, field("Show", by), field("Find", find))),
        about,
        h("div", {class: "columns"}, h("div", {class: "stack"}, frame, h("ul", {class: "legend"},
            h("li", {}, h("span", {class: "swatch dot s1"}), "agent"), h("li", {}, h("span", {class: "swatch dot ring"}), "several agents"),
            h("li", {}, h("span", {class: "swatch s3"}), "meant together by a script"))),
            h("section", {class: "card pairs", tabindex: "0", "aria-label": "Who talks most"}, h("h2", {}, "Who talks most"), pairs, table)));
    let heat = 1, due, stream = null, pointer = null, held = null, dragged = null, ended = false, sample = "", stale = true, regrouped = 0;

    function take(trace, moves) {
        if (trace.outcome === "refused" || trace.outcome === "dropped") {
            return;
        }
        const from = trace.from ?? "?";
        const meant = trace.decision ? targets(trace.decision) : [trace.to ? ["agent", trace.to] : ["group", "everybody"]];
        for (const [kind, name] of meant.slice(0, 12)) {
            if (kind === "agent" && name === from) {
                continue;
            }
            talk.add(from, kind, name);
            if (moves && !calm && pulses.length < 120 && view.of) {
                const edge = byKey.get(`${view.of(from, "agent")?.key}\n${view.of(name, kind)?.key}`);
                if (edge) {
                    pulses.push({edge, begun: performance.now()});
                }
            }
        }
        stale = true;
        wake();
    }

    // --- What is drawn ---

    function regroup() {
        stale = false;
        view = talk.view(by.value, find.value, NODES, nodes);
        regrouped = performance.now();
        const keys = new Set(view.nodes.map((node) => node.key));
        for (const key of nodes.keys()) {
            if (!keys.has(key)) {
                nodes.delete(key);
            }
        }
        for (const node of view.nodes) {
            const placed = nodes.get(node.key);
            node.title = titleOf(node);
            if (placed) {
                if (placed.title !== node.title) {
                    placed.text = null;
                }
                Object.assign(placed, node);
                continue;
            }
            const angle = nodes.size * 2.4, radius = 40 + 14 * Math.sqrt(nodes.size);
            nodes.set(node.key, {...node, x: radius * Math.cos(angle), y: radius * Math.sin(angle), vx: 0, vy: 0});
            heat = Math.max(heat, 0.6);
        }
        edges = view.edges.slice(0, EDGES).filter((edge) => edge.from.key !== edge.to.key)
            .map((edge) => ({key: edge.key, weight: edge.weight, from: nodes.get(edge.from.key), to: nodes.get(edge.to.key)}));
        byKey = new Map(edges.map((edge) => [edge.key, edge]));
        for (let i = pulses.length - 1; i >= 0; i--) {
            pulses[i].edge = byKey.get(pulses[i].edge.key);
            if (!pulses[i].edge) {
                pulses.splice(i, 1);
            }
        }
        most = Math.max(4, ...view.nodes.map((node) => node.weight));
        mostOfPairs = Math.max(2, ...edges.map((edge) => edge.weight));
        showTable();
        showAbout();
        wake();
    }

    function showAbout() {
        const all = store.latest?.agents, {agents} = view;
        const talked = agents === 0 ? "Nobody talked lately" : `${whole(agents)}${all > agents ? ` of ${whole(all)}` : ""} ${(all > agents ? all : agents) === 1 ? "agent" : "agents"} talked lately`;
        const others = agents - view.found;
        const found = find.value.trim() === "" ? talked
            : view.found === 0 ? "Nobody of that name talked lately" : `${whole(view.found)} ${view.found === 1 ? "agent" : "agents"} found${others ? `, and ${whole(others)} that they talk with` : ""}`;
        const own = view.nodes.filter((node) => node.kind === "several" && !node.rest).length;
        const rest = view.nodes.find((node) => node.key === "rest");
        const shown = agents === 0 ? "" : view.by === "agent"
            ? rest ? `the ${whole(view.shown)} most active are shown, the others as one` : "all are shown"
            : `shown by their ${own === 1 ? "one" : whole(own)} ${view.by}${own === 1 ? "" : "s"}${rest ? ", the least active as one" : ""}`;
        clear(about, [found, shown, sample].filter(Boolean).join(" · "));
    }

    // Only who shows agents by role or label, or searches, needs to know these.
    async function learn() {
        try {
            talk.learn((await get("/agents")).agents);
            stale = true;
        } catch (refusal) {
            sample = refusal.message;
        }
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
        for (const edge of edges) {
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

    // --- Zoom ---

    let scale = 1, middle = {x: 0, y: 0}, zoom = 1, pan = {x: 0, y: 0}, lastScale = 0;

    function fit(width, height) {
        let x = 120, y = 90;
        for (const one of nodes.values()) {
            x = Math.max(x, Math.abs(one.x));
            y = Math.max(y, Math.abs(one.y));
        }
        const wanted = Math.min(2, (width / 2 - 70) / x, (height / 2 - 40) / y);
        scale += (wanted - scale) * (calm ? 1 : 0.12);
        middle = {x: width / 2, y: height / 2};
        room = Math.max(0.5, Math.min(1, Math.min(width, height) / 560));
    }

    // Around a place that stays where it is, or the middle.
    function zoomBy(factor, around) {
        const to = Math.max(0.5, Math.min(12, zoom * factor));
        const at = around ?? middle;
        pan.x = (pan.x + middle.x - at.x) * to / zoom + at.x - middle.x;
        pan.y = (pan.y + middle.y - at.y) * to / zoom + at.y - middle.y;
        zoom = to;
        moved();
    }

    const moved = () => {
        all.disabled = zoom === 1 && pan.x === 0 && pan.y === 0;
        wake();
    };

    function showWhole() {
        zoom = 1;
        pan = {x: 0, y: 0};
        moved();
    }

    function press(event) {
        const step = {ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60]}[event.key];
        if (event.target !== frame || event.ctrlKey || event.metaKey || event.altKey) {
            return;
        } else if (step) {
            pan.x += step[0];
            pan.y += step[1];
            moved();
        } else if (event.key === "+" || event.key === "=") {
            zoomBy(1.4);
        } else if (event.key === "-") {
            zoomBy(1 / 1.4);
        } else if (event.key === "0") {
            showWhole();
        } else {
            return;
        }
        event.preventDefault();
    }

    // --- Drawing ---

    const at = (one) => [middle.x + pan.x + one.x * scale * zoom, middle.y + pan.y + one.y * scale * zoom];
    let most = 1, mostOfPairs = 1; // the liveliest
    let odd = false;
    let room = 1;                  // small where there is little of it
    const size = (one) => (6 + 11 * Math.sqrt(Math.min(1, one.weight / most))) * room * Math.min(1.6, Math.max(0.8, zoom ** 0.5));
    const under = (place) => place && [...nodes.values()].reverse().find((one) =>
        Math.hypot(at(one)[0] - place.x, at(one)[1] - place.y) < size(one) + NEAREST);

    function draw() {
        due = undefined;
        if (ended) {
            return;
        }
        odd = !odd;
        if (odd && nodes.size > CROWD && !held) { // half of the frames show as much
            wake();
            return;
        }
        const now = performance.now();
        for (let i = 0; i < (calm ? 40 : nodes.size > CROWD ? 2 : 1) && heat > SETTLED; i++) {
            settle();
        }
        const {context, width, height} = prepare(canvas);
        fit(width, height);
        context.font = "12px system-ui, sans-serif";
        context.textBaseline = "middle";
        const near = under(pointer), crowd = Math.min(1, 0.22 + 60 / edges.length);
        for (const edge of edges) {
            const [x1, y1] = at(edge.from), [x2, y2] = at(edge.to);
            const lit = near && (edge.from === near || edge.to === near);
            const share = Math.min(1, Math.log1p(edge.weight) / Math.log1p(mostOfPairs));
            context.strokeStyle = lit ? theme.accent : theme["series-2"];
            context.globalAlpha = lit ? 0.9 : (near ? 0.3 : 1) * crowd * (0.14 + 0.6 * share);
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
            drawNode(context, one, near);
        }
        drawNames(context, near);
        if (nodes.size === 0) {
            context.fillStyle = theme.dim;
            context.textAlign = "center";
            context.fillText(find.value.trim() === "" ? "Nothing has passed lately." : "Nobody of that name talked lately.", width / 2, height / 2);
        }
        if (heat > SETTLED || pulses.length > 0 || Math.abs(scale - lastScale) > 0.001) {
            wake();
        }
        lastScale = scale;
    }

    function drawNode(context, one, near) {
        const [x, y] = at(one), radius = size(one);
        context.globalAlpha = near && near !== one ? 0.55 : 1;
        context.fillStyle = one.kind === "group" ? theme["series-3"] : one.weight > 0.5 ? theme.accent : theme["line-strong"];
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
        if (one.kind === "several") {
            context.strokeStyle = theme.accent;
            context.lineWidth = 1.5;
            context.beginPath();
            context.arc(x, y, radius + 4, 0, 7);
            context.stroke();
        }
        context.globalAlpha = 1;
    }

    // The liveliest first; a name that would lie on another one is left out.
    function drawNames(context, near) {
        const taken = [];
        context.textAlign = "center";
        context.lineWidth = 4;
        context.lineJoin = "round";
        context.strokeStyle = theme.panel;
        const groups = view.nodes.filter((node) => node.kind !== "agent"), single = view.nodes.filter((node) => node.kind === "agent");
        for (const one of [near, ...[...groups, ...single].map((node) => nodes.get(node.key))].filter(Boolean)) {
            if (!one.text) {
                one.text = cut(context, one.title, 130);
                one.half = context.measureText(one.text).width / 2;
            }
            const [x, y] = at(one), text = near === one ? cut(context, one.title, 400) : one.text;
            const half = near === one ? context.measureText(text).width / 2 : one.half, below = y + size(one) + (one.kind === "several" ? 15 : 11);
            const box = [x - half - 2, below - 8, x + half + 2, below + 8];
            if (taken.length >= NAMES && zoom <= 1) {
                break;
            }
            if ((one === near && taken.length > 0) || taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) {
                continue;
            }
            taken.push(box);
            context.globalAlpha = near && near !== one ? 0.55 : 1;
            context.strokeText(text, x, below);
            context.fillStyle = near === one ? theme.text : theme.dim;
            context.fillText(text, x, below);
        }
        context.globalAlpha = 1;
    }

    function wake() {
        due ??= requestAnimationFrame(draw);
    }

    // --- The same in words ---

    function look(node) {
        find.value = node.name;
        by.value = "agent";
        showWhole();
        regroup();
    }

    function nameCell(node) {
        const title = [h("bdi", {}, node.name), node.kind === "several" && ` (${whole(node.count)})`];
        if (node.kind === "agent") {
            return h("td", {}, h("a", {href: `#/agents/${encodeURIComponent(node.name)}`}, title));
        }
        return h("td", {}, node.kind === "several" && !node.rest && view.by === "role"
            ? h("button", {type: "button", class: "link", onclick: () => look(node)}, title) : title);
    }

    let written = "";
    function showTable() {
        const lively = view.edges.filter((edge) => edge.weight >= 0.5), shown = lively.slice(0, 40);
        clear(pairs, lively.length > shown.length ? `the first ${shown.length} of ${whole(lively.length)} pairs` : "");
        pairs.hidden = lively.length <= shown.length;
        const now = shown.map((edge) => `${edge.key} ${Math.round(edge.weight)} ${edge.from.count} ${edge.to.count}`).join("\n");
        if (now === written && body.children.length > 0) {
            return; // who is in it with the keyboard stays there
        }
        const focused = body.contains(document.activeElement) ? document.activeElement.textContent : null;
        written = now;
        clear(body, shown.length === 0 ? h("tr", {}, h("td", {colspan: "3"}, empty("Nobody, lately."))) : shown.map((edge) =>
            h("tr", {}, nameCell(edge.from), nameCell(edge.to), h("td", {class: "number"}, count(Math.round(edge.weight))))));
        if (focused !== null) {
            [...body.querySelectorAll("a, button")].find((each) => each.textContent === focused)?.focus();
        }
        canvas.setAttribute("aria-label", `Who talks to whom: ${nodes.size} agents and groups, ${edges.length} pairs. The table beside it says the same.`);
    }

    const place = (event) => ({x: event.offsetX, y: event.offsetY});
    canvas.addEventListener("pointermove", (event) => {
        const now = place(event);
        if (held) {
            held.x = (now.x - middle.x - pan.x) / scale / zoom;
            held.y = (now.y - middle.y - pan.y) / scale / zoom;
            heat = Math.max(heat, 0.3);
        } else if (dragged) {
            pan.x += now.x - pointer.x;
            pan.y += now.y - pointer.y;
            moved();
        }
        if (dragged) {
            dragged.far ||= Math.hypot(now.x - dragged.x, now.y - dragged.y) > 4;
        }
        pointer = now;
        canvas.classList.toggle("over", Boolean(held || under(now)));
        wake();
    });
    canvas.addEventListener("pointerleave", () => {
        pointer = held = dragged = null;
        wake();
    });
    canvas.addEventListener("pointerdown", (event) => {
        pointer = place(event);
        dragged = {...pointer, far: false};
        held = under(pointer) ?? null;
        canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerup", () => {
        if (held && !dragged.far && held.kind === "several" && !held.rest && view.by === "role") {
            look(held);
        }
        held = dragged = null;
    });
    // The wheel scrolls the page, unless the map was clicked or it means zooming.
    canvas.addEventListener("wheel", (event) => {
        if (event.ctrlKey || event.metaKey || document.activeElement === frame) {
            event.preventDefault();
            zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.008 : 0.0015)), place(event));
        }
    }, {passive: false});
    const observer = new ResizeObserver(wake);
    observer.observe(canvas);

    (async () => {
        await learn();
        try {
            const {history} = await get("/history", {limit: 300});
            history.forEach((envelope) => take({from: envelope.from, to: envelope.to}, false));
        } catch (refusal) {
            sample = refusal.message;
        }
        regroup();
    })();
    if (store.session.admin) {
        stream = listen(`/admin/trace?pace=${PACE}`, (kind, data) => kind === "trace" && take(JSON.parse(data), true), (now, why) => {
            sample = now === "live" ? `a sample, at most ${PACE} envelopes a second`
                : now === "waiting" ? why?.message ?? "waiting for the bridge" : now.message;
            showAbout();
        });
    } else {
        sample = "from the history: live is for administrators";
    }
    const timers = [setInterval(() => document.hidden || regroup(), 2000), setInterval(() => stale && !document.hidden && performance.now() - regrouped > (nodes.size < 40 ? 400 : 1400) && regroup(), 200),
        setInterval(() => document.hidden || learn(), store.latest?.agents < 2000 ? 15000 : 60000)];
    regroup();
    return () => {
        ended = true;
        stream?.stop();
        timers.forEach(clearInterval);
        observer.disconnect();
    };
}
