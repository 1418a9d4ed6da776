"""Queries and mutations of outgoing money: refunds and payouts."""

from typing import Annotated

import strawberry

from quittance.domain.access import Scope
from quittance.domain.cursor import encode_key
from quittance.domain.ids import PaymentId, TransferId
from quittance.domain.money import Money
from quittance.domain.transfer import TransferPurpose
from quittance.gql.arguments import After, First
from quittance.gql.context import QuittanceInfo
from quittance.gql.pages import PAGE_DEFAULT, asked_page
from quittance.gql.results_transfers import (
    ClaimRefundResult,
    ClaimRefundSuccess,
    RefundPaymentResult,
    RefundPaymentSuccess,
    RequestPayoutResult,
    RequestPayoutSuccess,
)
from quittance.gql.types.money import AmountInput
from quittance.gql.types.node import Node
from quittance.gql.types.transfer import (
    REFUND_LIST,
    ClaimRefundInput,
    Payout,
    PayoutConnection,
    Refund,
    RefundConnection,
    RefundEdge,
    RefundPaymentInput,
    RequestPayoutInput,
    payout_page,
)
from quittance.resolvers import payouts, refund_claims, refunds


@strawberry.type
class TransferQueries:
    @strawberry.field(description="The merchant's refunds, the newest first.")
    async def refunds(self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None) -> RefundConnection:
        asked = asked_page(first, after)
        services, principal = info.context.services, info.context.principal
        found = await refunds.list_refunds(services, principal, after_id=asked.after_id(REFUND_LIST), limit=asked.limit)
        page = asked.of(
            found, lambda one: RefundEdge(cursor=encode_key(REFUND_LIST, one.id), node=Refund.from_domain(one))
        )
        return RefundConnection(
            count=lambda: refunds.count_refunds(services, principal), edges=page.edges, page_info=page.page_info
        )

    @strawberry.field(description="The caller's payouts, a reader's or the merchant's, the newest first.")
    async def payouts(self, info: QuittanceInfo, first: First = PAGE_DEFAULT, after: After = None) -> PayoutConnection:
        owner = payouts.owner_of_payouts(info.context.principal, Scope.PAYMENTS_READ)
        return await payout_page(info, owner.id, first=first, after=after)


@strawberry.type
class TransferMutations:
    @strawberry.mutation(description="Give money of a payment back, whole or in part; needs the scope refunds:write.")
    async def refund_payment(
        self,
        info: QuittanceInfo,
        input: Annotated[RefundPaymentInput, strawberry.argument(description="What goes back.")],  # noqa: A002
    ) -> RefundPaymentResult | None:
        order = refunds.RefundOrder(
            payment_id=PaymentId(input.payment_id),
            idempotency_key=input.idempotency_key,
            amount=_money(input.amount),
            destination=input.destination,
            fee_from_amount=bool(input.fee_from_amount),
            comment=input.comment,
        )
        begun = await refunds.refund_payment(info.context.services, info.context.principal, order)
        info.context.loaders.forget_payment(order.payment_id)
        return RefundPaymentSuccess(refund=Refund.from_domain(begun))

    @strawberry.mutation(
        description="Have sent what is owed back to the payer; asked by its reader or with its secret."
    )
    async def claim_refund(
        self,
        info: QuittanceInfo,
        input: Annotated[ClaimRefundInput, strawberry.argument(description="What, and where to.")],  # noqa: A002
    ) -> ClaimRefundResult | None:
        order = refunds.RefundOrder(
            payment_id=PaymentId(input.payment_id),
            idempotency_key=input.idempotency_key,
            destination=input.destination,
        )
        begun = await refund_claims.claim_refund(
            info.context.services, info.context.principal, order, input.client_secret
        )
        info.context.loaders.forget_payment(order.payment_id)
        return ClaimRefundSuccess(refund=Refund.from_domain(begun))

    @strawberry.mutation(
        description="Send money of the caller's balance: a reader's, or the merchant's with the scope payouts:write."
    )
    async def request_payout(
        self,
        info: QuittanceInfo,
        input: Annotated[RequestPayoutInput, strawberry.argument(description="What, and where to.")],  # noqa: A002
    ) -> RequestPayoutResult | None:
        order = payouts.PayoutOrder(
            idempotency_key=input.idempotency_key,
            amount=_money(input.amount),
            destination=input.destination,
            fee_max=_money(input.fee_max),
            provider=input.provider,
            comment=input.comment,
        )
        begun = await payouts.request_payout(info.context.services, info.context.principal, order)
        return RequestPayoutSuccess(payout=Payout.from_domain(begun))


async def transfer_node(info: QuittanceInfo, transfer_id: TransferId) -> Node | None:
    """Return a refund or a payout that this caller may see."""
    found = await refund_claims.find_transfer(info.context.services, info.context.principal, transfer_id)
    if found is None:
        return None
    return Refund.from_domain(found) if found.purpose is TransferPurpose.REFUND else Payout.from_domain(found)


def _money(said: AmountInput | None) -> Money | None:
    return None if said is None else said.to_domain()
