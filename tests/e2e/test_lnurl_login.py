"""A wallet logs a browser in over the wire: the code, the sandbox's wallet, the token over a socket."""

from typing import Any

CREATE = """
mutation { createLnurlLogin(input: {username: "wallet_reader"}) {
  ... on CreateLnurlLoginSuccess { lnurl k1 loginSecret } ... on UserError { code } } }
"""
COMPLETED = """
subscription ($secret: String!) { loginCompleted(loginSecret: $secret) { __typename
  ... on FinishLoginSuccess { token account { username lnurlKey identityPubkey } } ... on UserError { code } } }
"""
KIND = "{ viewer { kind account { username } } }"


def test_a_browser_waits_a_wallet_signs_and_the_browser_is_logged_in(server: Any) -> None:
    begun = server.execute(CREATE, key=None)["createLnurlLogin"]
    with server.socket({}) as socket:
        socket.subscribe(COMPLETED, {"secret": begun["loginSecret"]})
        signed = server.run("sandbox", "login", begun["lnurl"], "--node", "merchant", "--url", server.url)
        told = socket.next()["loginCompleted"]
        ended = socket.receive()
    again = server.run("sandbox", "login", begun["lnurl"], "--url", server.url)

    assert (signed.returncode, len(signed.stdout.strip())) == (0, 66)
    assert told["account"] == {
        "username": "wallet_reader",
        "lnurlKey": signed.stdout.strip(),
        "identityPubkey": None,
    }
    assert ended == {"type": "complete", "id": "1"}
    assert server.execute(KIND, key=told["token"])["viewer"]["account"]["username"] == "wallet_reader"
    assert again.returncode == 1
    assert "was used or has expired" in again.stderr
    log = server.log.read_text()
    assert [one for one in (told["token"], begun["loginSecret"], begun["k1"], begun["lnurl"]) if one in log] == []
