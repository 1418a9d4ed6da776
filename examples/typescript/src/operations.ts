import { graphql } from "./generated/index.js";

export const CreateArticle = graphql(`
  mutation CreateArticle($input: CreateArticleInput!) {
    createArticle(input: $input) {
      __typename
      ... on CreateArticleSuccess {
        article {
          id
          title
          locked
          price {
            formatted
          }
        }
      }
      ... on UserError {
        code
        message
        retryable
      }
      ... on PermissionDeniedError {
        needed
      }
      ... on InvalidArticleError {
        field
      }
      ... on RateLimitedError {
        retryAfterS
      }
    }
  }
`);

/** A payment cannot settle before its first event: that event's cursor is where to wait for the settlement. */
export const GenerateInvoice = graphql(`
  mutation GenerateInvoice($input: GenerateInvoiceInput!) {
    generateInvoice(input: $input) {
      __typename
      ... on GenerateInvoiceSuccess {
        replayed
        clientSecret
        payment {
          id
          status
          paymentRequest
          paymentHash
          amount {
            value
            assetCode
            assetScale
            formatted
          }
          events(first: 1) {
            pageInfo {
              endCursor
            }
          }
        }
      }
      ... on UserError {
        code
        message
        retryable
      }
      ... on PermissionDeniedError {
        needed
      }
      ... on ArticleNotFoundError {
        articleId
      }
      ... on ArticleHiddenError {
        articleId
      }
      ... on InvalidInputError {
        field
      }
      ... on ForbiddenAddressError {
        reason
      }
      ... on CorrelationIdTakenError {
        correlationId
        paymentId
      }
      ... on InvalidRefundAddressError {
        reason
      }
      ... on PayeeUnavailableError {
        reason
      }
      ... on IdempotencyConflictError {
        key
      }
      ... on ProviderUnavailableError {
        provider
      }
      ... on ProviderMisconfiguredError {
        provider
      }
      ... on InvoiceRejectedError {
        provider
      }
      ... on RateLimitedError {
        retryAfterS
      }
    }
  }
`);

export const PaymentSettled = graphql(`
  subscription PaymentSettled($after: String!, $articleId: ID) {
    paymentSettled(after: $after, articleId: $articleId) {
      eventId
      cursor
      occurredAt
      payment {
        id
        status
        received {
          formatted
        }
      }
    }
  }
`);

/** Needs no API key: the client secret opens this payment and what it bought. */
export const ReadBought = graphql(`
  query ReadBought($paymentId: ID!, $clientSecret: String!) {
    payment(id: $paymentId, clientSecret: $clientSecret) {
      status
      article {
        title
        locked
        content
      }
    }
  }
`);
