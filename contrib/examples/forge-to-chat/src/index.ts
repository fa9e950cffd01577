// The door to this package: `main` in package.json leads here.
import announce from './functions/announce';
import check from './functions/check';

// One entry for each function in manifest.yaml, under the name that it has there.
export const functionFactory = {
  announce,
  check,
} as const;
