/** One payment from end to end, with a lost connection in the middle. Stops with a sentence at the first deviation. */
import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { WebSocket } from "ws";

import { execute, payInSandbox, type Server } from "./client.js";
import { advice, succeeded, type Failure, type Success } from "./failures.js";
import type { GenerateInvoiceInput, GenerateInvoiceMutation } from "./generated/graphql.js";
import { CreateArticle, GenerateInvoice, ReadBought } from "./operations.js";
import { settlements, type Settlement } from "./settlements.js";

type InvoiceResult = NonNullable<GenerateInvoiceMutation["generateInvoice"]>;
type Invoice = Success<InvoiceResult>;

const CONTENT = "The text that was paid for.";
const PATIENCE_MS = 20_000;

async function story(merchant: Server): Promise<void> {
  const articleId = await createArticle(merchant);
  const first = await invoiceTwice(merchant, articleId);
  await readLocked(merchant, first);
  await watchAndPay(merchant, articleId, first);
  await readBought(merchant, first);
  await seeFailures(merchant, articleId);
}

async function createArticle(merchant: Server): Promise<string> {
  const input = { title: "A quittance", content: CONTENT, price: { sat: "21" } };
  const { article } = succeeded((await execute(merchant, CreateArticle, { input })).createArticle);
  say(`article    ${article.id}: ${article.title}, ${article.price.formatted}`);
  return article.id;
}

async function invoiceTwice(merchant: Server, articleId: string): Promise<Invoice> {
  const input = { articleId, idempotencyKey: randomUUID() };
  const invoice = await makeInvoice(merchant, input);
  const again = await makeInvoice(merchant, input);
  expect(!invoice.replayed, "the first invoice of a new idempotency key is not a replay");
  expect(again.replayed, "the same key and input again is a replay");
  expect(again.payment.id === invoice.payment.id, "a replay gives the same payment");
  expect(again.payment.paymentRequest === invoice.payment.paymentRequest, "a replay gives the same invoice");
  expect(again.clientSecret === invoice.clientSecret, "a replay gives the same client secret");
  say(`invoice    ${invoice.payment.id}: ${invoice.payment.amount.formatted}; asked twice, made once`);
  return invoice;
}

async function readLocked(merchant: Server, invoice: Invoice): Promise<void> {
  const { payment } = await readAnonymously(merchant, invoice, invoice.clientSecret);
  expect(payment?.status === "PENDING_PAYMENT", `an unpaid payment is pending, not ${payment?.status}`);
  expect(payment.article?.locked === true && payment.article.content === null, "an unpaid article is locked");
  say("unpaid     the article is locked");
}

async function watchAndPay(merchant: Server, articleId: string, first: Invoice): Promise<void> {
  const sockets: WebSocket[] = [];
  const stream = settlements(merchant, {
    after: given(first.payment.events.pageInfo.endCursor, "a payment has a first event"),
    articleId,
    onSocket: (socket) => sockets.push(socket),
  });
  const seen: Settlement[] = [];
  const next = async (invoice: Invoice): Promise<Settlement> => {
    const settlement = await soon(stream.next(), `the settlement of ${invoice.payment.id}`);
    expect(settlement.payment.id === invoice.payment.id, `${settlement.payment.id} came; expected ${invoice.payment.id}`);
    expect(settlement.payment.status === "COMPLETE", `a settled payment is COMPLETE, not ${settlement.payment.status}`);
    expect(!seen.some(({ eventId }) => eventId === settlement.eventId), `${settlement.eventId} came twice`);
    seen.push(settlement);
    return settlement;
  };

  const waiting = next(first);
  await pay(merchant, first);
  const live = await waiting;
  say(`settled    ${live.payment.id}: ${live.payment.received?.formatted ?? "nothing"} at ${live.occurredAt}`);

  const [socket] = sockets;
  given(socket, "a socket was opened").terminate();
  const missed = await makeInvoice(merchant, { articleId });
  await pay(merchant, missed);
  await untilComplete(merchant, missed); // booked before the reconnection: it can only be replayed
  say(`offline    the socket is cut; ${missed.payment.id} is paid meanwhile`);

  await next(missed);
  expect(sockets.length === 2, `one reconnection makes two sockets, not ${sockets.length}`);
  say(`resumed    behind ${live.cursor}: ${missed.payment.id}, which was missed`);

  const last = await makeInvoice(merchant, { articleId });
  const following = next(last); // would fail on anything that came twice
  await pay(merchant, last);
  await following;
  await stream.return(undefined as never);
  say(`live       ${last.payment.id}; three payments, three events, none twice`);
}

