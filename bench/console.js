// How smooth the console stays: frames of a page that shows 10,000 agents (AGENTS) while they send, scrolled, filtered
// and sorted. Prints milliseconds between frames and of the longest tasks; `make bench-console` runs it.
'use strict';
const {connect, launch} = require('../tests/console/browser.js');
const {start} = require('../tests/console/bridge.js');

const AGENTS = Number(process.env.AGENTS || 10000);
const ROLES = ['writer', 'reviewer', 'tool', 'planner', 'engineer'];

// A page of its own sees its frames; what blocks it for more than 50 ms is a long task (W3C Long Tasks).
const watch = `(() => {
    const frames = [], tasks = [];
    let last = performance.now(), on = true;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => tasks.push(entry.duration)))
        .observe({entryTypes: ['longtask']});
    const frame = (now) => {
        frames.push(now - last);
        last = now;
        if (on) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    window.endWatch = () => {
        on = false;
        return {frames: frames.slice(2), tasks};
    };
})()`;

const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

async function measure(page, name, act) {
    await page.evaluate(watch);
    await act();
    const {frames, tasks} = await page.evaluate('window.endWatch()');
    const sorted = frames.sort((a, b) => a - b);
    const shown = [0.5, 0.95, 0.99, 1].map((share) => quantile(sorted, share).toFixed(1).padStart(8)).join('');
    console.log(`${name.padEnd(34)}${String(frames.length).padStart(7)}${shown}${String(tasks.length).padStart(7)}` +
        `${(tasks.length ? Math.max(...tasks) : 0).toFixed(0).padStart(9)}`);
}

(async () => {
    const bridge = await start('return {listen = {wsPort = 0, httpPort = 0}, http = {rateMax = 0}}');
    const agents = [];
    while (agents.length < AGENTS) {
        agents.push(...await Promise.all(Array.from({length: Math.min(200, AGENTS - agents.length)}, (_, i) => connect(bridge.wsPort, {
            clientId: `agent-${agents.length + i}`, role: ROLES[(agents.length + i) % ROLES.length], labels: ['eu', `rack-${i % 40}`],
            intents: ['query', 'result'],
        }))));
    }
    const traffic = setInterval(() => {
        for (let i = 0; i < 20; i++) {
            agents[Math.floor(Math.random() * AGENTS)].send({to: `agent-${Math.floor(Math.random() * AGENTS)}`, intent: 'query', payload: {}});
        }
    }, 20);
    const browser = await launch();
    const page = await browser.newPage({viewport: {width: 1360, height: 900}});
    await page.goto(`http://127.0.0.1:${bridge.httpPort}/console#/agents`);
    await page.getByText(`${AGENTS.toLocaleString('en')} agents`).waitFor({timeout: 60000});
    console.log(`${AGENTS} agents, 1,000 envelopes/s; ms between frames, number and longest of tasks over 50 ms`);
    console.log(`${''.padEnd(34)} frames     p50     p95     p99     max  tasks  longest`);
    await measure(page, 'still', () => page.waitForTimeout(5000));
    await measure(page, 'scrolled by the wheel', async () => {
        await page.mouse.move(600, 500);
        for (let i = 0; i < 150; i++) {
            await page.mouse.wheel(0, i % 10 === 9 ? 60000 : 400);
            await page.waitForTimeout(20);
        }
    });
    await measure(page, 'searched, a letter at a time', async () => {
        for (const text of ['agent-1234', 'rack-7', 'reviewer', '']) {
            await page.getByLabel('Search').fill('');
            await page.getByLabel('Search').pressSequentially(text, {delay: 60});
        }
    });
    await measure(page, 'sorted by each column', async () => {
        for (const name of ['Sent / s', 'Waiting', 'Role', 'Agent']) {
            await page.getByRole('columnheader', {name}).getByRole('button').click();
            await page.waitForTimeout(300);
        }
    });
    await measure(page, 'the list read again (10 s)', () => page.waitForTimeout(11000));
    await page.goto(`http://127.0.0.1:${bridge.httpPort}/console#/envelopes`);
    await page.waitForTimeout(1500);
    await measure(page, 'tail of 200 envelopes/s', () => page.waitForTimeout(5000));
    await page.goto(`http://127.0.0.1:${bridge.httpPort}/console#/map`);
    await page.waitForTimeout(1500);
    await measure(page, 'map, by role', () => page.waitForTimeout(5000));
    await page.getByLabel('Show', {exact: true}).selectOption('agent');
    await measure(page, 'map, the most active', () => page.waitForTimeout(5000));
    await page.goto(`http://127.0.0.1:${bridge.httpPort}/console#/overview`);
    await page.waitForTimeout(1500);
    await measure(page, 'overview', () => page.waitForTimeout(5000));
    clearInterval(traffic);
    await browser.close();
    await bridge.stop();
    process.exit(0);
})().catch((error) => {
    console.error(error);
    process.exit(1);
});
