// Lists of any length: only the rows in sight are elements, and they are used again. Arrow keys, Home, End and the page
// keys move, Enter opens.
import {h, visible} from "./dom.js";

const HEIGHT = 38, AROUND = 6;
let lists = 0;

const classes = (column) => ["number", "wide", "spare"].filter((name) => column[name]).join(" ");

// Below these widths of the list columns are left out.
const NARROW = 560, MIDDLE = 830;

// options: label; columns [{name, width (CSS), cell(item) a text or elements, number, wide (left out where it is
// narrow), spare (left out there and in the middle), sort (a key that head clicks report)}]; key(item); open(item); none
// (what an empty list says).
export class List {
    constructor(options) {
        this.options = options;
        this.items = [];
        this.at = -1;
        this.selected = null;
        this.reading = false; // more is to come: an empty list does not mean that there is nothing
        this.name = `list-${++lists}`;
        this.rows = []; // by slot
        this.shift = 0; // so many have come in above: an item keeps its slot
        this.names = h("div", {class: "names", role: "row"}, options.columns.map((column) => this.head(column)));
        this.inner = h("div", {class: "inner", role: "rowgroup"});
        this.none = h("p", {class: "none"}, "Reading…");
        this.state = h("div", {class: "state"});
        this.grid = h("div", {class: "rows", role: "grid", "aria-label": options.label, tabindex: "0",
            onkeydown: (event) => this.press(event)},
            h("div", {class: "head", role: "rowgroup"}, this.names), this.inner);
        this.element = h("div", {class: "list"}, this.grid, this.none, this.state);
        this.grid.addEventListener("scroll", () => this.refresh(), {passive: true});
        this.inner.addEventListener("click", (event) => {
            const row = event.target.closest(".row");
            if (row) {
                this.move(row.index);
                this.open();
            }
        });
        this.observer = new ResizeObserver(() => this.layout());
        this.observer.observe(this.grid);
    }

    end() {
        this.observer.disconnect();
    }

    head(column) {
        const cell = h("div", {role: "columnheader", class: classes(column)});
        if (column.sort) {
            cell.append(h("button", {type: "button", onclick: () => this.options.sort(column.sort)}, column.name));
        } else {
            cell.append(column.name);
        }
        column.head = cell;
        return cell;
    }

    // Which column the items are sorted by, for the eye and for who listens.
    showSort(key, descending) {
        for (const column of this.options.columns) {
            if (column.sort) {
                const is = column.sort === key;
                column.head.setAttribute("aria-sort", is ? descending ? "descending" : "ascending" : "none");
                column.head.firstChild.textContent = column.name + (is ? descending ? " ↓" : " ↑" : "");
            }
        }
    }

    layout() {
        const narrow = this.grid.clientWidth < NARROW, middle = this.grid.clientWidth < MIDDLE;
        this.template = this.options.columns.filter((column) => !(narrow && column.wide) && !(middle && column.spare))
            .map((column) => column.width).join(" ");
        this.element.classList.toggle("narrow", narrow);
        this.element.classList.toggle("middle", middle);
        this.names.style.setProperty("grid-template-columns", this.template);
        this.rows.forEach((row) => row.style.setProperty("grid-template-columns", this.template)); // it may have gaps
        this.refresh();
    }

    // `moved`: so many rows have come in above, and what is in sight stays where it is.
    show(items, moved) {
        const key = this.at >= 0 && this.items[this.at] ? this.options.key(this.items[this.at]) : null;
        this.items = items;
        this.at = key === null ? -1 : items.findIndex((item) => this.options.key(item) === key);
        this.inner.style.setProperty("height", `${items.length * HEIGHT}px`);
        this.grid.setAttribute("aria-rowcount", String(items.length + 1));
        this.none.hidden = items.length > 0;
        this.none.textContent = this.reading ? "Reading…" : this.options.none;
        this.shift += moved ?? 0;
        if (moved && this.grid.scrollTop > 0) {
            this.grid.scrollTop += moved * HEIGHT;
        }
        this.refresh();
    }

