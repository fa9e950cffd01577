'use strict';

const { readFileSync } = require('node:fs');

// Stand-ins for what a test does not care about. `mortise function run` uses the same.
const COMPLETE = {
  payload: {},
  context: {
    dev_oid: 'org_local',
    source_id: 'aut_00000000000000000000000001',
    snap_in_id: 'snp_00000000000000000000000001',
    snap_in_version_id: 'ver_00000000000000000000000001',
    service_account_id: 'sva_00000000000000000000000001',
    automation_id: 'aut_00000000000000000000000001',
    secrets: { service_account_token: 'stand-in-service-account-token' },
  },
  execution_metadata: {
    request_id: 'run_00000000000000000000000001',
    function_name: 'function',
    event_type: 'custom:test',
    // A name that never leads anywhere: nothing is called by mistake.
    devrev_endpoint: 'http://mortise.invalid/api/v1',
  },
  input_data: {
    global_values: {},
    event_sources: {},
    keyrings: {},
    resources: { keyrings: {}, tags: {} },
  },
};

const isObject = (it) => it !== null && typeof it === 'object' && !Array.isArray(it);

function filled(given, standIn) {
  if (given === undefined) return structuredClone(standIn);
  if (!isObject(given) || !isObject(standIn)) return structuredClone(given);
  const whole = {};
  for (const name of new Set([...Object.keys(standIn), ...Object.keys(given)])) {
    whole[name] = filled(given[name], standIn[name]);
  }
  return whole;
}

/** Stand-ins for a payload: what persons and workflows do is no event, and no automation's. */
function standInsFor(payload) {
  const { payload: _, ...standIns } = structuredClone(COMPLETE);
  const { context, execution_metadata: about } = standIns;
  const isCommand = typeof payload?.command_id === 'string';
  const isAction = typeof payload?.action_id === 'string' && isObject(payload.action);
  const isOperation =
    typeof payload?.metadata?.slug === 'string' && typeof payload.input_port_name === 'string';
  if (isCommand || isAction || isOperation) {
    context.source_id = payload.command_id ?? payload.action_id ?? '';
    context.automation_id = '';
    delete about.event_type;
  }
  if (isOperation) about.operation_slug = payload.metadata.slug;
  return standIns;
}

function makeEvent(overrides = {}) {
  if (!isObject(overrides)) throw new TypeError('an event is an object');
  const { payload = COMPLETE.payload, ...rest } = overrides;
  // A payload is taken as it is: what is not in it was not sent.
  const event = { payload: structuredClone(payload), ...filled(rest, standInsFor(payload)) };
  const input = event.input_data;
  if (input.keyrings === null) input.keyrings = {};
  for (const [name, secret] of Object.entries(input.keyrings)) {
    input.resources.keyrings[name] ??= { id: 'krg_00000000000000000000000001', secret };
  }
  for (const [name, { secret }] of Object.entries(input.resources.keyrings)) {
    input.keyrings[name] ??= secret;
  }
  return event;
}

async function testFunction(run, overrides = {}) {
  if (typeof run !== 'function') {
    throw new TypeError('the first argument of testFunction is the function under test');
  }
  return run([makeEvent(overrides)]);
}

function loadFixture(path) {
  let fixture;
  try {
    fixture = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new Error(`the fixture ${path} cannot be read: ${error.message}`, { cause: error });
  }
  const event = Array.isArray(fixture) ? fixture[0] : fixture;
  if (!isObject(event)) {
    throw new Error(`the fixture ${path} holds no event: expected an object, or a list of one`);
  }
  return makeEvent(event);
}

module.exports = { loadFixture, makeEvent, testFunction };
