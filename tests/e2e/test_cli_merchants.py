"""Merchants and keys from a terminal, beside a running server and without one."""

from collections.abc import Callable
from typing import Any

NewServer = Callable[..., Any]


def test_a_merchant_made_in_a_terminal_works_at_the_running_server(server: Any) -> None:
    made = server.run("merchants", "create", "--name", "Books")
    merchant_id, key_id = made.stderr.split()
    secret = made.stdout.strip()
    answer = server.post("{ viewer { merchant { id name } scopes } merchants { totalCount } }", key=secret)
    listed = server.run("merchants", "list")
    keys = server.run("keys", "list").stdout

    assert (made.returncode, listed.returncode) == (0, 0)
    assert answer.json()["data"] == {
        "viewer": {"merchant": {"id": merchant_id, "name": "Books"}, "scopes": ["admin"]},
        "merchants": {"totalCount": 1},
    }
    assert f"{merchant_id}  lnd  late ACCEPT, under WAIT, over KEEP  Books" in listed.stdout.splitlines()
    (line,) = [line for line in keys.splitlines() if line.startswith(key_id)]
    assert f"  {merchant_id}  " in line
    assert "  first key  admin  active  " in line
    assert secret not in keys + listed.stdout


def test_a_key_is_made_for_a_merchant_and_turned_over_without_downtime(server: Any) -> None:
    merchant_id = server.run("merchants", "create", "--name", "Films").stderr.split()[0]
    made = server.run("keys", "create", "--name", "till", "--scope", "payments:read", "--merchant", merchant_id)
    key_id, old = made.stderr.split()[0], made.stdout.strip()
    query = "{ viewer { merchant { id } keyName } payments { totalCount } }"

    rotated = server.run("keys", "rotate", key_id, "--overlap-seconds", "3600")
    new = rotated.stdout.strip()
    both = [server.post(query, key=key) for key in (old, new)]
    listed = server.run("keys", "list").stdout.splitlines()
    again = server.run("keys", "rotate", key_id)
    ended = server.run("keys", "rotate", rotated.stderr.split()[0], "--overlap-seconds", "0")
    after = [server.post(query, key=key).status_code for key in (old, new, ended.stdout.strip())]

    assert (made.returncode, rotated.returncode, ended.returncode) == (0, 0, 0)
    assert [answer.json()["data"] for answer in both] == [
        {"viewer": {"merchant": {"id": merchant_id}, "keyName": "till"}, "payments": {"totalCount": 0}}
    ] * 2
    assert ["  until " in line for line in listed if line.startswith(key_id)] == [True]
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith("quittance: this key was rotated or revoked before")
    assert after == [200, 401, 200]


def test_what_cannot_be_meant_is_refused_in_one_line(new_server: NewServer) -> None:
    here = new_server()

    refused = [
        here.run("merchants", "create", "--name", " "),
        here.run("keys", "create", "--name", "x", "--merchant", "mer_0"),
        here.run("keys", "rotate", "key_0"),
        here.run("keys", "rotate", "key_0", "--overlap-seconds", "-1"),
    ]
    listed = here.run("merchants", "list")

    assert [(ended.returncode, ended.stdout) for ended in refused] == [(1, "")] * 4
    assert [ended.stderr.splitlines()[-1] for ended in refused] == [
        "quittance: a name has 1 to 191 characters",
        "quittance: no such merchant; list the merchants to find its id",
        "quittance: no such API key; list the keys to find its id",
        "quittance: overlapSeconds lies between 0 and 2592000",
    ]
    assert (listed.returncode, listed.stdout) == (0, "")
