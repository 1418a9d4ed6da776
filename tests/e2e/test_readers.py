"""A reader over the wire: a nonce that a node of the sandbox signs, a token, a socket that ends with its session."""

from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

CHALLENGE = "mutation { createLoginChallenge { ... on CreateLoginChallengeSuccess { nonce } } }"
VERIFY = """
mutation ($input: VerifyLoginInput!) { verifyLogin(input: $input) {
  ... on VerifyLoginSuccess { token account { username identityPubkey } } ... on UserError { code } } }
"""
KIND = "{ viewer { kind account { username sessions { id current } } } }"
REVOKE = "mutation ($id: ID!) { revokeSession(id: $id) { __typename } }"
CLOSED_WITHIN_S = 25.0


def log_in(server: Any, node: str = "alice", *, username: str = "wire_reader") -> tuple[str, str, Any]:
    nonce = server.execute(CHALLENGE, key=None)["createLoginChallenge"]["nonce"]
    signed = httpx.post(f"{server.url}/sandbox/sign-message", json={"message": nonce, "node": node}).json()
    given = {"nonce": nonce, "signature": signed["signature"], "username": username}
    answer = server.execute(VERIFY, {"input": given}, key=None)["verifyLogin"]
    assert answer["account"] == {"username": username, "identityPubkey": signed["pubkey"]}
    return nonce, signed["signature"], answer["token"]


def test_a_reader_logs_in_and_a_revoked_session_closes_its_sockets(server: Any) -> None:
    first, second = log_in(server), log_in(server)
    token, kept = first[2], second[2]

    viewer = server.execute(KIND, key=token)["viewer"]
    current = next(one["id"] for one in viewer["account"]["sessions"] if one["current"])
    with server.socket({"Authorization": f"Bearer {token}"}) as socket:
        socket.subscribe("subscription { articlePublished { cursor } }")
        revoked = server.execute(REVOKE, {"id": current}, key=kept)["revokeSession"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.receive(timeout_s=CLOSED_WITHIN_S)

    assert viewer["kind"] == "READER"
    assert len(viewer["account"]["sessions"]) == 2
    assert revoked["__typename"] == "RevokeSessionSuccess"
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4403, "Forbidden")
    assert server.post(KIND, key=token).status_code == httpx.codes.UNAUTHORIZED
    assert server.execute(KIND, key=kept)["viewer"]["account"]["username"] == "wire_reader"
    log = server.log.read_text()
    assert [secret for secret in (*first, *second) if secret in log] == []
