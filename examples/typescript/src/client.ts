import type { TypedDocumentString } from "./generated/graphql.js";

/** A Quittance server, and who calls it: without a key the call is anonymous. */
export interface Server {
  readonly url: string;
  readonly apiKey?: string;
}

/** The call itself failed: no answer, not GraphQL, or a document or argument that the server refuses. */
export class RequestFailed extends Error {
  override readonly name = "RequestFailed";
}

interface Answer<Result> {
  readonly data?: Result | null;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
}

const TIMEOUT_MS = 15_000;

/**
 * Run a query or a mutation and return its data.
 *
 * What the caller can act upon is part of the data, as a member of the result's union. Everything else throws.
 * @throws {RequestFailed}
 */
export async function execute<Result, Variables>(
  server: Server,
  document: TypedDocumentString<Result, Variables>,
  variables: Variables,
): Promise<Result> {
  const { status, text } = await post(server, "/graphql", { query: document.toString(), variables });
  const answer = parse<Answer<Result>>(text, status);
  if (answer.errors !== undefined && answer.errors.length > 0) {
    throw new RequestFailed(answer.errors.map((error) => describe(error.message, error.extensions?.code)).join("; "));
  }
  if (answer.data === undefined || answer.data === null) {
    throw new RequestFailed(`HTTP ${status} without data: ${text.slice(0, 200)}`);
  }
  return answer.data;
}

/** Pay an invoice from a sandbox wallet and return the preimage; a server in production has no such door. */
export async function payInSandbox(server: Server, paymentRequest: string): Promise<string> {
  const { status, text } = await post({ url: server.url }, "/sandbox/pay", { paymentRequest, node: "alice" });
  const { preimage } = parse<{ readonly preimage?: string }>(text, status);
  if (status !== 200 || preimage === undefined) {
    throw new RequestFailed(`the sandbox did not pay: HTTP ${status}: ${text.slice(0, 200)}`);
  }
  return preimage;
}

export function authorization(server: Server): Record<string, string> {
  return server.apiKey === undefined ? {} : { Authorization: `Bearer ${server.apiKey}` };
}

async function post(server: Server, path: string, body: unknown): Promise<{ status: number; text: string }> {
  const headers = {
    "Content-Type": "application/json",
    Accept: "application/graphql-response+json, application/json",
    ...authorization(server),
  };
  try {
    const response = await fetch(new URL(path, server.url), {
      method: "POST",
      headers,
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { status: response.status, text: await response.text() };
  } catch (cause) {
    throw new RequestFailed(`${server.url}${path} did not answer`, { cause });
  }
}

function parse<Shape>(text: string, status: number): Shape {
  try {
    return JSON.parse(text) as Shape;
  } catch (cause) {
    throw new RequestFailed(`HTTP ${status} is not JSON: ${text.slice(0, 200)}`, { cause });
  }
}

function describe(message: string, code: string | undefined): string {
  return code === undefined ? message : `${code}: ${message}`;
}
