// Everything that a function of a snap-in is given and may hand back.
//
// The daemon's tests compare this file with events that it really makes: a member that is sent and
// not declared here fails there.

/** Any JSON value. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** A JSON object. */
export type JsonObject = { [name: string]: Json };

// --- The event -------------------------------------------------------------------------------

/**
 * What a function is called with. It gets a list that holds exactly one of these.
 *
 * `Payload` is what the trigger brings, see the payloads below; `Inputs` is the type of
 * `global_values`, which depends on the inputs of manifest.yaml.
 */
export interface FunctionInput<Payload = any, Inputs = Record<string, any>> {
  /** What happened; its form depends on the trigger. */
  payload: Payload;
  /** Who and where. */
  context: FunctionContext;
  /** About this one invocation. */
  execution_metadata: ExecutionMetadata;
  /** The configuration of the snap-in. */
  input_data: InputData<Inputs>;
}

export interface FunctionContext {
  /** The organization; on one host there is one. */
  dev_oid: string;
  /** The automation, command, action or event source that caused this; empty when there is none. */
  source_id: string;
  snap_in_id: string;
  snap_in_version_id: string;
  /** The identity under which the snap-in acts. */
  service_account_id: string;
  /** On whose behalf the function runs, when there is somebody. */
  user_id?: string;
  /** As `source_id` for automations, empty otherwise. */
  automation_id: string;
  secrets: FunctionSecrets;
}

/** Tokens for the API of the daemon. They are good for 30 minutes; do not log them. */
export interface FunctionSecrets {
  /** Acts as the snap-in's service account, within its snap-in. */
  service_account_token: string;
  /** Acts as the person who ran a command or an action; absent for everything else. */
  actor_session_token?: string;
}

export interface ExecutionMetadata {
  /** The id of the run: `mortise run get ID`. */
  request_id: string;
  function_name: string;
  /** Such as `custom:push`, `timer.tick` or `hook:snap_in_activate`; absent for what is no event. */
  event_type?: string;
  /** The base URL of the API, without a slash at its end. */
  devrev_endpoint: string;
  /** The operation that runs, if one does. */
  operation_slug?: string;
  /** For the update hook: the values of the inputs before the change. */
  previous_inputs?: Record<string, any>;
}

export interface InputData<Inputs = Record<string, any>> {
  /** Values of the inputs, defaults included. */
  global_values: Inputs;
  /** Ids of the event sources, by name. */
  event_sources: Record<string, string>;
  /** Secrets of the organization's keyrings, by name. */
  keyrings: Record<string, string>;
  resources: Resources;
}

export interface Resources {
  /** The same secrets as in `input_data.keyrings`, with the ids of their keyrings. */
  keyrings: Record<string, KeyringResource>;
  /** Tags of the manifest, by name. */
  tags: Record<string, TagResource>;
}

export interface KeyringResource {
  id: string;
  secret: string;
}

export interface TagResource {
  id: string;
}

// --- Payloads --------------------------------------------------------------------------------

/**
 * What a `flow-custom-webhook` hands on: exactly the `event` of its policy, so the type is yours.
 * Mostly that is the body of the request.
 */
export type WebhookEvent<Event = JsonObject> = Event;

/** `timer-events`, event type `timer.tick`. */
export interface TimerTick<Metadata = JsonObject> {
  dev_oid: string;
  event_source_id: string;
  /** As in the config of the event source. */
  metadata: Metadata;
  /** The time that the tick was meant for, milliseconds of the Unix epoch. */
  scheduled_time: number;
}

/** `flow-events`: what was scheduled, as it was. */
export type ScheduledEvent<Event = JsonObject> = Event;

/** `email-forward`, event type `email.receive`. */
export interface EmailReceived {
  subject: string;
  emailBody: string;
  htmlBody: string;
  from: string[];
  to: string[];
  cc: string[];
  bcc: string[];
  replyTo?: { stringValues: string[] };
  inReplyToId?: { stringValues: string[] };
  referenceIds?: { stringValues: string[] };
  messageId: string;
  sentOn: string;
  rawBodyArtifactId: string;
  artifactIds: string[];
}

/**
 * `devrev-webhook`: the change of an object. The object is the member that is named like the event's
 * kind; an update may bring the object before the change as `old_...`.
 */
export interface ObjectChange {
  id: string;
  webhook_id?: string;
  timestamp: string;
  /** Such as `work_created`. */
  type: string;
  unique_key?: string;
  [member: string]: any;
}

/** A command, as a person ran it. */
export interface CommandPayload {
  actor_id: string;
  command_id: string;
  dev_org: string;
  /** What stood behind the command's name: one text, as it was typed. */
  parameters: string;
  /** The snap-in. */
  parent_id: string;
  request_id: string;
  /** The object that the command was run at. */
  source_id: string;
  /** Such as `display:discussions`. */
  surface: string;
}

/** Something that a person did to a snap that the snap-in showed. */
export interface SnapKitActionPayload {
  action: SnapKitActionDetails;
  action_id: string;
  actor_id: string;
  /** The snaps that were shown. */
  body?: SnapKitBody;
  context: SnapKitActionContext;
  dev_org: string;
  /** The snap-in. */
  parent_id: string;
  request_id: string;
}

