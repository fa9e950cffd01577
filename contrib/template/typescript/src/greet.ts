// Types only: the package itself is not there when the function runs.
import type { SnapInFunction } from '@mortise/snap-in-sdk';

interface Payload {
  whom?: string;
}

interface Inputs {
  greeting: string;
}

export const run: SnapInFunction<Payload, Inputs, { said: string }> = async (events) => {
  // A function gets a list, which holds one event.
  const [{ payload, input_data }] = events;
  const said = `${input_data.global_values.greeting}, ${payload.whom ?? 'whoever you are'}`;

  // Log what you need and not the whole event: its context holds tokens.
  console.log(`saying: ${said}`);

  // What is returned is kept with the run, and must be JSON.
  return { said };
};
