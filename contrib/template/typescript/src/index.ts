import { run as greet } from './greet';

// One entry for each function of manifest.yaml, under the name that it has there.
export const functionFactory = { greet };
