// Helpers to test functions, such as with node:test. They need Node.js.

import type { FunctionInput, SnapInFunction } from './index.js';

/** A part of something, at every depth. */
export type Partially<T> = T extends (infer Item)[]
  ? Item[]
  : T extends object
    ? { [Key in keyof T]?: Partially<T[Key]> }
    : T;

/**
 * A complete and valid event: what is given, and stand-ins for the rest. What is given in
 * `input_data.keyrings` is in `input_data.resources.keyrings` too, and the other way round.
 * `mortise function run` completes its fixtures in the same way.
 */
export function makeEvent<Payload = any, Inputs = Record<string, any>>(
  overrides?: Partially<FunctionInput<Payload, Inputs>>,
): FunctionInput<Payload, Inputs>;

/** Calls a function as the daemon does: with a list of one event, and with nothing shared. */
export function testFunction<Payload = any, Inputs = Record<string, any>, Result = any>(
  run: SnapInFunction<Payload, Inputs, Result>,
  overrides?: Partially<FunctionInput<Payload, Inputs>>,
): Promise<Result>;

/** The first event of a fixture, which holds one event or a list; what it leaves out is filled. */
export function loadFixture<Payload = any, Inputs = Record<string, any>>(
  path: string | URL,
): FunctionInput<Payload, Inputs>;
