"""The GraphQL that the pages send, in one place so that a test can hold it against the schema."""

ARTICLES = """\
# Welcome to Quittance. Four tabs tell one story.
# 1. Run this (Ctrl-Enter): what is for sale?
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
# 2. Ask for payment. Add an `idempotencyKey`:
#    sent again, it gives the same payment.
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
        checkoutUrl
        expiresAt
        qrCode
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
# 3. Run this, leave it open, and pay the invoice.
#    Keep `cursor`: `paymentSettled(after: …)`
#    resumes there, so nothing is missed.
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
# 4. Read what was bought. The client secret opens
#    this payment and its article, nothing else.
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