    // Items could not be read: those of before stay.
    fail(text) {
        this.state.textContent = text;
        if (this.items.length === 0) {
            this.none.textContent = text;
        }
    }

    refresh() {
        this.due ??= requestAnimationFrame(() => {
            this.due = undefined;
            this.draw();
        });
    }

    // A row keeps its item as long as that is in sight, so that scrolling by one fills one.
    row(slot) {
        let row = this.rows[slot];
        if (!row) {
            row = h("div", {class: "row", role: "row", id: `${this.name}-${slot}`,
                style: {height: `${HEIGHT}px`, "grid-template-columns": this.template ?? ""}},
                this.options.columns.map((column) => h("div", {role: "gridcell", class: classes(column)})));
            this.rows[slot] = row;
            this.inner.append(row);
        }
        return row;
    }

    draw() {
        const room = Math.ceil(this.grid.clientHeight / HEIGHT) + 2 * AROUND;
        const first = Math.max(0, Math.floor(this.grid.scrollTop / HEIGHT) - AROUND);
        const count = Math.min(this.items.length - first, room);
        const used = new Set();
        let current = null;
        for (let index = first; index < first + count; index++) {
            const slot = ((index - this.shift) % room + room) % room;
            const row = this.row(slot);
            used.add(slot);
            this.fill(row, index);
            current = index === this.at ? row : current;
        }
        this.rows.forEach((row, slot) => {
            row.hidden = !used.has(slot);
        });
        if (current) {
            this.grid.setAttribute("aria-activedescendant", current.id);
        } else {
            this.grid.removeAttribute("aria-activedescendant");
        }
    }

    fill(row, index) {
        const item = this.items[index];
        if (row.index !== index) {
            row.index = index;
            row.setAttribute("aria-rowindex", String(index + 2));
            row.style.setProperty("transform", `translateY(${index * HEIGHT}px)`);
        }
        const selected = String(this.selected !== null && this.options.key(item) === this.selected);
        if (row.getAttribute("aria-selected") !== selected) {
            row.setAttribute("aria-selected", selected);
        }
        row.classList.toggle("at", index === this.at);
        if (row.item === item) {
            return;
        }
        row.item = item;
        this.options.columns.forEach((column, number) => {
            const cell = row.children[number], content = column.cell(item);
            if (typeof content === "string") {
                const text = visible(content);
                if (cell.firstChild?.nodeType === Node.TEXT_NODE) {
                    cell.firstChild.data = text;
                } else {
                    cell.textContent = text;
                }
            } else {
                cell.replaceChildren(...[content].flat());
            }
        });
    }

    move(index) {
        this.at = Math.max(0, Math.min(this.items.length - 1, index));
        const top = this.at * HEIGHT, room = this.grid.clientHeight - this.names.offsetHeight;
        if (top < this.grid.scrollTop) {
            this.grid.scrollTop = top;
        } else if (top + HEIGHT > this.grid.scrollTop + room) {
            this.grid.scrollTop = top + HEIGHT - room;
        }
        this.refresh();
    }

    open() {
        const item = this.items[this.at];
        if (item !== undefined && this.options.open) {
            this.select(this.options.key(item));
            this.options.open(item);
        }
    }

    select(key) {
        this.selected = key;
        this.refresh();
    }

    press(event) {
        const page = Math.max(1, Math.floor(this.grid.clientHeight / HEIGHT) - 2);
        const to = {
            ArrowDown: this.at + 1, ArrowUp: this.at - 1, PageDown: this.at + page, PageUp: this.at - page,
            Home: 0, End: this.items.length - 1,
        }[event.key];
        if (event.target !== this.grid || this.items.length === 0) {
            return;
        } else if (to !== undefined) {
            this.move(to);
        } else if (event.key === "Enter" || event.key === " ") {
            this.open();
        } else {
            return;
        }
        event.preventDefault();
    }
}
