"""Settings: read once from ``QUITTANCE_…`` variables or ``.env``, checked, and handed down."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, IPvAnyNetwork, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quittance.domain.currency import is_currency
from quittance.domain.secrets import SECRET_KEY_BYTES_MIN
from quittance.domain.webhook import read_secrets
from quittance.resolvers.merchants import KEY_LENGTH_MIN
from quittance.store.database import sqlite_path

PREFIX = "QUITTANCE_"
Network = Literal["mainnet", "testnet", "testnet4", "signet", "simnet", "regtest"]
LitecoinNetwork = Literal["mainnet", "testnet", "regtest"]
ClnNetwork = Literal["mainnet", "testnet", "testnet4", "signet", "regtest"]
StrikeCurrency = Literal["BTC", "USD", "EUR", "GBP", "AUD"]
RateSourceName = Literal["coingecko", "kraken", "coinbase"]
_RATE_SOURCES: tuple[RateSourceName, ...] = ("coingecko", "kraken", "coinbase")
LNPAY: Final = "lnpay"
_DOORS: Final = frozenset({LNPAY})
Positive = Annotated[int, Field(gt=0)]
_NODES = (  # where a node is found, the files that it needs, and those that add to it
    ("lnd_address", ("lnd_tls_cert_path", "lnd_macaroon_path"), ("lnd_spend_macaroon_path",)),
    ("cln_url", ("cln_rune_path",), ("cln_spend_rune_path", "cln_ca_path")),
    ("lnd_ltc_address", ("lnd_ltc_tls_cert_path", "lnd_ltc_macaroon_path"), ("lnd_ltc_spend_macaroon_path",)),
)


class Settings(BaseSettings):
    """Every field is the environment variable of the same name in capitals, with the prefix ``QUITTANCE_``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", env_file_encoding="utf-8", extra="ignore", hide_input_in_errors=True
    )

    # where
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Server processes; more than one needs PostgreSQL.")
    public_url: str | None = Field(None, description="Where people reach the server; host and port unless set.")
    state_dir: Path = Field(Path(".quittance"), description="Where database, secret key and sandbox live by default.")
    database_url: str = Field("", description="`sqlite:///PATH` or `postgresql://…`; a file in `state_dir` unless set.")

    # who
    bootstrap_api_key: SecretStr | None = Field(None, description="Fixes the first merchant's admin key.")
    merchant_name: str = Field("Demo merchant", description="The name of the first merchant.")
    secret_key: SecretStr | None = Field(
        None, description="Derives client secrets and preimages; at least 32 bytes, the same for every process. "
        "A file in the state directory unless set."
    )  # fmt: skip

    # rails
    sandbox: bool | None = Field(None, description="Run the sandbox rails; on unless a real rail is set.")
    lnd_address: str | None = Field(None, description="The LND node's gRPC address, as host:port.")
    lnd_tls_cert_path: Path | None = Field(None, description="The node's tls.cert.")
    lnd_macaroon_path: Path | None = Field(None, description="A macaroon; invoice.macaroon with info:read is enough.")
    lnd_spend_macaroon_path: Path | None = Field(
        None, description="A macaroon with offchain:read and offchain:write, and nothing else, to pay refunds and "
        "payouts with. Without it nothing is ever paid."
    )  # fmt: skip
    transfer_fee_ppm: int = Field(10_000, ge=0, le=500_000, description="The most that the way of a refund or a "
        "payout may cost, in millionths of its amount…")  # fmt: skip
    transfer_fee_msat_min: Positive = Field(10_000, description="…and at least so many millisatoshi.")
    payout_msat_min: Positive = Field(1_000, description="The smallest payout, in millisatoshi.")
    reader_payouts_open_max: Positive = Field(20, description="Payouts of one reader that may be under way at once.")
    merchant_transfers_open_max: Positive = Field(
        1_000, description="Refunds and payouts of one merchant that may be under way at once."
    )
    refunds_of_payment_max: Positive = Field(100, description="Refunds of one payment, those that failed included.")
    withdrawal_s_default: Positive = Field(
        300, description="How long the code of a withdrawal can be used unless its owner says. Who sees it can use it."
    )
    withdrawal_s_max: Positive = Field(3_600, description="The longest time that its owner may say.")
    lnd_network: Network = Field("mainnet", description="The network the node must be on.")
    lnd_callback_secret: SecretStr | None = Field(
        None, description="What notices to /callbacks/lnd are signed with, `whsec_…`; comma separated during a "
        "rotation. Unset, there is no such door."
    )  # fmt: skip
    lnd_timeout_s: float = Field(10.0, gt=0, le=60, description="How long one call to a node may take.")
    cln_url: str | None = Field(
        None, description="Where clnrest of a Core Lightning node listens, `https://HOST:PORT`."
    )
    cln_rune_path: Path | None = Field(None, description="A file with a rune that may do no more than receive.")
    cln_spend_rune_path: Path | None = Field(
        None, description="A file with a rune for xpay and listpays alone, to pay refunds and payouts with. Without it "
        "nothing is ever paid."
    )  # fmt: skip
    cln_ca_path: Path | None = Field(
        None, description="That node's ca.pem, the one authority that is then trusted; unset, those that this machine "
        "trusts."
    )  # fmt: skip
    cln_network: ClnNetwork = Field("mainnet", description="The network that node must be on.")
    lnd_ltc_address: str | None = Field(None, description="The gRPC address of a Litecoin node of LND's kind.")
    lnd_ltc_tls_cert_path: Path | None = Field(None, description="That node's tls.cert.")
    lnd_ltc_macaroon_path: Path | None = Field(None, description="A macaroon of that node, as for Bitcoin's.")
    lnd_ltc_spend_macaroon_path: Path | None = Field(
        None, description="A macaroon of that node that may pay, likewise."
    )
    lnd_ltc_network: LitecoinNetwork = Field("mainnet", description="The network that node must be on.")

    strike_url: str | None = Field(None, description="Where Strike's API is; its production address unless set.")
    strike_api_key: SecretStr | None = Field(
        None, description="A key of a Strike account that may receive: its scopes stand in docs/strike.md."
    )
    strike_spend_api_key: SecretStr | None = Field(
        None, description="A key of the same account that may pay, to pay refunds and payouts with. Without it nothing "
        "is ever paid from there."
    )  # fmt: skip
    strike_webhook_secret: SecretStr | None = Field(
        None, min_length=10, max_length=50, description="What Strike signs its notices to /callbacks/strike with, for "
        "a subscription that was made by hand."
    )  # fmt: skip
    strike_currency: StrikeCurrency = Field("BTC", description="What invoices of that account are made in.")
    strike_network: Network = Field("mainnet", description="The network that its invoices must be of.")
    strike_processes: Positive = Field(
        1, description="How many processes share that account; each stays within its part of what Strike allows."
    )
    strike_poll_s: float = Field(5.0, ge=1, le=600, description="How often Strike is asked what its notices missed.")
    # prices in national currencies
    rates_sources: Annotated[list[RateSourceName], NoDecode] = Field(
        default_factory=lambda: list(_RATE_SOURCES), description="Who is asked for exchange rates, "
        "comma separated, once a price in a national currency was asked for; empty refuses such prices. The sandbox "
        "has its own."
    )  # fmt: skip
    rates_sources_min: Positive = Field(2, description="How many of them must agree on a rate.")
    rates_age_s_max: int = Field(
        300, ge=60, le=86_400, description="How old a price may be, at its source, in seconds; without a younger one "
        "prices in that currency are refused."
    )  # fmt: skip
    rates_spread_ppm: int = Field(
        0, ge=0, le=500_000, description="What is taken off every rate for the merchant, in millionths."
    )
    coingecko_url: str = Field("https://api.coingecko.com/api/v3", description="The root of CoinGecko's API.")
    coingecko_api_key: SecretStr | None = Field(
        None, description="A key for it: a demo key, or a paid one at its root."
    )

    # what may be asked
    amount_msat_max: Positive = Field(100_000_000_000, description="The largest payment, in millisatoshi.")
    amount_litoshi_max: Positive = Field(
        10_000_000_000, le=10**16, description="The largest payment in Litecoin, in its smallest unit: 10^-8 LTC."
    )
    amount_minor_max: Positive = Field(
        10_000_000, description="The largest payment on a rail that takes a national currency, in its minor unit."
    )
    payee_msat_min: Positive = Field(1_000, description="The smallest payment to a Lightning Address, in millisatoshi.")
    payee_expires_in_s: Positive = Field(600, description="How long an invoice of a Lightning Address can be paid.")
    payee_invoices_per_minute: Positive = Field(600, description="Invoices a minute for one Lightning Address.")
    payee_invoices_per_minute_per_caller: Positive = Field(
        60, description="Invoices of Lightning Addresses a minute for one caller, by address."
    )
    upvote_msat_min: Positive = Field(1_000_000, description="The smallest upvote, in millisatoshi.")
    expires_in_s_default: Positive = Field(3_600, description="How long an invoice can be paid unless the caller says.")
    expires_in_s_max: Positive = Field(30 * 86_400, description="The longest time a caller may say.")
    hold_s_max: Positive = Field(
        3_600, le=6 * 3_600, description="How long money of a payment with `hold` is held; then it goes back. Holding "
        "locks other people's money on its way."
    )  # fmt: skip
    mutations_per_minute: Positive = Field(
        60_000, description="Mutations a minute for one key, reader or client secret, and from one address without."
    )
    requests_per_minute_per_key: Positive = Field(600_000, description="Requests a minute with one key.")
    requests_per_minute_per_address: Positive = Field(6_000, description="Requests a minute without a key, by address.")
    asking_per_minute_per_address: Positive = Field(
        600, description="Mutations a minute without a key, by address, that have a provider asked: buying, retrying, "
        "checking."
    )  # fmt: skip

    # readers
    login_challenge_s: Positive = Field(300, le=3_600, description="How long a nonce can be signed and sent back.")
    session_s: Positive = Field(30 * 86_400, description="How long a reader stays logged in.")
    new_accounts_per_minute: Positive = Field(600, description="Accounts that readers may make in a minute, together.")
    new_accounts_per_minute_per_address: Positive = Field(
        30, description="Tries to make an account a minute, by address, or by the key of a server that does it for its "
        "readers."
    )  # fmt: skip

    # calls to addresses that merchants and readers give
    outgoing_private_networks: Annotated[list[IPvAnyNetwork], NoDecode] = Field(
        default_factory=list, description="Networks that may be called although they are private, such as "
        "`10.0.0.0/8`, comma separated; the sandbox adds this machine."
    )  # fmt: skip
    refund_address_check: bool = Field(True, description="Whether the refund address of a payment is asked what it "
        "takes before the payment is made.")  # fmt: skip
    outgoing_timeout_s: float = Field(15.0, gt=0, le=60, description="How long one such call may take.")
    outgoing_answer_bytes_max: Positive = Field(65_536, description="Bytes that are read of the answer to one.")
    webhooks_per_second: Positive = Field(50, description="Messages a second to one endpoint.")

    # doors for clients of other servers
    doors: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Doors that are open besides GraphQL, comma separated: `lnpay`."
    )
    lnpay_shop_url: str = Field("http://localhost:8000/webhook", description="Where the LNPay shop is told that it was "
        "paid. It may be on this machine or in a private network.")  # fmt: skip
    lnpay_require_key: bool = Field(True, description="Whether the LNPay door wants an API key; without one it acts "
        "for the first merchant. Off in sandbox mode only.")  # fmt: skip
    lnpay_currency: str = Field("USD", description="The currency of the LNPay shop's amounts.")
    lnpay_expires_in_s: Positive = Field(120, description="How long the LNPay shop's customers can pay in time.")

    # GraphQL
    introspection: bool = Field(True, description="Whether clients may read the schema through GraphQL.")
    playground: bool = Field(True, description="Whether browsers get GraphiQL at /graphql.")
    trusted_documents_path: Path | None = Field(None, description="A JSON file of {sha256: document}.")
    trusted_documents_only: bool = Field(False, description="Refuse every document that is not in that file.")
    query_tokens_max: Positive = Field(2_000, description="Tokens in one document.")
    query_depth_max: Positive = Field(12, description="How deep a document may nest.")
    query_aliases_max: Positive = Field(30, description="Aliases in one document.")
    query_cost_max: Positive = Field(20_000, description="The cost of one operation: fields times page sizes.")
    query_mutations_max: Positive = Field(5, description="Root fields of one mutation.")
    page_size_max: Positive = Field(100, le=100, description="The largest `first`.")
    body_bytes_max: Positive = Field(1_000_000, description="Bytes of one request body.")
    batch_max: int = Field(0, ge=0, description="Operations in one request; 0 refuses batches.")
    sockets_max: Positive = Field(20_000, description="Open sockets in one process.")
    sockets_per_address_max: Positive = Field(10_000, description="Open sockets from one address.")
    subscriptions_per_socket_max: Positive = Field(50, description="Subscriptions on one socket.")
    subscription_queue_max: Positive = Field(256, description="Events that may wait for one slow subscriber.")
    allowed_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Other sites whose pages may open sockets and call the API, comma separated."
    )

    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="Addresses of proxies whose X-Forwarded-For is believed, comma separated."
    )

    # running
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The lowest level logged.")
    log_format: Literal["json", "console"] = Field("json", description="How log lines are written.")
    group_commit: bool = Field(True, description="Whether waiting units share one commit on SQLite.")
    migrate_on_start: bool = Field(True, description="Whether `serve` and `worker` bring the schema up to date.")
    in_process_worker: bool = Field(True, description="Whether `serve` runs the worker loops too.")

    @field_validator(
        "allowed_origins", "doors", "outgoing_private_networks", "rates_sources", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("coingecko_url")
    @classmethod
    def _is_secure(cls, value: str) -> str:
        if not value.startswith("https://"):
            raise ValueError("must begin with https://")
        return value.rstrip("/")

    @field_validator("public_url", "lnpay_shop_url")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return value.rstrip("/") if value else value

    @field_validator("doors")
    @classmethod
    def _are_known(cls, value: list[str]) -> list[str]:
        if not _DOORS.issuperset(value):
            raise ValueError(f"knows {', '.join(sorted(_DOORS))}")
        return value

    @field_validator("lnpay_currency")
    @classmethod
    def _is_currency(cls, value: str) -> str:
        code = value.upper()
        if not is_currency(code):
            raise ValueError("must be a currency of ISO 4217, such as USD")
        return code

    @field_validator("bootstrap_api_key")
    @classmethod
    def _is_long(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < KEY_LENGTH_MIN:
            raise ValueError(f"needs at least {KEY_LENGTH_MIN} characters")
        return value

    @field_validator("secret_key")
    @classmethod
    def _is_strong(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < SECRET_KEY_BYTES_MIN:
            raise ValueError(f"needs at least {SECRET_KEY_BYTES_MIN} bytes")
        return value

    @field_validator("lnd_callback_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                read_secrets(value.get_secret_value())
            except ValueError as error:
                raise ValueError(f"{error}; make one: echo whsec_$(openssl rand -base64 32)") from None
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.database_url:
            self.database_url = f"sqlite:///{self.state_dir / 'quittance.db'}"
        if not self.database_url.startswith(("sqlite:///", "postgresql://", "postgresql+asyncpg://")):
            raise ValueError("database_url: must be sqlite:///PATH or postgresql://USER@HOST/NAME")
        if self.workers > 1 and sqlite_path(self.database_url) is not None:
            raise ValueError("workers: more than one needs PostgreSQL; set QUITTANCE_DATABASE_URL=postgresql://…")
        if self.sandbox is None:
            real = [self.strike_api_key, *(getattr(self, address) for address, _, _ in _NODES)]
            self.sandbox = all(one is None for one in real)
        self._check_rails()
        self._check_doors()
        return self

    def _check_doors(self) -> None:
        if not self.lnpay_require_key and not self.sandbox:
            raise ValueError("lnpay_require_key: may be false in sandbox mode only; give the shop a key")
        if self.lnpay_expires_in_s > self.expires_in_s_max:
            raise ValueError("lnpay_expires_in_s: is above QUITTANCE_EXPIRES_IN_S_MAX")

    def _check_rails(self) -> None:
        """Refuse a node's address without its files, files without an address, and both beside the sandbox."""
        for rail, address in (("lnd", self.lnd_address), ("lnd_ltc", self.lnd_ltc_address)):
            host, _, port = (address or "").rpartition(":")
            if address is not None and not (host and port.isdigit()):
                raise ValueError(f"{rail}_address: must be host:port, such as localhost:10009")
        if self.cln_url is not None and not self.cln_url.startswith("https://"):
            raise ValueError("cln_url: must begin with https://, such as https://localhost:3010")
        self._check_strike()
        for address, needed, optional in _NODES:
            if getattr(self, address) is not None and self.sandbox:
                raise ValueError("sandbox: its clock and its key do not go with a real node; unset one of both")
            for name in (*needed, *optional):
                self._check_file(name, goes_with=address, needed=name in needed)

    def _check_strike(self) -> None:
        if self.strike_api_key is None:
            for name in ("strike_url", "strike_spend_api_key", "strike_webhook_secret"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: goes with strike_api_key; the sandbox has its own")
            return
        if self.sandbox:
            raise ValueError("sandbox: its clock and its key do not go with a real account; unset one of both")

    def _check_file(self, name: str, *, goes_with: str, needed: bool) -> None:
        path: Path | None = getattr(self, name)
        if getattr(self, goes_with) is None:
            if path is not None and not needed:
                raise ValueError(f"{name}: goes with {goes_with}; the sandbox has its own")
        elif path is None:
            if needed:
                raise ValueError(f"{name}: is needed with {goes_with}")
        elif not path.is_file():
            raise ValueError(f"{name}: there is no file {path}")

    @property
    def default_rail(self) -> str:
        """The rail of merchants that name none: the first that is set, or the sandbox's first."""
        names = (
            ("lnd", self.lnd_address),
            ("cln", self.cln_url),
            ("strike", self.strike_api_key),
            ("lnd-ltc", self.lnd_ltc_address),
        )
        return next((name for name, address in names if address is not None), "lnd")

    @property
    def base_url(self) -> str:
        """Where people reach the server, without a slash at the end."""
        if self.public_url is not None:
            return self.public_url
        host = "127.0.0.1" if self.host in {"0.0.0.0", "::"} else self.host  # noqa: S104 - only compared
        return f"http://{host}:{self.port}"


def load_settings(**overrides: object) -> Settings:
    """Read and check the settings; ``overrides`` that are not None win over the environment.

    Raises:
        SettingsError: with one line for each wrong setting, naming its variable.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError([_line(problem) for problem in error.errors(include_input=False)]) from None


class SettingsError(Exception):
    """The settings do not make sense; the lines say which and why."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def _line(problem: object) -> str:
    location = problem["loc"]  # type: ignore[index]
    message = str(problem["msg"]).removeprefix("Value error, ")  # type: ignore[index]
    name, separator, rest = message.partition(": ")
    if not location and separator and name in Settings.model_fields:
        return f"{PREFIX}{name.upper()} {rest}"
    return f"{PREFIX}{'_'.join(str(part) for part in location[:1]).upper()}: {message}"
