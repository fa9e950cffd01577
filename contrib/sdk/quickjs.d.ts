// The globals of the runtime `quickjs`, for packages that use neither `lib: ["dom"]` nor
// `@types/node`: /// <reference types="@mortise/snap-in-sdk/quickjs" />
//
// What is not here is not there. Compared with Node.js:
//   - `import` and `require` know assert, buffer, console, crypto, events, path, perf_hooks, process,
//     stream/web, string_decoder, timers, timers/promises, url and util; no fs, no net, no http, no
//     child_process, no worker_threads.
//   - `fetch` is the only way out. It passes the daemon, which refuses addresses of its own host
//     and networks unless its configuration allows them.
//   - `process.env` is empty, `process.exit` throws, and nothing is ever heard from `process.on`.
//   - a context may serve many events: what stands outside of functions lives on between them,
//     unless manifest.yaml says `fresh_context: true`.
//   - the run ends when the function's promise settles; what is still going on then is cut off.

type Timer = { ref(): Timer; unref(): Timer; hasRef(): boolean; refresh(): Timer; close(): Timer };
type BodyInit = string | ArrayBuffer | ArrayBufferView | Blob | FormData | URLSearchParams;
type HeadersInit = Headers | [string, string][] | Record<string, string>;

interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  redirect?: 'follow' | 'manual' | 'error';
  signal?: AbortSignal | null;
}

interface Console {
  /** Kept with the run as level `debug`. */
  debug(...values: unknown[]): void;
  /** Kept as level `info`. */
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
  trace(...values: unknown[]): void;
  dir(value: unknown): void;
  table(value: unknown): void;
  assert(condition: unknown, ...values: unknown[]): void;
  count(label?: string): void;
  countReset(label?: string): void;
  group(...values: unknown[]): void;
  groupCollapsed(...values: unknown[]): void;
  groupEnd(): void;
  time(label?: string): void;
  timeLog(label?: string, ...values: unknown[]): void;
  timeEnd(label?: string): void;
}

declare const console: Console;

declare function setTimeout<A extends unknown[]>(
  callback: (...values: A) => void, milliseconds?: number, ...values: A): Timer;
declare function setInterval<A extends unknown[]>(
  callback: (...values: A) => void, milliseconds?: number, ...values: A): Timer;
declare function setImmediate<A extends unknown[]>(
  callback: (...values: A) => void, ...values: A): Timer;
declare function clearTimeout(timer: Timer | undefined): void;
declare function clearInterval(timer: Timer | undefined): void;
declare function clearImmediate(timer: Timer | undefined): void;
declare function queueMicrotask(callback: () => void): void;
declare function structuredClone<T>(value: T): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;
declare function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

declare class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(callback: (value: string, name: string, headers: Headers) => void): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class Body {
  readonly bodyUsed: boolean;
  arrayBuffer(): Promise<ArrayBuffer>;
  blob(): Promise<Blob>;
  json(): Promise<any>;
  text(): Promise<string>;
}

declare class Request extends Body {
  constructor(input: string | URL | Request, init?: RequestInit);
  readonly headers: Headers;
  readonly method: string;
  readonly url: string;
}

declare class Response extends Body {
  constructor(body?: BodyInit | null, init?: { status?: number; statusText?: string; headers?: HeadersInit });
  readonly headers: Headers;
  readonly ok: boolean;
  readonly redirected: boolean;
  readonly status: number;
  readonly statusText: string;
  readonly url: string;
}

declare class Blob {
  constructor(parts?: (string | ArrayBuffer | ArrayBufferView | Blob)[], options?: { type?: string });
  readonly size: number;
  readonly type: string;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
}

declare class FormData {
  append(name: string, value: string | Blob, filename?: string): void;
  delete(name: string): void;
  get(name: string): string | Blob | null;
  getAll(name: string): (string | Blob)[];
  has(name: string): boolean;
  set(name: string, value: string | Blob, filename?: string): void;
}

declare class URL {
  constructor(url: string, base?: string | URL);
  static canParse(url: string, base?: string): boolean;
  hash: string;
  host: string;
  hostname: string;
  href: string;
  readonly origin: string;
  password: string;
  pathname: string;
  port: string;
  protocol: string;
  search: string;
  readonly searchParams: URLSearchParams;
  username: string;
  toJSON(): string;
}

declare class URLSearchParams {
  constructor(init?: string | Record<string, string> | [string, string][] | URLSearchParams);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

declare class TextEncoder {
  encode(text?: string): Uint8Array;
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: ArrayBuffer | ArrayBufferView): string;
}

declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

declare class AbortSignal {
  static abort(reason?: unknown): AbortSignal;
  static timeout(milliseconds: number): AbortSignal;
  readonly aborted: boolean;
  readonly reason: any;
  throwIfAborted(): void;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

declare const crypto: {
  getRandomValues<T extends ArrayBufferView>(array: T): T;
  randomUUID(): string;
  /** As in browsers; `require('node:crypto')` has `createHash` and `createHmac`. */
  readonly subtle: any;
};

declare const performance: { now(): number };

declare const process: {
  /** Always empty: what a function may know is in its event. */
  readonly env: Record<string, string | undefined>;
  readonly platform: 'linux';
  readonly arch: string;
  readonly version: string;
  readonly versions: { readonly node: string; readonly quickjs: string };
  cwd(): '/';
  uptime(): number;
  nextTick(callback: (...values: any[]) => void, ...values: any[]): void;
  hrtime: { (since?: [number, number]): [number, number]; bigint(): bigint };
  /** Throws: a function ends by returning. */
  exit(code?: number): never;
};
