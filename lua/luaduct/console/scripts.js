// Versions of the scripts: what is in use, what is on trial and how it does, what differs.
import {badge, button, card, clear, confirm, count, empty, field, h, milliseconds, moment, notify} from "./dom.js";
import {get, post} from "./api.js";
import {store} from "./store.js";
import {show as showDiff} from "./diff.js";

const USES = {current: "good", canary: "accent", shadow: "accent", kept: ""};

const errorRate = (figures) => figures.calls > 0 ? `${(100 * figures.errors / figures.calls).toFixed(2)} %` : "–";

function comparison({current, trial}) {
    const decided = [...new Set([...Object.keys(current.decisions), ...Object.keys(trial.decisions)])]
        .filter((kind) => current.decisions[kind] || trial.decisions[kind]);
    const rows = [
        ["Calls", (f) => count(f.calls)], ["Errors", (f) => count(f.errors)], ["Error rate", errorRate],
        ["Overruns", (f) => count(f.overruns)], ["Refused", (f) => count(f.refused)],
        ["Time p50", (f) => f.calls ? milliseconds(f.p50Ms) : "–"], ["Time p99", (f) => f.calls ? milliseconds(f.p99Ms) : "–"],
        ...decided.map((kind) => [`Decided: ${kind}`, (f) => count(f.decisions[kind] ?? 0)]),
    ];
    return h("div", {class: "scroll", tabindex: "0", role: "group", "aria-label": "Comparison"}, h("table", {},
        h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Since the trial began"), h("th", {scope: "col", class: "number"}, "in use"),
            h("th", {scope: "col", class: "number"}, "on trial"))),
        h("tbody", {}, rows.map(([name, of]) => h("tr", {}, h("th", {scope: "row"}, name),
            h("td", {class: "number"}, of(current)), h("td", {class: "number"}, of(trial)))))));
}

