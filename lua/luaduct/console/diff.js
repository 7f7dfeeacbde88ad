// Lines of two texts side by side: Myers's O(ND) way, with the common ends taken off first.
import {h} from "./dom.js";

const CONTEXT = 3, MOST_EDITS = 2000;

// A list of [sign, line], sign " ", "-" or "+". Texts that have too little in common are one block against the other.
export function compare(before, after) {
    const a = before.split("\n"), b = after.split("\n");
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) {
        head++;
    }
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) {
        tail++;
    }
    const middle = edits(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
    return [...a.slice(0, head).map((line) => [" ", line]), ...middle, ...a.slice(a.length - tail).map((line) => [" ", line])];
}

function edits(a, b) {
    const most = Math.min(a.length + b.length, MOST_EDITS), ends = [];
    let v = new Map([[1, 0]]);
    for (let d = 0; d <= most; d++) {
        ends.push(new Map(v));
        for (let k = -d; k <= d; k += 2) {
            const down = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1));
            let x = down ? v.get(k + 1) : v.get(k - 1) + 1;
            while (x < a.length && x - k < b.length && a[x] === b[x - k]) {
                x++;
            }
            v.set(k, x);
            if (x >= a.length && x - k >= b.length) {
                return back(a, b, ends);
            }
        }
    }
    return [...a.map((line) => ["-", line]), ...b.map((line) => ["+", line])];
}

function back(a, b, ends) {
    const out = [];
    let x = a.length, y = b.length;
    for (let d = ends.length - 1; d >= 0; d--) {
        const v = ends[d], k = x - y;
        const down = k === -d || (k !== d && (v.get(k - 1) ?? -1) < (v.get(k + 1) ?? -1));
        const from = down ? k + 1 : k - 1;
        const fromX = d === 0 ? 0 : v.get(from), fromY = fromX - (d === 0 ? 0 : from);
        while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
            out.push([" ", a[--x]]);
            y--;
        }
        if (d > 0) {
            out.push(down ? ["+", b[--y]] : ["-", a[--x]]);
        }
    }
    return out.reverse();
}

export function show(before, after) {
    const lines = compare(before, after);
    const near = lines.map(([sign]) => sign !== " ");
    const wanted = lines.map((_, index) => near.slice(Math.max(0, index - CONTEXT), index + CONTEXT + 1).some(Boolean));
    const box = h("div", {class: "diff", tabindex: "0", role: "group", "aria-label": "Differences"});
    let left = 0, right = 0, folded = 0;
    const fold = () => {
        if (folded > 0) {
            box.append(h("p", {class: "fold"}, `${folded} equal lines`));
            folded = 0;
        }
    };
    lines.forEach(([sign, line], index) => {
        left += sign !== "+" ? 1 : 0;
        right += sign !== "-" ? 1 : 0;
        if (!wanted[index]) {
            folded++;
            return;
        }
        fold();
        box.append(h("div", {class: {"+": "plus", "-": "minus"}[sign] ?? ""},
            h("span", {}, sign === "+" ? "" : String(left)), h("span", {}, sign === "-" ? "" : String(right)),
            h("b", {}, sign), line));
    });
    fold();
    return box;
}
