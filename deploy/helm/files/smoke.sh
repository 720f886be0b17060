# Pairs a device, installs a plugin where it is missing, calls it and reads the answer; then says something to the agent.
# Usage: smoke.sh <plugin>. WARREN_URL and WARREN_TOKEN_FILE name the gateway and the operator's token.
set -eu
warren() { node /app/service/src/main.ts "$@"; }
export HOME=/tmp XDG_CONFIG_HOME=/tmp/config WARREN_PROFILE=/tmp/config/profile.json
token=$WARREN_TOKEN_FILE

echo "1. A device is paired, and the operator approves it"
warren --token-file "$token" pair --url "$WARREN_URL" --name "helm test" --approve --replace --json >/dev/null

# From here on as the paired device.
unset WARREN_TOKEN_FILE
echo "2. The plugin $1 is installed where it is missing"
installed=$(warren plugin list --json)
case "$installed" in
*"\"id\":\"$1\""*) ;;
*) warren --token-file "$token" plugin add "/app/plugins/$1" --yes ;;
esac

echo "3. A call of the plugin is answered from its sandbox"
tries=30
until answer=$(warren plugin call "$1" get_current_time --json 2>/tmp/error); do
  tries=$((tries - 1))
  if [ "$tries" -eq 0 ]; then cat /tmp/error >&2; exit 1; fi
  sleep 2
done
year=$(date -u +%Y)
case "$answer" in *"$year"*) echo "   $answer" ;; *) echo "not the time: $answer" >&2; exit 1 ;; esac

echo "4. The agent answers by calling it"
answer=$(warren chat --new "What time is it?" --json)
case "$answer" in *get_current_time*) echo "   $answer" ;; *) echo "no tool was called: $answer" >&2; exit 1 ;; esac
echo "all is well"
