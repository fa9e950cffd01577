"""Signed requests of known senders, made without any code of Mortise.

    python3 make.py > signatures.jsonl

HMAC is that of Python's `hmac` and `hashlib`, Ed25519 that of the package `cryptography` (OpenSSL),
with a key that is derived from a fixed seed, so that the file is the same each time. Lines with
`"by"` other than "made" are what a sender's own documentation shows; their signature is quoted, and
this script refuses to run if Python's result is another.

Each line: `verify` of the configuration; `now_ms`; headers; body in base64; the type of the event
and its dedup key; whether the time is signed.
"""

import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET = "EnterYourRandomSecretHere"
TIME = 1_700_000_000
PRIVATE = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"mortise test key").digest())
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
BINARY = bytes(range(256))


def mac(key, content, hash="sha256"):
    return hmac.new(key, content, getattr(hashlib, hash)).digest()


def b64(data):
    return base64.b64encode(data).decode()


def line(scheme, headers, body, event, dedup=None, time=TIME, timed=True, by="made", secret=SECRET, **verify):
    verify = {"scheme": scheme, **({} if secret is None else {"secret": secret}), **verify}
    print(json.dumps({
        "by": by, "verify": verify, "now_ms": time * 1000 + 7000, "timed": timed,
        "headers": headers, "body": b64(body), "event": event, "dedup": dedup,
    }))


def quoted(found, expected):
    assert found == expected, (found, expected)
    return found


JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
key = SECRET.encode()
stamp = str(TIME).encode()

# From documentation.

