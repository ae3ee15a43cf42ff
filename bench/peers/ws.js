'use strict';
// A WebSocket server on Node's ws, as its README teaches it: one process, one thread, broadcast by sending to
// each client of the set. Compression is off, which is the module's default for a server; ws turns Nagle's
// algorithm off itself. A client with more than 64 MiB waiting is dropped.

const http = require('http');
const { WebSocket, WebSocketServer } = require('ws');

const maxBufferedBytes = 64 * 1024 * 1024;
const options = { noServer: true, maxPayload: 1024 * 1024, perMessageDeflate: false };

const echo = new WebSocketServer({ ...options, clientTracking: false });
echo.on('connection', (client) => {
  client.on('error', () => client.terminate());
  client.on('message', (data, isBinary) => client.send(data, { binary: isBinary }));
});

const broadcast = new WebSocketServer(options);
broadcast.on('connection', (client) => {
  client.on('error', () => client.terminate());
  client.on('message', (data, isBinary) => {
    const how = { binary: isBinary };
    for (const recipient of broadcast.clients) {
      if (recipient.readyState !== WebSocket.OPEN) continue;
      if (recipient.bufferedAmount > maxBufferedBytes) recipient.terminate();
      else recipient.send(data, how);
    }
  });
});

const routes = new Map([['/echo', echo], ['/broadcast', broadcast]]);
const server = http.createServer((request, response) => response.writeHead(404).end());
server.on('upgrade', (request, socket, head) => {
  const route = routes.get(request.url);
  if (!route) return socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  route.handleUpgrade(request, socket, head, (client) => route.emit('connection', client, request));
});

const at = process.argv.indexOf('--port');
const port = at < 0 ? 0 : Number(process.argv[at + 1]);
server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
