// Elements, and how values are written. Text becomes text nodes and attributes, never markup.

// Characters that show nothing, or turn what is beside them around: two ids that differ never look the same.
// eslint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

// The text with those written as JSON writes them.
export function visible(text) {
    return text.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const content = (children) => children.flat(Infinity)
    .filter((child) => child !== undefined && child !== null && child !== false)
    .map((child) => typeof child === "string" ? visible(child) : child);

export function h(name, attributes, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes ?? {})) {
        if (value === undefined || value === null || value === false) {
            continue;
        } else if (key.startsWith("on")) {
            element.addEventListener(key.slice(2), value);
        } else if (key === "style") {
            for (const [property, text] of Object.entries(value)) {
                element.style.setProperty(property, text);
            }
        } else if (key === "value" || key === "checked" || key === "disabled" || key === "selected") {
            element[key] = value;
        } else {
            element.setAttribute(key, value === true ? "" : key === "aria-label" || key === "title" ? visible(value) : value);
        }
    }
    element.append(...content(children));
    return element;
}

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
    overview: "M3 12h4l3-8 4 16 3-8h4",
    agents: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Zm-6.5 9c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.5a3.5 3.5 0 0 1 0 6.3M18 14.6c2.2.9 3.5 2.9 3.5 5.4",
    map: "M6 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Zm12 3a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Zm-8 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM8.3 6.8l7.3 1.6M7 8.3l2.3 7.4M16.4 11l-4.8 5.2",
    envelopes: "M3.5 6h17v12h-17V6Zm0 .7 8.5 6.5 8.5-6.5",
    tasks: "m4 6 1.5 1.5L8.5 4.5M4 12.5 5.5 14l3-3M4 19l1.5 1.5 3-3M12 6h8.5M12 12.5h8.5M12 19h8.5",
    alerts: "M12 3.5c-3.6 0-6 2.7-6 6.2 0 5-2 6.3-2 6.3h16s-2-1.3-2-6.3c0-3.5-2.4-6.2-6-6.2ZM10 19.5c.4.7 1.1 1.1 2 1.1s1.6-.4 2-1.1",
    scripts: "m8.5 7-5 5 5 5M15.5 7l5 5-5 5M13.5 4.5l-3 15",
    send: "M21 3 10.5 13.5M21 3l-6.5 18-4-7.5L3 9.5 21 3Z",
    sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M18.7 5.3l-1.4 1.4M6.7 17.3l-1.4 1.4",
    moon: "M20.5 14.2A8.7 8.7 0 0 1 9.8 3.5a8.7 8.7 0 1 0 10.7 10.7Z",
    leave: "M9.5 4h-5v16h5M15 8l4 4-4 4M19 12H9",
    close: "m6 6 12 12M18 6 6 18",
    controls: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM9 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
    in: "M12 5v14M5 12h14",
    out: "M5 12h14",
    whole: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};

export function icon(name) {
    const svg = document.createElementNS(SVG, "svg");
    const path = document.createElementNS(SVG, "path");
    for (const [key, value] of Object.entries({viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true"})) {
        svg.setAttribute(key, value);
    }
    path.setAttribute("d", ICONS[name]);
    svg.append(path);
    return svg;
}

export function clear(element, ...children) {
    element.replaceChildren(...content(children));
    return element;
}

export function button(text, attributes, name) {
    return h("button", {type: "button", ...attributes}, name && icon(name), h("span", {}, text));
}

let fields = 0;

// A label and what it is for.
export function field(label, input, hint) {
    input.id = input.id || `field-${++fields}`;
    const said = hint && h("small", {id: `${input.id}-hint`}, hint);
    if (said) {
        input.setAttribute("aria-describedby", said.id);
    }
    return h("div", {class: "field"}, h("label", {for: input.id}, label), input, said);
}

export function badge(text, kind) {
    return h("span", {class: `badge ${kind ?? ""}`}, text);
}

export function card(title, ...children) {
    return h("section", {class: "card"}, h("h2", {}, title), children);
}

export function empty(text) {
    return h("p", {class: "empty"}, text);
}

// A yes or no that has to be meant; true: yes. `detail`: a text, or several as a list.
export function confirm(question, detail, action) {
    return new Promise((resolve) => {
        const dialog = h("dialog", {"aria-labelledby": "dialog-title", class: "dialog"},
            h("h2", {id: "dialog-title"}, question),
            Array.isArray(detail) ? h("ul", {}, detail.map((each) => h("li", {}, each))) : h("p", {}, detail),
            h("div", {class: "actions"},
                button("Cancel", {onclick: () => dialog.close("no")}),
                button(action, {class: "danger", onclick: () => dialog.close("yes")})));
        dialog.addEventListener("close", () => {
            dialog.remove();
            resolve(dialog.returnValue === "yes");
        });
        document.body.append(dialog);
        dialog.showModal();
    });
}

// What happened, for a while, also to who listens.
export function notify(text, kind) {
    const place = document.getElementById("notices");
    const notice = h("p", {class: `notice ${kind ?? ""}`}, text);
    place.append(notice);
    while (place.children.length > 4) {
        place.firstChild.remove();
    }
    setTimeout(() => notice.remove(), kind === "bad" ? 12000 : 5000);
}

// --- Values ---

const separated = new Intl.NumberFormat("en", {maximumFractionDigits: 0});

// To the last digit: 10,000.
export function whole(value) {
    return value === null || value === undefined ? "–" : separated.format(value);
}

export function count(value) {
    if (value === null || value === undefined || Number.isNaN(value)) {
        return "–";
    }
    const size = Math.abs(value);
    if (size >= 1e9) {
        return `${(value / 1e9).toFixed(2)} G`;
    } else if (size >= 1e6) {
        return `${(value / 1e6).toFixed(2)} M`;
    } else if (size >= 1e4) {
        return `${(value / 1e3).toFixed(1)} k`;
    }
    return size >= 100 || Number.isInteger(value) ? separated.format(value) : value.toFixed(1);
}

export function bytes(value) {
    if (value === null || value === undefined) {
        return "–";
    }
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    while (Math.abs(value) >= 1024 && unit < units.length - 1) {
        value /= 1024;
        unit++;
    }
    return `${unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${units[unit]}`;
}

export function milliseconds(value) {
    if (value === null || value === undefined) {
        return "–";
    } else if (value < 1) {
        return `${(value * 1000).toFixed(0)} µs`;
    }
    return value < 1000 ? `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ms` : `${(value / 1000).toFixed(2)} s`;
}

export function percent(share) {
    return share === null || share === undefined ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

export function duration(seconds) {
    if (seconds === null || seconds === undefined || Number.isNaN(seconds)) {
        return "–";
    } else if (seconds < 60) {
        return `${Math.floor(seconds)} s`;
    } else if (seconds < 3600) {
        return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    } else if (seconds < 86400) {
        return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
    }
    return `${Math.floor(seconds / 86400)} d ${Math.floor(seconds % 86400 / 3600)} h`;
}

export function clock(iso) {
    const time = new Date(iso);
    const two = (value) => String(value).padStart(2, "0");
    return Number.isNaN(time.getTime()) ? "–"
        : `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}

export function moment(iso) {
    const time = new Date(iso);
    if (Number.isNaN(time.getTime())) {
        return "–";
    }
    const two = (value) => String(value).padStart(2, "0");
    const day = `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} `;
    return (time.toDateString() === new Date().toDateString() ? "" : day) + clock(iso);
}
