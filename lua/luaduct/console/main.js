// The frame around the views: login, navigation, theme, whether the bridge is there.
import {clear, clock, field, h, icon} from "./dom.js";
import {get, hasToken, onRefused, setToken} from "./api.js";
import {begin, end, on, store} from "./store.js";
import {theme} from "./chart.js";
import {overview} from "./overview.js";
import {agents} from "./agents.js";
import {map} from "./map.js";
import {envelopes} from "./envelopes.js";
import {tasks} from "./tasks.js";
import {alerts} from "./alerts.js";
import {scripts} from "./scripts.js";
import {send} from "./send.js";
import {controls} from "./controls.js";

const VIEWS = {
    overview: ["Overview", overview], agents: ["Agents", agents], map: ["Map", map], envelopes: ["Envelopes", envelopes],
    tasks: ["Tasks", tasks], alerts: ["Alerts", alerts], scripts: ["Scripts", scripts], send: ["Send", send],
    controls: ["Controls", controls],
};

const THEME = "luaduct-theme";
const SILENCE_MS = 15000; // figures come every second
const light = window.matchMedia("(prefers-color-scheme: light)");
const picture = new URL("icon.svg", import.meta.url).href;

function useTheme() {
    const chosen = localStorage.getItem(THEME) ?? (light.matches ? "light" : "dark");
    document.documentElement.dataset.theme = chosen;
    theme.changed();
    const other = document.getElementById("theme");
    if (other) {
        clear(other, icon(chosen === "dark" ? "sun" : "moon"));
        other.setAttribute("aria-label", chosen === "dark" ? "Light theme" : "Dark theme");
    }
}

