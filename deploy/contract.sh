#!/usr/bin/env bash
# Hold a running service to its own description: contract.sh URL [OPTIONS OF schemathesis run]
# It sends what /openapi.json allows and what it forbids, and fails on an answer above 499 or one
# that is not described. What BentoML answers itself is left out.
set -euo pipefail
url=$1
shift
exec python -m schemathesis.cli run "${url%/}/openapi.json" \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method \
  --phases examples,coverage,fuzzing \
  --exclude-path-regex '^/(infer_patches|schema\.json|docs\.json)$' \
  --warnings off "$@"
