"""The GraphQL that the pages send, in one place so that a test can hold it against the schema."""

ARTICLES = """\
# Welcome to Quittance. Four tabs tell one story, from an invoice to an article that opens.
# 1. Run this one (Ctrl-Enter) and see what is for sale: `content` stays locked until it is paid for.
query Articles {
  articles(first: 10) {
    edges {
      node {
        id
        title
        summary
        price {
          formatted
        }
        locked
      }
    }
  }
}
"""

GENERATE_INVOICE = """\
# 2. Ask for payment. The same idempotency key gives the same payment again, never a second one.
mutation GenerateInvoice($input: GenerateInvoiceInput!) {
  generateInvoice(input: $input) {
    ... on GenerateInvoiceSuccess {
      clientSecret
      replayed
      payment {
        id
        status
        amount {
          formatted
        }
        paymentRequest
        qrCode
        checkoutUrl
        expiresAt
      }
    }
    ... on UserError {
      code
      message
    }
  }
}
"""

PAYMENT_SETTLED = """\
# 3. Run this and leave it open; then pay the invoice. One event arrives for each payment that settles.
#    Keep `cursor`: with `paymentSettled(after: cursor)` a client that was away misses nothing.
subscription PaymentSettled {
  paymentSettled {
    eventId
    cursor
    occurredAt
    payment {
      id
      status
      received {
        formatted
      }
      article {
        id
        title
      }
    }
  }
}
"""

SETTLED_ARTICLE = """\
# 4. Read what was bought. The client secret opens this payment and its article, nothing else.
query SettledArticle($id: ID!, $clientSecret: String) {
  payment(id: $id, clientSecret: $clientSecret) {
    status
    article {
      title
      content
      locked
    }
  }
}
"""

CHECKOUT_UPDATES = """\
subscription CheckoutUpdates($id: ID!, $clientSecret: String, $after: String) {
  paymentUpdated(paymentId: $id, clientSecret: $clientSecret, after: $after) {
    cursor
    payment { status settledAt received { formatted } }
  }
}
"""

CHECKOUT_STATE = """\
query CheckoutState($id: ID!, $clientSecret: String) {
  payment(id: $id, clientSecret: $clientSecret) {
    status
    settledAt
    paymentRequest
    received { formatted }
    article { title content }
  }
}
"""
