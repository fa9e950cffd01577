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
