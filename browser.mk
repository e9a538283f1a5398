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
