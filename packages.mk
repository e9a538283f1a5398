# What make installs with apt where it is missing.

# What the lab (roles/lab_machine) needs from the system. tests/roles checks it against the role.
LAB_PACKAGES := debian-archive-keyring iproute2 mmdebstrap nftables openssh-client passwd systemd-container util-linux

.PHONY: lab-packages
lab-packages:
	@missing=$$(for package in $(LAB_PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	    echo "The lab needs root on Debian or Ubuntu, and these packages:" $$missing >&2; \
	    echo "Without them, 'make serve' runs the app alone, and inventory/example deploys to your own VMs." >&2; exit 1; \
	fi; \
	echo "The lab needs these packages, which apt installs now:" $$missing; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing >/dev/null

# The browser that tests/browser drives. Where apt can't install it (Ubuntu has it as a snap only), those tests are skipped.
BROWSER_PACKAGES := chromium fonts-dejavu-core

.PHONY: browser-packages
browser-packages:
	@if command -v chromium >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "The browser tests need these packages, which apt installs now: $(BROWSER_PACKAGES)"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq --yes --no-install-recommends $(BROWSER_PACKAGES) >/dev/null && exit 0; \
	fi; \
	echo "The browser tests will be skipped: they need chromium, which apt can't install here." >&2

# h2load, which loads the servers that benchmarks/ compares, and the NGINX before Barevision where it runs on this machine.
BENCH_PACKAGES := nghttp2-client nginx-light

.PHONY: bench-packages
bench-packages:
	@if command -v h2load >/dev/null && PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "The benchmark needs these packages, which apt installs now: $(BENCH_PACKAGES)"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq --yes --no-install-recommends $(BENCH_PACKAGES) >/dev/null && exit 0; \
	fi; \
	echo "The benchmark needs h2load and NGINX (Debian's nghttp2-client and nginx-light), which apt can't install here." >&2; exit 1