async function readBought(merchant: Server, invoice: Invoice): Promise<void> {
  const { payment } = await readAnonymously(merchant, invoice, invoice.clientSecret);
  expect(payment?.status === "COMPLETE", `a paid payment is COMPLETE, not ${payment?.status}`);
  expect(payment.article?.content === CONTENT, `the content is what was written, not ${payment.article?.content}`);
  const stranger = await readAnonymously(merchant, invoice, `${invoice.clientSecret.slice(0, -4)}AAAA`);
  expect(stranger.payment === null, "a wrong client secret opens nothing");
  say(`read       without a key: "${payment.article.content}"`);
}

async function seeFailures(merchant: Server, articleId: string): Promise<void> {
  const unknown = await declined(merchant, { articleId: "no-such-article" });
  expect(unknown.__typename === "ArticleNotFoundError", `an unknown article gives ${unknown.__typename}`);
  expect(unknown.articleId === "no-such-article", `the error names the article, not ${unknown.articleId}`);

  const zero = await declined(merchant, { amount: { sat: "0" } });
  expect(zero.__typename === "InvalidAmountError", `an amount of zero gives ${zero.__typename}`);

  const idempotencyKey = randomUUID();
  await makeInvoice(merchant, { articleId, idempotencyKey });
  const conflict = await declined(merchant, { amount: { sat: "5" }, idempotencyKey });
  expect(conflict.__typename === "IdempotencyConflictError", `a key used otherwise gives ${conflict.__typename}`);
}

async function invoiceFor(merchant: Server, input: GenerateInvoiceInput): Promise<InvoiceResult | null> {
  return (await execute(merchant, GenerateInvoice, { input })).generateInvoice;
}

async function makeInvoice(merchant: Server, input: GenerateInvoiceInput): Promise<Invoice> {
  return succeeded(await invoiceFor(merchant, input));
}

async function declined(merchant: Server, input: GenerateInvoiceInput): Promise<Failure> {
  const result = given(await invoiceFor(merchant, input), "a refused invoice is a typed failure, not null");
  expect(result.__typename !== "GenerateInvoiceSuccess", `${JSON.stringify(input)} must be declined`);
  say(`declined   ${result.code}: ${advice(result)}`);
  return result;
}

async function pay(merchant: Server, { payment }: Invoice): Promise<void> {
  const preimage = await payInSandbox(merchant, given(payment.paymentRequest, "a Lightning payment has an invoice"));
  const hash = createHash("sha256").update(Buffer.from(preimage, "hex")).digest("hex");
  expect(hash === payment.paymentHash, `the preimage proves ${payment.paymentHash}, not ${hash}`);
}

async function untilComplete(merchant: Server, invoice: Invoice): Promise<void> {
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline; await sleep(50)) {
    if ((await readAnonymously(merchant, invoice, invoice.clientSecret)).payment?.status === "COMPLETE") {
      return;
    }
  }
  throw new Error(`${invoice.payment.id} was paid, but not complete within ${PATIENCE_MS / 1000} s`);
}

function readAnonymously(merchant: Server, { payment }: Invoice, clientSecret: string) {
  return execute({ url: merchant.url }, ReadBought, { paymentId: payment.id, clientSecret });
}

async function soon<Value>(next: Promise<IteratorResult<Value, never>>, what: string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
  });
  try {
    return (await Promise.race([next, late])).value;
  } finally {
    clearTimeout(timer);
  }
}

function given<Value>(value: Value | null | undefined, sentence: string): Value {
  expect(value !== null && value !== undefined, sentence);
  return value;
}

function expect(fact: boolean, sentence: string): asserts fact {
  if (!fact) {
    throw new Error(`expected otherwise: ${sentence}`);
  }
}

function say(line: string): void {
  console.log(line);
}

function merchantFromCommandLine(): Server {
  const { values } = parseArgs({ options: { url: { type: "string" }, key: { type: "string" } } });
  const url = values.url ?? process.env["QUITTANCE_URL"] ?? "http://127.0.0.1:8000";
  const apiKey = values.key ?? process.env["QUITTANCE_API_KEY"];
  if (apiKey === undefined) {
    throw new Error("no API key: pass --key, or set QUITTANCE_API_KEY; `quittance serve` prints one");
  }
  return { url, apiKey };
}

try {
  await story(merchantFromCommandLine());
  say("done");
  process.exit(0);
} catch (error) {
  console.error(`story: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
