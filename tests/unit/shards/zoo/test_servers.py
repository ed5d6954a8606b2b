"""Servers as they are: that redirect, stall, refuse, ask to wait, or that nobody knows; all on loopback."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import logging
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from example import counted
from object_store import Folder, http

from shards import index, remote, shard
from shards.errors import ShardError
from shards.index import Index
from shards.reader import Reader
from shards.remote import Store

SAMPLES = 3  # each a shard of its own
FETCH = """
import sys
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from shards.index import Index
from shards.reader import Reader
from shards.remote import Store
store = Store(sys.argv[1], Path(sys.argv[3]), 10**9)
print(Reader(Index.load(sys.argv[2], "train", store)).read(2).label)
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    made = [
        shard.write(folder / f"x-train-{n:04d}.tar", [shard.Entry(f"k{n}", "jpg", bytes([n]) * 30_000, n)])
        for n in range(SAMPLES)
    ]
    shards, members = zip(*made, strict=True)
    index.save(folder, "train", shards, members, classes=None, num_classes=SAMPLES)
    return folder


@pytest.fixture
def served(there: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "_WITHOUT_RANGES", set())
    with http(there) as folder:
        yield folder


def reader(url: str, there: Path, here: Path) -> Reader:
    return Reader(Index.load(there, "train", Store(url, here / "cache", 10**9)))


def all_right(found: Reader) -> None:
    assert [found.read(n) for n in range(SAMPLES)] == [(bytes([n]) * 30_000, n) for n in range(SAMPLES)]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_server_that_sends_elsewhere(served: Folder, there: Path, tmp_path: Path, code: int) -> None:
    with http(there) as other:
        served.sent_to = (code, other.url)
        all_right(reader(served.url, there, tmp_path))
        assert other.asked["x-train-0000.tar"]


@pytest.mark.parametrize("faults", [[], ["busy", "cut"], ["page"], ["stall"]])
@pytest.mark.parametrize("ranges", ["bytes", "none"])
def test_an_evaluation_counts_every_image(
    served: Folder,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ranges: str,
    faults: list[str],
) -> None:
    monkeypatch.setattr(remote, "STALL_S", 0.3)
    images = [shard.Entry(f"k{n}", "ppm", b"P6 1 1 255\nrgb%d" % n, n) for n in range(SAMPLES)]
    made, members = shard.write(there / "x-val-0000.tar", images)
    index.save(there, "val", [made], [members], classes=None, num_classes=SAMPLES)
    served.ranges, served.faults = ranges, [("val-0000.tar", fault) for fault in faults]
    store = Store(served.url, tmp_path / "cache", 10**9)
    assert counted(Index.load(there, "val", store)) == SAMPLES
    assert served.faults == []


def test_a_server_that_sends_round_in_circles(served: Folder, there: Path, tmp_path: Path) -> None:
    served.sent_to = (302, "")
    with pytest.raises(ShardError, match="from one address to the next without end: let data"):
        reader(served.url, there, tmp_path).read(0)


@pytest.mark.parametrize("ranges", ["bytes", "none"])
def test_a_server_that_stalls(
    served: Folder,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ranges: str,
) -> None:
    monkeypatch.setattr(remote, "STALL_S", 0.3)
    served.ranges, served.faults = ranges, [("0.tar", "stall"), ("0.tar", "stall")]
    with caplog.at_level(logging.WARNING):
        all_right(reader(served.url, there, tmp_path))
    assert served.faults == []
    assert "x-train-0000.tar: can't be fetched (" in caplog.text
    assert "; trying again in 0 s" in caplog.text


def test_a_server_that_asks_to_wait(
    served: Folder, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    served.faults = [("0.tar", "later"), ("0.tar", "busy")]
    all_right(reader(served.url, there, tmp_path))
    assert waited == [7, 0.02]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("403", "may have expired: type data.url again, with a new signature"),
        ("410", "may have expired"),
        ("405", "data.url must be the folder of the shards"),
    ],
)
def test_a_server_that_refuses_is_asked_once(
    served: Folder, there: Path, tmp_path: Path, code: str, said: str
) -> None:
    served.faults = [("0.tar", code)] * 9
    with pytest.raises(ShardError, match=f"x-train-0000.tar: can't be fetched .*{code}.*: .*{said}"):
        reader(served.url, there, tmp_path).read(0)
    assert len(served.faults) == 8


