import sdk from './index.js';

export const { FunctionExecutionError, OperationErrorType } = sdk;
