// The door to this package: `main` in package.json leads here.
export { functionFactory } from './function-factory';
