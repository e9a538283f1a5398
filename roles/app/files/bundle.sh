#!/bin/sh
# Writes a git bundle of one commit, without its history: small, and the same from a shallow clone.
# Usage: bundle.sh CHECKOUT COMMIT BUNDLE
set -eu
checkout=$1 commit=$2 bundle=$3

# In a repository of its own, so that the checkout gets no reference it did not have.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
git init --quiet --bare "$work"
git -C "$checkout" -c "safe.directory=$checkout" rev-parse --path-format=absolute --git-path objects >"$work/objects/info/alternates"
echo "$commit" >"$work/shallow"
git --git-dir "$work" update-ref refs/heads/deploy "$commit"
git --git-dir "$work" bundle create --quiet "$bundle" deploy
