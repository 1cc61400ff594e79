"""What is around a command: keys in files, proxies, certificates."""

from __future__ import annotations

import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from klaviyo_variant_jobs_api.transport import ssl_context

if TYPE_CHECKING:
    from click.testing import Result

    from cli.conftest import CommandLine


@pytest.fixture(autouse=True)
def _fresh_certificates() -> None:
    ssl_context.cache_clear()


def one_line(result: Result) -> str:
    """What an exit with 1 says, in one line."""
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    "value", ["foo://proxy", "http://u:geheim@proxy:port", "http://u:geheim", "http://\x01"]
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_used_is_named_and_not_quoted(
    cli: CommandLine, name: str, value: str
) -> None:
    line = one_line(cli("list", transport=None, env={"KLAVIYO_API_KEY": "pk_test", name: value}))
    assert name in line
    assert "geheim" not in line


def test_a_socks_proxy_needs_an_extra(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    env = {"KLAVIYO_API_KEY": "pk_test", "HTTPS_PROXY": "socks5://proxy"}
    assert "pip install 'httpx[socks]'" in one_line(cli("list", transport=None, env=env))


@pytest.mark.parametrize(
    "failure",
    [
        FileNotFoundError(2, "No such file or directory"),
        IsADirectoryError(21, "Is a directory"),
        ssl.SSLError(136, "NO_CERTIFICATE_OR_CRL_FOUND"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_certificates_that_cannot_be_read_are_told_with_the_variable(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, failure: OSError
) -> None:
    def fail() -> ssl.SSLContext:
        raise failure

    # Before 0.28 httpx passes over a file that is not there.
    monkeypatch.setattr(httpx, "create_ssl_context", fail)
    env = {"KLAVIYO_API_KEY": "pk_test", "SSL_CERT_FILE": "/nowhere", "SSL_CERT_DIR": None}
    line = one_line(cli("list", transport=None, env=env))
    assert line == (
        "error: cannot prepare TLS: SSL_CERT_FILE names certificates that cannot be read: /nowhere"
    )


def test_the_sandbox_minds_no_proxy_and_no_certificates(cli: CommandLine) -> None:
    env = {"KLAVIYO_API_KEY": None, "HTTPS_PROXY": "foo://", "SSL_CERT_FILE": "/nowhere"}
    assert cli("list", "--sandbox", "--limit", "1", transport=None, env=env).exit_code == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"", "the key in the file"),
        (b" \n", "is empty"),
        (b"\x7fELF\x00\x01\xff", "not visible ASCII"),
        (b"pk_geheim and more", "not visible ASCII"),
        (b"pk_geheim" * 1000, "which is no key"),
    ],
)
def test_a_file_without_a_key_is_a_wrong_command_line_and_is_not_quoted(
    cli: CommandLine, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    result = cli("list", "--api-key-file", str(file))
    assert result.exit_code == 2
    assert said in result.stderr
    assert "geheim" not in result.output
    assert cli.sandbox.requests == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_told_by_its_encoding(
    cli: CommandLine, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "key"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    file.write_bytes(mark + "pk_geheim\r\n".encode(encoding))
    result = cli("list", "--api-key-file", str(file))
    assert result.exit_code == 2
    assert "UTF-16" in result.stderr
    assert "geheim" not in result.output


def test_a_directory_has_no_key(cli: CommandLine, tmp_path: Path) -> None:
    result = cli("list", "--api-key-file", str(tmp_path))
    assert result.exit_code == 2
    assert "is a directory" in result.stderr


def test_a_key_file_that_fails_when_it_is_read_is_told(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "key"
    file.write_text("pk_test")
    monkeypatch.setattr("click.open_file", fail)
    result = cli("list", "--api-key-file", str(file))
    assert result.exit_code == 2
    assert f"cannot read the key from the file {str(file)!r}: Permission denied" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a device that never ends")  # noqa: PTH110
def test_a_device_that_never_ends_has_no_key(cli: CommandLine) -> None:
    result = cli("list", "--api-key-file", "/dev/zero")
    assert result.exit_code == 2
    assert "which is no key" in result.stderr
