# What the lab (roles/lab_machine) needs from the system. tests/roles checks it against the role.
LAB_PACKAGES := debian-archive-keyring iproute2 mmdebstrap nftables openssh-client passwd systemd-container util-linux

.PHONY: lab-packages
lab-packages:
	@missing=$$(for package in $(LAB_PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || echo $$package; \
	done); \
	[ -z "$$missing" ] || { \
	    echo "The lab needs packages that this computer lacks. Installing:" $$missing; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends $$missing; \
	}