export function scripts(main) {
    const versions = h("div"), trial = h("div"), differences = h("div"), diff = h("div");
    const percent = h("input", {type: "number", min: "0.01", max: "100", step: "any", placeholder: "10"});
    const label = h("input", {type: "text", placeholder: "any"}), id = h("input", {type: "text", placeholder: "any, * for any text"});
    const shadow = h("input", {type: "checkbox", id: "in-shadow"});
    const before = h("select"), after = h("select");
    let known = "", timer, ended = false, list = [];

    async function act(what, path, body) {
        try {
            const answer = await post(path, body);
            const restart = answer.restartNeeded?.length ? ` These keys wait for a restart: ${answer.restartNeeded.join(", ")}.` : "";
            notify(`${what}: version ${answer.version}.${restart}`);
        } catch (refusal) {
            notify(refusal.message, "bad");
        }
        ask();
    }

    function onTrial(event) {
        event.preventDefault();
        const canary = {};
        if (percent.value) {
            canary.percent = Number(percent.value);
        }
        if (label.value) {
            canary.label = label.value;
        }
        if (id.value) {
            canary.id = id.value;
        }
        if (!shadow.checked && Object.keys(canary).length === 0) {
            notify("A trial needs a share, a label or an id, or to run in the shadow.", "bad");
            percent.focus();
            return;
        }
        act("On trial", "/admin/reload", {...(Object.keys(canary).length ? {canary} : {}), ...(shadow.checked ? {shadow: true} : {})});
    }

    if (!store.session.admin) {
        main.append(h("div", {class: "title"}, h("h1", {}, "Scripts")), card("Versions", empty("Versions of the scripts are for administrators.")));
        return () => {};
    }
    main.append(
        h("div", {class: "title"}, h("h1", {}, "Scripts"), button("Reload", {class: "primary", onclick: () => act("In use", "/admin/reload", {})})),
        h("div", {class: "grid"}, card("Versions", versions), card("Trial", trial, differences)),
        h("div", {class: "grid"},
            card("Put what lies on disk on trial", h("form", {class: "form", onsubmit: onTrial},
                field("Share of the senders, %", percent), field("Senders with the label", label), field("Senders with the id", id),
                h("div", {class: "check full"}, shadow, h("label", {for: "in-shadow"}, "In the shadow: it decides beside the one in use, and nothing of it is done")),
                h("div", {class: "actions full"}, h("button", {type: "submit"}, "Begin the trial"))))),
        card("What differs", h("div", {class: "bar"}, field("From version", before), field("To version", after),
            button("Compare", {onclick: compareVersions})), diff));

    async function compareVersions() {
        try {
            const [old, fresh] = await Promise.all([before.value, after.value].map((version) => get("/admin/scripts/sources", {version})));
            const texts = (of) => new Map(of.files.map((file) => [file.path, file.text]));
            const left = texts(old), right = texts(fresh);
            const paths = [...new Set([...left.keys(), ...right.keys()])].filter((path) => left.get(path) !== right.get(path));
            clear(diff, paths.length === 0 ? empty(left.size ? "The files are the same." : "These versions have no files: the mode's own behaviour.")
                : paths.map((path) => [h("h3", {}, `${path}${left.has(path) ? right.has(path) ? "" : " (gone)" : " (new)"}`),
                    showDiff(left.get(path) ?? "", right.get(path) ?? "")]));
        } catch (refusal) {
            clear(diff, h("p", {class: "banner bad"}, refusal.message));
        }
    }

    function showVersions() {
        const onTrialNow = list.some((version) => version.use === "canary" || version.use === "shadow");
        clear(versions, list.map((version) => {
            const calls = Object.values(version.hooks).reduce((sum, hook) => sum + hook.calls, 0);
            const errors = Object.values(version.hooks).reduce((sum, hook) => sum + hook.errors, 0);
            return h("div", {class: "version"}, h("div", {class: "about"},
                h("p", {}, h("span", {class: "strong"}, `Version ${version.number} `), badge(version.use, USES[version.use])),
                h("p", {class: "dim"}, `${moment(version.loaded)} · ${count(calls)} calls, ${count(errors)} errors · ${version.hash.slice(0, 12)}`),
                version.files.length > 0 && h("p", {class: "dim mono"}, version.files.map((path) => path.split("/").pop()).join(", ")),
                version.problem && h("p", {class: "bad-text"}, version.problem)),
                version.use === "kept" && button("Return to it", {disabled: onTrialNow, onclick: async () => {
                    if (await confirm(`Return to version ${version.number}?`, "All reactors take it into use at once.", "Return")) {
                        act("In use again", "/admin/reload", {to: version.number});
                    }
                }}));
        }));
        const numbers = list.map((version) => version.number).join();
        if (numbers !== known) {
            known = numbers;
            const current = list.find((version) => version.use === "current"), other = list.find((version) => version !== current) ?? current;
            const fill = (select, chosen) => clear(select, list.map((version) =>
                h("option", {value: String(version.number), selected: version === chosen}, `${version.number}, ${version.use}`)));
            fill(before, other.number < current.number ? other : current);
            fill(after, other.number < current.number ? current : other);
        }
    }

    function showTrial(view) {
        if (view.state === "none") {
            clear(trial, empty("No version was on trial yet."));
            return;
        }
        const runs = view.state === "running";
        const whom = view.shadow ? "in the shadow" : [`${view.percent} % of the senders`, view.label && `label ${view.label}`, view.id && `id ${view.id}`].filter(Boolean).join(", ");
        clear(trial, h("p", {}, h("span", {class: "strong"}, `Version ${view.version} against ${view.against} `),
            badge(view.state, runs ? "accent" : view.state === "promoted" ? "good" : "bad")),
            h("p", {class: "dim"}, `${whom} · began ${moment(view.began)}${view.ended ? ` · ended ${moment(view.ended)}` : ""}`),
            view.why && h("p", {}, view.why),
            comparison(view),
            view.shadow && h("p", {class: "dim"}, `${count(view.compared)} compared, ${count(view.different)} decided otherwise`),
            runs && h("div", {class: "actions"},
                button("Promote", {class: "primary", onclick: () => act("Promoted", "/admin/canary/promote", {})}),
                button("Abort", {class: "danger", onclick: () => act("In use again", "/admin/canary/abort", {})})));
    }

    async function showDifferences(view) {
        const found = view.shadow ? (await get("/admin/canary/diff")).differences : [];
        clear(differences, found.slice(-8).reverse().map((each) => h("div", {class: "version"}, h("div", {class: "about"},
            h("p", {class: "mono"}, `${each.envelope?.from ?? "?"} → ${each.envelope?.to ?? "all"} · ${each.envelope?.intent ?? ""}`),
            h("p", {}, "in use ", h("code", {}, each.decided)), h("p", {}, "on trial ", h("code", {}, each.wouldDecide))))));
    }

    async function ask() {
        clearTimeout(timer);
        let runs = false;
        try {
            if (!document.hidden || known === "") {
                const [{versions: now}, view] = await Promise.all([get("/admin/scripts"), get("/admin/canary")]);
                list = now;
                runs = view.state === "running";
                showVersions();
                showTrial(view);
                await showDifferences(view);
            }
        } catch (refusal) {
            clear(versions, empty(refusal.message));
        }
        if (!ended) {
            timer = setTimeout(ask, runs ? 2000 : 6000);
        }
    }

    ask();
    return () => {
        ended = true;
        clearTimeout(timer);
    };
}
