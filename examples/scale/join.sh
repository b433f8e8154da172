#!/usr/bin/env bash
# Joins the shards, and ends with 1 if one is missing, if a file is damaged, or if a check failed.
set -uo pipefail
nn-conformance merge shards/*.jsonl -o results.jsonl
merged=$?
nn-conformance verify results.jsonl && nn-conformance render results.jsonl -o report.html || exit 1
exit "$merged"
