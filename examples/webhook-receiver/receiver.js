// Takes Quittance's webhooks: believes none that it cannot verify, and handles each once, however often it comes.
import { createServer } from "node:http";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const BODY_BYTES_MAX = 1_048_576;
const REMEMBERED_MAX = 10_000;

const { HOST = "127.0.0.1", PORT = "4000", WEBHOOK_SECRET = "" } = process.env;

class TooLarge extends Error {}

/** The ids of what was handled. A shop stores them with what it did, in one transaction: then a crash doubles nothing. */
class Handled {
  #ids = new Set();

  /** Do something about an id unless that was done; what fails may be done again. */
  async once(id, act) {
    if (this.#ids.has(id)) {
      return;
    }
    this.#ids.add(id); // before it is done: the same id may come again meanwhile
    try {
      await act(id);
    } catch (error) {
      this.#ids.delete(id);
      throw error;
    }
    if (this.#ids.size > REMEMBERED_MAX) {
      this.#ids.delete(this.#ids.values().next().value); // the oldest: a set keeps the order
    }
  }
}

/** Do here what the event asks for. One that throws is answered with 500, and comes again. */
async function handle(id, message) {
  console.log(JSON.stringify({ id, ...message }));
}

/** Read the body as the bytes that were signed: parsed and written again it would be another. */
async function bodyOf(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) { // what is too large gets its answer
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) {
      throw new TooLarge();
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Return the status to answer with: 2xx says that the message need not come again. */
async function take(request, webhook, handled) {
  if (request.method !== "POST") {
    return 405;
  }
  const message = webhook.verify(await bodyOf(request), request.headers);
  await handled.once(request.headers["webhook-id"], (id) => handle(id, message));
  return 204;
}

function statusOf(error) {
  if (error instanceof WebhookVerificationError) {
    return 401;
  }
  if (error instanceof TooLarge) {
    return 413;
  }
  console.error(error);
  return 500;
}

function fail(sentence) {
  console.error(`receiver: ${sentence}`);
  process.exit(1);
}

function verifierOf(secret) {
  try {
    return new Webhook(secret);
  } catch {
    return fail("WEBHOOK_SECRET must be the whsec_… that the endpoint was made with");
  }
}

const webhook = verifierOf(WEBHOOK_SECRET);
const handled = new Handled();
const server = createServer(async (request, response) => {
  const status = await take(request, webhook, handled).catch(statusOf);
  response.writeHead(status, { connection: "close" }).end();
});
server.on("error", (error) => fail(error.message));
server.listen(Number(PORT), HOST, () => {
  const { address, port } = server.address();
  console.error(`receiver: http://${address}:${port}/`);
});
