import sdk from './index.js';

export const { FunctionExecutionError } = sdk;
