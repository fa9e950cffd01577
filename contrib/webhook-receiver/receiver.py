#!/usr/bin/env python3
"""Receives webhooks of Mortise: verifies them, echoes the challenge, takes each event once.

    WEBHOOK_SECRET_FILE=secret python3 receiver.py 9000

Needs nothing but Python's own library.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGEST_BODY = 2 * 1024 * 1024
TOLERANCE_SECONDS = 300


def is_signed(secret, headers, body, now):
    """Standard Webhooks: over id, time and body, so that nobody can send an old request again."""
    event = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    signed = f"{event}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
    # There are two while a secret is rotated.
    signatures = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected.encode(), it.encode()) for it in signatures)


def is_signed_body(secret, headers, body):
    """The same over the body alone, for receivers that look at one header only."""
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), headers.get("x-mortise-signature", "").encode())


class Receiver(BaseHTTPRequestHandler):
    secret = b""
    # Yours will be in a database: the same event may come again, also after a restart.
    taken = set()
    timeout = 15

    def do_POST(self):
        try:
            length = int(self.headers.get("content-length", ""))
        except ValueError:
            return self.answer(411, {})
        if not 0 <= length <= LARGEST_BODY:
            return self.answer(413, {})
        # The bytes as they came: they are what is signed.
        body = self.rfile.read(length)
        if not is_signed(self.secret, self.headers, body, time.time()):
            return self.answer(401, {"message": "the signature is wrong"})
        event = json.loads(body)
        if event["type"] == "verify":
            return self.answer(200, {"challenge": event["verify"]["challenge"]})
        if event["id"] not in self.taken:
            self.taken.add(event["id"])
            # Store it here, and work on it after the answer: there are three seconds.
            print(event["type"], event["id"], flush=True)
        return self.answer(200, {})

    def answer(self, status, answer):
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    with open(os.environ["WEBHOOK_SECRET_FILE"], "rb") as file:
        Receiver.secret = file.read().strip()
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(f"listening at http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