body = b"Hello, World!"
signature = quoted(
    "sha256=" + mac(b"It's a Secret to Everybody", body).hex(),
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
line("github", {"x-hub-signature-256": signature, "x-github-event": "ping", "x-github-delivery": "d-1"},
     body, "custom:ping", "d-1", timed=False, by="GitHub's documentation", secret="It's a Secret to Everybody")

body = (b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
        b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
        b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
        b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
signature = quoted(
    "v0=" + mac(b"8f742231b10e8888abcd99yyyzzz85a5", b"v0:1531420618:" + body).hex(),
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
line("slack", {**FORM, "x-slack-signature": signature, "x-slack-request-timestamp": "1531420618"},
     body, "custom:/webhook-collect", time=1531420618, by="Slack's documentation",
     secret="8f742231b10e8888abcd99yyyzzz85a5")

for by, secret, id, time, body, signature, event in [
    ("the specification of Standard Webhooks", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
     "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}',
     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "custom:received"),
    ("the Rust library of Standard Webhooks", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
     "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
     b'{"email":"test@example.com","username":"test_user"}',
     "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", "custom:received"),
]:
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    found = "v1," + b64(mac(raw, f"{id}.{time}.".encode() + body))
    signature = quoted(found, signature)
    for prefix, scheme in [("webhook", "standard-webhooks"), ("svix", "standard-webhooks")]:
        headers = {**JSON, f"{prefix}-id": id, f"{prefix}-timestamp": str(time), f"{prefix}-signature": signature}
        line(scheme, headers, body, event, id, time=time, by=by, secret=secret)

# Made.

body = b'{"action": "opened", "number": 7}'
for scheme, name, prefix in [("github", "GitHub", "sha256="), ("gitea", "Gitea", ""), ("forgejo", "Forgejo", "")]:
    header = "x-hub-signature-256" if scheme == "github" else f"x-{scheme}-signature"
    names = {f"x-{scheme}-event": "pull_request", f"x-{scheme}-delivery": "d-2"}
    headers = {**JSON, header: prefix + mac(key, body).hex(), **names}
    line(scheme, headers, body, "custom:pull_request", "d-2", timed=False)
    line(scheme, headers, body, "custom:pull_request.opened", "d-2", timed=False,
         event_key={"header": f"X-{name}-Event", "pointer": "/action"})
    line(scheme, headers, body, "custom:7", None, timed=False, secret=["old", SECRET],
         event_key={"pointer": "/number"}, dedup_key=False)
    line(scheme, {"content-type": "image/png", header: prefix + mac(key, BINARY).hex(), **names},
         BINARY, "custom:pull_request", "d-2", timed=False)
form = b"payload=%7B%22action%22%3A%22opened%22%7D"
line("github", {**FORM, "x-hub-signature-256": "sha256=" + mac(key, form).hex(), "x-github-event": "issues"},
     form, "custom:issues.opened", timed=False, event_key={"header": "X-GitHub-Event", "pointer": "/action"})
line("forgejo", {**JSON, "x-gitea-signature": mac(key, body).hex(), "x-gitea-event": "push", "x-gitea-delivery": "d-3"},
     body, "custom:push", "d-3", timed=False)

body = b'{"object_kind": "push", "n": 1}'
standard = "whsec_" + b64(b"0123456789abcdef0123456789abcdef")
raw = b"0123456789abcdef0123456789abcdef"
headers = {**JSON, "webhook-id": "m-1", "webhook-timestamp": str(TIME), "idempotency-key": "m-1",
           "webhook-signature": "v1," + b64(mac(raw, b"m-1." + stamp + b"." + body)), "x-gitlab-event": "Push Hook"}
line("gitlab", headers, body, "custom:push", "m-1", secret=standard)
line("gitlab", {**headers, "x-gitlab-token": "wrong"}, body, "custom:push", "m-1", secret=["plain", standard])
line("gitlab", {**JSON, "x-gitlab-token": "plain", "idempotency-key": "m-2"}, body, "custom:push", "m-2",
     timed=False, secret=[standard, "plain"])
line("gitlab", {**JSON, "x-gitlab-token": "plain"}, b'{"event_name": "user_create"}', "custom:user_create", None,
     timed=False, secret="plain")

body = b'{"id": "evt_1", "type": "charge.succeeded", "data": {}}'
right = mac(key, stamp + b"." + body).hex()
other = mac(b"other", stamp + b"." + body).hex()
for value in [f"t={TIME},v1={right}", f"t={TIME},v1={other},v1={right},v0=00", f"v1={right},t={TIME}"]:
    line("stripe", {**JSON, "stripe-signature": value}, body, "custom:charge.succeeded", "evt_1")

body = b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}}'
headers = {**JSON, "x-slack-request-timestamp": str(TIME),
           "x-slack-signature": "v0=" + mac(key, b"v0:" + stamp + b":" + body).hex()}
line("slack", headers, body, "custom:app_mention", "Ev1")
form = b"payload=%7B%22type%22%3A%22block_actions%22%7D"
line("slack", {**FORM, "x-slack-request-timestamp": str(TIME),
               "x-slack-signature": "v0=" + mac(key, b"v0:" + stamp + b":" + form).hex()},
     form, "custom:block_actions")

body = b'{"id": 820982911946154508}'
line("shopify", {**JSON, "x-shopify-hmac-sha256": b64(mac(key, body)), "x-shopify-topic": "orders/create",
                 "x-shopify-webhook-id": "w-1"}, body, "custom:orders/create", "w-1", timed=False)

body = b'{"event": {"id": "01C", "event_type": "incident.triggered"}}'
value = "v1=" + mac(b"old", body).hex() + ",v1=" + mac(key, body).hex()
line("pagerduty", {**JSON, "x-pagerduty-signature": value}, body, "custom:incident.triggered", "01C", timed=False)

body = b'{"type": "zen:event-type:user.created"}'
iso = "2023-11-14T22:13:20Z"  # TIME
line("zendesk", {**JSON, "x-zendesk-webhook-signature": b64(mac(key, iso.encode() + body)),
                 "x-zendesk-webhook-signature-timestamp": iso, "x-zendesk-webhook-invocation-id": "i-1"},
     body, "custom:zen:event-type:user.created", "i-1")

body = b'{"object_type": "email", "metric": "opened", "event_id": "E1"}'
line("customerio", {**JSON, "x-cio-signature": mac(key, b"v0:" + stamp + b":" + body).hex(), "x-cio-timestamp": str(TIME)},
     body, "custom:email.opened", "E1")

body = b'{"version": 1, "type": 1, "event": {"type": "ENTITLEMENT_CREATE"}}'
headers = {**JSON, "x-signature-ed25519": PRIVATE.sign(stamp + body).hex(), "x-signature-timestamp": str(TIME)}
line("discord", headers, body, "custom:ENTITLEMENT_CREATE", secret=PUBLIC.hex())
line("discord", headers, body, "custom:ENTITLEMENT_CREATE", secret=None, public_key=["00" * 32, PUBLIC.hex()])
body = b'{"version": 1, "type": 2, "id": "77", "data": {"name": "deploy"}}'
headers = {**JSON, "x-signature-ed25519": PRIVATE.sign(stamp + body).hex(), "x-signature-timestamp": str(TIME)}
line("discord", headers, body, "custom:deploy", "77", secret=PUBLIC.hex())

body = b'{"type": "user.created"}'
content = b"m-3." + stamp + b"." + body
headers = {**JSON, "webhook-id": "m-3", "webhook-timestamp": str(TIME)}
public = "whpk_" + b64(PUBLIC)
line("standard-webhooks", {**headers, "webhook-signature": "v1a," + b64(PRIVATE.sign(content))},
     body, "custom:user.created", "m-3", secret=public)
both = "v1a," + b64(PRIVATE.sign(content)) + " v1," + b64(mac(b"other", content)) + " v1," + b64(mac(raw, content))
line("standard-webhooks", {**headers, "webhook-signature": both}, body, "custom:user.created", "m-3", secret=standard)
line("standard-webhooks", {**headers, "webhook-signature": both}, body, "custom:user.created", "m-3", secret=public)

# As documented: timestamp, names, values and body, with dots between them.
body = b'{"user": 1}'
headers = {**JSON, "x-event-id": "e-1", "x-event-type": "user.account.created"}
listed = stamp + b".content-type x-event-id.application/json.e-1." + body
v1 = f"t={TIME},h=content-type x-event-id,v1={mac(key, listed).hex()}"
v0 = f"t={TIME},v0={mac(key, stamp + b'.' + body).hex()}"
for value in [v1, v0, v1 + f",v0={mac(key, stamp + b'.' + body).hex()}"]:
    line("hook0", {**headers, "x-hook0-signature": value}, body, "custom:user.account.created", "e-1")

for hash in ["sha1", "sha256", "sha512"]:
    for encoding, write in [("hex", bytes.hex), ("base64", b64)]:
        for body in [b'{"kind": "k"}', BINARY]:
            line("hmac", {"x-sig": "mac=" + write(mac(key, body, hash))}, body, "custom:received", timed=False,
                 header="X-Sig", algorithm=hash, encoding=encoding, prefix="mac=")
body = b'{"kind": "k"}'
signed = stamp + b"." + body
line("hmac", {"x-sig": mac(key, signed).hex(), "x-time": str(TIME)}, body, "custom:k",
     header="X-Sig", timestamp_header="X-Time", event_key={"pointer": "/kind"})
milliseconds = str(TIME * 1000).encode()
signed = b"<i-2|" + milliseconds + b"|" + body + b">"
line("hmac", {"x-sig": mac(bytes.fromhex("00ff"), signed).hex(), "x-time": str(TIME * 1000), "x-id": "i-2"}, body,
     "custom:fixed", "i-2", secret="00ff", secret_encoding="hex", header="X-Sig", timestamp_header="X-Time",
     id_header="X-Id", signed="<{id}|{timestamp}|{body}>", event_key={"value": "fixed"})
