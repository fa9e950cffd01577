'use strict';

const assert = require('node:assert/strict');
const { mkdtempSync, rmSync, writeFileSync } = require('node:fs');
const { tmpdir } = require('node:os');
const { join } = require('node:path');
const test = require('node:test');

const { FunctionExecutionError } = require('@mortise/snap-in-sdk');
const { loadFixture, makeEvent, testFunction } = require('@mortise/snap-in-sdk/testing');

test('an event is complete whatever is given', () => {
  for (const overrides of [undefined, {}, { payload: { n: 1 } }, { context: { user_id: 'usr_1' } }]) {
    const event = makeEvent(overrides);
    assert.equal(event.context.dev_oid, 'org_local');
    assert.ok(event.context.secrets.service_account_token);
    assert.ok(!event.execution_metadata.devrev_endpoint.endsWith('/'));
    assert.deepEqual(event.input_data.resources.tags, {});
  }
  assert.deepEqual(makeEvent({ payload: { n: 1 } }).payload, { n: 1 });
  assert.equal(makeEvent({ payload: null }).payload, null);
  assert.equal(makeEvent({ context: { user_id: 'usr_1' } }).context.user_id, 'usr_1');
});

test('keyrings are in both places', () => {
  const event = makeEvent({
    input_data: { keyrings: { a: 'one' }, resources: { keyrings: { b: { id: 'krg_2', secret: 'two' } } } },
  });
  assert.deepEqual(event.input_data.keyrings, { a: 'one', b: 'two' });
  assert.equal(event.input_data.resources.keyrings.a.secret, 'one');
  assert.equal(event.input_data.resources.keyrings.b.id, 'krg_2');
  assert.deepEqual(makeEvent({ input_data: { keyrings: null } }).input_data.keyrings, {});
});

test('only what is an event has the type of one', () => {
  const about = (payload) => makeEvent({ payload });
  assert.equal(about({}).execution_metadata.event_type, 'custom:test');
  const command = about({ command_id: 'c' });
  assert.ok(!('event_type' in command.execution_metadata));
  assert.deepEqual([command.context.source_id, command.context.automation_id], ['c', '']);
  const operation = about({ metadata: { slug: 'do' }, input_port_name: 'in', data: {} });
  assert.equal(operation.execution_metadata.operation_slug, 'do');
  assert.ok(!('event_type' in operation.execution_metadata));
});

test('events share nothing', () => {
  const overrides = { payload: { list: [] } };
  makeEvent(overrides).payload.list.push(1);
  makeEvent().input_data.keyrings.left = 'over';
  assert.deepEqual(overrides.payload.list, []);
  assert.deepEqual(makeEvent().input_data.keyrings, {});
});

test('a function is called with a list of one event', async () => {
  const run = async (events) => ({ count: events.length, n: events[0].payload.n });
  assert.deepEqual(await testFunction(run, { payload: { n: 7 } }), { count: 1, n: 7 });
  const failing = () => { throw new FunctionExecutionError('later', true, true); };
  await assert.rejects(testFunction(failing), (error) => error.retry && error.refresh);
  await assert.rejects(testFunction(async () => { throw 'a text'; }), (error) => error === 'a text');
  await assert.rejects(testFunction({}), TypeError);
});

test('fixtures are events or lists of them', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sdk-'));
  try {
    const write = (name, text) => {
      const path = join(directory, name);
      writeFileSync(path, text);
      return path;
    };
    assert.equal(loadFixture(write('one.json', '{"payload": {"n": 1}}')).payload.n, 1);
    assert.equal(loadFixture(write('list.json', '[{"payload": {"n": 2}}]')).payload.n, 2);
    assert.throws(() => loadFixture(write('empty.json', '[]')), /holds no event/);
    assert.throws(() => loadFixture(write('broken.json', '{')), /cannot be read/);
    assert.throws(() => loadFixture(join(directory, 'nowhere.json')), /nowhere\.json/);
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('an error of the sdk is an error, and says whether to try again', async () => {
  const error = new FunctionExecutionError('no', false);
  assert.ok(error instanceof Error);
  assert.deepEqual([error.message, error.retry, error.refresh], ['no', false, false]);
  const asModule = await import('@mortise/snap-in-sdk');
  assert.equal(asModule.FunctionExecutionError, FunctionExecutionError);
  const testing = await import('@mortise/snap-in-sdk/testing');
  assert.equal(testing.makeEvent, makeEvent);
});
