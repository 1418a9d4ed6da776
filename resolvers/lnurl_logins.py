"""Readers log in with a wallet: a QR code that it signs, and a browser that collects what came of it (LUD-04)."""

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from quittance.domain import lnurl
from quittance.domain.access import Principal
from quittance.domain.errors import LoginChallengeNotFound, LoginNotSigned, LoginRequired, WalletLinked
from quittance.domain.event import EventKind
from quittance.domain.ids import BOOTSTRAP_MERCHANT, LOGIN, LoginId
from quittance.domain.lnurl_login import CHALLENGE_BYTES, SECRET_PREFIX, LnurlLogin, LoginAction, NewLnurlLogin
from quittance.domain.reader import Account, check_username
from quittance.resolvers.logins import Login, ReaderKey, account_of, admit_account, begin_session, new_token
from quittance.resolvers.services import Services
from quittance.resolvers.wallet_keys import check_signature
from quittance.store import lnurl_logins, readers
from quittance.store.transaction import EventDraft, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLogin:
    """What a browser that logs in gets: ``lnurl`` to show, the secret to keep."""

    new: NewLnurlLogin
    lnurl: str


async def create_lnurl_login(
    services: Services, principal: Principal, *, username: str | None, action: LoginAction
) -> ShownLogin:
    """Begin a login.

    Raises:
        LoginRequired: a key can only be linked to the account of the reader who calls.
        InvalidInput, UsernameRequired: nobody can have this name.
    """
    account_id = principal.require_account() if action is LoginAction.LINK else None
    await services.admit_mutation(principal)
    now = services.now()
    login = LnurlLogin(
        id=LoginId(services.new_id(LOGIN)),
        action=action,
        username=None if username is None else check_username(username),
        account_id=account_id,
        key=None,
        expires_at=now + timedelta(seconds=services.readers.challenge_s),
    )
    new = NewLnurlLogin(
        login=login,
        challenge=services.entropy(CHALLENGE_BYTES),
        secret=f"{SECRET_PREFIX}{secrets.token_urlsafe(CHALLENGE_BYTES)}",
    )
    await services.database.write(lambda transaction: lnurl_logins.insert_login(transaction, new, at=now))
    return ShownLogin(new=new, lnurl=lnurl.encode(new.url(services.public_url)))


async def sign_lnurl_login(services: Services, *, challenge: bytes, signature: bytes, key: bytes) -> None:
    """Take a wallet's signature. It gives the wallet nothing: whoever began the login collects what it opens.

    A challenge is signed once; the same key again, as after an answer that was lost, changes nothing. One that is to
    link a key is void when a second wallet signs it too: somebody else has seen the QR code, and nobody can tell which
    wallet is the reader's.

    Raises:
        LoginChallengeNotFound: the challenge is unknown, signed by another key, collected or expired.
        InvalidSignature: it can still be signed.
    """
    now, signer = services.now(), key.hex()
    begun = await services.database.read(lambda t: lnurl_logins.login_by_challenge(t, challenge, at=now))
    if begun is None:
        raise LoginChallengeNotFound
    check_signature(challenge, signature=signature, key=key)

    def unit(transaction: Transaction) -> bool:
        signed = lnurl_logins.sign_login(transaction, challenge, key=signer, at=now)
        if signed is None:
            lnurl_logins.void_link(transaction, challenge, key=signer, at=now)
            left = lnurl_logins.login_by_challenge(transaction, challenge, at=now)
            return left is not None and left.key == signer
        transaction.emit(EventDraft(kind=EventKind.LOGIN_SIGNED, merchant_id=BOOTSTRAP_MERCHANT, subject_id=signed.id))
        return True

    if not await services.database.write(unit):
        raise LoginChallengeNotFound


async def find_lnurl_login(services: Services, secret: str) -> LnurlLogin:
    """Return the login of a browser.

    Raises:
        LoginChallengeNotFound: the secret is unknown, was used or has expired.
    """
    now = services.now()
    found = await services.database.read(lambda transaction: lnurl_logins.login_by_secret(transaction, secret, at=now))
    if found is None:
        raise LoginChallengeNotFound
    return found


async def find_signed_login(services: Services, secret: str) -> LnurlLogin:
    """Return the login of a browser, with the key that signed it.

    Raises:
        LoginChallengeNotFound: the secret is unknown, was used or has expired.
        LoginNotSigned: no wallet has signed it yet.
    """
    found = await find_lnurl_login(services, secret)
    if found.key is None:
        raise LoginNotSigned
    return found


async def finish_lnurl_login(
    services: Services, principal: Principal, *, secret: str, username: str | None = None
) -> Login | Account:
    """Log in the account of the wallet that signed, or link its key to the account of the caller; once.

    A key without an account gets one in the same unit, named here or when the login began. An error leaves the
    login as it is, until it expires. A linked key begins no session.

    Raises:
        LoginChallengeNotFound: the secret is unknown, was used or has expired.
        LoginNotSigned, UsernameRequired, UsernameTaken, InvalidInput, RateLimited: the login can still be finished.
        LoginRequired, KeyTaken, WalletLinked: likewise; the key is not linked.
    """
    await services.admit_mutation(principal)
    begun = await find_signed_login(services, secret)
    if begun.action is LoginAction.LOGIN:
        await _admit_new(services, principal, begun, username=username or begun.username)
    token = new_token()

    def unit(transaction: Transaction) -> Login | Account:
        taken = lnurl_logins.take_login(transaction, secret, at=services.now())
        if taken is None or taken.key is None:
            raise LoginChallengeNotFound
        if taken.action is LoginAction.LINK:
            return _link(transaction, principal, taken, key=taken.key)
        key = ReaderKey(lnurl_key=taken.key)
        account = account_of(transaction, services, key=key, username=username or taken.username)
        session = begin_session(transaction, services, account.id, token=token)
        return Login(account=account, session=session, token=token)

    return await services.database.write(unit)


async def _admit_new(services: Services, principal: Principal, signed: LnurlLogin, *, username: str | None) -> None:
    """Count the account that will be made for a key that has none."""
    if await services.database.read(lambda t: readers.account_by_lnurl_key(t, signed.key or "")) is None:
        await admit_account(services, principal, key=ReaderKey(lnurl_key=signed.key), username=username)


def _link(transaction: Transaction, principal: Principal, login: LnurlLogin, *, key: str) -> Account:
    if login.account_id is None or principal.account_id != login.account_id:
        raise LoginRequired
    account = readers.lock_account(transaction, login.account_id)
    if account.lnurl_key == key:
        return account
    if account.lnurl_key is not None:
        raise WalletLinked
    linked = replace(account, lnurl_key=key)
    readers.set_lnurl_key(transaction, linked)
    return linked
