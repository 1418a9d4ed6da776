"""Pure facts and rules: money, payments, articles, the ledger; no I/O, no clock."""
