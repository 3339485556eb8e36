"""What `wgpy site` prints, and what the rules say where no packet is needed to see it."""

import json

import pytest
from click.testing import CliRunner
from site_files import KEY, LIMA, PUNO, edited, site_of

from wgpy.cli.commands import cli
from wgpy.cli.site import TEMPLATE
from wgpy.cli.site import site as command
from wgpy.config.explain import explain
from wgpy.config.site import parse
from wgpy.errors import WgpyError
from wgpy.firewall.rules import BLACK_COUNTERS, RED_COUNTERS, black_rules, red_rules

TEXT = edited(LIMA, ("fd02::/64", "10.8.0.0/24")) + PUNO + """[[permit]]
from = ["10.1.0.0/25"]
to = ["10.2.0.0/24"]
[firewall]
red = ["tcp dport 53 accept"]
"""


def run(*argv: str, status: int = 0):
    done = CliRunner().invoke(command, argv)
    if isinstance(done.exception, WgpyError):
        assert status == 1
        return str(done.exception)
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "lima.toml"
    file.write_text(TEXT)
    return str(file)


def test_explain_says_what_flows_where():
    text = explain(site_of(TEXT))
    assert all(len(line) <= 100 for line in text.splitlines())
    said = " ".join(text.split())
    assert "10.1.0.0/25 <-> 10.2.0.0/24" in said
    assert "no LAN host <-> 10.8.0.0/24" in said and "no LAN host <-> 10.3.0.0/24" in said
    assert "from 10.1.0.0/24, fd01::/64 to 0.0.0.0/0, ::/0 less what is refused" in said
    assert "seen from outside as 192.0.2.10;" in said
    assert "in clear, by red and by black alike: 10.1.0.0/24, 10.2.0.0/24, 10.3.0.0/24" in said
    assert "everything but UDP 51820" in said and "in red, by [firewall]: tcp dport 53" in said
    assert "at most 1380 (IPv4) and 1360 (IPv6)" in said
    assert "! f.toml:17: site: 'puno' has no endpoint" in said
    assert "==[198.51.100.7:51820]==> cusco" in said and "clear0" in said
    assert KEY not in text


def test_explain_says_how_the_gateway_is_found_and_how_many_connections_a_host_has():
    text = explain(site_of(TEXT.replace('gateway = "192.0.2.1"', 'gateway = "192.0.2.1"\ngateway_mac = "02:00:5E:10:00:01"')))
    said = " ".join(text.split())
    assert "gateway 192.0.2.1, pinned to 02:00:5e:10:00:01" in said and "at most 1000 at a time of one host" in said
    text = explain(site_of(TEXT.replace("192.0.2.10/24", "192.0.2.10/32").replace('"192.0.2.1"', '"198.51.100.99"')))
    assert "gateway 198.51.100.99, on the link though outside its networks" in " ".join(text.split())


def test_explain_of_large_mode_has_no_clear_path():
    text = explain(site_of(TEXT.replace("small", "large")))
    assert "clear0" not in text and "red and black are not connected" in text


def test_explain_without_sites_and_permits():
    text = explain(site_of(TEXT[:TEXT.index("[[site]]")]))
    assert "nothing: there is no [[site]]" in text
    open_ = TEXT[:TEXT.index("[[permit]]")]
    assert "Every LAN host may take part" in explain(site_of(open_))


@pytest.mark.parametrize("mode", ["small", "large"])
def test_the_template_is_a_good_file_even_uncommented(tmp_path, mode):
    file = tmp_path / "quito.toml"
    run("new", str(file), "--mode", mode)
    site = site_of(file.read_text())
    assert site.node.name == "quito" and site.node.mode == mode
    assert "exists already" in run("new", str(file), status=1)
    assert site_of(file.read_text()).node.name == "quito"
    # so is every setting that stands in a comment
    head, _, tail = TEMPLATE.partition("# One block")
    settings = [line.removeprefix("# ") for line in tail.splitlines()
                if line.startswith("# [") or line.startswith("# ") and " = " in line]
    body = "\n".join(settings).replace("…", KEY)
    assert {"psk", "from", "to", "black"} <= {line.split(" = ")[0] for line in settings}
    assert parse(head.format(name="quito", mode="small") + body, "t")[1] == []


def test_a_bad_name_writes_no_file(tmp_path):
    file = tmp_path / "no.good.toml"
    assert "is not a name" in run("new", str(file), status=1)
    assert not file.exists()


def test_check_reports_errors_and_warnings(path):
    assert "warning: " in run("check", path) and run("check", path).endswith("good, 1 warnings\n")
    found = json.loads(run("check", "--json", path))
    assert found["ok"] and found["errors"] == [] and len(found["warnings"]) == 1
    with open(path, "w", encoding="utf-8") as f:
        f.write(TEXT.replace("small", "tiny").replace("10.2.0.0", "10.2.0.1"))
    out = run("check", path, status=1)
    assert f"error: {path}:3: node.mode: " in out and f"{path}:15: site.networks: " in out
    found = json.loads(run("check", "--json", path, status=1))
    assert not found["ok"] and [e["line"] for e in found["errors"]][:2] == [3, 15]
    assert "node.mode" in run("explain", path, status=1)


def test_explain_as_json(path):
    found = json.loads(run("explain", "--json", path))
    assert found["permitted"] == {"cusco": [{"lan": ["10.1.0.0/25"], "remote": ["10.2.0.0/24"]}],
                                  "puno": []}
    assert found["mode"] == "small" and found["mtu"] == 1420


def test_site_is_a_command_of_wgpy():
    assert CliRunner().invoke(cli, ["site", "--help"]).exit_code == 0


@pytest.mark.netns
def test_check_asks_nft_about_additions(path):
    with open(path, "w", encoding="utf-8") as f:
        f.write(TEXT.replace("tcp dport 53", "tcp dprt 53"))
    assert f"error: {path}:25: firewall.red: nft refuses it: " in run("check", path, status=1)


@pytest.mark.parametrize("port, free", [(1, "2-65535"), (51820, "1024-51819"), (1024, "1025-65535"),
                                        (65535, "1024-65534")])
def test_translated_ports_leave_the_tunnels_out(port, free):
    rules = black_rules(site_of(edited(TEXT, ("= 51820", f"= {port}"))))
    assert rules.count(f"udp masquerade to :{free}\n") == 2


def test_every_counter_is_declared_and_used():
    site = site_of(TEXT)
    for rules, declared in ((black_rules(site), BLACK_COUNTERS), (red_rules(site), RED_COUNTERS)):
        for name in declared:
            assert f"\tcounter {name} {{" in rules and f"counter name {name} drop" in rules
        assert rules.count(" drop\n") == rules.count("counter name"), "no drop goes uncounted"
        assert "reject" not in rules


def test_rules_are_one_transaction_that_replaces_its_own_table():
    for rules, name in ((black_rules(site_of(TEXT)), "wgpy_black"), (red_rules(site_of(TEXT)), "wgpy_red")):
        assert rules.startswith(f"table inet {name}\ndelete table inet {name}\ntable inet {name} {{")
        for hook in ("input", "forward", "output"):
            assert f"hook {hook} priority filter; policy drop;" in rules
