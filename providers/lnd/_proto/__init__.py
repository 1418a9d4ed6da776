"""LND's wire definitions, as far as we speak them."""
