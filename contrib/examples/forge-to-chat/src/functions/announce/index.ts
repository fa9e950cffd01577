// Announces a push: one line, and the commits when the installer wants them.

import type { FunctionEvent } from '../../configuration';

interface Push {
  ref?: string;
  compare?: string;
  pusher?: { name?: string };
  repository?: { full_name?: string };
  commits?: { id?: string; message?: string }[];
}

/** An error that asks to be run again later, as often as manifest.yaml says. */
class RetryLater extends Error {
  retry = true;
}

export const run = async (events: FunctionEvent<Push>[]): Promise<object> => {
  const [{ payload, input_data }] = events;
  const { branches, chat_url, detail, dry_run } = input_data.global_values;

  const branch = (payload.ref ?? '').replace('refs/heads/', '');
  if (branches.length > 0 && !branches.includes(branch)) {
    console.log(`not announced: ${branch} is not among ${branches.join(', ')}`);
    return { announced: false };
  }

  const text = message(payload, branch, detail);
  if (dry_run) {
    console.log(`would post: ${text}`);
    return { announced: false, text };
  }
  const response = await fetch(chat_url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/json',
      Authorization: `Bearer ${input_data.keyrings['chat-token']}`,
    },
    body: JSON.stringify({ text }),
  });
  if (response.status === 429 || response.status >= 500) {
    throw new RetryLater(`the chat answered ${response.status}`);
  }
  if (!response.ok) {
    throw new Error(`the chat answered ${response.status}: ${await response.text()}`);
  }
  return { announced: true, text };
};

function message(push: Push, branch: string, detail: string): string {
  const commits = push.commits ?? [];
  const who = push.pusher?.name ?? 'somebody';
  const where = push.repository?.full_name ?? 'a repository';
  const head = `${who} pushed ${commits.length} commit(s) to ${branch} of ${where}`;
  if (detail !== 'commits') {
    return head;
  }
  const first = (text?: string) => (text ?? '').split('\n')[0];
  return [head, ...commits.map((it) => `${(it.id ?? '').slice(0, 8)} ${first(it.message)}`)].join('\n');
}

export default run;
