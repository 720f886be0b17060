# Pairs a device, installs a plugin where it is missing, calls it and reads the answer; then says something to the agent.
# Usage: smoke.sh <plugin>. WARREN_URL and WARREN_TOKEN_FILE name the gateway and the operator's token.
set -eu
# 6 and 7 say that it may work later: limits, or a part that is still starting.
warren() {
  tries=30
  while :; do
    code=0
    node /app/service/src/main.ts "$@" || code=$?
    tries=$((tries - 1))
    case $code in 6 | 7) [ "$tries" -gt 0 ] || return "$code" ;; *) return "$code" ;; esac
    sleep 2
  done
}
export HOME=/tmp XDG_CONFIG_HOME=/tmp/config WARREN_PROFILE=/tmp/config/profile.json
token=$WARREN_TOKEN_FILE

echo "1. A device is paired, and the operator approves it"
warren --token-file "$token" pair --url "$WARREN_URL" --name "helm test" --approve --replace --json >/dev/null

# From here on as the paired device.
unset WARREN_TOKEN_FILE
echo "2. The plugin $1 is installed where it is missing"
warren plugin list --json >/tmp/plugins
grep -qE "\"id\": *\"$1\"" /tmp/plugins || warren --token-file "$token" plugin add "/app/plugins/$1" --yes

echo "3. A call of the plugin is answered from its sandbox"
answer=$(warren plugin call "$1" get_current_time --json)
year=$(date -u +%Y)
case "$answer" in *"$year"*) echo "   $answer" ;; *) echo "not the time: $answer" >&2; exit 1 ;; esac

echo "4. The agent answers by calling it"
answer=$(warren chat --new "What time is it?" --json)
case "$answer" in *get_current_time*) echo "   $answer" ;; *) echo "no tool was called: $answer" >&2; exit 1 ;; esac
echo "all is well"
