// What the two functions know of an event: its configuration.

import type { FunctionInput } from '@mortise/snap-in-sdk';

/** The inputs of manifest.yaml, with their defaults filled in. */
export interface Values {
  chat_url: string;
  branches: string[];
  detail: 'short' | 'commits';
  dry_run: boolean;
}

export type FunctionEvent<Payload> = FunctionInput<Payload, Values>;
