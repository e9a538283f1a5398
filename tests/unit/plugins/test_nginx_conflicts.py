"""Which sites of an NGINX a further site would take requests from, by what `nginx -T` prints."""

from __future__ import annotations

import pytest

from plugins.filter.nginx_conflicts import nginx_conflicts

_MAIN = """
user www-data;
events { worker_connections 768; }
http {
    log_format own '$remote_addr {"} ; server { listen 80 default_server; }';
    include /etc/nginx/conf.d/*.conf;
    include sites-enabled/*;
}
# stream { server { listen 80 default_server; } }
"""


def dump(**sites: str) -> str:
    """What `nginx -T` prints of an NGINX with these files in sites-enabled."""
    files = {"nginx.conf": _MAIN} | {f"sites-enabled/{name}": text for name, text in sites.items()}
    return "".join(f"# configuration file /etc/nginx/{name}:\n{text}\n\n" for name, text in files.items())


@pytest.mark.parametrize(
    "site",
    [
        "",
        "server { listen 8080 default_server; }",
        "server { listen 443 ssl default_server; server_name _; }",
        "server { listen 80; server_name shop.example; }",
        "server { listen 80; server_name _ shop.example; }",
        "server { listen [::]:80; server_name '' shop.example; }",
        "server { listen 192.0.2.1:80 default_server; }",
        "server { listen 192.0.2.1; }",
        "server { listen unix:/run/80 default_server; }",
        "server { listen unix:80; }",
        "# server { listen 80 default_server; }",
        'server { listen 8080; return 200 "} server { listen 80; }"; }',
        "server { listen 8080; location ~ ^/${x}a\\{ { return 200; } }",
        "upstream a { server 192.0.2.1:80; }",
    ],
)
def test_a_default_site_stands_beside_what_has_a_name_port_or_address_of_its_own(site: str) -> None:
    assert nginx_conflicts(dump(shop=site), 80, "_") == []


@pytest.mark.parametrize(
    ("site", "conflict"),
    [
        ("server { listen 80 default_server; server_name shop.example; }", "the default site of port 80"),
        ("server { listen *:80 default_server reuseport; }", "the default site of port 80"),
        ("server { listen 0.0.0.0:80 default; }", "the default site of port 80"),
        ("server{listen [::]:80 default_server;}", "the default site of port 80"),
        ("server { listen 80; }", "which answers port 80 whatever name is asked for"),
        ("server { root /srv; }", "which answers port 80 whatever name is asked for"),
        ("server { listen 0.0.0.0; server_name _; }", "which answers port 80 whatever name is asked for"),
        ('server { server_name ""; listen 8080; listen "80"; }', "which answers port 80 whatever name is asked for"),
        ("server { listen 443 ssl; # a comment }\n listen 80; }", "which answers port 80 whatever name is asked for"),
        ("server { listen 80; return 301 https://$host$request_uri; }", "which answers port 80 whatever"),
    ],
)
def test_a_default_site_takes_requests_from_another_default_site(site: str, conflict: str) -> None:
    (found,) = nginx_conflicts(dump(a="server { listen 81; }", shop=site), "80", "_")

    assert found.startswith(f"/etc/nginx/sites-enabled/shop, {conflict}")


@pytest.mark.parametrize("names", ["shop.example", "a.example SHOP.example"])
def test_a_site_with_a_name_takes_requests_only_from_one_of_its_name(names: str) -> None:
    other = "server { listen 80 default_server; server_name www.shop.example; }"
    same = "server { listen 80; server_name www.example Shop.example; }"

    assert nginx_conflicts(dump(shop=other), 80, names) == []
    assert nginx_conflicts(dump(shop=same), 8080, names) == []
    assert nginx_conflicts(dump(shop=same), 80, names) == [
        "/etc/nginx/sites-enabled/shop, which has the name shop.example on port 80"
    ]


def test_what_a_site_includes_counts_as_its_own() -> None:
    text = dump(shop="server { include snippets/*.conf; server_name shop.example; }")
    text += "# configuration file /etc/nginx/snippets/http.conf:\nlisten 80 default_server;\n"

    assert nginx_conflicts(text, 80, "_") == ["/etc/nginx/sites-enabled/shop, the default site of port 80"]


def test_nothing_is_in_the_way_where_nginx_is_not_installed() -> None:
    assert nginx_conflicts("skipped, since /usr/sbin/nginx does not exist", 80, "_") == []
