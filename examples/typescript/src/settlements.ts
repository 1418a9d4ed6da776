import type { GraphQLFormattedError } from "graphql";
import { createClient, type Client, type ClientOptions } from "graphql-ws";
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";

import { authorization, RequestFailed, type Server } from "./client.js";
import type { PaymentSettledSubscription } from "./generated/graphql.js";
import { PaymentSettled } from "./operations.js";

export type Settlement = PaymentSettledSubscription["paymentSettled"];

export interface Watch {
  /**
   * The cursor of the last settlement handled, or of the payment's first event. It is required: a stream that
   * starts "now" misses what settles while its first connection is made.
   */
  readonly after: string;
  readonly articleId?: string;
  /** Is shown every socket as it opens. */
  readonly onSocket?: (socket: WebSocket) => void;
}

type CloseEvent = { readonly code: number; readonly reason: string };
type Listeners = Required<Pick<NonNullable<ClientOptions["on"]>, "opened" | "closed">>;

const FORBIDDEN = 4403;
const SILENCE_MS = 10_000;
const LASTING_MS = 10_000;
const WAIT_MS_MIN = 200;
const WAIT_MS_MAX = 10_000;
const ATTEMPTS_MAX = 8;

/**
 * Every settlement after a cursor, in order, each once, for as long as the caller iterates.
 *
 * When the socket is lost it connects again behind the last settlement it gave out. Store `cursor` with what you
 * do about a settlement, and pass it as `after` when your program starts again.
 * @throws {RequestFailed} the server refuses, or cannot be reached any more
 */
export async function* settlements(server: Server, watch: Watch): AsyncGenerator<Settlement, never, undefined> {
  let after = watch.after;
  let lost: CloseEvent = { code: 1006, reason: "no answer" };
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    const begunAt = Date.now();
    const connection = connect(server, {
      opened: (socket) => watch.onSocket?.(socket as WebSocket),
      closed: (event) => (lost = event as CloseEvent),
    });
    const variables = { after, ...(watch.articleId === undefined ? {} : { articleId: watch.articleId }) };
    try {
      const answers = connection.iterate<PaymentSettledSubscription>({ query: PaymentSettled.toString(), variables });
      for await (const { data, errors } of answers) {
        if (errors !== undefined || data === undefined || data === null) {
          throw refusal(errors);
        }
        after = data.paymentSettled.cursor;
        yield data.paymentSettled;
      }
    } catch (cause) {
      if (!isPassing(cause)) {
        throw cause instanceof RequestFailed ? cause : refusal(cause);
      }
    } finally {
      await close(connection);
    }
    if (lost.code === FORBIDDEN) {
      throw refusal(lost); // the library would try again, but a refused key stays refused
    }
    if (Date.now() - begunAt > LASTING_MS) {
      attempt = 0;
    }
    await sleep(Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** attempt) * (0.5 + Math.random() / 2));
  }
  throw new RequestFailed(
    `${server.url} cannot be reached (${lost.code} ${lost.reason}); resume behind the cursor ${after}`,
  );
}

/**
 * Open one connection that ends for good when its socket does.
 *
 * The library would connect again by itself, but with the variables of the first time: the same cursor, and so
 * every settlement twice.
 */
function connect(server: Server, on: Listeners): Client {
  let silence: NodeJS.Timeout | undefined;
  const client = createClient({
    url: new URL("/graphql", server.url).href.replace(/^http/, "ws"),
    webSocketImpl: WebSocket, // Node 20 has none of its own; leave this line out in a browser
    connectionParams: authorization(server),
    connectionAckWaitTimeout: SILENCE_MS,
    keepAlive: SILENCE_MS,
    retryAttempts: 0,
    on: {
      ...on,
      ping: (received) => {
        if (!received) {
          silence = setTimeout(() => client.terminate(), SILENCE_MS);
        }
      },
      pong: () => clearTimeout(silence),
      closed: (event) => {
        clearTimeout(silence);
        on.closed(event);
        void close(client);
      },
      error: () => void close(client),
    },
  });
  return client;
}

async function close(client: Client): Promise<void> {
  try {
    await client.dispose();
  } catch {
    // It never opened, which the iteration reports.
  }
}

/** Whether the server ended the subscription for a reason that passes: too slow a reader, too many requests. */
function isPassing(cause: unknown): boolean {
  return isErrors(cause) && cause.every(({ extensions }) => extensions?.["retryable"] === true);
}

function refusal(cause: unknown): RequestFailed {
  if (isErrors(cause)) {
    const sentences = cause.map(({ message }) => message).join("; ");
    return new RequestFailed(`the server refuses the subscription: ${sentences}`, { cause });
  }
  const { code, reason } = (cause ?? {}) as Partial<CloseEvent>;
  const why = code === undefined ? String(cause) : `${code} ${reason ?? ""}`;
  return new RequestFailed(`the server closed the socket for good: ${why}`, { cause });
}

/** A refused subscription ends with a list of errors, a lost socket with its close event. */
function isErrors(cause: unknown): cause is readonly GraphQLFormattedError[] {
  return Array.isArray(cause);
}
