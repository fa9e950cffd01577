// What the two functions know of an event: its configuration.

/** The inputs of manifest.yaml, with their defaults filled in. */
export interface Values {
  chat_url: string;
  branches: string[];
  detail: 'short' | 'commits';
  dry_run: boolean;
}

export interface FunctionEvent<Payload> {
  payload: Payload;
  input_data: {
    global_values: Values;
    keyrings: Record<string, string>;
  };
}