export interface SnapKitActionDetails {
  block_id?: string;
  id: string;
  timestamp: string;
  type: string;
  /** For forms nested by the ids of its elements: `value.radio_buttons.value.value`. */
  value: any;
}

export interface SnapKitActionContext {
  /** The timeline entry that shows the snap. */
  entry_id?: string;
  /** The object that the entry belongs to. */
  parent_core_object_id?: string;
  /** For components: the object that they are shown at. */
  object_id?: string;
}

/** The initializer of a snap component. */
export interface SnapComponentPayload {
  /** The action that what people do there is sent to. */
  action_id?: string;
  actor_id: string;
  /** What was shown before. */
  body: SnapKitBody;
  context: SnapKitActionContext;
  dev_org: string;
  /** The snap-in. */
  parent_id: string;
  request_id: string;
}

/** The initializer of the page on which the snap-in is configured. */
export interface ConfigurationPagePayload {
  action_id?: string;
  actor_id: string;
  body: SnapKitBody;
  context: SnapKitActionContext;
  dev_org: string;
  level: 'organization' | 'user';
  parent_id: string;
  request_id: string;
}

/** The hooks `validate`, `activate` and `update`; what they look at is in `input_data`. */
export type HookPayload = Record<string, never>;

/** The hook `deactivate`. */
export interface DeactivateHookPayload {
  /** Go on whatever happens. */
  force_deactivate: boolean;
  /** The snap-in is deleted afterwards. */
  is_deletion: boolean;
}

/** An operation of a workflow. */
export interface OperationPayload<Data = any> {
  metadata: OperationMetadata;
  input_port_name: string;
  data: Data;
}

export interface OperationMetadata {
  namespace: string;
  slug: string;
  type: string;
}

// --- What comes back -------------------------------------------------------------------------

/**
 * A function. What it returns must be JSON; it is kept with the run, and handed to whoever waits
 * for it.
 */
export type SnapInFunction<Payload = any, Inputs = Record<string, any>, Result = any> = (
  events: FunctionInput<Payload, Inputs>[],
) => Result | Promise<Result>;

/** The `functionFactory` of a package: every function of manifest.yaml under its name there. */
export type FunctionFactory<Name extends string = string> = Readonly<Record<Name, SnapInFunction>>;

/**
 * Throw it to be run again: `retry` says whether, by the policy of the function in manifest.yaml;
 * `refresh` asks for new keyrings, tokens and inputs before that. Anything else that is thrown is for
 * good. Only the property `retry` is looked at, so that a class of your own does the same.
 */
export class FunctionExecutionError extends Error {
  constructor(message: string, retry: boolean, refresh?: boolean);
  readonly retry: boolean;
  readonly refresh: boolean;
}

/** What a hook may return: `inputs_values` are written, hidden inputs included. */
export interface HookResult {
  /** `active` or `error` for activate, `inactive` or `error` for deactivate. */
  status?: 'active' | 'inactive' | 'error';
  inputs_values?: Record<string, any>;
}

/** What went wrong with an operation. */
export enum OperationErrorType {
  Unknown = 0,
  InvalidRequest = 1,
  /** Run it again. */
  RetryExecution = 2,
}

/** What the function of an operation returns. */
export interface OperationOutput {
  error?: { message: string; type: OperationErrorType | 0 | 1 | 2 };
  output?: { values: any[] };
  port_outputs?: { port_name: string; outputs: { values: any[] }[] }[];
}

// --- Snap-kit --------------------------------------------------------------------------------

/** What initializers of components and configurations return, and what can be sent as a snap. */
export interface SnapKitResult {
  snap_kit_body: { body: SnapKitBody };
}

export interface SnapKitBody {
  snaps: SnapKitBlock[];
}

/** A block or an element; the daemon says what is wrong with one when it gets it. */
export type SnapKitBlock = SnapKitElement | SnapKitText;

/** Anything but text: what stands on a button is an element of text itself. */
export interface SnapKitElement {
  type: Exclude<SnapKitType, 'plain_text' | 'rich_text'>;
  block_id?: string;
  action_id?: string;
  action_type?: 'remote' | 'client';
  elements?: SnapKitBlock[];
  text?: SnapKitText;
  [member: string]: any;
}

export type SnapKitType =
  | 'actions'
  | 'button'
  | 'card'
  | 'checkboxes'
  | 'content'
  | 'divider'
  | 'email_list'
  | 'email_text_input'
  | 'form'
  | 'image'
  | 'input_layout'
  | 'multi_static_select'
  | 'number_input'
  | 'number_list'
  | 'part_picker'
  | 'plain_text'
  | 'plain_text_input'
  | 'radio_buttons'
  | 'rich_text'
  | 'rich_text_input'
  | 'static_select'
  | 'string_list'
  | 'table'
  | 'tag_picker'
  | 'toggle'
  | 'upload'
  | 'user_picker';

export interface SnapKitText {
  type: 'plain_text' | 'rich_text';
  text: string;
  [member: string]: any;
}
