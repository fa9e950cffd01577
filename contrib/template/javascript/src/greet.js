// @ts-check

/**
 * @typedef {{ whom?: string }} Payload
 * @typedef {{ greeting: string }} Inputs
 */

/** @type {import('@mortise/snap-in-sdk').SnapInFunction<Payload, Inputs, { said: string }>} */
exports.run = async (events) => {
  // A function gets a list, which holds one event.
  const [{ payload, input_data }] = events;
  const said = `${input_data.global_values.greeting}, ${payload.whom ?? 'whoever you are'}`;

  // Log what you need and not the whole event: its context holds tokens.
  console.log(`saying: ${said}`);

  // What is returned is kept with the run, and must be JSON.
  return { said };
};
