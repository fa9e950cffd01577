// Greets with every field of the event: {"hello":"world"} becomes "hello, world".

/** What the webhook's sender put into the body; the policy passes it on as it is. */
type Payload = Record<string, unknown>;

/** The parts of an event that this function looks at; there is more in it. */
interface FunctionEvent {
  payload: Payload;
  context: { snap_in_id: string };
  execution_metadata: { event_type: string; function_name: string; request_id: string };
}

interface Greeting {
  greeting: string;
}

export const run = async (events: FunctionEvent[]): Promise<Greeting> => {
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
