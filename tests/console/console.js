// Scenarios of the console in a browser: node console.js SCENARIO HTTP_PORT WS_PORT [TOKEN]. Exit status 0: it went as
// it should.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const {connect, launch} = require('./browser.js');

const [, , scenario, httpPort, wsPort, token] = process.argv;
const url = `http://127.0.0.1:${httpPort}/console`;
const VIEWS = ['overview', 'agents', 'map', 'envelopes', 'tasks', 'alerts', 'scripts', 'send', 'controls'];
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
        assert.strictEqual(await page.locator('.detail .facts > div', {hasText: 'Messages / s'}).locator('dd').textContent(), '7');
        await go(page, 'envelopes');
        await page.getByText('the live tail is for administrators').waitFor();
        await go(page, 'scripts');
        await page.getByText('Versions of the scripts are for administrators.').waitFor();
        await go(page, 'controls');
        await page.getByText('are for administrators.').waitFor();
        assert.strictEqual(await page.locator('main button').count(), 0);
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

    // What the bridge has kept, seen as if it had been two minutes ago.
    async 'charts'() {
        const ann = await connect(wsPort, {clientId: 'ann'});
        ann.send({to: 'ann'});
        const past = async () => (await (await fetch(`http://127.0.0.1:${httpPort}/metrics/history`)).json()).samples;
        while ((await past()).length < 3) await new Promise((resolve) => setTimeout(resolve, 200));
        const page = await open({view: 'send'}); // anywhere but where it is drawn
        await page.route('**/metrics/history', async (route) => {
            const response = await route.fetch(), history = await response.json();
            history.samples.forEach((sample) => {
                sample[history.columns.indexOf('time')] -= 120000;
            });
            await route.fulfill({response, json: history});
        });
        await page.reload();
        await go(page, 'overview');
        await page.getByRole('button', {name: '5 min'}).click();
        const chart = page.locator('section.card', {hasText: 'Messages per second'});
        await chart.locator('canvas').hover({position: {x: 70, y: 60}});
        await chart.getByText(/^1[2-9]\d s ago$/).waitFor();
        assert.doesNotMatch(await chart.locator('.legend').textContent(), /NaN|undefined/);
        await close(page);
    },

    // What an operator does, by keyboard alone.
    async 'controls'() {
        const ann = await connect(wsPort, {clientId: 'ann'});
        const page = await open({view: 'controls'});
        const press = async (button, key = 'Enter') => {
            await button.focus();
            await page.keyboard.press(key);
        };
        const dialog = page.getByRole('dialog'), engine = page.locator('.engines li', {hasText: 'workerPool'});

        // At once, before the first figures have come.
        await press(page.getByRole('button', {name: 'Collect now'}));
        await page.getByText(/^Collected: .* reclaimed\.$/).waitFor();

        await press(page.getByRole('button', {name: 'Switch off workerPool'}));
        await dialog.getByText('Tasks that run are cancelled').waitFor();
        assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'Cancel');
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await engine.getByText('off', {exact: true}).waitFor();
        await press(page.getByRole('button', {name: 'Switch on workerPool'}), 'Space');
        await engine.getByText('on', {exact: true}).waitFor();

        const tls = page.getByLabel('tls', {exact: true}), apply = page.getByRole('button', {name: 'Apply'});
        assert.ok(await apply.isDisabled());
        await tls.selectOption('debug');
        await press(page.getByRole('button', {name: 'Undo'}));
        assert.strictEqual(await tls.inputValue(), '');
        await tls.selectOption('debug');
        await page.getByLabel('General level').selectOption('warn');
        await press(apply);
        await page.getByText('The log\'s levels are changed.').waitFor();
        const log = await (await fetch(`http://127.0.0.1:${httpPort}/admin/log`)).json();
        assert.deepStrictEqual([log.level, log.rooms.tls, log.rooms.agent], ['warn', {level: 'debug', own: true}, {level: 'warn', own: false}]);
        await page.reload();
        await eventually(page, () => [...document.querySelectorAll('.rooms select')].some((select) => select.value === 'debug'));

        // What the bridge refuses is said.
        await page.route('**/admin/gc', (route) => route.fulfill({status: 403, json: {error: 'no longer yours', code: 'forbidden'}}));
        await press(page.getByRole('button', {name: 'Collect now'}));
        await page.locator('.notice.bad', {hasText: 'no longer yours'}).waitFor();

        const drain = page.getByRole('button', {name: 'Drain'});
        // How many would be disconnected is known from the first figures on, up to a second after the page was loaded.
        await page.getByText('one agent is connected').waitFor();
        await press(drain);
        await dialog.getByText('The one agent that is connected').waitFor();
        await page.keyboard.press('Escape');
        await dialog.waitFor({state: 'detached'});
        assert.strictEqual(await page.evaluate(() => document.activeElement.textContent), 'Drain');
        assert.strictEqual(ann.socket.readyState, 1);
        await page.keyboard.press('Enter');
        await dialog.waitFor();
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await page.getByText('The bridge is draining').waitFor();
        assert.ok(await drain.isDisabled());
        assert.strictEqual(await ann.closed, 1001);
        await page.getByText('The bridge has drained and ended').waitFor();
        page.problems = page.problems.filter((problem) => !problem.includes('net::ERR_'));
        await close(page);
    },

    // More agents than a picture can show.
    async 'crowd'() {
        const names = ['writer', 'reviewer', 'tool'];
        const agents = await Promise.all(Array.from({length: 120}, (_, i) =>
            connect(wsPort, {clientId: `agent-${i}`, role: names[i % 3], labels: [i % 2 ? 'odd' : 'even']})));
        for (let i = 0; i < 120; i++) agents[i].send({to: `agent-${(i + 1) % 120}`, intent: 'news'});
        for (let i = 0; i < 30; i++) agents[0].send({to: 'agent-1', intent: 'news'});
        while (agents[0].envelopes.length < 1 || agents[1].envelopes.length < 31) await new Promise((resolve) => setTimeout(resolve, 50));
        const page = await open({view: 'map'});
        const about = page.locator('main p.about'), show = page.getByLabel('Show', {exact: true});
        const says = (text) => about.getByText(text).waitFor();
        await says('shown by their 3 roles');
        await page.locator('.pairs tr', {hasText: /writer \(40\)reviewer \(40\)/}).waitFor();
        await show.selectOption('label');
        await says('shown by their 2 labels');
        await page.locator('.pairs tr', {hasText: /even \(60\)odd \(60\)/}).waitFor();
        await show.selectOption('agent');
        await says(/120 agents talked lately · the \d\d most active are shown, the others as one/);
        await page.locator('.pairs tr', {hasText: /agent-0agent-1/}).waitFor();
        await page.getByLabel('Find', {exact: true}).fill('agent-77');
        await says('1 agent found, and 2 that they talk with · all are shown');
        await page.getByLabel('Find', {exact: true}).fill('no such agent');
        await says('Nobody of that name talked lately');

        // From a role to its agents, by keyboard.
        await page.getByLabel('Find', {exact: true}).fill('');
        await show.selectOption('role');
        await page.locator('.pairs button', {hasText: 'tool (40)'}).first().focus();
        await page.keyboard.press('Enter');
        await says('40 agents found, and 80 that they talk with');
        assert.strictEqual(await page.getByLabel('Find', {exact: true}).inputValue(), 'tool');

        // Zoomed and moved by keyboard, and by buttons.
        const whole = page.getByRole('button', {name: 'Show all of it'}), frame = page.getByRole('group', {name: /^Map/});
        assert.ok(await whole.isDisabled());
        for (const keys of [['+', '0'], ['-', 'ArrowLeft', '0']]) {
            await frame.focus();
            for (const key of keys) {
                await page.keyboard.press(key);
                assert.strictEqual(await whole.isDisabled(), key === '0', key);
            }
        }
        await page.getByRole('button', {name: 'Zoom in'}).click();
        await whole.focus();
        await page.keyboard.press('Enter');
        assert.ok(await whole.isDisabled());
        assert.ok(await frame.evaluate((element) => element === document.activeElement));
        await close(page);
    },

    // The bridge does not want to answer, and then cannot: this kills it.
    async 'trouble'() {
        const page = await open({view: 'send'});
        await page.getByText('live', {exact: true}).waitFor();
        let asked = 0;
        await page.route('**/agents', (route) => {
            asked++;
            return route.fulfill({status: 429, headers: {'Retry-After': '3600'},
                json: {error: 'too many requests from this address: see Retry-After', code: 'rate_limited'}});
        });
        await go(page, 'agents');
        await page.locator('.list .none').getByText('too many requests from this address; again in 3600 s').waitFor();
        await go(page, 'map');
        await go(page, 'agents');
        assert.strictEqual(asked, 1);
        await page.route('**/alerts', (route) => route.fulfill({status: 502, body: '<html>'}));
        await page.unroute('**/agents');
        await page.reload();
        await page.getByText('Nobody is connected.').waitFor();
        await go(page, 'alerts');
        await page.getByText('the bridge answered 502').waitFor();
        await go(page, 'overview');
        await page.getByText('0 since the start').waitFor();
        process.kill(Number(process.env.LUADUCT_TEST_PID), 'SIGKILL');
        await page.getByText(/The bridge does not answer\. It is asked again and again\. What is shown is of \d/).waitFor();
        await page.getByText('no connection', {exact: true}).waitFor();
        await go(page, 'controls');
        await page.getByText('the bridge does not answer').first().waitFor();
        await page.reload().catch(() => {});
        page.problems = page.problems.filter((problem) => !problem.includes('net::ERR_'));
        assert.deepStrictEqual(page.problems, []);
    },

    // Texts that turn what is beside them around, or show nothing.
    async 'characters'() {
        const turned = await connect(wsPort, {clientId: 'gnp\u202eexe', role: 'a\u2066b'});
        await connect(wsPort, {clientId: 'ann\u200b'});
        await connect(wsPort, {clientId: 'ann'});
        await connect(wsPort, {clientId: 'مرحبا', labels: ['שלום']});
        turned.send({to: 'ann\u200b', intent: 'bell\u0007', payload: 'x\u202ey'});
        const page = await open({view: 'agents'});
        await row(page, 'ann\\u200b').waitFor();
        await row(page, 'مرحبا').waitFor();
        await row(page, 'gnp\\u202eexe').click();
        await page.locator('.detail').getByRole('heading', {name: 'gnp\\u202eexe'}).waitFor();
        await page.locator('.detail').getByText('a\\u2066b').waitFor();
        await page.locator('.detail td', {hasText: 'bell\\u0007'}).waitFor();
        await go(page, 'map');
        await page.locator('.pairs tr', {hasText: 'gnp\\u202eexe'}).filter({hasText: 'ann\\u200b'}).waitFor();
        await page.locator('.pairs a', {hasText: 'gnp'}).click(); // and the id is still the one that it is
        await page.locator('.detail').getByRole('heading', {name: 'gnp\\u202eexe'}).waitFor();
        await page.getByRole('button', {name: 'Disconnect'}).click();
        await page.getByRole('dialog').getByText('Disconnect gnp\\u202eexe?').waitFor();
        await page.getByRole('dialog').getByRole('button', {name: 'Disconnect'}).click();
        assert.strictEqual(await turned.closed, 1008);
        // eslint-disable-next-line no-misleading-character-class
        assert.doesNotMatch(await page.evaluate(() => document.body.textContent), /[\u202e\u2066\u200b\u0007]/);
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
        await page.getByLabel('Show', {exact: true}).selectOption('role');
        await page.locator('.pairs').getByText(`${evil(2)} (1)`, {exact: true}).first().waitFor();
        await page.getByLabel('Show', {exact: true}).selectOption('label');
        await page.locator('.pairs').getByText(`${evil(3)} (1)`, {exact: true}).first().waitFor();
        await go(page, 'tasks');
        await row(page, evil(8)).click();
        await page.locator('.detail').getByRole('heading', {name: evil(8)}).waitFor();
        // Names of rules are letters; what a text may come to hold is up to later rules.
        await page.route('**/alerts', (route) => route.fulfill({json: {alerts: [{
            name: evil(20), text: evil(21), active: true, severity: evil(22), done: evil(23), since: evil(24), until: null,
            count: 2, value: null, threshold: null,
        }]}}));
        await page.route('**/admin/engines', (route) => route.fulfill({json: {engines: {[evil(30)]: {
            enabled: true, state: evil(31), failures: 0, reason: evil(32), retryInMs: 1000,
        }}}}));
        await page.route('**/admin/log', (route) => route.fulfill(route.request().method() === 'POST'
            ? {status: 400, json: {error: evil(35), code: evil(36)}}
            : {json: {level: 'info', rooms: {[evil(33)]: {level: evil(34), own: true}}, access: false, lost: 0}}));
        await go(page, 'controls');
        await page.getByText(evil(30)).waitFor();
        await page.getByText(evil(31), {exact: true}).waitFor();
        await page.getByText(`${evil(32)}; tried again in 1 s`).waitFor();
        await page.getByRole('button', {name: `Switch off ${evil(30)}`}).click();
        await page.getByRole('dialog').getByText(`Switch ${evil(30)} off?`).waitFor();
        await page.keyboard.press('Escape');
        await page.getByLabel(evil(33)).selectOption('error');
        await page.getByRole('button', {name: 'Apply'}).click();
        await page.locator('.notice', {hasText: evil(35)}).waitFor();
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
                const check = async (what) => {
                    const found = await page.evaluate(() => window.axe.run({resultTypes: ['violations']}));
                    assert.deepStrictEqual(found.violations.map((violation) =>
                        `${what}, ${violation.id}: ${violation.nodes.map((node) => node.html.slice(0, 200)).join(' ')}`), []);
                };
                await check(view);
                if (view === 'map') {
                    await page.getByLabel('Show', {exact: true}).selectOption('role');
                    await page.locator('.pairs button').first().waitFor();
                    await check('map by role');
                } else if (view === 'controls') {
                    await page.getByRole('button', {name: 'Drain'}).click();
                    await page.getByRole('dialog').waitFor();
                    await check('the question before draining');
                    await page.keyboard.press('Escape');
                }
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
