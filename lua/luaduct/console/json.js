// JSON as it was sent: numbers keep their digits and keys given twice stay. Both functions expect JSON that is valid.

// Calls take(kind, text) for each token: "string", "word" (numbers, true …) or a sign.
function tokens(raw, take) {
    const pattern = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gy;
    for (let at = 0; at < raw.length;) {
        if (/\s/.test(raw[at])) {
            at++;
            continue;
        }
        pattern.lastIndex = at;
        const match = pattern.exec(raw);
        if (!match) {
            return;
        }
        take(match[0], at);
        at = pattern.lastIndex;
    }
}

// The text of one member of an object; undefined: there is none.
export function member(raw, name) {
    const key = JSON.stringify(name);
    let depth = 0, previous = "", begin = -1, found;
    tokens(raw, (token, at) => {
        if (begin >= 0 && depth === 1 && (token === "," || token === "}")) {
            found = raw.slice(begin, at);
            begin = -1;
        }
        if (token === "{" || token === "[") {
            depth++;
        } else if (token === "}" || token === "]") {
            depth--;
        } else if (token === ":" && depth === 1 && previous === key && found === undefined) {
            begin = at + 1;
        }
        previous = token;
    });
    return found?.trim();
}

export function pretty(raw) {
    const out = [];
    let depth = 0, previous = "";
    const line = () => out.push("\n", "  ".repeat(depth));
    tokens(raw, (token) => {
        const closes = token === "}" || token === "]";
        if (closes) {
            depth--;
            if (previous !== "{" && previous !== "[") {
                line();
            }
        } else if (previous === "{" || previous === "[" || previous === ",") {
            line();
        }
        out.push(token === ":" ? ": " : token);
        if (token === "{" || token === "[") {
            depth++;
        }
        previous = token;
    });
    return out.join("");
}
