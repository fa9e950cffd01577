const assert = require('node:assert/strict');
const test = require('node:test');

const { loadFixture, testFunction } = require('@mortise/snap-in-sdk/testing');
const { run } = require('../src/greet');

test('it greets whoever is named', async () => {
  const event = loadFixture('fixtures/event.json');
  event.input_data.global_values.greeting = 'hello';
  assert.deepEqual(await testFunction(run, event), { said: 'hello, world' });
});
