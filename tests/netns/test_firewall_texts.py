"""Every kind of site gives texts that nft takes, and whose chains are all reached."""

import re
from itertools import combinations, product

import pytest
from site_files import LIMA, edited, site_of

from wgpy.firewall.check import problem
from wgpy.firewall.rules import black_rules, red_rules

IP4, IP6 = "10.1.0.1/24", "fd01::1/64"
SITES = {
    "IPv4": edited(LIMA, (f', "{IP6}"', ""), (', "fd02::/64"', "")),
    "IPv6": edited(LIMA, ("192.0.2.10/24", "2001:db8::10/64"), ("192.0.2.1", "2001:db8::1"),
                   (f'"{IP4}", ', ""), ('"10.2.0.0/24", ', ""),
                   ("198.51.100.7:", "[2001:db8:7::1]:")),
    "mixed": LIMA,
    "no site": LIMA[:LIMA.index("[[site]]")],
}
OPTIONS = {
    "permit": '[[permit]]\nfrom = ["10.1.0.0/25", "fd01::/65"]\nto = ["cusco", "fd02::1/128"]\n',
    "bypass": '[bypass]\nnetworks = ["203.0.113.0/24", "2001:db8:1::/48", "10.0.0.0/8"]\n',
    "firewall": '[firewall]\nblack = ["tcp dport { 22, 80 } accept"]\n'
                'red = ["iifname eth1 ip saddr @lan4 icmp type echo-request accept"]\n',
    "dhcp": None, "narrow": None,
}
CHOSEN = [c for n in range(len(OPTIONS) + 1) for c in combinations(OPTIONS, n)]


def texts(kind: str, mode: str, options) -> tuple[str, str]:
    text = SITES[kind].replace("small", mode)
    if "dhcp" in options:
        text = re.sub(r'addresses = .*\ngateway = .*', 'addresses = "dhcp"', text, count=1)
    if "narrow" in options:
        text = text.replace("[lan]", "mtu = 1492\n[lan]")
    for name in options:
        if not (name == "bypass" and mode == "large" or name == "permit" and kind == "no site"):
            text += OPTIONS[name] or ""
    site = site_of(text)
    return black_rules(site), red_rules(site)


@pytest.mark.netns
@pytest.mark.parametrize("kind, mode", list(product(SITES, ("small", "large"))))
def test_nft_takes_every_kind_of_site(kind, mode):
    for options in CHOSEN:
        for rules in texts(kind, mode, options):
            assert problem(rules) is None, (options, rules)


@pytest.mark.parametrize("kind, mode", list(product(SITES, ("small", "large"))))
def test_every_chain_is_a_hook_or_leads_from_one(kind, mode):
    for rules in (r for options in CHOSEN for r in texts(kind, mode, options)):
        chains = dict(re.findall(r"\tchain (\w+) {\n(.*?)\n\t}", rules, re.DOTALL))
        reached = {name for name, body in chains.items() if " hook " in body}
        for name in (more := list(reached)):
            targets = set(re.findall(r"(?:jump|goto) (\w+)", chains[name])) - reached
            reached |= targets
            more += targets
        assert reached == set(chains)
