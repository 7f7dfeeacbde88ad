// Pictures of the console for docs/img: a bridge with a team of agents at work. `make screenshots` runs it.
'use strict';
const {connect, launch} = require('./browser.js');
const {start} = require('./bridge.js');

const OUT = 'docs/img';
const SECONDS = Number(process.env.SECONDS || 66); // a minute of figures, which the charts show

const TEAM = [
    ['planner', 'planner', ['core']], ['scheduler', 'planner', ['core']], ['writer-1', 'writer', ['eu']],
    ['writer-2', 'writer', ['us']], ['editor', 'writer', ['eu']], ['critic', 'reviewer', ['eu']],
    ['fact-check', 'reviewer', ['us']], ['search', 'tool', ['internal']], ['browser', 'tool', ['internal']],
    ['memory', 'tool', ['internal', 'gpu']], ['embedder', 'tool', ['gpu']], ['translator', 'writer', ['eu']],
    ['user-gateway', 'gateway', ['edge']], ['coder', 'engineer', ['us']], ['tester', 'engineer', ['us']],
];

// Who asks whom, how often and what for.
const TALKS = [
    ['user-gateway', 'planner', 9, 'request'], ['planner', 'scheduler', 6, 'plan'], ['planner', 'writer-1', 8, 'task.assign'],
    ['planner', 'writer-2', 5, 'task.assign'], ['planner', 'coder', 4, 'task.assign'], ['writer-1', 'search', 7, 'query'],
    ['search', 'writer-1', 7, 'result'], ['writer-2', 'search', 4, 'query'], ['search', 'writer-2', 4, 'result'],
    ['search', 'browser', 5, 'fetch'], ['browser', 'search', 5, 'result'], ['writer-1', 'editor', 4, 'draft'],
    ['writer-2', 'editor', 3, 'draft'], ['editor', 'critic', 3, 'review'], ['critic', 'editor', 2, 'comment'],
    ['critic', 'fact-check', 2, 'claim'], ['fact-check', 'search', 2, 'query'], ['editor', 'translator', 2, 'text'],
    ['memory', 'embedder', 3, 'embed'], ['embedder', 'memory', 3, 'vector'], ['planner', 'memory', 3, 'recall'],
    ['coder', 'tester', 3, 'patch'], ['tester', 'coder', 3, 'verdict'], ['tester', 'planner', 2, 'task.complete'],
    ['editor', 'planner', 2, 'task.complete'], ['translator', 'user-gateway', 2, 'answer'], ['scheduler', null, 0.4, 'news'],
];

const CONFIG = `return {
    listen = {wsPort = 0, httpPort = 0}, environment = "production", http = {rateMax = 0}, limits = {memory = "256MiB"},
    performance = {worker_threads = 2}, script = {path = "route.lua"},
}`;

const SCRIPT = `local script = {}

function script.route(envelope, bridge)
    if envelope.intent == "review" then
        return bridge.role("reviewer")
    end
end

return script
`;

async function work(bridge) {
    const agents = new Map();
    for (const [clientId, role, labels] of TEAM) {
        agents.set(clientId, await connect(bridge.wsPort, {clientId, role, labels, maxConcurrentTasks: 4,
            intents: ['query', 'task.assign'], tools: role === 'tool' ? [{name: clientId}] : []}));
    }
    let tick = 0;
    return setInterval(() => {
        const busy = 2.2 + Math.sin(++tick / 62) + 0.4 * Math.sin(tick / 17);
        for (const [from, to, often, intent] of TALKS) {
            for (let left = often * busy / 10; left > Math.random(); left--) {
                agents.get(from).send({to, intent, taskId: intent.startsWith('task') ? `report-${1 + tick % 9}` : null,
                    payload: {text: `${intent} of ${from}`, step: tick}});
            }
        }
        for (let left = tick % 5 === 0 ? 5 * busy : 0; left > 0; left--) {
            fetch(`http://127.0.0.1:${bridge.httpPort}/workers/execute`, {method: 'POST', body: JSON.stringify({
                operation: 'hash', data: {text: 'x'.repeat(700000)},
            })}).catch(() => {});
        }
    }, 100);
}

async function shoot(browser, bridge, name, options, then) {
    const page = await browser.newPage({viewport: {width: 1360, height: options.height || 900}, ...options});
    await page.goto(`http://127.0.0.1:${bridge.httpPort}/console#/${options.view}`);
    return async () => {
        if (then) await then(page);
        await page.waitForTimeout(600);
        await page.screenshot({path: `${OUT}/console-${name}.png`});
        console.log(`${OUT}/console-${name}.png`);
        await page.close();
    };
}

(async () => {
    const bridge = await start(CONFIG, {'route.lua': SCRIPT});
    const timer = await work(bridge);
    const browser = await launch();
    try {
        const narrow = {viewport: {width: 390, height: 844}, deviceScaleFactor: 2};
        // The bridge has figures of the time that it runs, and the map shows what passed lately.
        const charts = [
            await shoot(browser, bridge, 'overview-dark', {view: 'overview', colorScheme: 'dark', height: 1000}),
            await shoot(browser, bridge, 'narrow', {view: 'overview', colorScheme: 'light', ...narrow}),
            await shoot(browser, bridge, 'map', {view: 'map', colorScheme: 'dark', height: 860}),
        ];
        await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
        for (const one of charts) await one();
        const agents = await shoot(browser, bridge, 'agents-light', {view: 'agents', colorScheme: 'light', height: 860}, async (page) => {
            await page.waitForTimeout(4000);
            await page.locator('.list .row', {hasText: 'planner'}).first().click();
            await page.waitForTimeout(3500);
        });
        await agents();
        const tail = await shoot(browser, bridge, 'envelopes', {view: 'envelopes', colorScheme: 'dark', height: 860}, async (page) => {
            await page.waitForTimeout(2500);
            await page.getByRole('button', {name: 'Pause'}).click();
            await page.locator('.list .row', {hasText: 'review'}).first().click();
        });
        await tail();
        const controls = await shoot(browser, bridge, 'controls', {view: 'controls', colorScheme: 'light', height: 900}, async (page) => {
            await page.waitForTimeout(1500);
            await page.getByRole('button', {name: 'Collect now'}).click();
            await page.getByText('Collected').waitFor();
            await page.mouse.move(700, 880);
        });
        await controls();
    } finally {
        clearInterval(timer);
        await browser.close();
        await bridge.stop();
    }
    process.exit(0);
})();
