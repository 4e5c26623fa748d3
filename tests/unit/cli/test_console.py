import json
from pathlib import Path

from typer.testing import CliRunner

from keystile.cli.console import app
from keystile.cli.person import app as person_app


def test_a_link_is_printed_whole_and_ready_to_open(tmp_path: Path) -> None:
    config = tmp_path / "keystile.yaml"
    config.write_text(
        "upstream: {service_account_file: key.json}\n"
        "console_url: https://keystile-console.a-long-subdomain.acme.example\n"
    )

    def invoke(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--config", str(config)])
        return result.exit_code, result.stdout or result.stderr

    unknown, message = invoke("link", "--as", "operator")
    assert unknown == 1
    assert "no person `operator`" in message
    CliRunner().invoke(person_app, ["create", "operator", "--config", str(config)])
    code, line = invoke("link", "--as", "operator")
    address, _, secret = line.strip().rpartition("/link/")
    assert code == 0
    assert address == "https://keystile-console.a-long-subdomain.acme.example"
    assert len(secret) == 43
    assert line.count("\n") == 1
    told = json.loads(invoke("link", "--as", "operator", "--json")[1])
    assert told["person"] == "operator"
    assert told["url"] != line.strip()
