// fetch and its classes. Bodies are held whole: the daemon bounds them, and functions are short.
(function (native) {
  'use strict';
  const encoder = new TextEncoder();
  const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

  class Headers {
    #entries = new Map();
    constructor(init) {
      if (init === undefined || init === null) return;
      const pairs = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    static #name(name) {
      if (!token.test(name)) throw new TypeError(`\`${name}\` is no header name`);
      return String(name).toLowerCase();
    }
    static #value(value) {
      const text = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '');
      if (/[\0\r\n]/.test(text)) throw new TypeError('a header value holds a line break');
      return text;
    }
    append(name, value) {
      const key = Headers.#name(name);
      const values = this.#entries.get(key);
      if (values === undefined) this.#entries.set(key, [Headers.#value(value)]);
      else values.push(Headers.#value(value));
    }
    set(name, value) { this.#entries.set(Headers.#name(name), [Headers.#value(value)]); }
    get(name) { return this.#entries.get(Headers.#name(name))?.join(', ') ?? null; }
    has(name) { return this.#entries.has(Headers.#name(name)); }
    delete(name) { this.#entries.delete(Headers.#name(name)); }
    getSetCookie() { return [...(this.#entries.get('set-cookie') ?? [])]; }
    forEach(callback, self) {
      for (const [name, value] of this) callback.call(self, value, name, this);
    }
    *entries() {
      for (const name of [...this.#entries.keys()].sort()) {
        if (name === 'set-cookie') {
          for (const value of this.#entries.get(name)) yield [name, value];
        } else {
          yield [name, this.get(name)];
        }
      }
    }
    *keys() { for (const [name] of this) yield name; }
    *values() { for (const [, value] of this) yield value; }
    [Symbol.iterator]() { return this.entries(); }
    get [Symbol.toStringTag]() { return 'Headers'; }
  }

  class FormData {
    #entries = [];
    append(name, value, file) { this.#entries.push([String(name), part(value, file)]); }
    set(name, value, file) { this.delete(name); this.append(name, value, file); }
    get(name) { return this.#entries.find(([it]) => it === name)?.[1] ?? null; }
    getAll(name) { return this.#entries.filter(([it]) => it === name).map(([, value]) => value); }
    has(name) { return this.#entries.some(([it]) => it === name); }
    delete(name) { this.#entries = this.#entries.filter(([it]) => it !== name); }
    entries() { return this.#entries.values(); }
    keys() { return this.#entries.map(([name]) => name).values(); }
    values() { return this.#entries.map(([, value]) => value).values(); }
    forEach(callback) { for (const [name, value] of this) callback(value, name, this); }
    [Symbol.iterator]() { return this.entries(); }
    get [Symbol.toStringTag]() { return 'FormData'; }
  }

  function part(value, name) {
    if (!(value instanceof Blob)) return String(value);
    if (name === undefined && value instanceof File) return value;
    return new File([value], name ?? 'blob', { type: value.type });
  }

  async function multipart(form) {
    const boundary = '----mortise' + crypto.randomUUID().replaceAll('-', '');
    const quote = (it) => it.replace(/\r?\n/g, '%0D%0A').replaceAll('"', '%22');
    const chunks = [];
    for (const [name, value] of form) {
      let head = `--${boundary}\r\nContent-Disposition: form-data; name="${quote(name)}"`;
      if (typeof value === 'string') {
        chunks.push(encoder.encode(`${head}\r\n\r\n${value}\r\n`));
        continue;
      }
      head += `; filename="${quote(value.name)}"\r\n`;
      head += `Content-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`;
      chunks.push(encoder.encode(head), new Uint8Array(await value.arrayBuffer()),
        encoder.encode('\r\n'));
    }
    chunks.push(encoder.encode(`--${boundary}--\r\n`));
    return { type: `multipart/form-data; boundary=${boundary}`, bytes: concat(chunks) };
  }

  function concat(chunks) {
    const all = new Uint8Array(chunks.reduce((sum, it) => sum + it.byteLength, 0));
    let at = 0;
    for (const it of chunks) { all.set(it, at); at += it.byteLength; }
    return all;
  }

  // A body as given: its type if it has one, and its bytes, at once or as a promise.
  function extract(body) {
    if (body === undefined || body === null) return { bytes: null };
    if (typeof body === 'string') {
      return { type: 'text/plain;charset=UTF-8', bytes: encoder.encode(body) };
    }
    if (body instanceof URLSearchParams) {
      return { type: 'application/x-www-form-urlencoded;charset=UTF-8',
        bytes: encoder.encode(body.toString()) };
    }
    if (body instanceof ArrayBuffer) return { bytes: new Uint8Array(body.slice(0)) };
    if (ArrayBuffer.isView(body)) {
      return { bytes: new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice() };
    }
    if (body instanceof FormData) return { later: multipart(body) };
    if (body instanceof Blob) {
      return { later: body.arrayBuffer().then((it) => (
        { type: body.type || undefined, bytes: new Uint8Array(it) })) };
    }
    if (body instanceof ReadableStream) return { later: drain(body) };
    return { type: 'text/plain;charset=UTF-8', bytes: encoder.encode(String(body)) };
  }

  async function drain(stream) {
    const chunks = [];
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return { bytes: concat(chunks) };
      chunks.push(typeof value === 'string' ? encoder.encode(value) : value);
    }
  }

  class Body {
    _take(body) {
      this._body = extract(body);
      this._used = false;
      if (this._body.type && !this.headers.has('content-type')) {
        this.headers.set('content-type', this._body.type);
      }
    }
    get bodyUsed() { return this._used; }
    get body() {
      if (this._stream === undefined) {
        const { bytes } = this._body;
        if (bytes === null) return null;
        this._stream = new ReadableStream({
          start: async (controller) => {
            const all = await this._read();
            if (all.byteLength > 0) controller.enqueue(all);
            controller.close();
          },
        });
      }
      return this._stream;
    }
    async _read() {
      if (this._used) throw new TypeError('the body has already been read');
      this._used = true;
      const { bytes } = await this._resolved();
      return bytes ?? new Uint8Array(0);
    }
    async _resolved() {
      if (this._body.later !== undefined) this._body = await this._body.later;
      if (this._body.type && !this.headers.has('content-type')) {
        this.headers.set('content-type', this._body.type);
      }
      return this._body;
    }
    async bytes() { return this._read(); }
    async arrayBuffer() {
      const all = await this._read();
      return all.buffer.slice(all.byteOffset, all.byteOffset + all.byteLength);
    }
    async text() { return new TextDecoder().decode(await this._read()); }
    async json() { return JSON.parse(await this.text()); }
    async blob() {
      return new Blob([await this._read()], { type: this.headers.get('content-type') ?? '' });
    }
    async formData() {
      const type = this.headers.get('content-type') ?? '';
      if (!type.startsWith('application/x-www-form-urlencoded')) {
        throw new TypeError(`formData reads application/x-www-form-urlencoded, not \`${type}\``);
      }
      const form = new FormData();
      for (const [name, value] of new URLSearchParams(await this.text())) form.append(name, value);
      return form;
    }
  }

  class Request extends Body {
    constructor(input, init = {}) {
      super();
      const from = input instanceof Request ? input : undefined;
      this.url = from ? from.url : new URL(String(input)).href;
      this.method = String(init.method ?? from?.method ?? 'GET');
      if (!token.test(this.method)) throw new TypeError(`\`${this.method}\` is no method`);
      if (/^(get|head|post|put|delete|options|patch)$/i.test(this.method)) {
        this.method = this.method.toUpperCase();
      }
      this.headers = new Headers(init.headers ?? from?.headers);
      this.redirect = init.redirect ?? from?.redirect ?? 'follow';
      this.signal = init.signal ?? from?.signal ?? null;
      if (init.body !== undefined && init.body !== null && /^(GET|HEAD)$/.test(this.method)) {
        throw new TypeError(`a ${this.method} request cannot have a body`);
      }
      if (from && init.body === undefined) {
        this._body = from._body;
        this._used = from._used;
        from._used = from._body.bytes !== null;
      } else {
        this._take(init.body);
      }
    }
    clone() {
      const copy = new Request(this.url, this);
      copy._body = this._body;
      return copy;
    }
    get [Symbol.toStringTag]() { return 'Request'; }
  }

  class Response extends Body {
    constructor(body, init = {}) {
      super();
      this.status = init.status ?? 200;
      if (!(this.status >= 200 && this.status <= 599)) {
        throw new RangeError(`${this.status} is no status of a response: expected 200 to 599`);
      }
      this.statusText = init.statusText ?? '';
      this.headers = new Headers(init.headers);
      this.type = 'default';
      this.url = '';
      this.redirected = false;
      this._take(body);
    }
    get ok() { return this.status >= 200 && this.status <= 299; }
    clone() {
      if (this._used) throw new TypeError('the body has already been read');
      const copy = new Response(null, this);
      copy._body = this._body;
      copy.url = this.url;
      return copy;
    }
    static json(value, init = {}) {
      const response = new Response(JSON.stringify(value), init);
      response.headers.set('content-type', 'application/json');
      return response;
    }
    static error() {
      const response = new Response(null);
      response.type = 'error';
      response.status = 0;
      return response;
    }
    static redirect(url, status = 302) {
      return new Response(null, { status, headers: { location: String(url) } });
    }
    get [Symbol.toStringTag]() { return 'Response'; }
  }

  const redirects = { follow: 'follow', manual: 'manual', error: 'refuse' };

  async function fetch(input, init) {
    const request = new Request(input, init);
    const { signal } = request;
    signal?.throwIfAborted();
    const { bytes } = await request._resolved();
    const redirect = redirects[request.redirect];
    if (redirect === undefined) {
      throw new TypeError('`redirect` must be follow, manual or error');
    }
    return new Promise((resolve, reject) => {
      const id = native.fetch(JSON.stringify({
        method: request.method,
        url: request.url,
        headers: [...request.headers],
        redirects: redirect,
      }), bytes ?? undefined);
      const abort = () => {
        native.pending.delete(id);
        native.abandon(id);
        reject(signal.reason);
      };
      signal?.addEventListener('abort', abort);
      native.pending.set(id, (answer, body) => {
        signal?.removeEventListener('abort', abort);
        if (answer.Failed !== undefined) {
          const error = new TypeError('fetch failed: ' + answer.Failed.message);
          error.cause = new Error(answer.Failed.message);
          reject(error);
          return;
        }
        const { status, url, redirected, headers } = answer.Response;
        const empty = status === 204 || status === 304 || status === 205;
        const response = new Response(null);
        response.status = status;
        response.headers = new Headers(headers);
        response._body = { bytes: empty ? null : new Uint8Array(body) };
        response.url = url;
        response.redirected = redirected;
        response.type = 'basic';
        resolve(response);
      });
    });
  }

  return { fetch, Headers, Request, Response, FormData };
})
