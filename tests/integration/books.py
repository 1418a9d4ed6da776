"""What tests of the books share: money that came in, rows changed behind everybody's back, and what is found then."""

from typing import Any

from quittance.store.models import Row
from quittance.store.statement import Statement

RECONCILIATION = """
{
  reconciliation {
    checkedAt truncated transactionsCompared accountsCompared settlementsCompared paymentsCompared
    rails { provider reachable comparable complete detail invoices foreignInvoices settlements openOptions }
    findings { kind provider reference paymentId expected found message }
    counts { kind count }
  }
}
"""


def table(name: str) -> Any:
    return Row.metadata.tables[name]


async def sabotage(till: Any, *statements: Any) -> None:
    """Change rows behind the back of everybody."""
    for statement in statements:
        compiled = Statement(lambda _, statement=statement: statement)  # type: ignore[misc]
        assert await till.services.database.write(lambda t, compiled=compiled: t.execute(compiled)) > 0


async def paid(till: Any) -> str:
    payment_id = (await till.order()).payment.id
    await till.report(await till.pay(payment_id))
    return str(payment_id)


async def reconciled(till: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await till.shop.run(RECONCILIATION, **more))["reconciliation"]
    return found


def named(found: dict[str, Any]) -> list[tuple[str, str | None, str, str]]:
    """Return what was found: kind, payment, expected, found; sorted."""
    return sorted(
        (one["kind"], one["paymentId"] or one["reference"], one["expected"], one["found"]) for one in found["findings"]
    )


def counted(found: dict[str, Any]) -> dict[str, int]:
    return {one["kind"]: one["count"] for one in found["counts"] if one["count"]}
