"""The emulator as a process: options, permissions, certificates, and a clean end."""

import datetime
import json
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from emulator_client import PATHS, client_of, sign_in

from hunting_emulator.process import EmulatorFailed, arguments, running

ROOT = Path(__file__).parents[2]


def certificate() -> tuple[bytes, bytes, str]:
    """Create key and certificate as PEM, and the certificate's SHA-256 thumbprint."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hunting")])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), 1, start, start + datetime.timedelta(days=3650)
    )
    made = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, made.public_bytes(serialization.Encoding.PEM), made.fingerprint(hashes.SHA256()).hex()


def test_options_certificate_permissions_and_loaded_rows(tmp_path: Path) -> None:
    key, pem, thumbprint = certificate()
    stranger, public, other = certificate()
    (tmp_path / "app.pem").write_bytes(pem)
    pq.write_table(
        pa.table({"Timestamp": pa.array([0, 5], pa.int64()), "X": [1, 1]}), tmp_path / "rows.parquet"
    )
    with running(
        profile="test",
        certificate=tmp_path / "app.pem",
        deny=["graph"],
        load={"AlertInfo": tmp_path / "rows.parquet"},
        limit={"retention_days": "off"},
        gzip=True,
    ) as endpoint:
        good = {
            "private_key": key.decode(),
            "thumbprint_sha256": thumbprint,
            "public_certificate": pem.decode(),
        }
        assert "access_token" in sign_in(endpoint, good)
        bad = {
            "private_key": stranger.decode(),
            "thumbprint_sha256": other,
            "public_certificate": public.decode(),
        }
        assert sign_in(endpoint, bad)["error_description"].startswith("AADSTS700027")
        client = client_of(endpoint)
        refused = client.post("graph", "AlertInfo")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Forbidden")
        assert "ThreatHunting.Read.All" in refused.json()["error"]["message"]
        headers = {"Authorization": f"Bearer {client.token}", "Accept-Encoding": "gzip"}
        squeezed = client.session.post(
            endpoint.url + PATHS["xdr"], json={"Query": "EmailEvents | take 50"}, headers=headers
        )
        assert squeezed.headers["content-encoding"] == "gzip"
        assert len(squeezed.json()["Results"]) == 50
        times = sorted(row["Timestamp"] for row in client.rows("AlertInfo"))
        assert times == ["0001-01-01T00:00:00.0000005Z", "0001-01-01T00:00:00Z"]


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-m", "hunting_emulator", "--profile", "test"]
    environment = {"TMPDIR": str(tmp_path), "PATH": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment
    ) as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert line["pid"] == process.pid
        assert Path(line["ca_bundle"]).exists()
        process.send_signal(end)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_an_emulator_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(EmulatorFailed, match="unknown hunting table 'Nope'"),
        running(unlicensed=["Nope"]),
    ):
        pass


def test_options_become_arguments() -> None:
    options = {"rows": {"A": 1, "B": 2}, "unlicensed": ["C"], "gzip": True, "now": None, "late_share": 0.5}
    assert arguments(options) == [
        "--rows",
        "A=1",
        "--rows",
        "B=2",
        "--unlicensed",
        "C",
        "--gzip",
        "--late-share",
        "0.5",
    ]
