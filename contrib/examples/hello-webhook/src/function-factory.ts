import greet from './functions/greet';

// One entry for each function in manifest.yaml, under the name that it has there.
export const functionFactory = {
  greet,
} as const;

export type FunctionName = keyof typeof functionFactory;
