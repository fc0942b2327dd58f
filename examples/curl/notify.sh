#!/bin/sh
# Send a notification: notify.sh USER_ID TITLE MESSAGE [info|warning|error|success]
set -eu

url=${HERMES_API_URL:-http://127.0.0.1:8080}
key_file=${HERMES_API_KEY_FILE:-$HOME/.local/state/hermes/api-key}

# Print the text as a JSON string: quotes, backslashes and line feeds escaped, other control characters as blanks.
json() {
    printf '"'
    printf '%s\n' "$1" | tr '\000-\011\013-\037' ' ' | sed 's/[\\"]/\\&/g' | awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
    printf '"'
}

body=$(printf '{"user_id":%s,"title":%s,"message":%s,"type":%s}' \
    "$(json "$1")" "$(json "$2")" "$(json "$3")" "$(json "${4:-info}")")

# The key arrives on standard input: arguments are visible in ps.
printf 'X-API-Key: %s\n' "$(head -n 1 "$key_file")" |
    curl --silent --show-error --fail-with-body --max-time 10 --header @- \
        --header 'Content-Type: application/json' --data-raw "$body" "$url/notify"
echo
