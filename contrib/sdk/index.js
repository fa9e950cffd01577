'use strict';

/** See index.d.ts. What is looked at is `retry`, so that any copy of this class will do. */
class FunctionExecutionError extends Error {
  constructor(message, retry, refresh = false) {
    super(message);
    this.name = 'FunctionExecutionError';
    this.retry = retry;
    this.refresh = refresh;
  }
}

exports.FunctionExecutionError = FunctionExecutionError;

/** As TypeScript makes an enum: from names to numbers and back. */
exports.OperationErrorType = Object.freeze({
  Unknown: 0,
  InvalidRequest: 1,
  RetryExecution: 2,
  0: 'Unknown',
  1: 'InvalidRequest',
  2: 'RetryExecution',
});
