import type { CreateArticleMutation, GenerateInvoiceMutation } from "./generated/graphql.js";

/** What a mutation may give: one success, or a failure that the caller can act upon. */
interface Outcome {
  readonly __typename: string;
}
type Succeeded = { readonly __typename: `${string}Success` };

export type Success<Result extends Outcome> = Extract<Result, Succeeded>;
export type Failure = Exclude<
  NonNullable<CreateArticleMutation["createArticle"] | GenerateInvoiceMutation["generateInvoice"]>,
  Succeeded
>;

/** The server declined, and said why. */
export class Declined extends Error {
  override readonly name = "Declined";

  constructor(readonly failure: Failure) {
    super(`${failure.code}: ${failure.message} (${advice(failure)})`);
  }
}

/**
 * Return the success of a mutation.
 * @throws {Declined} with the typed failure
 */
export function succeeded<Result extends Outcome>(result: Result | Failure | null): Success<Result> {
  if (result === null) {
    throw new Error("the server failed within this mutation and said no more");
  }
  if (isSuccess(result)) {
    return result;
  }
  throw new Declined(result as Failure);
}

function isSuccess<Result extends Outcome>(result: Result | Failure): result is Success<Result> {
  return result.__typename.endsWith("Success");
}

/** Say what to do about a failure. A failure that the contract gains is a compile error here, until it has advice. */
export function advice(failure: Failure): string {
  switch (failure.__typename) {
    case "PermissionDeniedError":
      return `use a key with the scope ${failure.needed}`;
    case "LoginRequiredError":
      return "log the reader in first";
    case "ArticleNotFoundError":
      return `there is no article ${failure.articleId}: refresh the list`;
    case "ArticleHiddenError":
      return `article ${failure.articleId} is not for sale: take it off the page`;
    case "InvalidArticleError":
    case "InvalidInputError":
      return `correct ${failure.field}`;
    case "ForbiddenAddressError":
      return `give another address: it ${failure.reason}`;
    case "InvalidAmountError":
      return "ask for another amount";
    case "IdempotencyConflictError":
      return `take a new key: ${failure.key} stands for another input`;
    case "RateUnavailableError":
      return "try again later, or ask in sat: there is no exchange rate now";
    case "CorrelationIdTakenError":
      return `retry the payment ${failure.paymentId}, or take another id: it has ${failure.correlationId}`;
    case "InvalidRefundAddressError":
      return `ask the payer for another refund address: ${failure.reason}`;
    case "PayeeUnavailableError":
      return `try again: the refund address gave no answer (${failure.reason})`;
    case "HoldNotSupportedError":
      return "ask for it without hold, or on a rail that can hold money";
    case "UnknownProviderError":
      return "ask for a rail that `providers` lists";
    case "ProviderUnavailableError":
      return `try again with the same idempotency key: ${failure.provider} did not answer`;
    case "ProviderMisconfiguredError":
      return `tell the operator: ${failure.provider} refuses the server`;
    case "InvoiceRejectedError":
      return `ask for another amount or rail: ${failure.provider} refused`;
    case "RateLimitedError":
      return `try again in ${failure.retryAfterS} s`;
    default:
      return unreachable(failure);
  }
}

function unreachable(failure: never): never {
  throw new Error(`the contract has changed, generate again: ${JSON.stringify(failure)}`);
}
