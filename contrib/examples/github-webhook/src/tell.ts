// Says in one line what happened: "ada pushed 2 commits to acme/app".

import type { FunctionInput } from '@mortise/snap-in-sdk';

/** The few members of GitHub's payloads that are needed. */
interface Payload {
  repository?: { full_name?: string };
  sender?: { login?: string };
  commits?: unknown[];
  issue?: { number: number; title: string };
  pull_request?: { number: number; title: string };
}

export const run = async ([event]: FunctionInput<Payload>[]): Promise<{ said: string }> => {
  const { payload, execution_metadata } = event;
  const who = payload.sender?.login ?? 'somebody';
  const where = payload.repository?.full_name ?? 'a repository';
  const said = `${who} ${what(execution_metadata.event_type ?? '', payload)} ${where}`;
  console.log(said);
  return { said };
};

function what(type: string, payload: Payload): string {
  switch (type) {
    case 'custom:push':
      return `pushed ${payload.commits?.length ?? 0} commits to`;
    case 'custom:issues.opened':
      return `opened issue ${payload.issue?.number} in`;
    case 'custom:pull_request.opened':
      return `opened pull request ${payload.pull_request?.number} in`;
    default:
      return `did ${type.replace('custom:', '')} in`;
  }
}

export default run;
