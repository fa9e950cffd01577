// Receives webhooks of Mortise: verifies them, echoes the challenge, takes each event once.
//
//     WEBHOOK_SECRET_FILE=secret node receiver.mjs 9000
//
// Needs nothing but Node's own modules.

import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const LARGEST_BODY = 2 * 1024 * 1024;
const TOLERANCE_SECONDS = 300;

function equal(expected, given) {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}

// Standard Webhooks: over id, time and body, so that nobody can send an old request again.
export function isSigned(secret, headers, body, nowSeconds) {
  const event = headers['webhook-id'] ?? '';
  const timestamp = headers['webhook-timestamp'] ?? '';
  if (!/^[0-9]+$/.test(timestamp) || Math.abs(nowSeconds - Number(timestamp)) > TOLERANCE_SECONDS) {
    return false;
  }
  const mac = createHmac('sha256', secret).update(`${event}.${timestamp}.`).update(body);
  const expected = `v1,${mac.digest('base64')}`;
  // There are two while a secret is rotated.
  const signatures = (headers['webhook-signature'] ?? '').split(' ');
  return signatures.some((it) => equal(expected, it));
}

// The same over the body alone, for receivers that look at one header only.
export function isSignedBody(secret, headers, body) {
  const expected = createHmac('sha256', secret).update(body).digest('hex');
  return equal(expected, headers['x-mortise-signature'] ?? '');
}

// Yours will be in a database: the same event may come again, also after a restart.
const taken = new Set();

function answerTo(secret, headers, body) {
  if (!isSigned(secret, headers, body, Date.now() / 1000)) {
    return [401, { message: 'the signature is wrong' }];
  }
  const event = JSON.parse(body.toString());
  if (event.type === 'verify') {
    return [200, { challenge: event.verify.challenge }];
  }
  if (!taken.has(event.id)) {
    taken.add(event.id);
    // Store it here, and work on it after the answer: there are three seconds.
    console.log(event.type, event.id);
  }
  return [200, {}];
}

const secret = readFileSync(process.env.WEBHOOK_SECRET_FILE, 'utf8').trim();
const server = createServer({ requestTimeout: 15_000 }, (request, response) => {
  const pieces = [];
  let size = 0;
  request.on('data', (piece) => {
    size += piece.length;
    if (size > LARGEST_BODY) {
      request.destroy();
    } else {
      pieces.push(piece);
    }
  });
  request.on('end', () => {
    // The bytes as they came: they are what is signed.
    const [status, answer] = answerTo(secret, request.headers, Buffer.concat(pieces));
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(answer));
  });
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => {
  console.log(`listening at http://127.0.0.1:${server.address().port}/`);
});
