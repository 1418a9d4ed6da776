"""The limits of the use cases, as the settings say them."""

from quittance.domain.transfer import FeeRule
from quittance.resolvers.services import (
    ACCOUNT_BUDGET,
    ACCOUNTS_BY_CALLER_BUDGET,
    ASKING_BUDGET,
    MUTATION_BUDGET,
    PAYEE_BUDGET,
    PAYER_BUDGET,
    PaymentRules,
    ReaderRules,
    TransferRules,
)
from quittance.server.access import ADDRESS_BUDGET, KEY_BUDGET
from quittance.server.limiter import MinuteLimiter
from quittance.server.settings import Settings


def limiter_of(settings: Settings) -> MinuteLimiter:
    return MinuteLimiter(
        {
            MUTATION_BUDGET: settings.mutations_per_minute,
            ACCOUNT_BUDGET: settings.new_accounts_per_minute,
            ACCOUNTS_BY_CALLER_BUDGET: settings.new_accounts_per_minute_per_address,
            PAYEE_BUDGET: settings.payee_invoices_per_minute,
            PAYER_BUDGET: settings.payee_invoices_per_minute_per_caller,
            ASKING_BUDGET: settings.asking_per_minute_per_address,
            KEY_BUDGET: settings.requests_per_minute_per_key,
            ADDRESS_BUDGET: settings.requests_per_minute_per_address,
        }
    )


def payment_rules(settings: Settings) -> PaymentRules:
    return PaymentRules(
        amount_msat_max=settings.amount_msat_max,
        amount_litoshi_max=settings.amount_litoshi_max,
        amount_minor_max=settings.amount_minor_max,
        upvote_msat_min=settings.upvote_msat_min,
        payee_msat_min=settings.payee_msat_min,
        payee_expires_in_s=settings.payee_expires_in_s,
        expires_in_s_default=settings.expires_in_s_default,
        expires_in_s_max=settings.expires_in_s_max,
        hold_s_max=settings.hold_s_max,
        refund_address_check=settings.refund_address_check,
        claim_s=3 * int(settings.lnd_timeout_s) + 5,  # making an invoice takes three calls at most
        wait_for_invoice_s=3 * int(settings.lnd_timeout_s) + 10,
    )


def transfer_rules(settings: Settings) -> TransferRules:
    return TransferRules(
        fee=FeeRule(ppm=settings.transfer_fee_ppm, msat_min=settings.transfer_fee_msat_min),
        payout_msat_min=settings.payout_msat_min,
        reader_open_max=settings.reader_payouts_open_max,
        merchant_open_max=settings.merchant_transfers_open_max,
        refunds_of_payment_max=settings.refunds_of_payment_max,
        withdrawal_s_default=settings.withdrawal_s_default,
        withdrawal_s_max=settings.withdrawal_s_max,
    )


def reader_rules(settings: Settings) -> ReaderRules:
    return ReaderRules(challenge_s=settings.login_challenge_s, session_s=settings.session_s)
