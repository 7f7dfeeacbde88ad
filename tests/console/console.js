// Scenarios of the console in a browser: node console.js SCENARIO HTTP_PORT WS_PORT [TOKEN]. Exit status 0: it went as
// it should.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const {connect, launch} = require('./browser.js');

const [, , scenario, httpPort, wsPort, token] = process.argv;
const url = `http://127.0.0.1:${httpPort}/console`;
const VIEWS = ['overview', 'agents', 'map', 'envelopes', 'tasks', 'alerts', 'scripts', 'send'];
const WAIT = 40000;

let browser;

// A page that fails the scenario when anything of it fails.
async function open({colorScheme = 'dark', width = 1280, height = 800, view = ''} = {}) {
    const context = await browser.newContext({colorScheme, viewport: {width, height}, reducedMotion: 'reduce'});
    const page = await context.newPage();
    page.setDefaultTimeout(WAIT);
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(error.stack));
    page.on('dialog', (dialog) => {
        page.problems.push(`a dialog: ${dialog.message()}`);
        dialog.dismiss();
    });
    page.on('console', (message) => {
        // What a refused request is called is the browser's own.
        if (message.type() === 'error' && !message.text().includes('the server responded with a status of'))
            page.problems.push(message.text());
    });
    page.on('request', (request) => {
        if (new URL(request.url()).port !== httpPort) page.problems.push(`another host: ${request.url()}`);
        if (token && request.url().includes(token)) page.problems.push(`the token in ${request.url()}`);
    });
    await page.addInitScript(() => {
        window.violations = [];
        document.addEventListener('securitypolicyviolation', (event) =>
            window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));
    });
    await page.goto(view ? `${url}#/${view}` : url);
    return page;
}

async function close(page) {
    assert.deepStrictEqual(await page.evaluate(() => window.violations), []);
    assert.deepStrictEqual(page.problems, []);
    await page.context().close();
}

async function go(page, view) {
    await page.locator(`nav a[href="#/${view}"]`).click();
    await page.locator(`nav a[href="#/${view}"][aria-current]`).waitFor();
}

const text = (page, selector) => page.locator(selector).first().textContent();
const eventually = (page, condition, argument) => page.waitForFunction(condition, argument, {timeout: WAIT});

// A row of a list that shows this text.
const row = (page, shown) => page.locator('.list .row:visible', {hasText: shown}).first();

const number = async (page, tile) => {
    const value = await page.locator('.tile', {hasText: tile}).locator('dd').first().textContent();
    return Number.parseFloat(value);
};

