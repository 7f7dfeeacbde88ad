// A list, and beside it what is chosen in it.
import {clear, h, icon} from "./dom.js";

// label: of what is shown; closed(): it is not shown any more.
export class Detail {
    constructor(list, label, closed) {
        this.list = list;
        this.closed = closed;
        this.pane = h("aside", {class: "detail", hidden: true, "aria-label": label});
        this.element = h("div", {class: "split"}, list.element, this.pane);
    }

    show(head, ...content) {
        clear(this.pane, h("div", {class: "head"}, head,
            h("button", {type: "button", class: "quiet", "aria-label": "Close", onclick: () => this.close()}, icon("close"))),
            ...content);
        this.pane.hidden = false;
        this.element.classList.add("open");
        if (this.list.element.offsetParent === null) { // on a narrow screen it takes the list's place
            this.pane.scrollIntoView({block: "start"});
            this.pane.querySelector(".head button").focus({preventScroll: true});
        }
    }

    close() {
        this.closed?.();
        this.pane.hidden = true;
        this.element.classList.remove("open");
        this.list.select(null);
        this.list.grid.focus();
    }
}
