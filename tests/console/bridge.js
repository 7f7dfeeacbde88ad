// A bridge for whoever looks at the console without busted: on free ports, ended with its parent.
'use strict';
const {spawn} = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

// config: the text of a config file; files: name to text. Gives {httpPort, wsPort, stop()}.
exports.start = async (config, files = {}) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'luaduct-console-'));
    for (const [name, text] of Object.entries({...files, 'config.lua': config})) fs.writeFileSync(path.join(folder, name), text);
    const child = spawn(process.env.LUADUCT_BIN || 'build/luaduct', ['run', path.join(folder, 'config.lua')],
        {stdio: ['ignore', 'pipe', 'pipe']});
    let said = '';
    const ports = await new Promise((resolve, reject) => {
        const take = (bytes) => {
            said += bytes;
            const ws = said.match(/WebSocket +ws:\S+:(\d+)/), http = said.match(/HTTP +http:\S+:(\d+)/);
            if (ws && http) resolve({wsPort: Number(ws[1]), httpPort: Number(http[1])});
        };
        child.stdout.on('data', take);
        child.stderr.on('data', take);
        child.on('error', reject);
        child.on('exit', (status) => reject(new Error(`the bridge ended with ${status}:\n${said}`)));
    });
    return {...ports, folder, stop: () => new Promise((resolve) => {
        child.removeAllListeners('exit');
        child.on('exit', () => {
            fs.rmSync(folder, {recursive: true, force: true});
            resolve();
        });
        child.kill('SIGTERM');
    })};
};
