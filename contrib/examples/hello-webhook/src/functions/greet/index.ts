// Greets with every field of the event: {"hello":"world"} becomes "hello, world".

// Types of everything that is in an event (contrib/sdk); nothing of it is needed when this runs.
import type { FunctionInput } from '@mortise/snap-in-sdk';

/** What the webhook's sender put into the body; the policy passes it on as it is. */
type Payload = Record<string, unknown>;

interface Greeting {
  greeting: string;
}

export const run = async (events: FunctionInput<Payload>[]): Promise<Greeting> => {
  // A function gets a list, which holds one event.
  const [event] = events;
  const { event_type } = event.execution_metadata;

  // Log what you need and not the whole event: its context holds tokens.
  console.log(`got ${event_type} with ${JSON.stringify(event.payload)}`);

  const greeting = greet(event.payload);
  console.log(`answering: ${greeting}`);

  // What is returned is kept with the run, and must be JSON.
  return { greeting };
};

function greet(payload: Payload): string {
  const words = Object.entries(payload ?? {}).map(([word, whom]) => `${word}, ${String(whom)}`);
  return words.length > 0 ? words.join('; ') : 'hello, whoever you are';
}

export default run;
