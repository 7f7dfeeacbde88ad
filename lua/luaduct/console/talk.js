// Who talked to whom lately, counted with a half-life, and how that is put together for a map: each agent by itself, or by
// role or label; the most active, and the others as one.

const HALF_LIFE = 30000, PAIRS = 4000, LEAST = 0.05;

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

export class Talk {
    constructor() {
        this.pairs = new Map();
        this.known = new Map(); // agents by id: {role, label}
    }

    decay(pair, now) {
        pair.weight *= 0.5 ** ((now - pair.at) / HALF_LIFE);
        pair.at = now;
        return pair.weight;
    }

    // Somebody's envelope to this one. Past so many pairs those that have not talked for long are forgotten, and while
    // there are none of these, new ones are not counted.
    add(from, kind, to) {
        const key = JSON.stringify([from, kind, to]), now = performance.now();
        let pair = this.pairs.get(key);
        if (!pair) {
            if (this.pairs.size >= PAIRS) {
                this.prune(now, 0.5);
            }
            if (this.pairs.size >= PAIRS) {
                return;
            }
            pair = {from, kind, to, weight: 0, at: now};
            this.pairs.set(key, pair);
        }
        this.decay(pair, now);
        pair.weight++;
    }

    prune(now, least) {
        for (const [key, pair] of this.pairs) {
            if (this.decay(pair, now) < least) {
                this.pairs.delete(key);
            }
        }
    }

    learn(agents) {
        this.known = new Map(agents.map((agent) => [agent.id,
            {role: agent.role, label: agent.labels.length ? String(agent.labels[0]) : null, all: [agent.role, ...agent.labels].join("\n").toLowerCase()}]));
    }

    matches(name, text) {
        return name.toLowerCase().includes(text) || (this.known.get(name)?.all.includes(text) ?? false);
    }

    // by: "" (the agents themselves, or their roles where they are more than `most`), "agent", "role", "label"; text: only
    // pairs of which one is called so, or has such a role or label; before: a Map or Set by the keys of what is shown so
    // far. Gives {by, of(name, kind) (its node), nodes, edges, agents, found, shown}: nodes
    // [{key, kind (agent, group, several), name, count, weight}], edges [{from, to (keys), weight}], both with the most
    // active first; so many agents talked, so many of them match, and so many have a place of their own.
    view(by, text, most, before) {
        const now = performance.now(), wanted = text.trim().toLowerCase();
        this.prune(now, LEAST);
        const pairs = [...this.pairs.values()].filter((pair) => wanted === "" || this.matches(pair.from, wanted) ||
            (pair.kind === "agent" ? this.matches(pair.to, wanted) : pair.to.toLowerCase().includes(wanted)));
        const weights = new Map(), groups = new Map();
        for (const pair of pairs) {
            weights.set(pair.from, (weights.get(pair.from) ?? 0) + pair.weight);
            const of = pair.kind === "agent" ? weights : groups;
            of.set(pair.to, (of.get(pair.to) ?? 0) + pair.weight);
        }
        const using = by || (weights.size > most ? "role" : "agent");
        const places = this.places(using, weights, groups, most, before);
        const edges = new Map();
        for (const pair of pairs) {
            const from = places.of(pair.from, "agent"), to = places.of(pair.to, pair.kind);
            const both = from.index * places.all.size + to.index, edge = edges.get(both);
            if (edge) {
                edge.weight += pair.weight;
            } else {
                edges.set(both, {key: `${from.key}\n${to.key}`, from, to, weight: pair.weight});
            }
        }
        const heaviest = (list) => [...list].sort((a, b) => b.weight - a.weight);
        return {by: using, of: places.of, nodes: heaviest(places.all.values()), edges: heaviest(edges.values()), agents: weights.size,
            found: wanted === "" ? weights.size : [...weights.keys()].filter((name) => this.matches(name, wanted)).length, shown: using === "agent" ? places.own : 0};
    }

    places(using, weights, groups, most, before) {
        const nameOf = (name) => using === "agent" ? name
            : using === "role" ? this.known.get(name)?.role ?? "unknown" : this.known.get(name)?.label ?? "no label";
        const all = new Map(), byName = new Map(), byAgent = new Map();
        for (const [name, weight] of weights) {
            const own = nameOf(name);
            let place = byName.get(own);
            if (!place) {
                place = {key: `${using}:${own}`, kind: using === "agent" ? "agent" : "several", name: own, count: 0, weight: 0};
                byName.set(own, place);
            }
            place.count++;
            place.weight += weight;
            byAgent.set(name, place);
        }
        // Who has a place keeps it until another one is clearly livelier: else the map would not come to rest.
        const rank = (place) => place.weight * (before?.has(place.key) ? 2 : 1);
        const sorted = [...byName.values()].sort((a, b) => rank(b) - rank(a));
        const room = Math.max(1, most - Math.min(groups.size, most / 4));
        const own = sorted.length > room ? room - 1 : sorted.length;
        const rest = {key: "rest", kind: "several", name: "the others", count: 0, weight: 0, rest: true};
        sorted.forEach((place, index) => {
            if (index < own) {
                all.set(place.key, place);
            } else {
                rest.count += place.count;
                rest.weight += place.weight;
            }
        });
        if (rest.count > 0) {
            all.set(rest.key, rest);
        }
        const sortedGroups = [...groups].sort((a, b) => b[1] - a[1]);
        sortedGroups.forEach(([name, weight], index) => {
            if (index < most / 4) {
                all.set(`group:${name}`, {key: `group:${name}`, kind: "group", name, count: 0, weight});
            } else {
                const more = all.get("group-rest") ?? {key: "group-rest", kind: "group", name: "other groups", count: 0, weight: 0, rest: true};
                more.weight += weight;
                all.set(more.key, more);
            }
        });
        [...all.values()].forEach((place, index) => {
            place.index = index;
        });
        // Those without a place of their own have no index.
        const shown = (place) => place === undefined || place.index === undefined ? rest : place;
        return {all, own, of: (name, kind) => kind === "agent" ? shown(byAgent.get(name))
            : all.get(`group:${name}`) ?? all.get("group-rest")};
    }
}