def test_without_ranges_one_request_is_broken_off_not_one_a_shard(
    served: Folder, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_CHUNK", 5000)
    served.ranges = ""
    all_right(reader(served.url, there, tmp_path))
    assert (
        2 <= served.asked.pop("x-train-0000.tar") <= 3
    )  # the connection that was broken off may be taken again
    assert served.asked == {"x-train-0001.tar": 1, "x-train-0002.tar": 1}


@pytest.mark.parametrize("wrong", ["start", "end", "refused"])
def test_a_server_whose_ranges_are_wrong(
    served: Folder, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setattr(remote, "_CHUNK", 20_000)
    served.wrong = wrong
    all_right(reader(served.url, there, tmp_path))


def test_a_server_by_its_ipv6_address(there: Path, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with http(there, host="::1") as served:
        all_right(reader(served.url, there, tmp_path))


def test_a_password_is_used_and_not_shown(served: Folder, there: Path, tmp_path: Path) -> None:
    url = served.url.replace("://", "://me:secret@")
    all_right(reader(url, there, tmp_path))
    with pytest.raises(ShardError, match="not there") as found:
        reader(f"{url}/none", there, tmp_path / "again").read(0)
    assert "secret" not in str(found.value)


def test_what_allows_to_read_does_not_go_along_to_another_host(
    served: Folder, there: Path, tmp_path: Path
) -> None:
    secret = {"authorization", "cookie"}
    with http(there) as other:
        served.sent_to = (302, other.url)
        url = served.url.replace("://127.0.0.1", "://me:secret@localhost") + "?sig=secret"
        all_right(reader(url, there, tmp_path))  # the other one refuses any signature
        remote.fetch_index(url, tmp_path / "index", "train")
        assert set.union(*served.headers) >= secret
        assert not set.union(*other.headers) & secret


def _signed_by_itself(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*paths)
    return paths[0], context


def test_a_certificate_that_nobody_trusts(there: Path, tmp_path: Path) -> None:
    certificate, context = _signed_by_itself(tmp_path)
    with http(there, context) as served:
        with pytest.raises(
            ShardError, match="trusts its certificate: let SSL_CERT_FILE name the file"
        ) as found:
            reader(served.url, there, tmp_path).read(0)
        assert len(str(found.value).splitlines()) == 1
        assert not served.asked
        words = [sys.executable, "-c", FETCH, served.url, str(there), str(tmp_path / "cache")]
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate)}  # as the message says
        done = subprocess.run(words, env=trusting, capture_output=True, text=True, check=True)
        assert done.stdout == "2\n"


@pytest.mark.parametrize("ranges", ["bytes", "none"])
def test_a_server_that_sends_a_byte_now_and_then(
    served: Folder,
    there: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ranges: str,
) -> None:
    monkeypatch.setattr(remote, "CONNECT_S", 0.2)
    monkeypatch.setattr(remote, "STALL_S", 0.3)  # never met: a byte comes each 0.02 s, for 10 minutes
    monkeypatch.setattr(remote, "SLOWEST", 1_000_000)
    served.ranges, served.faults = ranges, [("0.tar", "trickle"), ("0.tar", "trickle")]
    with caplog.at_level(logging.WARNING):
        all_right(reader(served.url, there, tmp_path))
    assert served.faults == []
    assert "x-train-0000.tar: can't be fetched (FSTimeoutError" in caplog.text


def test_a_server_that_sends_to_a_path_of_its_own(served: Folder, there: Path, tmp_path: Path) -> None:
    served.sent_to = (302, "/moved")
    all_right(reader(served.url, there, tmp_path))


@pytest.mark.parametrize(
    ("said", "waited_s"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("Sun, 29 Nov 2026 12:00:30 GMT", 30),
        ("Sunday, 29-Nov-26 12:00:30 GMT", 30),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 29 Nov 2027 11:00:00 GMT", remote.LONGEST_PAUSE_S),
        ("9" * 9, remote.LONGEST_PAUSE_S),
        ("soon", 0),
        ("-1", 0),
    ],
)
def test_when_to_come_again_as_seconds_or_date(
    monkeypatch: pytest.MonkeyPatch, said: str, waited_s: float
) -> None:
    now = datetime.datetime(2026, 11, 29, 12, tzinfo=datetime.UTC).timestamp()
    monkeypatch.setattr(time, "time", lambda: now)
    error = SimpleNamespace(headers={"Retry-After": said})
    assert remote._asked_to_wait_s(error) == waited_s  # type: ignore[arg-type]


def test_a_date_is_waited_for(
    served: Folder, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    served.later = formatdate(time.time() + 100, usegmt=True)
    served.faults = [("0.tar", "later")]
    all_right(reader(served.url, there, tmp_path))
    assert len(waited) == 1
    assert 50 < waited[0] <= 100


@pytest.mark.parametrize("faults", [["busy"], ["cut", "busy", "cut"], ["later"]])
def test_an_index_is_asked_for_again(
    served: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: list[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    served.faults = [("index-train.json", fault) for fault in faults]
    remote.fetch_index(served.url, tmp_path / "index", "train")
    assert served.faults == []
    assert Index.record(tmp_path / "index", "train").num_samples == SAMPLES
    served.faults = [("index-train.npy", "busy")] * 9
    with pytest.raises(ShardError, match=r"npy: can't be fetched .*, 4 times tried: data\.url must be"):
        remote.fetch_index(served.url, tmp_path / "other", "train")
    assert len(served.faults) == 5


@pytest.mark.parametrize("faults", [[], ["cut", "busy"], ["stall"]])
@pytest.mark.parametrize("ranges", ["bytes", "none"])
def test_shards_of_a_real_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: str, faults: list[str]
) -> None:
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "STALL_S", 0.5)
    monkeypatch.setattr(remote, "_WITHOUT_RANGES", set())
    folder, data = tmp_path / "there", os.urandom(9 << 20)  # of three requests, where there are ranges
    folder.mkdir()
    made, members = shard.write(folder / "x-train-0000.tar", [shard.Entry("key", "jpg", data, 0)])
    index.save(folder, "train", [made], [members], classes=None, num_classes=1)
    with http(folder) as served:
        served.ranges, served.faults = ranges, [("0.tar", fault) for fault in faults]
        assert reader(served.url, folder, tmp_path).read(0) == (data, 0)
        assert served.faults == []


@pytest.mark.parametrize("name", ["a b#1?x=%41&y.tar", "caf\udce9.tar", "train/0.tar", "é+;:.tar"])
def test_names_that_mean_something_in_an_address(
    served: Folder, there: Path, tmp_path: Path, name: str
) -> None:
    (there / "train").mkdir()
    made, members = shard.write(there / name, [shard.Entry("key", "jpg", b"data", 0)])
    made = dataclasses.replace(made, file=name)
    index.save(there, "train", [made], [members], classes=None, num_classes=1)
    assert reader(served.url, there, tmp_path).read(0) == (b"data", 0)
    served.sent_to = (302, "/moved")
    assert reader(served.url, there, tmp_path / "again").read(0) == (b"data", 0)
