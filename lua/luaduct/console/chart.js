// Line charts of the last minutes on a canvas. Drawn when there is something new, at most once a frame.
import {h} from "./dom.js";
import {store} from "./store.js";

const LEFT = 62, RIGHT = 10, TOP = 8, BOTTOM = 20;
const charts = new Set();

export const theme = {
    read() {
        const style = getComputedStyle(document.documentElement);
        for (const name of ["text", "dim", "line", "line-strong", "panel", "raised", "ground", "accent", "bad", "warn",
            "series-1", "series-2", "series-3", "series-4"]) {
            this[name] = style.getPropertyValue(`--${name}`).trim();
        }
    },
    changed() {
        this.read();
        charts.forEach((chart) => chart.refresh());
    },
};

// Sets the canvas to the pixels that it covers; gives its context, scaled, and its size.
export function prepare(canvas) {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return {context, width, height};
}

// A round step so that about three lines fit below `most`.
function niceStep(most, base) {
    const rough = most / 3;
    const power = base ** Math.floor(Math.log(rough) / Math.log(base));
    const steps = base === 10 ? [1, 2, 5, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
    return power * (steps.find((step) => step * power >= rough) ?? base);
}

// options: title; series [{name, value(sample), color 1…4, fill}]; format; least (of the top of the scale); binary
// (steps are powers of two); marks(latest) gives [{value, text}] for lines across; ahead(latest) gives
// {seconds, perSecond} to draw on from the first series.
export class Chart {
    constructor(options) {
        this.options = options;
        this.seconds = 60;
        this.pointer = null;
        this.canvas = h("canvas", {role: "img", "aria-label": options.title});
        this.values = options.series.map(() => h("b", {}, "–"));
        this.when = h("li", {}, "");
        this.legend = h("ul", {class: "legend"}, options.series.map((series, index) =>
            h("li", {}, h("span", {class: `swatch s${series.color}`}), series.name, this.values[index])), this.when);
        this.element = h("section", {class: "card"}, h("div", {class: "head"}, h("h2", {}, options.title), this.legend),
            h("div", {class: "chart"}, this.canvas));
        this.canvas.addEventListener("pointermove", (event) => this.point(event.offsetX));
        this.canvas.addEventListener("pointerleave", () => this.point(null));
        this.observer = new ResizeObserver(() => this.refresh());
        this.observer.observe(this.canvas);
        charts.add(this);
    }

    end() {
        this.observer.disconnect();
        charts.delete(this);
    }

    point(x) {
        this.pointer = x;
        this.refresh();
    }

    refresh() {
        this.due ??= requestAnimationFrame(() => {
            this.due = undefined;
            if (this.canvas.isConnected) {
                this.draw();
            }
        });
    }

    draw() {
        const {series, format, binary} = this.options;
        const {context, width, height} = prepare(this.canvas);
        const now = store.samples.at(-1)?.at ?? Date.now();
        const ahead = store.latest && this.options.ahead?.(store.latest);
        const future = this.options.ahead ? this.seconds / 5 : 0;
        const begin = now - (this.seconds - future) * 1000, end = now + future * 1000;
        const samples = store.samples.filter((sample) => sample.at >= begin - 2000);
        const marks = store.latest ? this.options.marks?.(store.latest) ?? [] : [];
        let most = this.options.least ?? 1;
        for (const sample of samples) {
            for (const one of series) {
                most = Math.max(most, one.value(sample) ?? 0);
            }
        }
        for (const mark of marks) {
            most = mark.value <= most * 4 ? Math.max(most, mark.value) : most;
        }
        if (ahead && samples.length > 0) {
            most = Math.max(most, series[0].value(samples.at(-1)) + ahead.perSecond * future);
        }
        const step = niceStep(most * 1.05, binary ? 1024 : 10);
        const top = Math.max(step, Math.ceil(most * 1.05 / step) * step);
        const x = (at) => LEFT + (at - begin) / (end - begin) * (width - LEFT - RIGHT);
        const y = (value) => height - BOTTOM - value / top * (height - TOP - BOTTOM);

        context.font = "11px system-ui, sans-serif";
        context.textBaseline = "middle";
        context.textAlign = "right";
        context.lineWidth = 1;
        context.strokeStyle = theme.line;
        context.fillStyle = theme.dim;
        for (let value = 0; value <= top * 1.001; value += step) {
            context.beginPath();
            context.moveTo(LEFT, Math.round(y(value)) + 0.5);
            context.lineTo(width - RIGHT, Math.round(y(value)) + 0.5);
            context.stroke();
            context.fillText(format(value), LEFT - 7, y(value));
        }
        this.drawTimes(context, x, now, height, future);

        context.save();
        context.beginPath();
        context.rect(LEFT, 0, width - LEFT - RIGHT, height);
        context.clip();
        for (const mark of marks) {
            if (mark.value <= top) {
                context.setLineDash([5, 4]);
                context.strokeStyle = theme.warn;
                context.beginPath();
                context.moveTo(LEFT, y(mark.value));
                context.lineTo(width - RIGHT, y(mark.value));
                context.stroke();
                context.fillStyle = theme.warn;
                context.textAlign = "left";
                context.fillText(mark.text, LEFT + 6, y(mark.value) - 8);
            }
        }
        context.setLineDash([]);
        [...series].reverse().forEach((one) => this.drawLine(context, samples, one, x, y));
        if (ahead && samples.length > 0) {
            const last = samples.at(-1), value = series[0].value(last);
            context.strokeStyle = theme[`series-${series[0].color}`];
            context.setLineDash([3, 4]);
            context.beginPath();
            context.moveTo(x(last.at), y(value));
            context.lineTo(x(end), y(Math.max(0, value + ahead.perSecond * future)));
            context.stroke();
            context.setLineDash([]);
        }
        context.restore();
        this.drawPointer(context, samples, x, height, width);
    }

    drawTimes(context, x, now, height, future) {
        const past = this.seconds - future;
        const step = past > 400 ? 120 : past > 100 ? 60 : 15;
        context.fillStyle = theme.dim;
        for (let seconds = 0; seconds <= past; seconds += step) {
            const text = seconds === 0 ? "now" : seconds < 60 ? `−${seconds} s` : `−${seconds / 60} min`;
            context.textAlign = seconds === 0 && !future ? "right" : "center";
            if (x(now - seconds * 1000) > LEFT + 12) {
                context.fillText(text, x(now - seconds * 1000), height - 8);
            }
        }
        if (future) {
            context.strokeStyle = theme["line-strong"];
            context.beginPath();
            context.moveTo(Math.round(x(now)) + 0.5, TOP);
            context.lineTo(Math.round(x(now)) + 0.5, height - BOTTOM);
            context.stroke();
        }
    }

    drawLine(context, samples, one, x, y) {
        const color = theme[`series-${one.color}`];
        let begun = null, last = null;
        const fill = () => {
            if (one.fill && begun !== null && last !== null) {
                context.lineTo(last, y(0));
                context.lineTo(begun, y(0));
                context.globalAlpha = 0.13;
                context.fillStyle = color;
                context.fill();
                context.globalAlpha = 1;
            }
        };
        const trace = (finish) => {
            begun = last = null;
            context.beginPath();
            for (const sample of samples) {
                const value = one.value(sample);
                if (value === null || value === undefined) {
                    finish();
                    begun = last = null;
                    context.beginPath();
                    continue;
                }
                last = x(sample.at);
                if (begun === null) {
                    begun = last;
                    context.moveTo(last, y(value));
                    context.lineTo(last + 0.5, y(value));
                } else {
                    context.lineTo(last, y(value));
                }
            }
            finish();
        };
        trace(fill);
        context.strokeStyle = color;
        context.lineWidth = 1.7;
        context.lineJoin = "round";
        trace(() => context.stroke());
        context.lineWidth = 1;
    }

    // The legend shows what the pointer is at, or the newest.
    drawPointer(context, samples, x, height, width) {
        let shown = samples.at(-1);
        if (this.pointer !== null && samples.length > 0) {
            shown = samples.reduce((best, sample) =>
                Math.abs(x(sample.at) - this.pointer) < Math.abs(x(best.at) - this.pointer) ? sample : best);
            context.strokeStyle = theme["line-strong"];
            context.beginPath();
            context.moveTo(x(shown.at), TOP);
            context.lineTo(x(shown.at), height - BOTTOM);
            context.stroke();
        }
        const {series, title} = this.options, format = this.options.exact ?? this.options.format;
        const said = series.map((one, index) => {
            const value = shown ? one.value(shown) : null;
            const text = value === null || value === undefined ? "–" : format(value);
            if (this.values[index].textContent !== text) {
                this.values[index].textContent = text;
            }
            return `${one.name} ${text}`;
        });
        const ago = this.pointer !== null && shown ? `${Math.round((samples.at(-1).at - shown.at) / 1000)} s ago` : "";
        if (this.when.textContent !== ago) {
            this.when.textContent = ago;
        }
        this.canvas.setAttribute("aria-label", `${title}: ${said.join(", ")}`);
    }
}