const scenarios = {
    async 'token'() {
        const page = await open();
        await page.getByLabel('Token').fill('no-such-token');
        await page.keyboard.press('Enter');
        await page.getByText('The bridge does not know this token.').waitFor();
        await page.getByLabel('Token').fill(token);
        await page.keyboard.press('Enter');
        await page.getByRole('heading', {name: 'Overview'}).waitFor();
        await page.getByText('live', {exact: true}).waitFor();
        assert.match(await text(page, '.top .user'), /administrator/);
        await page.reload(); // the tab keeps it
        await page.getByRole('heading', {name: 'Overview'}).waitFor();
        assert.deepStrictEqual(await page.evaluate(() => Object.keys(localStorage)), []);
        await page.getByRole('button', {name: 'Log out'}).click();
        await page.getByLabel('Token').waitFor();
        assert.deepStrictEqual(await page.evaluate(() => Object.keys(sessionStorage)), []);
        await close(page);
    },

    async 'reader'() {
        const page = await open({view: 'agents'});
        await page.getByLabel('Token').fill(token);
        await page.keyboard.press('Enter');
        await connect(wsPort, {clientId: 'ann', authToken: token});
        await row(page, 'ann').click();
        assert.ok(await page.getByRole('button', {name: 'Disconnect'}).isDisabled());
        await go(page, 'envelopes');
        await page.getByText('the live tail is for administrators').waitFor();
        await go(page, 'scripts');
        await page.getByText('Versions of the scripts are for administrators.').waitFor();
        await close(page);
    },

    async 'operating'() {
        const ann = await connect(wsPort, {clientId: 'ann', role: 'writer', labels: ['eu']});
        const bob = await connect(wsPort, {clientId: 'bob', role: 'reviewer', tools: ['search'], maxConcurrentTasks: 3});
        const traffic = setInterval(() => ann.send({to: 'bob', intent: 'draft', payload: {n: 1}}), 20);
        const page = await open();

        // Figures move.
        await page.getByText('live', {exact: true}).waitFor();
        await eventually(page, () => Number.parseFloat([...document.querySelectorAll('.tile')].find((tile) =>
            tile.textContent.startsWith('Messages')).querySelector('dd').textContent) > 0);
        assert.strictEqual(await number(page, 'Agents'), 2);
        const since = await page.locator('.tile', {hasText: 'Messages'}).locator('dd').nth(1).textContent();
        await eventually(page, (before) => ![...document.querySelectorAll('.tile')].some((tile) =>
            tile.textContent.includes(before)), since);

        // Agents: found, sorted, opened by keyboard.
        await go(page, 'agents');
        await row(page, 'bob').waitFor();
        await page.getByLabel('Search').fill('reviewer');
        await row(page, 'ann').waitFor({state: 'hidden'});
        await page.locator('[role=grid]').focus();
        await page.keyboard.press('Home');
        await page.keyboard.press('Enter');
        await page.locator('.detail').getByRole('heading', {name: 'bob'}).waitFor();
        await eventually(page, () => /^[1-9].*\/s\)/.test(document.querySelectorAll('.detail .facts dd')[1].textContent));
        await page.locator('.detail').getByText('search', {exact: true}).waitFor();

        // The tail shows an envelope and its way.
        await page.getByRole('button', {name: 'Follow'}).click();
        await page.getByRole('heading', {name: 'Envelopes'}).waitFor();
        assert.strictEqual(await page.getByLabel('Agent').inputValue(), 'bob');
        await page.locator('.list .row:visible', {hasText: 'accepted'}).first().waitFor();
        clearInterval(traffic);
        ann.send({to: 'bob', intent: 'special', payload: {number: 1, exactly: 'this'}});
        await row(page, 'special').click();
        await page.locator('.way').getByText('Accepted for 1 recipient').waitFor();
        assert.match(await text(page, '.detail pre'), /"exactly": "this"/);

        // Others are filtered out by the bridge.
        await page.getByRole('button', {name: 'Close'}).click();
        await page.getByLabel('Intent').fill('wanted');
        await page.getByRole('button', {name: 'Filter'}).click();
        await page.getByText('live', {exact: true}).nth(1).waitFor();
        ann.send({to: 'bob', intent: 'other'});
        ann.send({to: 'bob', intent: 'wanted'});
        await row(page, 'wanted').waitFor();
        assert.strictEqual(await page.locator('.list .row:visible', {hasText: 'other'}).count(), 0);

        // Sending: numbers keep their digits.
        await go(page, 'send');
        await page.getByLabel('To', {exact: true}).fill('bob');
        await page.getByLabel('Intent').fill('greeting');
        await page.getByLabel('Payload, JSON').fill('{"n": ');
        await page.getByRole('button', {name: 'Send'}).click();
        await page.getByText('The payload is no JSON').waitFor();
        await page.getByLabel('Payload, JSON').fill('{"n": 12345678901234567890}');
        await page.getByRole('button', {name: 'Send'}).click();
        await page.getByText('Accepted.').waitFor();
        while (!bob.envelopes.some((envelope) => envelope.intent === 'greeting')) await page.waitForTimeout(20);

        // Disconnecting asks first.
        await go(page, 'agents');
        await row(page, 'bob').click();
        await page.getByRole('button', {name: 'Disconnect'}).click();
        await page.getByRole('dialog').getByRole('button', {name: 'Cancel'}).click();
        assert.strictEqual(bob.socket.readyState, 1);
        await page.getByRole('button', {name: 'Disconnect'}).click();
        await page.getByRole('dialog').getByRole('button', {name: 'Disconnect'}).click();
        assert.strictEqual(await bob.closed, 1008);
        await row(page, 'bob').waitFor({state: 'hidden'});
        await page.getByText('It is not connected any more.').waitFor();

        // The map's table has the pair, and tasks what the history says.
        await go(page, 'map');
        await page.locator('.pairs tr', {hasText: 'ann'}).filter({hasText: 'bob'}).waitFor();
        ann.send({to: 'ann', taskId: 'report-7', intent: 'task.assign'});
        await go(page, 'tasks');
        await row(page, 'report-7').click();
        await page.locator('.detail').getByRole('heading', {name: 'report-7'}).waitFor();
        await close(page);
    },

    // The spec has put another text where the script lies.
    async 'scripts'() {
        const ann = await connect(wsPort, {clientId: 'ann', role: 'writer'});
        const page = await open({view: 'scripts'});
        await page.getByText('Version 1').waitFor();
        await page.getByLabel('Share of the senders, %').fill('100');
        await page.getByRole('button', {name: 'Begin the trial'}).click();
        await page.getByText('Version 2 against 1').waitFor();
        for (let i = 0; i < 20; i++) ann.send({to: 'ann', intent: 'news', payload: i});
        await page.locator('tr', {hasText: 'Decided: drop'}).waitFor();
        await page.getByLabel('From version').selectOption('1');
        await page.getByLabel('To version').selectOption('2');
        await page.getByRole('button', {name: 'Compare'}).click();
        assert.match(await text(page, '.diff .plus'), /bridge\.drop\("enough"\)/);
        assert.match(await text(page, '.diff .minus'), /bridge\.to\("ann"\)/);
        await page.getByRole('button', {name: 'Abort'}).click();
        await page.getByText('aborted', {exact: true}).waitFor();
        await page.getByRole('button', {name: 'Reload'}).click();
        await page.locator('.version', {hasText: 'Version 3'}).getByText('current').waitFor();
        await page.locator('.version', {hasText: 'Version 1'}).getByRole('button', {name: 'Return to it'}).click();
        await page.getByRole('dialog').getByRole('button', {name: 'Return'}).click();
        await page.locator('.version', {hasText: 'Version 1'}).getByText('current').waitFor();
        await close(page);
    },

    // Every text that an agent, a script or a rule chooses.
    async 'markup'() {
        const evil = (n) => `<img src=x onerror="window.hit=${n}"><script>window.hit=${n}</script>"'\`&lt;${n}`;
        const bad = await connect(wsPort, {
            clientId: evil(1), role: evil(2), labels: [evil(3)], tools: [{name: evil(4)}], intents: [evil(5)],
        });
        const other = await connect(wsPort, {clientId: 'javascript:window.hit=6'});
        const page = await open({view: 'overview'});
        await page.getByText('live', {exact: true}).waitFor();
        const envelope = {
            to: evil(1), intent: evil(7), taskId: evil(8), payload: {[evil(9)]: evil(10)}, context: {x: evil(11)},
            trace: {y: '</pre></script><svg onload=window.hit=12>'}, replyTo: evil(13), channel: evil(14), priority: evil(15),
        };

        await go(page, 'envelopes');
        await page.getByText('live', {exact: true}).nth(1).waitFor();
        bad.send(envelope);
        other.send({...envelope, intent: 'plain'});
        other.send({...envelope, intent: 'dropped', payload: evil(16)}); // the script gives that as its reason
        await row(page, evil(7)).click();
        await page.locator('.detail').getByRole('heading', {name: evil(7)}).waitFor();
        assert.ok((await text(page, '.detail pre')).includes(JSON.stringify(evil(10))));
        await row(page, 'dropped').click();
        await page.locator('.way').getByText(evil(16)).waitFor();

        await go(page, 'agents');
        await row(page, evil(1)).click();
        for (const n of [2, 3, 4, 5]) await page.locator('.detail').getByText(evil(n), {exact: true}).first().waitFor();
        await page.getByLabel('Role').selectOption(evil(2));
        await page.getByRole('button', {name: 'Disconnect'}).click();
        await page.getByRole('dialog').getByText(`Disconnect ${evil(1)}?`).waitFor();
        await page.keyboard.press('Escape');
        await page.goto(`${url}#/agents/${encodeURIComponent(evil(1))}`);
        await page.reload();
        await page.locator('.detail').getByRole('heading', {name: evil(1)}).waitFor();

        await go(page, 'map');
        await page.locator('.pairs').getByText(evil(1), {exact: true}).first().waitFor();
        await go(page, 'tasks');
        await row(page, evil(8)).click();
        await page.locator('.detail').getByRole('heading', {name: evil(8)}).waitFor();
        // Names of rules are letters; what a text may come to hold is up to later rules.
        await page.route('**/alerts', (route) => route.fulfill({json: {alerts: [{
            name: evil(20), text: evil(21), active: true, severity: evil(22), done: evil(23), since: evil(24), until: null,
            count: 2, value: null, threshold: null,
        }]}}));
        await go(page, 'alerts');
        for (const n of [20, 21, 22]) await page.getByText(evil(n), {exact: true}).first().waitFor();
        await page.goto(`${url}#/send/${encodeURIComponent(evil(1))}`);
        await page.reload();
        await page.getByRole('button', {name: 'Send'}).click();
        await page.getByText('Accepted.').waitFor();
        await page.goto(`${url}#/${encodeURIComponent(evil(17))}`);
        await page.getByRole('heading', {name: 'Overview'}).waitFor();

        assert.strictEqual(await page.evaluate(() => window.hit), undefined);
        assert.strictEqual(await page.evaluate(() => document.querySelectorAll('script:not([src]), svg[onload], [onerror], img:not([alt=""])').length), 0);
        await close(page);
    },

    async 'accessibility'() {
        const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
        const ann = await connect(wsPort, {clientId: 'ann', role: 'writer', labels: ['eu']});
        const bob = await connect(wsPort, {clientId: 'bob', role: 'reviewer'});
        for (let i = 0; i < 30; i++) ann.send({to: i % 3 ? 'bob' : null, intent: 'news', taskId: `task-${i}`, payload: i});
        for (const colorScheme of ['dark', 'light']) {
            const page = await open({colorScheme});
            for (const view of VIEWS) {
                await go(page, view);
                await page.waitForTimeout(300);
                const first = page.locator('.list .row:visible').first();
                if (['agents', 'envelopes', 'tasks'].includes(view)) {
                    await first.click();
                    await page.locator('.detail').waitFor();
                }
                await page.evaluate(axe);
                const found = await page.evaluate(() => window.axe.run({resultTypes: ['violations']}));
                assert.deepStrictEqual(found.violations.map((violation) =>
                    `${view}, ${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 200)).join(' ')}`), []);
            }
            page.problems = page.problems.filter((problem) => !problem.includes('axe'));
            await page.getByRole('button', {name: colorScheme === 'dark' ? 'Light theme' : 'Dark theme'}).click();
            await page.getByRole('button', {name: colorScheme === 'dark' ? 'Dark theme' : 'Light theme'}).waitFor();
            await close(page);
        }
        assert.strictEqual(bob.socket.readyState, 1);
    },

    async 'narrow'() {
        const ann = await connect(wsPort, {clientId: `ann-${'long'.repeat(30)}`, role: 'w'.repeat(100), labels: ['l'.repeat(80)]});
        ann.send({to: `ann-${'long'.repeat(30)}`, intent: 'i'.repeat(150), taskId: 't'.repeat(200), payload: 'p'.repeat(300)});
        const page = await open({width: 360, height: 640});
        for (const view of VIEWS) {
            await go(page, view);
            await page.waitForTimeout(300);
            if (['agents', 'envelopes', 'tasks'].includes(view)) {
                await page.locator('.list .row:visible').first().click();
                await page.locator('.detail').waitFor();
            }
            const [wide, window_] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
            assert.ok(wide <= window_, `${view} is ${wide} wide in a window of ${window_}`);
        }
        await close(page);
    },
};

(async () => {
    browser = await launch();
    try {
        await scenarios[scenario]();
    } finally {
        await browser.close();
    }
})().then(() => process.exit(0), (error) => {
    console.error(error.stack);
    process.exit(1);
});
