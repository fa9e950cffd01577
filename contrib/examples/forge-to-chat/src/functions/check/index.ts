// The validate hook: asked before every activation, and about every change of inputs and keyrings.
// What it throws is shown to whoever made the change, and nothing is changed.

import type { FunctionEvent } from '../../configuration';

export const run = async (events: FunctionEvent<object>[]): Promise<object> => {
  const { chat_url } = events[0].input_data.global_values;
  let host: string;
  try {
    host = new URL(chat_url).hostname;
  } catch {
    throw `chat_url is no URL: ${chat_url}`;
  }
  if (!host.includes('.')) {
    throw `chat_url names no host of a network: ${host}`;
  }
  return {};
};

export default run;