function switchTheme() {
    localStorage.setItem(THEME, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    useTheme();
}

const brand = () => h("span", {class: "brand"}, h("img", {src: picture, alt: ""}), "Luaduct");

// --- Login ---

function showLogin(why) {
    leaveView();
    end();
    const token = h("input", {type: "password", autocomplete: "off", required: true, spellcheck: "false"});
    const error = h("p", {class: "error", role: "alert"}, why ?? "");
    const form = h("form", {onsubmit: async (event) => {
        event.preventDefault();
        error.textContent = "";
        setToken(token.value.trim());
        start((refusal) => {
            setToken(null);
            error.textContent = refusal.status === 401 ? "The bridge does not know this token." : refusal.message;
            token.select();
        });
    }}, brand(), h("h1", {class: "hidden"}, "Luaduct console"), h("p", {}, "This bridge asks for a token. It stays in this tab, and is forgotten when the tab closes."),
    field("Token", token), error, h("button", {type: "submit", class: "primary"}, "Log in"));
    clear(document.body, h("main", {class: "login"}, form));
    document.title = "Luaduct";
    token.focus();
}

function showProblem(text) {
    clear(document.body, h("main", {class: "login"}, h("form", {onsubmit: (event) => {
        event.preventDefault();
        start(refused);
    }}, brand(), h("h1", {class: "hidden"}, "Luaduct console"), h("p", {class: "error", role: "alert"}, text), h("button", {type: "submit"}, "Try again"))));
}

// --- Frame ---

let leave = null;
let ears = []; // of the frame

function leaveView() {
    leave?.();
    leave = null;
}

function showFrame(session) {
    const live = h("span", {class: "live", role: "status"}, "connecting");
    const alertBadge = h("span", {class: "badge bad", hidden: true});
    const links = Object.entries(VIEWS).map(([name, [title]]) => h("li", {}, h("a", {href: `#/${name}`}, icon(name),
        h("span", {}, title), name === "alerts" && alertBadge)));
    const main = h("main", {id: "main", tabindex: "-1"});
    const gone = h("div", {class: "gone", role: "status"});
    clear(document.body, h("div", {class: "frame"},
        h("a", {class: "skip", href: "#main", onclick: (event) => {
            event.preventDefault();
            main.focus();
        }}, "To the content"),
        h("header", {class: "top"}, brand(),
            h("span", {class: "where"}, `${session.environment} · ${session.mode} · ${session.version} · ${session.reactors} ${session.reactors === 1 ? "reactor" : "reactors"}`),
            h("span", {class: "space"}), live,
            h("span", {class: "badge user"}, `${session.name ?? "no credential"}${session.admin ? ", administrator" : ""}`),
            h("button", {type: "button", class: "quiet", id: "theme", onclick: switchTheme}),
            hasToken() && h("button", {type: "button", class: "quiet", "aria-label": "Log out", onclick: () => {
                setToken(null);
                showLogin();
            }}, icon("leave"))),
        h("nav", {class: "side", "aria-label": "Views"}, h("ul", {}, links)), gone, main),
    h("div", {id: "notices", role: "status", "aria-live": "polite"}));
    useTheme();
    ears.forEach((off) => off());
    let said = "";
    const showState = () => {
        const {state, why, latest} = store;
        const silent = state === "live" && performance.now() - store.heard > SILENCE_MS && store.heard > 0;
        const draining = store.drains || latest?.draining;
        const text = state === "live" ? silent ? "silent" : draining ? "draining" : "live"
            : state === "waiting" ? "no connection" : "refused";
        const since = latest ? ` What is shown is of ${clock(latest.time)}.` : "";
        const trouble = silent ? `Nothing has come from the bridge for a while.${since}`
            : state === "waiting" ? draining ? `The bridge has drained and ended, as it was told to.${since}`
                : `${why?.status ? `The bridge refuses: ${why.message}.` : "The bridge does not answer."} It is asked again and again.${since}`
                : state !== "live" ? `No figures: ${state.message}.` : "";
        if (said !== text + trouble) {
            said = text + trouble;
            live.textContent = text;
            live.className = `live ${text === "live" ? "on" : state === "live" || state === "waiting" ? "" : "off"}`;
            clear(gone, trouble && h("p", {class: "banner bad"}, trouble),
                text === "draining" && h("p", {class: "banner"}, "The bridge is draining: it takes no new agents, says good-bye to those that are there, and ends."));
        }
    };
    const watch = setInterval(showState, 2000);
    ears = [() => clearInterval(watch), on("state", showState), on("figures", (figures) => {
        showState();
        alertBadge.hidden = figures.alerts === 0;
        alertBadge.textContent = String(figures.alerts);
        alertBadge.setAttribute("aria-label", `${figures.alerts} active`);
    })];
    return main;
}

function showView(main) {
    const [, name, about] = location.hash.match(/^#\/(\w+)(?:\/(.*))?$/) ?? [];
    const view = Object.hasOwn(VIEWS, name ?? "") ? name : "overview";
    leaveView();
    clear(main);
    let what;
    try {
        what = about && decodeURIComponent(about);
    } catch { /* no name of ours */ }
    leave = VIEWS[view][1](main, what);
    document.title = `${VIEWS[view][0]} · Luaduct`;
    document.querySelectorAll("nav.side a").forEach((link) => {
        if (link.getAttribute("href") === `#/${view}`) {
            link.setAttribute("aria-current", "page");
            link.scrollIntoView({block: "nearest", inline: "nearest"});
        } else {
            link.removeAttribute("aria-current");
        }
    });
}

let shown = null;

// Asks who we are; `failed` hears why not.
async function start(failed) {
    let session;
    try {
        session = await get("/console/session");
    } catch (refusal) {
        failed(refusal);
        return;
    }
    if (session.needed) {
        showLogin();
        return;
    }
    shown = showFrame(session);
    begin(session);
    showView(shown);
    window.scrollTo(0, 0);
}

function refused(refusal) {
    if (refusal.status === 401) {
        showLogin();
    } else {
        showProblem(refusal.message);
    }
}

onRefused(() => {
    if (store.session) {
        setToken(null);
        showLogin("The token is not valid any more.");
    }
});
window.addEventListener("hashchange", () => {
    if (store.session) {
        showView(shown);
        shown.focus({preventScroll: true});
        window.scrollTo(0, 0);
    }
});
light.addEventListener("change", useTheme);
useTheme();
start(refused);
