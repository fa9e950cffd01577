import testing from './testing.js';

export const { loadFixture, makeEvent, testFunction } = testing;
