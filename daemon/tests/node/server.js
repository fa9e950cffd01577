// A server for the tests of connections: HTTP, HTTPS and plain TCP on loopback. Says its ports.
'use strict';
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const fs = require('node:fs');
const path = require('node:path');

const MEGABYTE = Buffer.alloc(1024 * 1024, 'm');

function answer(request, response) {
  const url = new URL(request.url, 'http://x');
  const count = Number(url.searchParams.get('megabytes') ?? 0);
  let received = 0;
  request.on('data', (chunk) => { received += chunk.length; });
  request.on('end', () => {
    if (url.pathname === '/download') {
      let left = count;
      const more = () => {
        while (left > 0) {
          left -= 1;
          if (!response.write(MEGABYTE)) return response.once('drain', more);
        }
        return response.end();
      };
      more();
      return;
    }
    if (url.pathname === '/never') return;
    const { method, headers } = request;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({
      method, path: request.url, received, host: headers.host, cause: headers['mortise-cause'],
      connection: request.socket.remotePort, secure: request.socket.encrypted === true }));
  });
}

const key = fs.readFileSync(path.join(__dirname, 'server.key'));
const cert = fs.readFileSync(path.join(__dirname, 'server.crt'));
const plain = http.createServer(answer);
const secure = https.createServer({ key, cert }, answer);
// Says everything back, and that it has heard the end.
const echo = net.createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => {});
  socket.on('data', (chunk) => { if (!socket.write(chunk)) socket.pause(); });
  socket.on('drain', () => socket.resume());
  socket.on('end', () => socket.end('the end'));
});
const servers = [plain, secure, echo];
Promise.all(servers.map((it) => new Promise((done) => it.listen(0, '127.0.0.1', done)))).then(() => {
  process.stdout.write(servers.map((it) => it.address().port).join(' ') + '\n');
});
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
