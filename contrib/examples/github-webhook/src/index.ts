// One entry for each function in manifest.yaml, under the name that it has there.
import tell from './tell';

export const functionFactory = { tell } as const;
