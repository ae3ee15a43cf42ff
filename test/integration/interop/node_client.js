// The client of Node's ws against skein-server, without and with permessage-deflate.
'use strict';

const assert = require('assert');
const crypto = require('crypto');
const { spawn } = require('child_process');
const WebSocket = require('ws');

const LIMIT = 64 * 1024;
const PATIENCE = 20_000;

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`timed out: ${what}`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function withServer(options, use) {
  const server = spawn(process.argv[2], ['--bench-routes', '--port', '0', ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => server.on('exit', (code, signal) => resolve(code ?? signal)));
  try {
    let said = '';
    const address = await within(
      new Promise((resolve) => {
        server.stdout.on('data', (part) => {
          said += part;
          const found = /listening on (\S+)\n/.exec(said);
          if (found) resolve(found[1]);
        });
      }),
      'the address of the server',
    );
    await use(`ws://${address}/echo`);
  } finally {
    server.kill('SIGTERM');
  }
  assert.strictEqual(await within(exited, 'the end of the server'), 0);
}

// A socket whose messages and end are awaited.
class Client {
  constructor(url, options) {
    this.socket = new WebSocket(url, { handshakeTimeout: PATIENCE, ...options });
    this.arrived = [];
    this.waiting = [];
    this.opened = new Promise((resolve, reject) => {
      this.socket.on('open', resolve);
      this.socket.on('error', reject);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => this.socket.on('close', (code, reason) => resolve({ code, reason })));
    this.socket.on('message', (data, isBinary) => {
      const message = isBinary ? data : data.toString();
      if (this.waiting.length > 0) this.waiting.shift()(message);
      else this.arrived.push(message);
    });
  }

  read() {
    if (this.arrived.length > 0) return Promise.resolve(this.arrived.shift());
    return within(
      Promise.race([
        new Promise((resolve) => this.waiting.push(resolve)),
        this.closed.then(({ code }) => Promise.reject(new Error(`closed with ${code}`))),
      ]),
      'a message',
    );
  }

  async expect(payload) {
    const answer = await this.read();
    assert.strictEqual(typeof answer, typeof payload);
    assert.ok(typeof payload === 'string' ? answer === payload : answer.equals(payload), `${payload.length} bytes differ`);
  }

  sendDivided(payload) {
    const third = Math.floor(payload.length / 3);
    const bounds = [0, third, 2 * third, 2 * third, payload.length];
    for (let i = 0; i < 4; ++i) this.socket.send(payload.slice(bounds[i], bounds[i + 1]), { fin: i === 3 });
  }

  async ping(payload) {
    const pong = within(new Promise((resolve) => this.socket.once('pong', resolve)), 'a pong');
    this.socket.ping(payload);
    assert.strictEqual((await pong).toString(), payload);
  }
}

function payloads() {
  const prose = Array.from({ length: 4_000 }, (_, i) => `order ${(i * 7919) % 1000}`).join(' ');
  return [
    '', 'text', 'grüße € 😀', prose.slice(0, 300), 'x'.repeat(LIMIT), prose.slice(0, 40_000),
    Buffer.alloc(0), Buffer.from([0, 255, 128]), Buffer.alloc(LIMIT), crypto.randomBytes(LIMIT),
    crypto.randomBytes(LIMIT - 1), Buffer.from(prose),
  ];
}

async function converse(url, perMessageDeflate) {
  const client = new Client(url, { perMessageDeflate });
  await client.opened;
  assert.strictEqual(client.socket.extensions.includes('permessage-deflate'), perMessageDeflate !== false);
  for (const payload of payloads()) {
    client.socket.send(payload);
    await client.expect(payload);
    if (payload.length === 0) continue;
    client.sendDivided(payload);
    await client.expect(payload);
  }
  for (let i = 0; i < 200; ++i) client.socket.send(`${i} ${'y'.repeat(i * 7)}`);
  for (let i = 0; i < 200; ++i) await client.expect(`${i} ${'y'.repeat(i * 7)}`);
  for (let i = 0; i < 5; ++i) await client.ping(`ping ${i}`);
  client.socket.close(4001, 'done');
  assert.strictEqual((await within(client.closed, 'the close')).code, 4001);
}

async function pastTheLimit(url, perMessageDeflate) {
  const client = new Client(url, { perMessageDeflate });
  await client.opened;
  client.socket.send('x'.repeat(LIMIT + 1));
  assert.strictEqual((await within(client.closed, 'the close')).code, 1009);
}

async function conversations(url, perMessageDeflate) {
  await Promise.all(Array.from({ length: 8 }, () => converse(url, perMessageDeflate)));
  await pastTheLimit(url, perMessageDeflate);
}

async function main() {
  await withServer([], (url) => conversations(url, false));
  await withServer(['--compression'], async (url) => {
    await conversations(url, false);
    await conversations(url, { threshold: 0 });
    await conversations(url, { threshold: 0, serverMaxWindowBits: 9 });
    await conversations(url, { threshold: 0, clientMaxWindowBits: 10, serverMaxWindowBits: 12 });
    await conversations(url, { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true });
  });
  console.log('ws and skein-server understand each other');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
