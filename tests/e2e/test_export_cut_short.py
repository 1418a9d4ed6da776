"""`quittance export` that does not come to its end: no half file, and the earlier one stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.sold_books import ROWS, Books

QUITTANCE = Path(sys.executable).with_name("quittance")


def spawn(books: Books, *words: str, limit_kib: int | None = None) -> "subprocess.Popen[str]":
    command = [str(QUITTANCE), "export", *words, "--database-url", books.url]
    if limit_kib is not None:
        command = ["bash", "-c", f'ulimit -f {limit_kib}; exec "$@"', "bash", *command]
    return subprocess.Popen(
        command, cwd=books.home, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def leftovers(books: Books) -> list[str]:
    return [path.name for path in books.home.iterdir() if ".part" in path.name or path.name.startswith("out")]


def test_export_that_is_ended_leaves_the_earlier_file_and_no_half_one(new_books: Any) -> None:
    books = new_books(ROWS)
    (books.home / "out.csv").write_text("of yesterday")

    running = spawn(books, "events", "--output", "out.csv")
    deadline = time.monotonic() + 30
    while len(leftovers(books)) == 1 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(leftovers(books)) == 2
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=30)

    assert (running.returncode, said.splitlines()[-1]) == (1, "quittance: interrupted")
    assert leftovers(books) == ["out.csv"]
    assert (books.home / "out.csv").read_text() == "of yesterday"


def test_disk_that_is_full_leaves_no_half_file(new_books: Any) -> None:
    books = new_books(ROWS)

    full = spawn(books, "payments", "--output", "out.csv", limit_kib=200)
    _, said = full.communicate(timeout=60)

    assert (full.returncode, said.splitlines()[-1]) == (1, "quittance: cannot write out.csv: File too large")
    assert leftovers(books) == []


def test_reader_who_has_seen_enough_ends_the_export_quietly(new_books: Any) -> None:
    books = new_books(ROWS)

    running = spawn(books, "payments")
    assert running.stdout is not None
    first = running.stdout.readline()
    running.stdout.close()
    assert running.stderr is not None
    said = running.stderr.read()
    running.stderr.close()

    assert running.wait(timeout=30) == 1
    assert first.startswith('"id","merchant_id"')
    assert "Traceback" not in said
