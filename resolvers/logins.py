"""Readers log in: a nonce to sign with the key of a Lightning node, and a session for the signature."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from quittance.domain.access import Principal
from quittance.domain.errors import InvalidSignature, LoginChallengeNotFound, SessionNotFound, UsernameTaken
from quittance.domain.ids import ACCOUNT, SESSION, AccountId, SessionId
from quittance.domain.reader import TOKEN_PREFIX, Account, LoginChallenge, Session, check_username
from quittance.resolvers.node_keys import read_signer
from quittance.resolvers.services import ACCOUNT_BUDGET, ACCOUNTS_BY_CALLER_BUDGET, Services
from quittance.store import readers
from quittance.store.transaction import Transaction

_SECRET_BYTES = 32
_TOGETHER = "readers"  # an account is made for nothing, and addresses can be many: so all of them have a budget too


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginAttempt:
    """A nonce that was signed. ``identity_pubkey`` is whose signature it must be, None for anybody's."""

    nonce: str = field(repr=False)
    signature: str = field(repr=False)
    username: str | None = None
    identity_pubkey: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderKey:
    """What an account is found by: the key of a node, or the key that a wallet made for us; one of them, in hex."""

    identity_pubkey: str | None = None
    lnurl_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A new session. ``token`` is shown this once; only its hash is stored."""

    account: Account
    session: Session
    token: str = field(repr=False)


async def create_login_challenge(services: Services, principal: Principal) -> LoginChallenge:
    """Make a text to sign. It names this server, so that no other site has its readers sign it as its own."""
    await services.admit_mutation(principal)
    now = services.now()
    host = urlsplit(services.public_url).netloc.rpartition("@")[2]
    challenge = LoginChallenge(
        nonce=f"{host} login {secrets.token_urlsafe(_SECRET_BYTES)}",
        expires_at=now + timedelta(seconds=services.readers.challenge_s),
    )
    await services.database.write(
        lambda transaction: readers.insert_challenge(
            transaction, challenge.nonce, expires_at=challenge.expires_at, at=now
        )
    )
    return challenge


async def verify_login(services: Services, principal: Principal, attempt: LoginAttempt) -> Login:
    """Log in the account of the key that signed; a key without one gets it in the same unit.

    The nonce is used up by a login and by nothing else: who fails may try again with it until it expires. A stranger
    who does not know it cannot use it up, and a reader who forgot the name need not sign again.

    Raises:
        LoginChallengeNotFound: the nonce is unknown, used or expired.
        InvalidSignature, UsernameRequired, UsernameTaken, InvalidInput, RateLimited: the nonce can still be used.
    """
    await services.admit_mutation(principal)
    signer = await _signer(services, attempt)
    if await services.database.read(lambda transaction: readers.account_by_pubkey(transaction, signer)) is None:
        await admit_account(services, principal, key=ReaderKey(identity_pubkey=signer), username=attempt.username)
    token = new_token()

    def unit(transaction: Transaction) -> Login:
        if not readers.use_challenge(transaction, attempt.nonce, at=services.now()):
            raise LoginChallengeNotFound
        key = ReaderKey(identity_pubkey=signer)
        account = account_of(transaction, services, key=key, username=attempt.username)
        session = begin_session(transaction, services, account.id, token=token)
        return Login(account=account, session=session, token=token)

    return await services.database.write(unit)


async def list_sessions(services: Services, account_id: AccountId) -> list[Session]:
    now = services.now()
    return await services.database.read(lambda transaction: readers.sessions_of(transaction, account_id, at=now))


async def revoke_session(services: Services, principal: Principal, session_id: SessionId) -> Session:
    """End a session of the calling reader, which may be the one that calls.

    Raises:
        LoginRequired, SessionNotFound: nothing changed.
    """
    account_id = principal.require_account()
    await services.admit_mutation(principal)
    ended = await services.database.write(
        lambda transaction: readers.end_session(transaction, session_id, account_id=account_id)
    )
    if ended is None:
        raise SessionNotFound(session_id)
    return ended


async def logout(services: Services, principal: Principal) -> Session:
    """End the session that calls.

    Raises:
        LoginRequired: it is no reader's.
        SessionNotFound: it ended meanwhile.
    """
    principal.require_account()
    return await revoke_session(services, principal, principal.session_id or SessionId(""))


async def _signer(services: Services, attempt: LoginAttempt) -> str:
    """Return the public key that signed, in hex, for a nonce that can be used."""
    now = services.now()
    if not await services.database.read(lambda transaction: readers.is_open(transaction, attempt.nonce, at=now)):
        raise LoginChallengeNotFound
    signer = read_signer(attempt.nonce, attempt.signature)
    if attempt.identity_pubkey is not None and attempt.identity_pubkey.strip().lower() != signer:
        raise InvalidSignature
    return signer


def new_token() -> str:
    return f"{TOKEN_PREFIX}{secrets.token_urlsafe(_SECRET_BYTES)}"


async def admit_account(services: Services, principal: Principal, *, key: ReaderKey, username: str | None) -> None:
    """Count an account that is about to be made: for its caller, then, if its name is free, for all callers together.

    So nobody uses up with names that are taken, or from one address, what everybody shares. A name that this very key
    took meanwhile is not refused: what becomes of the login is decided where it is used up.

    Raises:
        UsernameRequired, UsernameTaken, InvalidInput: none can be made by this name.
        RateLimited: too many in this minute.
    """
    wanted = check_username(username)
    await services.limiter.hit(ACCOUNTS_BY_CALLER_BUDGET, principal.address or principal.label)
    if await services.database.read(lambda t: readers.is_named(t, wanted) and _find(t, key) is None):
        raise UsernameTaken
    await services.limiter.hit(ACCOUNT_BUDGET, _TOGETHER)


def account_of(transaction: Transaction, services: Services, *, key: ReaderKey, username: str | None) -> Account:
    """Return the account of a key, locked; made if there is none, though not over one that came meanwhile.

    Raises:
        UsernameRequired, UsernameTaken, InvalidInput: there is none, and none was made.
    """
    known = _find(transaction, key)
    if known is None:
        new = Account(
            id=AccountId(services.new_id(ACCOUNT)),
            username=check_username(username),
            identity_pubkey=key.identity_pubkey,
            lnurl_key=key.lnurl_key,
            lightning_address=None,
            wallet_address=None,
            created_at=services.now(),
        )
        known = new if readers.insert_account(transaction, new) else _find(transaction, key)
    if known is None:
        raise UsernameTaken
    return readers.lock_account(transaction, known.id)


def _find(transaction: Transaction, key: ReaderKey) -> Account | None:
    if key.lnurl_key is not None:
        return readers.account_by_lnurl_key(transaction, key.lnurl_key)
    return readers.account_by_pubkey(transaction, key.identity_pubkey or "")


def begin_session(transaction: Transaction, services: Services, account_id: AccountId, *, token: str) -> Session:
    """Begin a session of an account that is locked."""
    now = services.now()
    session = Session(
        id=SessionId(services.new_id(SESSION)),
        account_id=account_id,
        created_at=now,
        last_used_at=None,
        expires_at=now + timedelta(seconds=services.readers.session_s),
    )
    readers.insert_session(transaction, session, token=token)
    return session
